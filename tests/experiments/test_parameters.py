from itertools import pairwise, product

import pytest
from torch import nn

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.experiments.parameters import Parameters

LAB = Lab("parameters")


def built(e):
    """The net in torch, without memory for its weights."""

    def normalised(norm, units):
        return [norm(units, device="meta")] if e.batchnorm else []

    def convolution(inputs, outputs, kernel):
        return [*normalised(nn.BatchNorm2d, inputs), nn.Conv2d(inputs, outputs, kernel, bias=e.bias, device="meta")]

    if e.net == ("block",):
        return nn.Sequential(*convolution(e.channels, e.channels, e.kernel))
    if e.net == ("bottleneck",):
        return nn.Sequential(
            *convolution(e.channels, e.inner, 1),
            *convolution(e.inner, e.inner, e.kernel),
            *convolution(e.inner, e.channels, 1),
        )
    units = [e.inputs] + [e.width] * e.layers
    hidden = [
        module
        for i, o in pairwise(units)
        for module in (nn.Linear(i, o, bias=e.bias, device="meta"), *normalised(nn.BatchNorm1d, o), nn.ReLU())
    ]
    return nn.Sequential(*hidden, nn.Linear(e.width, e.outputs, bias=e.bias, device="meta"))


SETTINGS = [
    {},
    {"inputs": 7, "outputs": 3, "layers": 1, "width": 5},
    {"inputs": 2, "outputs": 9, "layers": 4, "width": 13},
    {"net": ("block",)},
    {"net": ("block",), "channels": 6, "kernel": 5},
    {"net": ("bottleneck",)},
    {"net": ("bottleneck",), "channels": 10, "inner": 10, "kernel": 1},
]


@pytest.mark.parametrize("values", SETTINGS, ids=str)
def test_counts_are_those_of_torch(values):
    for bias, batchnorm in product((True, False), repeat=2):
        experiment = Parameters(**values, bias=bias, batchnorm=batchnorm)
        result = experiment.compute(LAB)
        *rows, total = result.rows
        assert sum(row["parameters"] for row in rows) == total["parameters"]
        assert total["parameters"] == sum(p.numel() for p in built(experiment).parameters())
        assert result.headline[0]["mean"] == total["parameters"]
        assert all(family.verdict == "agree" for family in result.families)
        assert len({(row["layer"], row["kind"]) for row in rows}) == len(rows)


def test_problem_11_8_by_kind():
    rows = Parameters(batchnorm=True).compute(LAB).rows
    by_kind = dict.fromkeys(("weights", "biases", "gammas", "betas", "all"), 0)
    for row in rows:
        by_kind[row["kind"]] += row["parameters"]
    assert by_kind == {"weights": 3640, "biases": 201, "gammas": 200, "betas": 200, "all": 4241}


def test_problem_11_10_in_one_command():
    result = Parameters(net=("bottleneck",), batchnorm=True).compute(LAB)
    figures = {row["quantity"]: row["mean"] for row in result.headline}
    assert figures["parameters"] == 280_832
    assert figures["parameters_of_plain_block"] == 2_360_832
    assert figures["plain_block_over_bottleneck"] == pytest.approx(8.4066, abs=1e-4)
    gammas = {row["layer"]: row["parameters"] for row in result.rows if row["kind"] == "gammas"}
    assert gammas == {"reduce 1x1": 512, "convolve 3x3": 128, "expand 1x1": 128}  # of each convolution's inputs
    assert "biases" in result.notes[0]
    assert "gamma and beta" in result.notes[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"channels": 64}, "--channels has no meaning for mlp; it belongs to block and bottleneck"),
        ({"net": ("block",), "inner": 64}, "--inner has no meaning for block; it belongs to bottleneck"),
        ({"net": ("bottleneck",), "width": 3}, "--width has no meaning for bottleneck; it belongs to mlp"),
    ],
)
def test_parameters_of_another_net_are_refused(values, sentence):
    with pytest.raises(UsageError, match=sentence):
        Parameters.parse(values)


def test_a_cell_with_every_parameter_spelled_out_is_the_same_cell():
    experiment = Parameters(net=("block",), channels=6)
    assert Parameters.parse(experiment.model_dump()) == experiment


def test_named_nets_side_by_side_against_published_numbers():
    names = ("resnet:50", "cifar-resnet:110", "wrn:28-10", "densenet:bc-100-12")
    result = Parameters(net=names).compute(LAB)
    totals = {row["net"]: row["parameters"] for row in result.rows if row["layer"] == "total"}
    assert totals == dict(zip(names, (25_557_032, 1_727_962, 36_479_194, 769_162), strict=True))
    assert [family.verdict for family in result.families] == ["agree"] * 4
    for net in names:
        assert sum(r["parameters"] for r in result.rows if r["net"] == net and r["layer"] != "total") == totals[net]


def test_kinds_and_costs_of_a_named_net():
    result = Parameters(net=("mlp:3x5,norm=batch,inputs=2,outputs=4",), batch=7).compute(LAB)
    by_kind = dict.fromkeys(("weights", "biases", "gammas", "betas", "all"), 0)
    for row in result.rows:
        by_kind[row["kind"]] += row["parameters"]
    assert by_kind == {"weights": 10 + 25 + 25 + 20, "biases": 19, "gammas": 15, "betas": 15, "all": 129}
    figures = {row["quantity"]: row["mean"] for row in result.headline}
    assert figures["operations"] == 2 * 7 * 80
    assert figures["activation_bytes"] >= 4 * 7 * (15 + 4)


def test_unknown_nets_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'resnet'"):
        Parameters.parse({"net": ("resnt:50",)})
    with pytest.raises(UsageError, match="There is no net 'resnet:7'"):
        Parameters.parse({"net": ("resnet:7",)}).compute(LAB)


def test_the_drawing_ends_at_the_total() -> None:
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    Parameters(net=("mlp", "resnet:18")).sketch(axis)
    ends = [int(line.get_ydata()[-1]) for line in axis.lines]  # type: ignore[index]
    assert ends == [3841, 11_689_512]
