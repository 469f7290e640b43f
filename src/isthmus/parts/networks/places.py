"""Layers of convolutional networks, for samples with one side (series), two (images) or three (volumes)."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from isthmus.parts.networks.norms import norm

_CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: tuple[type[nn.Module], ...] = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS: tuple[type[nn.Module], ...] = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


def convolution(inside: int, outside: int, kernel: int, sides: tuple[int, ...], stride: int = 1) -> list[nn.Module]:
    """Return a convolution that makes ceil(side / stride) of every side.

    Odd kernels are padded alike on both ends; an even one gets one more zero at the far end of a side that asks for it.
    """
    padding = (kernel - 1) // 2
    missing = [max(0, (math.ceil(side / stride) - 1) * stride + kernel - side - 2 * padding) for side in sides]
    layer = _CONVOLUTIONS[len(sides) - 1](inside, outside, kernel, stride=stride, padding=padding)
    return [Pad(tuple(missing)), layer] if any(missing) else [layer]


def patches(inside: int, outside: int, sides: tuple[int, ...], stride: int) -> list[nn.Module]:
    """Return a convolution of patches that do not overlap, which is a matrix product: ceil(side / stride) of every side."""
    missing = tuple(-side % stride for side in sides)
    layer = _CONVOLUTIONS[len(sides) - 1](inside, outside, stride, stride=stride)
    return [Pad(missing), layer] if any(missing) else [layer]


def transposed_convolution(inside: int, outside: int, kernel: int, n_sides: int, stride: int) -> nn.Module:
    """Return a transposed convolution that makes at least side * stride of every side, and no more where it can."""
    padding = max(0, math.ceil((kernel - stride) / 2))
    spare = stride - kernel + 2 * padding
    if spare >= stride:  # an even kernel without a stride: one too many, for Crop to take away
        padding, spare = padding - 1, 0
    return _TRANSPOSED[n_sides - 1](inside, outside, kernel, stride=stride, padding=padding, output_padding=spare)


def pool(n_sides: int, stride: int) -> list[nn.Module]:
    """Return max pooling that makes ceil(side / stride) of every side; nothing for a stride of 1."""
    return [_POOLS[n_sides - 1](stride, ceil_mode=True)] if stride > 1 else []


def upsample(stride: int) -> list[nn.Module]:
    """Return nearest-neighbour upsampling; nothing for a stride of 1."""
    return [nn.Upsample(scale_factor=float(stride), mode="nearest")] if stride > 1 else []


class Pad(nn.Module):
    """Add zeros at the far end of each side."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = [number for width in reversed(widths) for number in (0, width)]

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(x, self.widths)


class Crop(nn.Module):
    """Keep the first (height, width) pixels, or points or voxels: the mirror of a stage that rounded up."""

    def __init__(self, sides: tuple[int, ...]) -> None:
        super().__init__()
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        return x[(..., *(slice(side) for side in self.sides))]


class PixelShuffle(nn.Module):
    """Turn channels into places: (B, c s^d, *sides) -> (B, c, *(s sides)) for d sides (Shi 2016)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        sides, n, s = x.shape[2:], x.dim() - 2, self.stride
        x = x.reshape(len(x), -1, *[s] * n, *sides)
        order = [place for side in range(n) for place in (2 + n + side, 2 + side)]
        return x.permute(0, 1, *order).reshape(len(x), -1, *(s * side for side in sides))


class Turn(nn.Module):
    """Swap the two dimensions of a series: (B, length, channels) <-> (B, channels, length)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Residual(nn.Module):
    """x + f(x), f two convolutions with an activation before each (He 2016)."""

    def __init__(
        self, width: int, kernel: int, sides: tuple[int, ...], norm_kind: str, activation: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*norm(norm_kind, width, is_map=True), activation(), *convolution(width, width, kernel, sides)]
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)
