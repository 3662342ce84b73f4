"""The law engine against real matrices: the same distribution forward, backward and jointly."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from resexp.core.errors import UsageError
from resexp.core.initialisation import Initialisation, check_law
from resexp.core.lab import Lab
from resexp.core.schemes import scheme
from resexp.signal.ensemble import propagate
from resexp.signal.layers import Scratch
from resexp.signal.observer import Pass
from resexp.signal.plan import plan
from resexp.signal.products import LawOfProduct, LawOfProductOfOne, root_of_gram
from resexp.signal.stack import Stack

DRAWS = 16_000
FALSE_ALARM = 1e-5  # of one test, divided over its statistics


def stack(**changes: Any) -> Stack:
    values: dict[str, Any] = {"depth": 3, "width": 16, "batch": 1, "scheme": "residual", "order": "relu-linear"}
    values |= {"init": Initialisation("he"), "activation": "relu", "cotangent": "loss", **changes}
    return Stack(**{**values, "scheme": scheme(values["scheme"], values["depth"])})


def statistics(p: Pass) -> dict[str, np.ndarray]:
    """What is compared, (draws,) each: levels, growth, and products whose means are covariances over networks."""
    log_q = np.log(p.second_moment) + 2 * math.log(2) * p.exponent
    log_g = np.log(p.gradient) + 2 * math.log(2) * p.gradient_exponent
    dq, dg = np.diff(log_q, axis=0), -np.diff(log_g, axis=0)
    found = {"first block": log_q[0]}
    for k in range(len(dq)):
        found |= {f"forward growth {k}": dq[k], f"backward growth {k}": dg[k]}
        found[f"mean {k + 1}"] = p.activation_mean[k + 1] / np.sqrt(p.second_moment[k + 1])
        for j in range(len(dq)):
            found[f"joint {k} {j}"] = (dq[k] - dq[k].mean()) * (dg[j] - dg[j].mean())
        if k:
            found[f"backward {k} and before"] = (dg[k] - dg[k].mean()) * (dg[k - 1] - dg[k - 1].mean())
    if p.batch_variance.any():
        found |= {f"batch variance {k}": v / p.second_moment[k] for k, v in enumerate(p.batch_variance)}
    return found


def smallest_p_value(one: Pass, other: Pass) -> float:
    """Of Kolmogorov-Smirnov and Welch's tests of every statistic, times their number."""
    first, second = statistics(one), statistics(other)
    p_values = []
    for name, x in first.items():
        p_values.append(stats.ks_2samp(x, second[name]).pvalue)
        p_values.append(stats.ttest_ind(x, second[name], equal_var=False).pvalue)
    return float(min(p_values) * len(p_values))


SETTINGS: list[dict[str, Any]] = [
    {},
    {"batch": 3},
    {"scheme": "plain", "order": "two-layer", "width": 24},
    {"scheme": "batchnorm", "batch": 4, "cotangent": "independent"},
    {"order": "linear-relu", "batch": 2},
]


@pytest.mark.parametrize("changes", SETTINGS, ids=str)
def test_has_the_distribution_of_real_matrices(changes: dict[str, Any]) -> None:
    s = stack(**changes)
    explicit = propagate(Lab("test", seed=1), s, DRAWS)
    law = propagate(Lab("test", seed=2), s, DRAWS, engine="law")
    assert smallest_p_value(explicit, law) > FALSE_ALARM


def test_a_backward_pass_that_forgets_the_forward_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh weights for the way back keep the growth of the gradient's mean, but not the joint law."""

    def independent(self: LawOfProductOfOne, g: torch.Tensor, norm: torch.Tensor | None = None) -> torch.Tensor:
        length = torch.linalg.vector_norm(g, dim=2, keepdim=True)
        return self._backward_normals() * (length * self._std)

    explicit = propagate(Lab("test", seed=1), stack(), DRAWS)
    monkeypatch.setattr(LawOfProductOfOne, "backward", independent)
    assert smallest_p_value(explicit, propagate(Lab("test", seed=2), stack(), DRAWS, engine="law")) < FALSE_ALARM


def test_a_batch_of_one_is_the_general_law() -> None:
    generator = torch.Generator().manual_seed(3)
    x, g, z, h = torch.randn(4, 5, 1, 12, dtype=torch.float64, generator=generator)
    outputs = []
    for kind in (LawOfProduct, LawOfProductOfOne):
        product = kind(0.3, lambda: z, lambda: h, Scratch(x), keep=True)
        outputs.append((product.forward(x).clone(), product.backward(g)))
    for general, single in zip(*outputs, strict=True):
        assert torch.allclose(general, single, rtol=1e-12)


def test_equal_inputs_and_dead_units_stay_finite_and_equal() -> None:
    x = torch.rand(4, 3, 8, dtype=torch.float32)
    x[:, 1] = x[:, 0]
    x[2] = 0.0
    z, h, g = torch.randn(3, 4, 3, 8)
    product = LawOfProduct(1.0, lambda: z, lambda: h, Scratch(x), keep=False)
    out = product.forward(x)
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-5)
    assert torch.isfinite(product.backward(g)).all()
    assert torch.isfinite(root_of_gram(x)).all()


def test_numbers_do_not_depend_on_memory_threads_or_draws() -> None:
    for changes in ({"depth": 45, "width": 40}, {"depth": 12, "width": 700, "batch": 3}):
        s = stack(**changes)
        rows = s.depth + 1
        reference = propagate(Lab("test"), s, 200, engine="law")
        roomy = plan(Lab("test"), s, 200, rows, "law")
        assert roomy.tiles == 4
        ways = {roomy.tiles: roomy.memory}
        for memory in range(roomy.memory, roomy.memory // 4, -20_000):
            try:
                tight = plan(Lab("test", memory=memory), s, 200, rows, "law")
            except UsageError:
                break
            ways[tight.tiles] = tight.memory
        others = [propagate(Lab("test", memory=m), s, 200, engine="law") for m in ways.values()]
        others += [propagate(Lab("test", threads=2), s, 200, engine="law")]
        assert len(ways) > 1
        for name in set(Pass.__dataclass_fields__) - {"blocks"}:
            for other in others:
                same = np.array_equal(getattr(other, name), getattr(reference, name), equal_nan=True)
                assert same, (changes, name)


def test_refuses_what_it_cannot_sample() -> None:
    with pytest.raises(ValueError, match="orthogonal matrix are not"):
        check_law("orthogonal", 1, 100)
    with pytest.raises(ValueError, match="at most --batch 50"):
        check_law("he", 60, 100)
