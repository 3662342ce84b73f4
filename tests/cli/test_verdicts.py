"""--check: met only where something was judged, at the level of the whole run, and what is open is named."""

import pytest

from resexp.core.errors import ResexpError
from resexp.core.result import ALPHA, FamilyResult, Result
from resexp_cli.verdicts import Judged, chance, check_verdicts

from .conftest import TINY, Resexp


def judged(*families: tuple[str, str, float | None]) -> Judged:
    """Families of one result: name, verdict, p-value."""
    told = [FamilyResult(name, verdict, p_value, f"about {name}.") for name, verdict, p_value in families]
    return Judged.of([Result((), [], families=told)])


@pytest.mark.parametrize(
    "families",
    [
        (),
        (("a", "underpowered", 0.3), ("b", "not judged", None), ("c", "no theory", None)),
        (("a", "underpowered", 1.0),),
    ],
    ids=len,
)
def test_is_not_met_where_nothing_was_judged(families: tuple[tuple[str, str, float | None], ...]) -> None:
    with pytest.raises(ResexpError, match="nothing was checked") as told:
        check_verdicts(judged(*families))
    assert told.value.exit_code == 1
    assert all(f"{verdict}: {name}" in str(told.value) for name, verdict, _ in families)
    assert ("Use more --draws." in str(told.value)) == bool(families)


def test_only_agree_and_disagree_are_counted_and_the_others_named() -> None:
    met = check_verdicts(judged(("a", "agree", 1.0), ("b", "underpowered", 0.2), ("c", "not judged", None)))
    assert met.endswith("among 1 judged quantities; underpowered: b; not judged: c")
    many = judged(("a", "agree", 1.0), *((f"x{n}", "underpowered", 0.2) for n in range(9)))
    assert check_verdicts(many).endswith("underpowered: x0, x1, x2, x3, x4, x5, 3 more")
    twice = Judged.of([Result((), [], families=[FamilyResult("b", v, 0.5, "") for v in ("underpowered", "agree")])] * 2)
    assert check_verdicts(twice).endswith("among 2 judged quantities; underpowered: b (2 times)")


def test_the_level_is_shared_by_all_that_were_tested_whatever_came_of_it() -> None:
    """Undecided ones might have disagreed by chance too."""
    wrong = ("wrong", "disagree", ALPHA / 3)
    with pytest.raises(ResexpError, match="1 of 2 judged quantities disagree with their theory:\n  wrong: about wrong"):
        check_verdicts(judged(wrong, ("a", "agree", 1.0)))
    undecided = [(f"u{n}", "underpowered", 0.5) for n in range(3)]
    assert check_verdicts(judged(wrong, *undecided)).startswith("check met")
    assert chance(judged(wrong, *undecided)) == "1 of 1 judged quantities disagree; chance alone makes about 0.02."


def test_a_run_too_small_to_judge_anything_ends_with_1(resexp: Resexp) -> None:
    ended = resexp("variance", *TINY, "--width", "40", "--draws", "4", "--no-save", "--check")
    assert ended.code == 1
    assert "nothing was checked (underpowered: activation_second_moment" in ended.err
    assert ended.out.startswith("block,quantity,")
