"""Normalisers by name, for any block.

batch         over the batch and space (Ioffe and Szegedy 2015)
ghost:32      batch normalisation over ghost batches of at least 32 examples (Hoffer et al. 2017)
renorm        batch renormalisation (Ioffe 2017)
montecarlo    batch normalisation whose test-time statistics are those of random training batches (Teye et al. 2018)
layer         over channels and space (Ba et al. 2016; for images as in Wu and He 2018)
group:8       over space and groups of channels, here 8 groups; `group`: 32, fewer where a group would have fewer
              than four channels (Wu and He 2018)
instance      over space, each channel and example alone (Ulyanov et al. 2016)
weight        each weight vector a length times a direction (Salimans and Kingma 2016); acts on layers, not activations
none          nothing
"""

from torch import nn
from torch.nn.utils import parametrizations

from resexp.core.errors import UsageError, nearest
from resexp.nets.batch_norms import BatchRenorm, GhostBatchNorm, MonteCarloBatchNorm

NORMS = ("batch", "ghost", "renorm", "montecarlo", "layer", "group", "instance", "weight", "none")
WITH_NUMBER = {"ghost": 32, "group": 32}
"""Normalisers that take a number, and the number if none is given."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
FEWEST_CHANNELS_A_GROUP = 4


def parse(text: str) -> tuple[str, int | None]:
    """Name and number of a normaliser written `group` or `group:8`."""
    name, colon, number = text.partition(":")
    if name not in NORMS:
        raise UsageError(f"There is no normaliser '{text}'{nearest(name, NORMS)}; there are {', '.join(NORMS)}.")
    if not colon:
        return name, None
    if name not in WITH_NUMBER or not number.isdecimal() or int(number) < 1:
        raise UsageError(
            f"The normaliser '{text}': only ghost and group take a number, a positive one, as in 'ghost:32'."
        )
    return name, int(number)


def makes_bias_redundant(text: str) -> bool:
    """Whether a bias before this normaliser is taken out again, or its own shift does the same."""
    return parse(text)[0] not in ("none", "weight")


def norm(text: str, channels: int, dimensions: int) -> nn.Module:
    """The named normaliser of activations (batch, channels, *space) with so many dimensions of space."""
    name, number = parse(text)
    if name == "batch":
        return BATCH_NORMS[dimensions](channels)
    if name == "ghost":
        return GhostBatchNorm(channels, number or WITH_NUMBER["ghost"])
    if name == "renorm":
        return BatchRenorm(channels)
    if name == "montecarlo":
        return MonteCarloBatchNorm(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)
    if name == "group":
        return nn.GroupNorm(groups(channels, number), channels)
    if name == "instance":
        if dimensions == 0:
            raise UsageError(
                "Instance normalisation needs dimensions of space: a unit of a fully connected net has none."
            )
        return INSTANCE_NORMS[dimensions](channels, affine=True)
    return nn.Identity()


def groups(channels: int, number: int | None) -> int:
    """Groups of channels: `number`, which must divide them, or 32 and fewer in narrow layers."""
    if number is None:
        most = min(WITH_NUMBER["group"], max(1, channels // FEWEST_CHANNELS_A_GROUP))
        return next(count for count in range(most, 0, -1) if channels % count == 0)
    if channels % number:
        raise UsageError(f"'group:{number}' does not divide a layer of {channels} channels into equal groups.")
    return number


def on_layer(text: str, layer: nn.Module) -> nn.Module:
    """The layer, with its weights normalised where that is what the normaliser does."""
    return parametrizations.weight_norm(layer) if parse(text)[0] == "weight" else layer
