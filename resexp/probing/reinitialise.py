"""The same net with other initial weights: through its factory, or by permuting the entries of each tensor.

A permutation, with the signs drawn again where entries scatter around zero, keeps what an initialisation says of a
tensor (scale, law, zeros) and which tensors are shared, and can be taken back exactly. Modules' own `reset_parameters`
are never called: they undo custom initialisations without a word.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.probing.state import seeded

CENTRED = 5.0
"""Standard errors by which the mean entry of a tensor may be off zero and its law still counts as symmetric."""


@torch.no_grad()
def centred(net: nn.Module) -> tuple[bool, ...]:
    """For each parameter whether its entries scatter around zero, so that their signs may be drawn again too.

    Else a permutation would keep the sample's own mean, which in nets without norms decides much of the growth: at
    width 128 means over such draws vary three times as much as their intervals say.
    """
    found = []
    for parameter in net.parameters():
        x = parameter.detach()
        error = float(x.float().square().mean() / max(1, x.numel())) ** 0.5
        found.append(x.dim() > 1 and abs(float(x.float().mean())) < CENTRED * error)
    return tuple(found)


@torch.no_grad()
def permute(net: nn.Module, seed: int, signs: Sequence[bool], *, back: bool = False) -> None:
    """Permute the entries of every parameter of two dimensions or more; `back` undoes it.

    signs: for each parameter whether to draw the signs of its entries too (`centred`).
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    for parameter, draw_signs in zip(net.parameters(), signs, strict=True):  # shared ones come once
        if parameter.dim() < 2:
            continue
        own = torch.Generator().manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        flat = parameter.detach().reshape(-1)
        drawn = torch.randint(2, flat.shape, generator=own, dtype=torch.int8) * 2 - 1 if draw_signs else None
        turned = None if drawn is None else drawn.to(flat.device, flat.dtype)
        if back:
            flat = _shuffled(flat if turned is None else flat * turned, own, back=True)
        else:
            flat = _shuffled(flat, own, back=False)
            flat = flat if turned is None else flat * turned
        parameter.copy_(flat.reshape(parameter.shape))


def _shuffled(flat: Tensor, generator: torch.Generator, *, back: bool) -> Tensor:
    """A random rearrangement of a vector, or its inverse.

    The entries are turned by a random amount and laid out in rows of a random length that is not the tensor's own; rows
    and columns are permuted, and the layout is transposed. Spectra are those of a full permutation, at a third of its
    cost.
    """
    size = len(flat)
    shift = int(torch.randint(max(1, size), (1,), generator=generator))
    stretch = float(torch.rand(1, generator=generator))
    rows = min(size, max(1, round(math.sqrt(size) * 2 ** (2 * stretch - 1))))
    columns = size // max(1, rows)
    of_rows = torch.randperm(rows, generator=generator).to(flat.device)
    of_columns = torch.randperm(columns, generator=generator).to(flat.device)
    laid_out = rows * columns
    if back:
        body = flat[:laid_out].view(columns, rows).t()[of_rows.argsort()][:, of_columns.argsort()]
        return torch.cat([body.reshape(-1), flat[laid_out:]]).roll(-shift)
    flat = flat.roll(shift)
    body = flat[:laid_out].view(rows, columns)[of_rows][:, of_columns].t()
    return torch.cat([body.reshape(-1), flat[laid_out:]])


def fingerprint(net: nn.Module) -> tuple[float, ...]:
    """What tells two initialisations of a net apart."""
    return tuple(float(p.detach().double().abs().sum()) for p in net.parameters() if p.dim() > 1)


def equal_layers(net: nn.Module) -> tuple[str, str] | None:
    """Names of two parameters of like modules that begin with the same random entries; None where there are none."""
    seen: dict[tuple[object, ...], str] = {}
    for name, parameter in net.named_parameters():
        if parameter.dim() < 2 or parameter.numel() < 4:
            continue
        flat: Tensor = parameter.detach().reshape(-1)
        few = flat[: 64 * max(1, len(flat) // 64) : max(1, len(flat) // 64)].tolist()
        if len(set(few)) < 4:
            continue  # zeros, ones: no draw
        key = (tuple(parameter.shape), tuple(few))
        if key in seen:
            return seen[key], name
        seen[key] = name
    return None


@dataclass
class Draws:
    """Initialisations of one net. make: builds it, or None for a net that is there already, `net`.

    fixed: keep its weights (they were trained); asked: rearrange those of every draw; permuted: of all but the first,
    because the factory repeats itself; note: how they came about.
    """

    make: Callable[[], nn.Module] | None = None
    net: nn.Module | None = None
    fixed: bool = False
    asked: bool = False
    permuted: bool = False
    note: str = ""
    _first: tuple[float, ...] | None = None

    @contextmanager
    def draw(self, number: int, seed: int) -> Iterator[nn.Module]:
        """The net of a draw, for as long as it is looked at."""
        if self.make is None:
            assert self.net is not None
            with self._rearranged(self.net, number, seed) as net:
                yield net
            return
        with seeded(seed):
            net = self.make()
        if not (self.permuted or self.asked or self.fixed):
            self._compare(net)
        with self._rearranged(net, number, seed) as rearranged:
            yield rearranged

    def _compare(self, net: nn.Module) -> None:
        """Permute from now on where the factory gives the same weights again."""
        if self._first is None:
            self._first = fingerprint(net)
        elif self._first == fingerprint(net) and self._first:
            self.permuted = True
            self.note = "The factory gives the same weights each time: later draws permute the entries of each tensor."

    @contextmanager
    def _rearranged(self, net: nn.Module, number: int, seed: int) -> Iterator[nn.Module]:
        as_it_is = number == 0 and not self.asked
        if self.fixed or as_it_is or (self.make is not None and not (self.permuted or self.asked)):
            yield net
            return
        signs = centred(net)
        permute(net, seed, signs)
        try:
            yield net
        finally:
            if self.make is None:
                permute(net, seed, signs, back=True)
