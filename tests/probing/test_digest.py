"""The short form that a terminal shows: a line for each stage, read from a result."""

from resexp.api import probe
from resexp.core.result import Result
from resexp.nets import zoo
from resexp.probing import digest, examples


def of(model: object, text: str) -> Result:
    return probe(model, text, batch=4, draws=3, line=False)  # type: ignore[arg-type]


def test_a_stage_is_one_line() -> None:
    result = of(examples.residual_mlp, "64")
    (line,) = digest.stage_lines(result)
    assert (line["blocks"], line["sums"], line["scheme"]) == (16, 16, "residual")
    growth = next(f["mean"] for f in result.headline if f["quantity"] == "activation_growth_per_block")
    assert line["forward, a block"] == f"{growth:.3g}x exponential"
    told = list(digest.told(result))
    assert told[0] == "16 residual additions, 16 identity shortcuts, 0 projection shortcuts."
    assert any(sentence.startswith("overflow of float16 at block ") for sentence in told)


def test_several_stages_and_long_names() -> None:
    result = of(zoo.factory("cifar-resnet:20-b,width=4"), "3x8x8")
    lines = digest.stage_lines(result)
    assert [line["sums"] for line in lines] == [3, 3, 3]
    assert all(str(line["forward, a block"]).endswith("x undecided") for line in lines)
    names = [row["name"] for row in result.rows]
    for row in result.rows:
        row["name"] = f"a.module.inside.many.others.{row['name']}"
    long = digest.stage_lines(result)[0]["first sum"]
    assert len(str(long)) == digest.WIDEST_NAME
    assert str(long).endswith(str(names[1])[-8:])
