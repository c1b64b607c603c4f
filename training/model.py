"""A small convolutional network that fits the images it is given."""

import torch
from torch import nn

FIRST_WIDTH = 32  # channels after the first convolution
CHANNELS_PER_GROUP = 8
SMALLEST_SIDE = 4  # pixels, where the halving of the image stops


def build(channels: int, side: int, classes: int, seed: int) -> nn.Module:
    """Convolutions that halve the image and double the channels, then one linear layer.

    GroupNorm instead of BatchNorm: it looks at one image at a time, so a micro-batch of any size
    gives the same result, and there are no running averages that the ranks would have to share.

    The same seed gives the same parameters on every rank.
    """
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    width = FIRST_WIDTH
    layers += _stage(channels, width, stride=1)
    while side > SMALLEST_SIDE:
        layers += _stage(width, 2 * width, stride=2)
        width, side = 2 * width, (side + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, classes))


def _stage(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(outputs // CHANNELS_PER_GROUP, outputs),
        nn.ReLU(),
    ]
