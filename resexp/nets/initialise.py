"""Draws weights in place by the initialisations of resexp.core."""

import math

from torch import Tensor, nn

from resexp.core.initialisation import Initialisation, InitialisationName


def draw_(
    weight: Tensor, name: InitialisationName = "he", *, scale: float = 1.0, fans: tuple[int, int] | None = None
) -> None:
    """Fill a weight (outputs, inputs / groups, *kernel) with draws, times `scale`; nothing to draw on the meta device.

    Fans in count inputs, as in the book and He et al. 2015, equation 10. Ports of ResNet count outputs (equation 14);
    the two differ only where a layer changes the number of channels.
    """
    if weight.is_meta:
        return
    receptive = weight[0, 0].numel()
    fan_in, fan_out = fans or (weight.shape[1] * receptive, weight.shape[0] * receptive)
    initialisation = Initialisation(name)
    if initialisation.orthogonal:
        nn.init.orthogonal_(weight, gain=math.sqrt(2.0) * scale)
    else:
        nn.init.normal_(weight, std=scale * math.sqrt(initialisation.variance(fan_in, fan_out)))
