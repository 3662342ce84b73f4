import pytest
import torch
from torch import nn

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.unet_sizes import UNetSizes
from resexp.nets.unet import unet

LAB = Lab("unet-sizes")


@pytest.mark.parametrize("padded", [False, True])
def test_layers_are_those_of_the_network(padded):
    """Channels and side of every layer, from a forward pass."""
    size = 48 if padded else 44
    net, seen = unet(depth=2, width=2, channels=3, classes=5, padded=padded), [(3, size)]
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d):
            module.register_forward_hook(lambda _net, _in, out: seen.append(tuple(out.shape[1:3])))
    with torch.no_grad():
        net(torch.zeros(1, 3, size, size))
    result = UNetSizes(size=size, depth=2, width=2, channels=3, classes=5, padded=padded).compute(LAB)
    rows = [row for row in result.rows if row["layer"] != "crop and concatenate"]
    assert [(row["channels"], row["size_out"]) for row in rows] == seen


def test_figure_11_10():
    result = UNetSizes().compute(LAB)
    assert {family.verdict for family in result.families} == {"agree"}
    assert [row["crop"] for row in result.rows if row.get("crop") is not None] == [4, 16, 40, 88]
    bottom = [(row["size_out"], row["channels"]) for row in result.rows if row["level"] == 4]
    assert bottom == [(30, 1024), (28, 1024)]
    figures = {row["quantity"]: row["mean"] for row in result.headline}
    assert figures == {
        "output_side": 388,
        "border_lost": 184,
        "smallest_input": 188,
        "next_smaller_input": 556,
        "next_larger_input": 588,
    }
    assert "388 and 404 at the end" in result.notes[1]


@pytest.mark.parametrize("values", [{"size": 18, "depth": 1}, {"size": 12284, "depth": 10}, {"size": 8, "depth": 3}])
def test_the_smallest_inputs_agree_with_the_formulas(values):
    result = UNetSizes(**values, padded=values["size"] == 8).compute(LAB)
    assert {family.verdict for family in result.families} == {"agree"}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"size": 570}, "which takes sides of 12 mod 16 from 188 on; 556 and 572 do"),
        ({"size": 172}, "188 is the smallest that does"),
        ({"size": 500, "padded": True}, "padded U-Net of depth 4, which takes multiples of 16; 496 and 512 do"),
    ],
)
def test_an_input_that_does_not_fit_is_told_which_do(values, sentence):
    with pytest.raises(UsageError, match=sentence):
        UNetSizes.parse(values)


def test_the_drawing_has_every_map_of_figure_11_10() -> None:
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    UNetSizes().sketch(axis)
    texts = [text.get_text() for text in axis.texts]
    sides = [int(text.removesuffix("²")) for text in texts if text.endswith("²")]
    assert sides[:3] == [572, 570, 568]
    assert sides[-1] == 388
    assert (min(sides), len(sides)) == (28, 32)
    assert texts.count("1,024") == 3
