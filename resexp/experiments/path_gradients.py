"""How much of the gradient comes through short paths and how much through long ones.

    h[k+1] = a h[k] + b f_k(h[k]),   k = 0..K-1;     the gradient is a sum over 2^K paths, C(K, l) of length l

A path takes the branch in l blocks and the skip connection in the others. As Veit et al. did, a gradient is sent back
through l blocks drawn at random by the branch alone and through the others by the skip alone. Its norm at the first
block, over that at the last:

    path_gradient    of one path, typically (the geometric mean over --paths sampled ones)
    path_share       the mean norm of a path times C(K, l), as a share of that of all lengths: what Veit et al. plot
    energy_share     |sum over all paths of length l|^2, as a share of that of all lengths, paths added up exactly

Norms of paths that interfere do not add, squared norms of uncorrelated ones do: energy_share is what the gradient is
made of, and its paths are shorter wherever a branch gives less than the skip. Both follow theory/path_lengths.py, the
law C(K, l) r^l, normalised, where the branch multiplies a norm by r and the skip by 1; Poisson-binomial where blocks
differ.

    residual, rescaled, stable   f = W relu(h), He:      r = b / a, energy Binomial(K, b^2 / (a^2 + b^2))
    batchnorm                    f = W relu(BN(h)), He:  r_k^2 close to 1 / v_k, v_k the batch variance entering block k
    --net                        a chain of residual blocks by name, fresh or from a --checkpoint; a shortcut that
                                 projects is the skip

Without --net theory is the limit of infinite width, for norms with their correction of order 1/width; for batchnorm at
any batch, with independent N(0, 1) inputs and directions. One network is one draw, however many of its paths are
sampled. For --net there is no theory: share_by_block_ratios is the law of energies that the measured ratios |branch| /
|skip| of the whole gradient in each block would give if blocks were independent. The gradient is that of cross-entropy
against random labels; a --checkpoint is one network, whose draws are batches of --input.

The lengths that carry 90 % are the fewest neighbours that do, by path_share. Veit et al. found r near 0.24 in a trained
net of 54 blocks, lengths 5 to 17, 0.45 % of the paths.

Source: Veit, Wilber and Belongie 2016; Prince 2023, figure 11.4 and problem 11.2.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Plot, param
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.schemes import Scheme, scheme

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array, Summary
    from resexp.probing.named_net import NamedNet
    from resexp.signal.stack import Stack
    from resexp.theory.stack_paths import StackPaths

CARRIED = 0.9
ONLY_STACK = ("blocks", "width", "scheme", "alpha")
ONLY_NET = ("checkpoint", "input", "mode")
DRAWS = {"stack": 256, "batchnorm": 64, "net": 4}
PATHS = {"stack": 1, "batchnorm": 4, "net": 1}
BATCH = {"stack": 1, "batchnorm": 8, "net": 8}


def _parts(name: object) -> object:
    return tuple(filter(None, name.split(","))) if isinstance(name, str) else name


Net = Annotated[
    tuple[str, ...],
    BeforeValidator(_parts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
"""Name of a net and its options: one name, whose commas sweep nothing."""


class PathGradients(Ensemble):
    """How much of the gradient each length of path carries, in a residual stack or a net by name, trained or not."""

    net: Net = param(("stack",), "stack, or a chain of residual blocks by name, such as cifar-resnet:56")
    checkpoint: str | None = param(None, "file with the net's weights: .pt, .pth or .safetensors")
    input: str | None = param(None, "one example for the net: 3x32x32 of noise, a .npy or .pt file, a folder of images")
    mode: Literal["train", "eval"] = param("train", "mode of the net: eval takes norms' running statistics")
    blocks: int = param(54, "residual blocks K of the stack", ge=1, le=1000)
    width: int = param(64, "units D of every layer of the stack", ge=2, le=100_000)
    scheme: Literal["residual", "rescaled", "stable", "batchnorm"] = param("residual", "how a block adds its branch")
    alpha: float | None = param(
        None, "scale b of the branch; overrides the scheme's", gt=0, le=1e3, allow_inf_nan=False
    )
    paths: int | None = param(
        None,
        "paths of each length sampled in each network; 4 by default with batch normalisation, else 1",
        ge=1,
        le=10_000,
    )
    batch: int | None = param(None, "examples; 8 by default with batch normalisation and for nets, else 1", ge=1)
    draws: int | None = param(
        None, "independent networks; by default 256, 64 with batch normalisation, 4 of a net", ge=2, le=1_000_000
    )

    axes = ("length",)
    quantities = (
        Quantity(
            "path_share", "norm of a path times number of paths, of all lengths'", False, judged="ratio", margin=0.01
        ),
        Quantity(
            "energy_share", "squared norm of the sum of the paths, of all lengths'", False, judged="level", margin=0.005
        ),
        Quantity("path_gradient", "typical norm of one path", headline="path_gradient_per_branch"),
        Quantity("share_by_block_ratios", "energies by measured ratios of independent blocks", False, judged="nothing"),
        *(
            Quantity(name, meaning, judged="level", margin=0.01, headline=name, hidden=True)
            for name, meaning in (
                ("mean_length_over_blocks", "mean length by path_share, over the number of blocks"),
                ("mean_energy_length_over_blocks", "mean length by energy_share, over the number of blocks"),
            )
        ),
    )
    plot = Plot(x="length")
    quick: ClassVar = {"blocks": 20, "width": 64, "draws": 256}
    examples = (
        "path-gradients",
        "path-gradients --scheme residual,stable,batchnorm",
        "path-gradients --net cifar-resnet:56",
        "path-gradients --net cifar-resnet:20,width=8 --input 3x8x8",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        if not self.net_name:
            given = [name for name in ONLY_NET if getattr(self, name) != defaults[name]]
            if given:
                raise ValueError(
                    f"--{given[0]} {getattr(self, given[0])}: belongs to a net; say which, with --net NAME."
                )
        else:
            given = [name for name in ONLY_STACK if getattr(self, name) != defaults[name]]
            if given:
                raise ValueError(f"--{given[0]} {getattr(self, given[0])}: has no meaning for --net {self.net_name}.")
            self.named.check()
        if self.kind == "stack" and (self.batch or 1) > 1:
            raise ValueError(
                f"--batch {self.batch}: without normalisation examples do not see each other; leave it out, and use "
                "more --draws."
            )
        if self.kind == "batchnorm" and self.examples_a_pass < 4:
            raise ValueError(
                f"--batch {self.batch}: with fewer than 4 examples the gradient through batch normalisation has no "
                "mean square; two are mapped to +1 and -1 and give none."
            )
        return self

    @property
    def net_name(self) -> str:
        """Name of the net, empty for the stack."""
        return "" if self.net == ("stack",) else ",".join(self.net)

    @property
    def kind(self) -> Literal["stack", "batchnorm", "net"]:
        """What is measured."""
        return "net" if self.net_name else "batchnorm" if self.scheme == "batchnorm" else "stack"

    @property
    def dies(self) -> bool:
        """Whether in more than a few networks some block of the stack has all its units off."""
        from resexp.theory.unit_switching import networks_die

        return self.kind == "stack" and networks_die(self.blocks, self.width, self.networks)

    @property
    def named(self) -> "NamedNet":
        """The net with its weights and inputs."""
        from resexp.probing.named_net import NamedNet

        return NamedNet(self.net_name, self.checkpoint, self.input, self.examples_a_pass)

    @property
    def networks(self) -> int:
        """Networks, or batches that a checkpoint is shown."""
        return self.draws or DRAWS[self.kind]

    @property
    def sampled(self) -> int:
        """Paths of each length in each network."""
        return self.paths or PATHS[self.kind]

    @property
    def examples_a_pass(self) -> int:
        """Examples of a forward pass."""
        return self.batch or BATCH[self.kind]

    @property
    def scales(self) -> Scheme:
        """Scales of skip and branch in the stack."""
        return scheme(self.scheme, self.blocks, self.alpha)

    @property
    def stack(self) -> "Stack":
        """The stack in the terms of the propagation engine."""
        from resexp.signal.stack import Stack

        he = Initialisation("he")
        return Stack(
            self.blocks, self.width, self.examples_a_pass, self.scales, "relu-linear", he, "relu", "independent"
        )

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Norms of sampled paths, and sums over all paths, of each length."""
        import numpy as np

        from resexp.signal import branch_paths, path_rows

        if not self.net_name:
            found = branch_paths.path_gradients(lab, self.stack, self.networks, self.sampled)
            scale = float(np.log1p(_paths(self).law.mean.norm).sum())
            yield from path_rows.rows(found.log_norm, found.energy, scale)
            return
        from resexp.probing import block_paths

        make, examples, training = self.named.make(), self.named.examples(), self.mode == "train"
        seen = block_paths.path_gradients(
            lab, self.net_name, make, examples, draws=self.networks, paths=self.sampled, training=training
        )
        yield from path_rows.rows(seen.log_norm, seen.energy, seen.ratios.shape[1] * math.log(2))
        yield from _rows_by_ratios(seen.ratios)

    def theory(self, quantity: str, length: int) -> Prediction | None:
        """The law of the stack's lengths; nothing for a net."""
        if self.net_name or self.dies:
            return None
        said = _paths(self)
        kind: Literal["limit", "finite-width"] = "limit" if self.scales.batchnorm else "finite-width"
        if quantity == "path_gradient":
            mean, typical, bias = said.path_gradient(length)
            return Prediction(kind, log=mean, typical_log=typical, bias=bias, is_definition=length == 0)
        by_norm = quantity in {"path_share", "mean_length_over_blocks"}
        shares = said.by_norm if by_norm else said.by_energy
        of_one_length = quantity in {"path_share", "energy_share"}
        value, bias = said.share(shares, length) if of_one_length else said.mean_length(shares)
        return Prediction(kind if by_norm else "limit", value=value, bias=bias)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The lengths that carry 90 % of the norms, and how many of the paths have them."""
        import numpy as np

        from resexp.theory import path_lengths, paths

        rows = measured["path_share"].rows
        blocks = len(rows) - 1
        carried = path_lengths.carrying(np.stack([row.samples.mantissa.sum() for row in rows]), CARRIED)
        expected: tuple[int | None, int | None] = (None, None)
        if not (self.net_name or self.dies):
            expected = _paths(self).carrying(CARRIED)
        count = paths.binomial(blocks, 0.5)
        kind = "limit" if self.scales.batchnorm else "finite-width"
        yield "shortest_length_of_90_percent", _figure(carried[0], self.networks), expected[0], kind
        yield "longest_length_of_90_percent", _figure(carried[1], self.networks), expected[1], kind
        share = None if expected[0] is None or expected[1] is None else count.between(expected[0], expected[1])
        yield "share_of_paths_of_90_percent", _figure(count.between(*carried), self.networks), share, kind

    def notes(self) -> Iterator[str]:
        """What is no law here, and over what intervals are."""
        if self.dies:
            yield f"At width {self.width} a block may have no unit that is on: no theory; use a larger --width."
        if not self.net_name:
            return
        yield (
            "No theory for a net. share_by_block_ratios: energies if blocks were independent, by the measured ratio of "
            "branch to skip in each."
        )
        if self.checkpoint is not None:
            yield "One network: draws are batches of its input, and intervals say nothing of other networks."
            if not self.input:
                yield "The input is noise; a trained net should be shown what it was trained on: --input FILE.npy."

    def content(self) -> Mapping[str, str]:
        """Digests of the files that parameters name."""
        return self.named.content() if self.net_name else {}

    def estimate_memory(self, lab: Lab) -> int | None:
        """Bytes of the gradients at hand."""
        if not self.net_name:
            from resexp.signal.branch_paths import memory

            return memory(lab, self.stack, self.sampled)
        needed = _needed_by_net(self, 8 if lab.dtype == "float64" else 4)
        return None if needed is None else needed * min(lab.threads, self.networks)

    def estimate_seconds(self, lab: Lab) -> float | None:
        """Seconds, from a few blocks of one tile run here; not known for a net."""
        if self.net_name:
            return None
        from resexp.signal.branch_paths import seconds

        return seconds(lab, self.stack, self.networks, self.sampled)


def _rows_by_ratios(ratios: "Array") -> Iterator[Row]:
    """Energies by length if blocks were independent. ratios: (draws, K)."""
    import numpy as np

    from resexp.core.statistics import Samples
    from resexp.theory.path_lengths import BlockRatios

    lengths = np.arange(ratios.shape[1] + 1)
    share = np.stack([BlockRatios(each).shares(2).at(lengths) for each in ratios])
    for length in lengths.tolist():
        yield Row({"length": length}, "share_by_block_ratios", Samples.of(share[:, length]))


def _figure(value: float, draws: int) -> "Summary":
    """A number read off the mean over networks, without an interval."""
    from resexp.core.statistics import Summary

    return Summary(value, None, None, None, None, draws, float(draws))


@lru_cache(maxsize=32)
def _paths(experiment: PathGradients) -> "StackPaths":
    from resexp.theory.stack_paths import StackPaths

    scales, gain = experiment.scales, Initialisation("he").gain()
    batch = experiment.examples_a_pass if scales.batchnorm else None
    return StackPaths(experiment.blocks, experiment.width, scales.skip, scales.branch, gain, batch)


@lru_cache(maxsize=64)
def _needed_by_net(experiment: PathGradients, number: int) -> int | None:
    """Bytes for a net. Raises UsageError where there is no such net."""
    from resexp.probing.block_paths import memory

    named, training = experiment.named, experiment.mode == "train"
    return memory(
        named.fresh(), named.name, named.examples(), paths=experiment.sampled, number=number, training=training
    )
