"""Numbers of parameters against those of papers and ports, counted on the meta device."""

import time

import pytest
import torch

from resexp.nets import zoo
from resexp.nets.published import TABLE, Published


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_number_of_parameters(entry: Published) -> None:
    assert entry.agrees(zoo.parameters(entry.name))
    assert entry.difference == 0 or entry.note, "a difference is explained"


def test_plain_nets_have_the_parameters_of_residual_ones() -> None:
    assert zoo.parameters("plain:20") == zoo.parameters("cifar-resnet:20") == 269_722


def test_fixup_has_scalars_in_place_of_norms() -> None:
    """Five scalars in each of nine blocks, one in the stem, one before the classifier."""
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert zoo.parameters("cifar-resnet:20,scheme=fixup") == 269_722 - norms + 9 * 5 + 2


def test_a_highway_layer_costs_what_a_plain_layer_of_71_units_does() -> None:
    a_layer = zoo.parameters("highway:11") - zoo.parameters("highway:10")
    assert a_layer == 5_100
    assert a_layer == pytest.approx(71 * 72, rel=0.01)


def test_a_thousand_layers_are_built_in_half_a_second() -> None:
    def seconds() -> float:
        start = time.process_time()
        with torch.device("meta"):
            zoo.factory("cifar-resnet:1001-v2")()
        return time.process_time() - start

    assert any(seconds() < 0.5 for _ in range(5))
