"""CSV: what is written is read as it was."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resexp.core.result import Value
from resexp.core.tabular import from_csv, to_csv

# CSV has no types: a word that reads as a number, and an empty one, come back as something else.
WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda t: not any(c in "0123456789" for c in t)
)
VALUES = st.none() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False) | WORDS
TABLES = st.lists(WORDS, min_size=2, max_size=4, unique=True).flatmap(
    lambda columns: st.tuples(
        st.just(tuple(columns)), st.lists(st.fixed_dictionaries(dict.fromkeys(columns, VALUES)), max_size=4)
    )
)


def kinds(rows: list[dict[str, Value]]) -> list[dict[str, type]]:
    return [{column: type(value) for column, value in row.items()} for row in rows]


@given(TABLES)
@example((("a", "b"), [{"a": 5e-324, "b": 1e300}, {"a": -0.0, "b": 2**1600}, {"a": "inf", "b": "nan"}]))
@example((("a", "b"), [{"a": 'say "x"', "b": "1,5\r\nnext"}, {"a": 1.0, "b": 1}]))
def test_round_trip(table: tuple[tuple[str, ...], list[dict[str, Value]]]) -> None:
    columns, rows = from_csv(to_csv(*table))
    assert (columns, rows) == table
    assert kinds(rows) == kinds(table[1])


def test_looks_as_spreadsheets_expect() -> None:
    rows: list[dict[str, Value]] = [{"a": None, "b": 0.1, "c": 'x, "y"'}, {"a": 10**20, "b": 2.0}]
    assert to_csv(("a", "b", "c"), rows) == 'a,b,c\n,0.1,"x, ""y"""\n100000000000000000000,2.0,\n'


@pytest.mark.parametrize("text", ["a,b\n1\n", "a\n1,2\n", 'a,b\n"1,2\n', "a\n" + "1" * 200_000])
def test_refuses_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match="line"):
        from_csv(text)
