"""Other initialisations of a net: what a permutation keeps, and how the same weights are noticed."""

import torch
from torch import nn

from resexp.probing.reinitialise import Draws, centred, equal_layers, permute


def net() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(7, 11), nn.Embedding(13, 7, padding_idx=0), nn.Linear(7, 13))
    made[3].weight = made[2].weight  # type: ignore[assignment]
    nn.init.orthogonal_(made[1].weight)  # type: ignore[arg-type]
    return made


def test_a_permutation_keeps_every_entry_and_is_taken_back_exactly() -> None:
    made = net()
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    signs = centred(made)
    permute(made, 3, signs)
    for name, parameter in made.named_parameters():
        if parameter.dim() > 1:
            assert torch.equal(parameter.abs().flatten().sort().values, before[name].abs().flatten().sort().values)
            share = float((parameter == before[name]).double().mean())
            assert share < 0.3, name
        else:
            assert torch.equal(parameter, before[name])
    assert made[3].weight is made[2].weight
    permute(made, 3, signs, back=True)
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())


def test_a_permutation_mixes_as_well_as_an_independent_draw() -> None:
    rank_one = nn.Linear(96, 96)
    with torch.no_grad():
        rank_one.weight.copy_(torch.outer(torch.randn(96), torch.randn(96)))
    permute(rank_one, 1, [False, False])
    spectrum = torch.linalg.svdvals(weight := rank_one.weight.detach()) / torch.linalg.matrix_norm(weight)
    independent = torch.linalg.svdvals(torch.randn(96, 96)) / 96
    assert abs(float(spectrum[0] - independent[0])) < 0.05


def test_entries_that_do_not_scatter_around_zero_keep_their_signs() -> None:
    made = nn.Sequential(nn.Linear(9, 9), nn.Linear(9, 9))
    nn.init.uniform_(made[0].weight, 0.0, 1.0)  # type: ignore[arg-type]
    assert centred(made) == (False, False, True, False)
    permute(made, 0, centred(made))
    assert bool((made[0].weight >= 0).all())  # type: ignore[operator]


def test_the_mean_over_permutations_scatters_as_its_interval_says() -> None:
    def growth(net: nn.Module, x: torch.Tensor) -> float:
        h = x
        with torch.no_grad():
            for layer in net.children():
                h = h + layer(torch.relu(h))
        return float((h.square().mean() / x.square().mean()).log())

    means, errors = [], []
    for number in range(40):
        torch.manual_seed(number)
        made = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(6)))
        for layer in made:
            nn.init.normal_(layer.weight, std=(2 / 64) ** 0.5)  # type: ignore[arg-type]
        draws, found = Draws(net=made), []
        for k in range(1, 9):
            with draws.draw(k, seed=97 * number + k) as net_:
                found.append(growth(net_, torch.randn(8, 64)))
        values = torch.tensor(found)
        means.append(float(values.mean()))
        errors.append(float(values.std()) / 8**0.5)
    assert torch.tensor(means).std() < 1.6 * sum(errors) / 40


def test_draws_of_a_factory_are_its_own_unless_it_repeats_itself() -> None:
    seen = []
    draws = Draws(make=lambda: nn.Linear(8, 8))
    for number in range(3):
        with draws.draw(number, seed=number) as made:
            seen.append(made.weight.detach().clone())
    assert not draws.permuted
    assert not torch.equal(seen[0], seen[1])

    def fixed() -> nn.Module:
        torch.manual_seed(7)
        return nn.Linear(8, 8)

    repeated = Draws(make=fixed)
    weights = []
    for number in range(3):
        with repeated.draw(number, seed=number) as made:
            weights.append(made.weight.detach().clone())
    assert repeated.permuted
    assert "same weights" in repeated.note
    assert len({tuple(w.flatten().tolist()) for w in weights}) == 3
    assert len({tuple(w.abs().flatten().sort().values.tolist()) for w in weights}) == 1


def test_trained_weights_are_kept() -> None:
    made = net()
    before = made[1].weight.detach().clone()
    for number in range(2):
        with Draws(net=made, fixed=True).draw(number, seed=number) as same:
            assert torch.equal(same[1].weight, before)  # type: ignore[index]


def test_copies_of_one_layer_are_noticed() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    assert equal_layers(nn.TransformerEncoder(layer, 2)) is not None
    assert equal_layers(net()) is None
    assert equal_layers(nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(4)))) is None
    zeros = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
    for layer_ in zeros:
        nn.init.zeros_(layer_.weight)  # type: ignore[arg-type]
    assert equal_layers(zeros) is None
