"""What a terminal shows of a probe: a line for each stage, and what holds for the whole net. Read from the result."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from resexp.core.result import Result, Value, Verdict

SCHEME = re.compile(r"nearest known scheme: ([\w-]+)")
WIDEST_NAME = 20
MOST_STAGES = 12


def stage_lines(result: Result) -> list[dict[str, Value]]:
    """A row for each stage: its blocks, where it begins, its scheme, and growth a block with its law both ways."""
    stages = list(dict.fromkeys(row["stage"] for row in result.rows))
    return [_line(result, stage, several=len(stages) > 1) for stage in stages[:MOST_STAGES]]


def told(result: Result) -> Iterator[str]:
    """Counts and figures of the whole net, a sentence each."""
    figures = {str(figure["quantity"]): figure for figure in result.headline}
    counts = {name: figures[name]["mean"] for name in figures if name.endswith(("_shortcuts", "_additions"))}
    yield ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) + "."
    for family in result.families:
        if family.verdict != Verdict.NO_THEORY.value:
            yield f"{family.quantity.replace('_', ' ')}: {family.verdict}, {family.sentence}"
    overflow = {name: figure for name, figure in figures.items() if name.startswith("overflow_block_")}
    for name, figure in overflow.items():
        where = name.removeprefix("overflow_block_").replace("_stage_", " in stage ")
        yield f"overflow of {where} at block {_number(figure['mean'])} (95 % interval {_interval(figure)})."
    for name in ("gradient_autocorrelation", "dead_units"):
        if name in figures:
            yield f"{name.replace('_', ' ')}: {_number(figures[name]['mean'])} ({_interval(figures[name])})."
    stages = len({row["stage"] for row in result.rows})
    if stages > MOST_STAGES:
        yield f"{stages - MOST_STAGES} further stages are in the rows."


def _line(result: Result, stage: Value, *, several: bool) -> dict[str, Value]:
    rows = [row for row in result.rows if row["stage"] == stage]
    shortcuts = Counter(row["shortcut"] for row in {(r["block"], r["name"]): r for r in rows}.values())
    first = next(str(row["name"]) for row in rows if row["shortcut"] != "stream")
    families = {family.quantity: family.sentence for family in result.families}
    figures = {str(figure["quantity"]): figure for figure in result.headline}
    suffix = f"_stage_{stage}" if several else ""
    scheme = SCHEME.search(families.get(f"stage_{stage}_forward", ""))
    return {
        "stage": stage,
        "blocks": max(int(row["block"] or 0) for row in rows),
        "sums": sum(count for shortcut, count in shortcuts.items() if shortcut != "stream"),
        "first sum": first if len(first) <= WIDEST_NAME else f"...{first[3 - WIDEST_NAME :]}",
        "forward, a block": _growth(
            figures, families, f"activation_growth_per_block{suffix}", f"stage_{stage}_forward"
        ),
        "backward, a block": _growth(
            figures, families, f"gradient_growth_per_block{suffix}", f"stage_{stage}_backward"
        ),
        "scheme": scheme[1] if scheme else "",
    }


def _growth(figures: Mapping[str, Mapping[str, Value]], laws: Mapping[str, str], figure: str, family: str) -> str:
    """Such as `1.98x exponential`."""
    if figure not in figures:
        return ""
    law = re.split(r"[ ;,]", laws.get(family, ""))[0]
    return f"{_number(figures[figure]['mean'])}x {law}"


def _number(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "none"


def _interval(figure: Mapping[str, Value]) -> str:
    return f"{_number(figure['ci_low'])} to {_number(figure['ci_high'])}"
