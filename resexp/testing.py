"""For the tests of other projects: `assert_stable(model, input)` fails where signals or gradients run away.

from resexp.testing import assert_stable

def test_signals_keep_their_size():
    assert_stable(make_net, "3x32x32")
"""

from collections.abc import Mapping
from typing import Any

from resexp.api import Input, Model, probe
from resexp.core.result import Result

DIRECTIONS = ("activation", "gradient")


def assert_stable(
    model: Model,
    input: Input,
    *,
    most: float = 100.0,
    dead: float = 0.5,
    shattered: float | None = None,
    **options: Any,
) -> Result:
    """Raise AssertionError, with what to do, unless signals keep their size through every stage; return the Result.

    most: times that the second moment of activations may grow, and that of gradients may grow or shrink, from end to
    end of a stage, at 95 % confidence (a growth fails if its whole interval is beyond); dead: share of the rectified
    units that may be zero for all inputs; shattered: least correlation of gradients at neighbouring points, None for
    any; options: those of `resexp.probe`. A net without residual additions fails: there is nothing to follow.
    """
    result = probe(model, input, **options)
    figures = {str(figure["quantity"]): figure for figure in result.headline}
    wrong = [*_lost(result), *_run_away(result, figures, most)]
    if not figures["residual_additions"]["mean"]:
        wrong.append("no residual additions were found")
    low = _number(figures.get("dead_units"), "ci_low")
    if low is not None and low > dead:
        wrong.append(f"{low:.0%} of the rectified units or more are zero for every input; {dead:.0%} may be")
    high = _number(figures.get("gradient_autocorrelation"), "ci_high")
    if shattered is not None and high is not None and high < shattered:
        wrong.append(f"gradients at neighbouring points correlate by {high:.2f} or less; {shattered} is the least")
    if wrong:
        raise AssertionError("\n".join([*wrong, *result.notes]))
    return result


def _run_away(result: Result, figures: Mapping[str, Mapping[str, Any]], most: float) -> list[str]:
    """Stages whose growth, over all their blocks, is more than allowed."""
    wrong = []
    for name, figure in figures.items():
        direction, _, rest = name.partition("_growth_per_block")
        if direction not in DIRECTIONS or (rest and not rest.startswith("_stage_")):
            continue
        stage = int(rest.removeprefix("_stage_") or 1)
        blocks = {int(row["block"] or 0) for row in result.rows if row["stage"] == stage}
        steps = len(blocks) - 1
        low, high, mean = (figure[c] for c in ("ci_low", "ci_high", "mean"))
        if not steps or low is None or high is None:
            continue
        grows, shrinks = low**steps > most, high**steps < 1 / most
        if grows or (shrinks and direction == "gradient"):
            way = "grows" if grows else "shrinks"
            wrong.append(
                f"stage {stage}: the {direction}'s second moment {way} {mean**steps:.3g} times over {steps} blocks, "
                f"{mean:.3g} a block; {most:g} times may be"
            )
    return wrong


def _lost(result: Result) -> list[str]:
    """The first place whose activations are not finite."""
    for row in result.rows:
        if row["quantity"] == "activation_second_moment" and row["mean"] is None:
            return [f"activations are not finite, or too large, at {row['name']}"]
    return []


def _number(figure: Mapping[str, Any] | None, column: str) -> float | None:
    return None if figure is None else figure[column]
