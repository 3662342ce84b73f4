"""Outcomes on a terminal: about ten rows, a chart, headline figures, verdicts; of several settings their figures."""

from collections import Counter
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Digest, Experiment, Plot
from resexp.core.result import Result, Value
from resexp.report.chart import chart
from resexp.report.digest import by_quantity, chosen_rows, series
from resexp.report.text import headlines, last_rows, plain, short
from resexp.runs.cell import Outcome
from resexp.runs.resolve import describe
from resexp_cli.console.styles import ADVICE, CHART, FAINT, VERDICTS
from resexp_cli.console.tables import fitting, print_grouped, without

MOST_NOTES = 5
MARGIN = 10
"""Columns left of a chart, for the numbers of its axis."""


def print_one(out: Console, outcome: Outcome) -> None:
    """All there is to see of one outcome."""
    cell, result = outcome.cell, outcome.result
    experiment = type(cell.experiment)
    out.print(Text(f"{cell.name}: ", style="bold").append(experiment.summary(), style="not bold"))
    settings = ", ".join(
        f"{k.replace('_', ' ')} {plain(v)}" for k, v in describe(cell).items() if v is not None and v != ""
    )
    out.print(Text(settings, style=FAINT))
    out.print()
    digest = cell.experiment.digest(result)
    if digest is not None:
        _print_digest(out, digest, result)
        return
    _print_rows(out, result, experiment.axes, _grown(cell.experiment))
    if experiment.plot is not None and result.rows:
        _print_chart(out, result, experiment.plot)
    if result.headline:
        out.print()
        columns = [c for c in result.headline[0] if c != "draws" and any(f.get(c) is not None for f in result.headline)]
        out.print(fitting(out, columns, result.headline)[0])
    told = {figure["quantity"] for figure in result.headline}
    families = [family for family in result.families if family.quantity not in told]
    if families or result.notes:
        out.print()
    for family in families:
        line = Text(f"{family.quantity.replace('_', ' ')}: ")
        line.append(family.verdict, style=VERDICTS.get(family.verdict, ""))
        out.print(line.append(f", {family.sentence}"))
    for note in result.notes:
        out.print(Text(note, style=FAINT))


def _print_digest(out: Console, digest: Digest, result: Result) -> None:
    """A table, sentences, and the notes as what it all comes to."""
    if digest.table:
        out.print(fitting(out, list(digest.table[0]), digest.table)[0])
    for line in digest.lines:
        out.print(Text(line))
    out.print(f"{len(result.rows)} rows: --format csv; every figure: --format json", style=FAINT)
    if result.notes:
        out.print()
    for note in result.notes:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Text("→", style=ADVICE), Text(note, style="bold"))
        out.print(grid)


def print_several(out: Console, outcomes: Sequence[Outcome]) -> None:
    """The headline figures of several settings side by side, and how often each quantity agreed."""
    figures = by_quantity(headlines(outcomes) or last_rows(outcomes))
    print_grouped(out, [c for c in figures[0] if c != "quantity"] if figures else [], figures)
    _print_verdicts(out, outcomes)
    notes = list(dict.fromkeys(note for outcome in outcomes for note in outcome.result.notes))
    for note in notes[:MOST_NOTES]:
        out.print(Text(note, style=FAINT))
    more = f", {len(notes) - MOST_NOTES} more notes" if len(notes) > MOST_NOTES else ""
    out.print(f"{len(outcomes)} settings{more}; every row: --format csv", style=FAINT)


def _print_verdicts(out: Console, outcomes: Sequence[Outcome]) -> None:
    """How often each quantity agreed, over the settings of a sweep."""
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        for family in outcome.result.families:
            counts.setdefault(family.quantity, Counter())[family.verdict] += 1
    out.print()
    for quantity, count in counts.items():
        line = Text(f"{quantity.replace('_', ' ')}: ")
        for number, (verdict, times) in enumerate(count.most_common()):
            line.append(", " if number else "").append(f"{times} {verdict}", style=VERDICTS.get(verdict, ""))
        out.print(line)


def _print_rows(out: Console, result: Result, axes: Sequence[str], grown: Collection[str]) -> None:
    """About ten rows of the result. grown: quantities judged by their growth from row to row."""
    rows = [_of_growth(row) if row.get("quantity") in grown else row for row in chosen_rows(result, axes)]
    left_out = print_grouped(out, [c for c in result.columns if c != "quantity"], rows)
    if len(rows) < len(result.rows) or left_out:
        out.print(f"{len(rows)} of {len(result.rows)} rows{without(left_out)}; everything: --format csv", style=FAINT)


def _grown(experiment: Experiment) -> set[str]:
    """Quantities that are judged by their growth, with their logarithms."""
    quantities = experiment.quantities_here() if isinstance(experiment, Ensemble) else ()
    names = [q.name for q in quantities if q.judged in {"log increments", "increments"}]
    return {*names, *(f"log2_{name}" for name in names)}


def _of_growth(row: dict[str, Value]) -> dict[str, Value]:
    """The row with a verdict that says what it is about: its level may be far from a limit whose growth agrees."""
    level = row.get("verdict") != "agree" or row.get("theory_kind") == "exact"
    return row if level else {**row, "verdict": "growth agrees"}


def _print_chart(out: Console, result: Result, plot: Plot) -> None:
    label, measured, theory = series(result, plot)
    drawn = chart(measured, theory, width=max(10, min(72, out.width - MARGIN - 3)))
    if drawn is None:
        return
    out.print()
    legend = Text(f"{label} over {plot.x}: ")
    legend.append("measured ⠂", style=CHART["measured"])
    if theory:
        legend.append(", ").append("theory ·", style=CHART["theory"])
        legend.append(", ").append("both ⠂", style=CHART["both"])
    out.print(legend)
    labels = {0: short(drawn.y[1]), len(drawn.lines) - 1: short(drawn.y[0])}
    for number, line in enumerate(drawn.lines):
        text = Text(f"{labels.get(number, ''):>{MARGIN}} │")
        for characters, name in line:
            text.append(characters, style=CHART[name])
        out.print(text)
    width = len(drawn.lines[0])
    left, right = (short(x) for x in drawn.x)
    out.print(Text(f"{'':{MARGIN}} └{'─' * width}"))
    out.print(Text(f"{'':{MARGIN}}  {left}{right:>{max(1, width - len(left))}}"))
