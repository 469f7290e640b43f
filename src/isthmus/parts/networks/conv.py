"""Convolutional networks for images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Literal

from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import activation
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network


@dataclass
class Conv(Network):
    """Stages that halve the image, mirrored by stages that double it; any image size, odd ones too.

    ``channels`` gives one stage each ("auto" derives them from the image). ``down`` is "strided" (a 3x3 convolution of
    stride 2) or "pool" (3x3 convolution, then 2x2 max pooling); ``up`` is "transposed" (a 4x4 transposed convolution of
    stride 2) or "resize" (nearest neighbour, then 3x3 convolution; no checkerboard, Odena 2016). Every stage halves with
    rounding up, (h, w) -> (ceil(h/2), ceil(w/2)), and the decoder crops each stage to the size its mirror image had.
    """

    channels: tuple[int, ...] | str = "auto"
    down: Literal["strided", "pool"] = "strided"
    up: Literal["transposed", "resize"] = "transposed"
    activation: str = "silu"

    sees_gaps: ClassVar[bool] = False

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        sizes, widths = self._sizes(shape), [shape[0], *self._channels()]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            if self.down == "strided":
                layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), activation(self.activation)]
            else:
                layers += [nn.Conv2d(inside, outside, 3, padding=1), activation(self.activation)]
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
        return nn.Sequential(*layers), (widths[-1], *sizes[-1])

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        sizes, widths = self._sizes(shape), [*reversed(self._channels())]
        first = (widths[0], *sizes[-1])
        layers: list[nn.Module] = [
            nn.Flatten(),
            Linear(math.prod(z_shape), math.prod(first)),
            nn.Unflatten(1, first),
        ]
        for stage, inside in enumerate(widths):
            last = stage == len(widths) - 1
            outside = widths[stage] if last else widths[stage + 1]
            layers += [activation(self.activation), *self._double(inside, outside), Crop(sizes[-2 - stage])]
        return nn.Sequential(*layers, activation(self.activation), nn.Conv2d(widths[-1], shape[0], 3, padding=1))

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if len(shape) != 3:
            raise SettingError(
                f"A convolutional network needs images (n, height, width) or (n, channels, height, width), but one sample "
                f"has the shape {shape}; reshape the data, or use network='mlp'."
            )
        if self.down not in ("strided", "pool") or self.up not in ("transposed", "resize"):
            raise SettingError(
                f"Conv(down={self.down!r}, up={self.up!r}): down is 'strided' or 'pool', up is 'transposed' or 'resize'."
            )
        if isinstance(self.channels, str):
            if self.channels != "auto":
                raise SettingError(f'Conv(channels={self.channels!r}) must be widths such as (32, 64), or "auto".')
            return replace(self, channels=default_channels(shape))
        if not self.channels or any(width < 1 for width in self.channels):
            raise SettingError(
                f"Conv(channels={tuple(self.channels)}) needs at least one stage of at least one channel."
            )
        return self

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return True

    @property
    def holds_back(self) -> bool:
        return False

    def _channels(self) -> tuple[int, ...]:
        if isinstance(self.channels, str):
            raise TypeError('channels="auto" has no widths yet: call resolve(shape, n_rows) first.')
        return tuple(self.channels)

    def _sizes(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """Return (height, width) before the first stage and after each one."""
        sizes = [(shape[1], shape[2])]
        for _ in self._channels():
            height, width = sizes[-1]
            sizes.append((math.ceil(height / 2), math.ceil(width / 2)))
        return sizes

    def _double(self, inside: int, outside: int) -> list[nn.Module]:
        if self.up == "transposed":
            return [nn.ConvTranspose2d(inside, outside, 4, stride=2, padding=1)]
        return [nn.Upsample(scale_factor=2.0, mode="nearest"), nn.Conv2d(inside, outside, 3, padding=1)]


class Crop(nn.Module):
    """Keep the first (height, width) pixels: the mirror of a stage that rounded up."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        return x[..., :height, :width]


def default_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Halve until the shorter side is at most 7 pixels: 32 channels, then 64, then 128 for all that follow."""
    stages = max(1, math.ceil(math.log2(max(1, min(shape[1:]) / 7))))
    return tuple([32, 64, 128][min(stage, 2)] for stage in range(stages))
