"""VGG for small images: the convolutions of configuration D, as many stages as the image can be halved, one classifier.

The three linear layers of the net for ImageNet are left out, as ports for CIFAR do.

Sources: Simonyan and Zisserman 2015, table 1; Veit et al. 2016, section 4.1, for the use.
"""

import math

from torch import nn

from resexp.nets.vgg import CONVOLUTIONS, vgg

PUBLISHED = 16
"""Layers of configuration D."""


def small_vgg(*, side: int, width: int, channels: int, classes: int) -> nn.Module:
    """A VGG with batch normalisation for images of so many pixels a side, two at least."""
    stages = CONVOLUTIONS[PUBLISHED][: int(math.log2(side))]
    whole = vgg(convolutions=stages, width=width, hidden=1, channels=channels, classes=classes, norm="batch")
    assert isinstance(whole, nn.Sequential)
    end = next(n for n, module in enumerate(whole) if isinstance(module, nn.AdaptiveAvgPool2d))
    features = width << min(len(stages) - 1, 3)
    return nn.Sequential(*list(whole)[:end], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))
