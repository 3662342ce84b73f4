"""Numbers of parameters in closed form. Exact.

`bias` and `batchnorm` are 1 where biases, or the two parameters gamma and beta of each normalised unit, are counted.

Source: Prince 2023, problems 11.8 and 11.10.
"""


def mlp(inputs: int, outputs: int, layers: int, width: int, *, bias: bool, batchnorm: bool) -> int:
    """Fully connected net of `layers` hidden layers of D units; batch normalisation on every hidden unit."""
    weights = width * (inputs + (layers - 1) * width + outputs)
    return weights + bias * (layers * width + outputs) + batchnorm * 2 * layers * width


def block(channels: int, kernel: int, *, bias: bool, batchnorm: bool) -> int:
    """One k x k convolution from C channels to C; batch normalisation on its C input channels."""
    return channels * (channels * kernel**2 + bias + 2 * batchnorm)


def bottleneck(channels: int, inner: int, kernel: int, *, bias: bool, batchnorm: bool) -> int:
    """Convolutions 1 x 1 from C channels to N, k x k from N to N, 1 x 1 back to C; normalised as in `block`."""
    weights = 2 * channels * inner + inner**2 * kernel**2
    return weights + bias * (2 * inner + channels) + batchnorm * 2 * (channels + 2 * inner)
