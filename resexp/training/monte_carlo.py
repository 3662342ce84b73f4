"""Predictions of nets whose batch normalisation takes its statistics from random training batches (Monte Carlo).

One pass is a net whose means and variances, in every layer, are those of one training batch; the prediction is the mean
of the probabilities over passes. By Jensen's inequality its negative log-likelihood and its Brier score are at most the
means over passes, and its entropy is at least theirs; by how much the entropy is higher is the mutual information of
the class and the batch, what passes disagree on.

Source: Teye et al. 2018, algorithm 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from resexp.core.errors import UsageError
from resexp.core.lab import Lab
from resexp.nets.batch_norms import monte_carlo
from resexp.training import calibration
from resexp.training.data.dataset import Examples

CHUNK = 1024
"""Images that go through a net at once."""


@dataclass(frozen=True)
class Prediction:
    """What a net says of images, in float64.

    logits: (examples, classes) by the running statistics; log_probabilities: (examples, classes) of the mean over
    passes; entropy_of_passes: mean over passes and examples, nats.
    """

    logits: Tensor
    log_probabilities: Tensor
    entropy_of_passes: float

    @property
    def mutual_information(self) -> float:
        """Of class and batch, mean over examples, nats."""
        return calibration.entropy(self.log_probabilities) - self.entropy_of_passes


@torch.no_grad()
def predict(net: nn.Module, images: Tensor, batches: Sequence[Tensor]) -> Prediction:
    """Predictions for images (examples, channels, *space) by a net of `norm=montecarlo`, in evaluation mode.

    batches: training inputs, one batch for each pass.
    """
    logits, mixed, entropy = [], [], 0.0
    for part in torch.split(images, CHUNK):
        logits.append(net(part).double())
        passes = torch.log_softmax(monte_carlo(net, part, batches).double(), 2)  # (passes, examples, classes)
        mixed.append(calibration.mean_of_passes(passes))
        entropy += calibration.entropy(passes.flatten(0, 1)) * len(part) / len(images)
    return Prediction(torch.cat(logits), torch.cat(mixed), entropy)


def random_batches(examples: Examples, size: int, count: int, lab: Lab, net: int) -> list[Tensor]:
    """Inputs of random batches of that many training examples, each drawn without replacement, for one net."""
    import numpy as np

    size = min(size, len(examples))
    found = []
    for number in range(count):
        random = np.random.Generator(lab.bit_stream("statistics", net, number))
        chosen = torch.from_numpy(random.choice(len(examples), size, replace=False))
        found.append(examples.inputs[chosen.to(examples.inputs.device)])
    return found


def noise(images: Tensor, lab: Lab, net: int) -> Tensor:
    """Independent standard normal numbers, shaped like the images, the same on every device."""
    random = torch.Generator().manual_seed(lab.key("image noise", net) % 2**63)
    return torch.randn(images.shape, generator=random).to(images.device, images.dtype)


def translated(images: Tensor, pixels: int) -> Tensor:
    """Images (examples, channels, rows, columns) moved to the right; the left edge is repeated in their place.

    Raises UsageError where that would leave nothing of an image.
    """
    if pixels >= images.shape[-1]:
        raise UsageError(
            f"--translation {pixels}: these images are {images.shape[-1]} pixels wide; translate them by fewer."
        )
    return pad(images, (pixels, 0, 0, 0), mode="replicate")[..., : images.shape[-1]]
