"""Lanczos and Hessian products against whole matrices: eigenvalues, traces, moments, shares near zero."""

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from resexp.core.lab import Lab
from resexp.experiments.hessian import NUMBERS, RANKS
from resexp.nets import zoo
from resexp.training.checkpoint import Checkpoint
from resexp.training.data.dataset import Examples
from resexp.training.hessian import Hessian
from resexp.training.initial import initialised
from resexp.training.lanczos import lanczos, signs, trace
from resexp.training.objective import classification
from resexp.training.spectra import Spectra


def random() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def symmetric(eigenvalues: Tensor) -> Tensor:
    """A matrix (n, n) with these eigenvalues in random directions."""
    size = len(eigenvalues)
    q = torch.linalg.qr(torch.randn(size, size, generator=random(), dtype=torch.float64))[0]
    return q @ torch.diag(eigenvalues) @ q.T


def test_as_many_steps_as_dimensions_give_all_eigenvalues() -> None:
    """Over 12 orders of magnitude and with both signs, where Lanczos without reorthogonalisation would repeat some."""
    expected = torch.cat([-torch.logspace(-6, 0, 20, dtype=torch.float64), torch.logspace(-6, 6, 40).double()])
    expected = expected.sort().values
    matrix = symmetric(expected)
    found = lanczos(lambda v: matrix @ v, signs(60, random(), matrix.device), 60)
    exact = torch.linalg.eigvalsh(matrix)
    leading = exact > 0.5
    torch.testing.assert_close(found.nodes[-int(leading.sum()) :], exact[-int(leading.sum()) :], rtol=1e-9, atol=1e-8)
    assert float((found.nodes[:, None] - exact).abs().amin(1).max()) < 1e-8
    assert float(found.weights.sum()) == pytest.approx(1, rel=1e-12)


def test_moments_are_exact_up_to_twice_the_steps() -> None:
    matrix = symmetric(torch.randn(40, generator=random(), dtype=torch.float64))
    start = torch.randn(40, generator=random(), dtype=torch.float64)
    unit = start / start.norm()
    found = lanczos(lambda v: matrix @ v, start, 5)
    powered = unit
    for power in range(1, 10):
        powered = matrix @ powered
        assert found.moment(power) == pytest.approx(float(unit @ powered), rel=1e-10), power
    assert found.moment(10) != pytest.approx(float(unit @ matrix @ powered), rel=1e-6)


def test_each_node_is_within_its_bound_of_an_eigenvalue() -> None:
    matrix = symmetric(torch.randn(80, generator=random(), dtype=torch.float64))
    exact = torch.linalg.eigvalsh(matrix)
    found = lanczos(lambda v: matrix @ v, signs(80, random(), matrix.device), 25)
    distance = (found.nodes[:, None] - exact).abs().amin(1)
    assert (distance <= found.bounds + 1e-12).all()
    assert float(found.bounds[-1]) < 1e-2 < float(found.bounds.max())


def test_it_ends_where_no_direction_is_left() -> None:
    """Three different eigenvalues: three steps, whatever is asked for."""
    matrix = symmetric(torch.tensor([0.0] * 30 + [2.0] * 8 + [-1.0] * 2, dtype=torch.float64))
    start = signs(40, random(), matrix.device)
    found = lanczos(lambda v: matrix @ v, start, 20)
    torch.testing.assert_close(found.nodes, torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64), rtol=0, atol=1e-10)
    assert float(found.bounds.max()) < 1e-10
    alone = lanczos(lambda v: 0 * v, start, 5)
    assert alone.nodes.tolist() == [0.0]


def tiny(norm: str) -> tuple[nn.Module, Examples]:
    """A net of 239 parameters or so, trained for a few steps, and its examples."""
    lab = Lab("hessian", seed=1, dtype="float64")
    net = initialised(zoo.factory(f"plain:8,width=1,channels=1,classes=3,norm={norm}"), lab, 1)[0]
    x = torch.randn(16, 1, 4, 4, generator=random(), dtype=torch.float64)
    examples = Examples(x, torch.randint(3, (16,), generator=random()))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        cross_entropy(net(examples.inputs), examples.targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return net, examples


@cache
def solved(norm: str, by_batch: bool) -> tuple[nn.Module, Examples, Tensor]:
    """A tiny net, its examples, and the whole Hessian."""
    net, examples = tiny(norm)
    return net, examples, exact_hessian(net, examples, training=by_batch)


def exact_hessian(net: nn.Module, examples: Examples, *, training: bool) -> Tensor:
    """By torch.func, forward over reverse, of all parameters behind each other."""
    net = copy.deepcopy(net).train(training)
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    shapes = [(name, p.shape, p.numel()) for name, p in parameters.items()]
    buffers = {name: b.clone() for name, b in net.named_buffers()}

    def loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [count for _, _, count in shapes])
        values = {name: part.view(shape) for (name, shape, _), part in zip(shapes, parts, strict=True)}
        outputs = functional_call(net, (values, {k: b.clone() for k, b in buffers.items()}), (examples.inputs,))
        return cross_entropy(outputs, examples.targets)

    flat = torch.cat([p.flatten() for p in parameters.values()])
    return torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call, no-any-return]


CASES = pytest.mark.parametrize(("norm", "by_batch"), [("batch", True), ("batch", False), ("none", False)])


@CASES
def test_a_tiny_net_against_its_exact_hessian(norm: str, by_batch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products, outermost eigenvalues to 1e-6, trace within its interval; in chunks where those change nothing."""
    monkeypatch.setattr("resexp.training.hessian.CHUNK", 7)
    net, examples, exact = solved(norm, by_batch)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = Hessian(net, examples, classification(), batch_statistics=by_batch)
    assert found.size == len(exact)
    vector = torch.randn(found.size, generator=random(), dtype=torch.float64)
    torch.testing.assert_close(found.product(vector), exact @ vector, rtol=1e-9, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())

    eigenvalues = torch.linalg.eigvalsh(exact)
    generator = random()
    spectra = [lanczos(found.product, signs(found.size, generator, vector.device), 40) for _ in range(8)]
    torch.testing.assert_close(spectra[0].nodes[-2:], eigenvalues[-2:], rtol=1e-6, atol=1e-12)
    assert float(spectra[0].nodes[0]) == pytest.approx(float(eigenvalues[0]), rel=1e-6, abs=1e-12)
    traces = trace(spectra, found.size)
    assert abs(float(traces.mean() - exact.trace())) < 7.9 * float(traces.std()) / 8**0.5  # t of 7: 1 in 10,000


@CASES
def test_shares_near_zero_are_those_of_the_exact_spectrum(norm: str, by_batch: bool) -> None:
    """Of each vector, between the sums with and without the nodes at the edges (Chebyshev, Markov and Stieltjes)."""
    net, examples, exact_matrix = solved(norm, by_batch)
    eigenvalues, vectors = torch.linalg.eigh(exact_matrix)
    product = Hessian(net, examples, classification(), batch_statistics=by_batch).product
    near = 1e-2 * float(eigenvalues.abs().max())
    size, generator = len(eigenvalues), random()
    inside = eigenvalues.abs() <= near
    shares = []
    for _ in range(8):
        start = signs(size, generator, eigenvalues.device)
        found = lanczos(product, start, 40)
        exact = float((vectors.T @ start).square()[inside].sum() / size)
        below, above = (found.nodes < -near).nonzero().flatten(), (found.nodes > near).nonzero().flatten()
        edges = [*below[-1:], *(below[-1:] + 1), *above[:1], *(above[:1] - 1)]
        slack = float(sum((found.weights[k] for k in edges), torch.tensor(0.0)))
        shares.append(found.share(-near, near))
        assert abs(shares[-1] - exact) <= slack + 1e-9
    assert sum(shares) / 8 == pytest.approx(float(inside.double().mean()), abs=0.08)


def test_the_gradient_is_that_of_all_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resexp.training.hessian.CHUNK", 7)
    net, examples = tiny("batch")
    for by_batch in (True, False):
        alone = copy.deepcopy(net).train(by_batch)
        loss = cross_entropy(alone(examples.inputs), examples.targets)
        exact = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(alone.parameters()))])
        found = Hessian(net, examples, classification(), batch_statistics=by_batch).gradient()
        torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12)


def test_what_is_told_of_a_net_is_that_of_its_exact_hessian(tmp_path: Path) -> None:
    """The numbers of the experiment's table, each against the eigenvalues themselves, in their declared order."""
    net, examples, exact = solved("batch", False)
    eigenvalues = torch.linalg.eigvalsh(exact)
    spectra = Spectra(examples, False, len(exact), 4, 1e-2, Checkpoint(tmp_path))
    found = spectra.of([net], "plain", "end", Lab("hessian", seed=1))[0]
    assert len(found) == RANKS + len(NUMBERS)
    torch.testing.assert_close(found[:RANKS], eigenvalues.flip(0)[:RANKS], rtol=1e-6, atol=1e-9)
    told = dict(zip(NUMBERS, found[RANKS:].tolist(), strict=True))
    assert told["least_eigenvalue"] == pytest.approx(float(eigenvalues[0]), rel=1e-6)
    assert told["negativity"] == pytest.approx(float(-eigenvalues[0] / eigenvalues[-1]), rel=1e-6)
    off = exact - torch.diag(exact.diagonal())
    spread = float((2 * off.square().sum() / 4).sqrt())  # of the mean of 4 estimates of the trace
    assert told["trace"] == pytest.approx(float(exact.trace()), abs=5 * spread)
    near = float((eigenvalues.abs() <= 1e-2 * eigenvalues[-1]).double().mean())
    assert told["share_near_zero"] == pytest.approx(near, abs=0.1)
    weights = torch.cat([p.detach().flatten() * (p.dim() == 4) for p in net.parameters()])
    along = float(weights @ exact @ weights / weights.square().sum() / eigenvalues[-1])
    assert told["curvature_along_scaling"] == pytest.approx(along, rel=1e-6)


def test_a_spectrum_of_few_eigenvalues_leaves_the_other_ranks_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, examples, _ = solved("none", False)
    monkeypatch.setattr(Hessian, "product", lambda self, v: 2.0 * v)
    found = Spectra(examples, False, 12, 1, 1e-2, Checkpoint(tmp_path)).of([net], "plain", "end", Lab("hessian"))[0]
    assert found[0] == 2.0
    assert found[1:RANKS].isnan().all()
