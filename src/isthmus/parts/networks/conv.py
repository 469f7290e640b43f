"""Convolutional networks for series, images and volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import Activated, activation, dropout, output, refuse_dropout
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network
from isthmus.parts.networks.norms import check_norm, norm
from isthmus.parts.networks.places import (
    Crop,
    PixelShuffle,
    Residual,
    Turn,
    convolution,
    patches,
    pool,
    transposed_convolution,
    upsample,
)

_CHOICES = {
    "down": ("patches", "strided", "pool"),
    "up": ("patches", "transposed", "resize", "upsample", "pixel_shuffle"),
    "code": ("vector", "map"),
}


@dataclass
class Conv(Activated, Network):
    """Stages that halve series (length, c), images (c, h, w) or volumes (c, d, h, w), mirrored by stages that double them.

    ``channels`` gives one stage each ("auto" derives them from the sample) and ``strides`` by how much each shrinks; sides
    may be odd, for every stage rounds up, n -> ceil(n/2), and the decoder crops to the size its mirror image had.

    down: "strided" convolutions; convolutions and max "pool"-ing; or "patches" that do not overlap, each a row of one matrix
    product (Dosovitskiy 2021).
    up: "transposed" convolutions (the kernel twice the stride unless ``up_kernel`` says otherwise); "resize", nearest
    neighbour and then a convolution (no checkerboard, Odena 2016); "upsample", a convolution and then nearest neighbour;
    "pixel_shuffle", a convolution whose channels become places (Shi 2016); or "patches", the same where each place gives a
    patch by itself, a matrix product, but for a last doubling that gives the sample, which looks at its neighbours.

    A stage is convolution, ``norm`` ("none", "layer", "batch"), ``residual`` blocks (He 2016), activation, ``dropout``. With
    ``final`` a convolution follows the last doubling, without it the last doubling gives the sample; ``output_activation``
    stands behind it, for reconstructions that compare the sample itself (likelihoods bring their own).

    code: a "vector" of the whole sample, or a "map" (k, *positions), one code at each position of the last stage, with no
    dense layer. The decoder of a map begins with a pointwise map to its first width, where the code has another.
    """

    channels: tuple[int, ...] | str = "auto"
    down: Literal["patches", "strided", "pool"] = "patches"
    up: Literal["patches", "transposed", "resize", "upsample", "pixel_shuffle"] = "patches"
    activation: str = "relu"
    strides: int | tuple[int, ...] = 2
    kernel: int = 3
    up_kernel: int | str = "auto"
    norm: str = "none"
    residual: int = 0
    code: Literal["vector", "map"] = "vector"
    final: bool = False
    output_activation: str = "identity"
    dropout: float = 0.0

    before: ClassVar[dict[str, Any]] = {"final": True}
    sees_gaps: ClassVar[bool] = False

    @property
    def keeps_place(self) -> bool:
        return self.code == "map"

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        channels, sizes = self._sizes(shape)
        widths = [channels, *self._channels()]
        layers: list[nn.Module] = [Turn()] if len(shape) == 2 else []
        for stage, (inside, outside) in enumerate(pairwise(widths)):
            stride = self._strides()[stage]
            if self.down == "pool":
                layers += convolution(inside, outside, self.kernel, sizes[stage])
                layers += [*self._activated(outside, sizes[stage]), *pool(len(sizes[stage]), stride)]
                continue
            if self.down == "patches" and stride > 1:
                layers += patches(inside, outside, sizes[stage], stride)
            else:
                layers += convolution(inside, outside, self.kernel, sizes[stage], stride)
            layers += self._activated(outside, sizes[stage + 1])
        return nn.Sequential(*layers), (widths[-1], *sizes[-1])

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        channels, sizes = self._sizes(shape)
        widths, strides = [*reversed(self._channels())], [*reversed(self._strides())]
        sizes = [*reversed(sizes)]
        layers = self._entry(z_shape, (widths[0], *sizes[0]))
        end = widths[-1] if self.final else channels
        # the convolution of "upsample" precedes the doubling, so its stages end in the width that others begin with
        path = [widths[0], *widths[:-1], end] if self.up == "upsample" else [*widths, end]
        for stage, (inside, outside) in enumerate(pairwise(path)):
            is_end = stage == len(strides) - 1 and not self.final
            layers += self._double(inside, outside, (sizes[stage], sizes[stage + 1]), strides[stage], is_end)
        if self.final:
            layers += convolution(widths[-1], channels, self.kernel, sizes[-1])
        layers += output(self.output_activation)
        return nn.Sequential(*layers, Turn()) if len(shape) == 2 else nn.Sequential(*layers)

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if not 2 <= len(shape) <= 4:
            raise SettingError(
                f"A convolutional network needs images (n, height, width) or (n, channels, height, width), volumes "
                f"(n, channels, depth, height, width) or a Series, but one sample has the shape {shape}; reshape the data, "
                f"or use network='mlp'."
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise SettingError(
                    f"Conv({name}={getattr(self, name)!r}) is not known; choose one of {', '.join(choices)}."
                )
        check_norm("Conv", self.norm)
        refuse_dropout("Conv", self.dropout)
        for name in (self.activation, self.output_activation):
            activation(name)
        resolved = self
        if isinstance(self.channels, str):
            if self.channels != "auto":
                raise SettingError(f'Conv(channels={self.channels!r}) must be widths such as (32, 64), or "auto".')
            resolved = replace(self, channels=default_channels(shape))
        resolved._refuse_sizes()
        return resolved

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return self.output_activation == "identity"

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _refuse_sizes(self) -> None:
        widths = self._channels()
        if not widths or any(width < 1 for width in widths):
            raise SettingError(f"Conv(channels={widths}) needs at least one stage of at least one channel.")
        if len(self._strides()) != len(widths) or any(stride < 1 for stride in self._strides()):
            raise SettingError(
                f"Conv(strides={self.strides}) must be one number of at least 1, or one for each of the {len(widths)} stages."
            )
        for name, least in (("kernel", 1), ("residual", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"Conv({name}={getattr(self, name)}) must be at least {least}.")
        if isinstance(self.up_kernel, str) and self.up_kernel != "auto":
            raise SettingError(f'Conv(up_kernel={self.up_kernel!r}) must be a number of at least 1, or "auto".')
        if not isinstance(self.up_kernel, str) and self.up_kernel < 1:
            raise SettingError(f'Conv(up_kernel={self.up_kernel}) must be a number of at least 1, or "auto".')

    def _channels(self) -> tuple[int, ...]:
        if isinstance(self.channels, str):
            raise TypeError('channels="auto" has no widths yet: call resolve(shape, n_rows) first.')
        return tuple(self.channels)

    def _strides(self) -> tuple[int, ...]:
        several = isinstance(self.strides, (tuple, list))
        return tuple(self.strides) if several else (self.strides,) * len(self._channels())  # pyright: ignore[reportReturnType, reportArgumentType]

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, list[tuple[int, ...]]]:
        """Return the channels of a sample, and its sides before the first stage and after each one."""
        channels, sides = channels_and_sides(shape)
        sizes = [sides]
        for stride in self._strides():
            sizes.append(tuple(math.ceil(side / stride) for side in sizes[-1]))
        return channels, sizes

    def _activated(self, width: int, sides: tuple[int, ...]) -> list[nn.Module]:
        """Return what follows a convolution that is not the last layer."""
        blocks = [
            Residual(width, self.kernel, sides, self.norm, lambda: activation(self.activation))
            for _ in range(self.residual)
        ]
        return [*norm(self.norm, width, is_map=True), *blocks, activation(self.activation), *dropout(self.dropout)]

    def _entry(self, z_shape: tuple[int, ...], first: tuple[int, ...]) -> list[nn.Module]:
        """Return what turns a code into the first map, (B, *first)."""
        if self.code == "vector":
            dense = Linear(math.prod(z_shape), math.prod(first))
            return [nn.Flatten(), dense, nn.Unflatten(1, first), activation(self.activation)]
        if z_shape[0] == first[0]:
            return []
        return [*convolution(z_shape[0], first[0], 1, first[1:]), activation(self.activation)]

    def _double(
        self,
        inside: int,
        outside: int,
        sizes: tuple[tuple[int, ...], tuple[int, ...]],
        stride: int,
        is_end: bool,
    ) -> list[nn.Module]:
        """Return a stage of the decoder, from maps of the sides ``sizes[0]`` to those of ``sizes[1]``."""
        before, after = sizes
        behind = [] if is_end else self._activated(outside, before if self.up == "upsample" else after)
        wide = tuple(side * stride for side in before)
        if self.up == "transposed":
            kernel = self._up_kernel(2 * stride if stride > 1 else self.kernel)
            doubled = [transposed_convolution(inside, outside, kernel, len(before), stride)]
            return [*doubled, Crop(after), *behind]
        kernel = self._up_kernel(1 if self.up == "patches" and not is_end else self.kernel)
        if self.up == "upsample":
            return [*convolution(inside, outside, kernel, before), *behind, *upsample(stride), Crop(after)]
        if self.up == "resize":
            return [*upsample(stride), *convolution(inside, outside, kernel, wide), Crop(after), *behind]
        many = convolution(inside, outside * stride ** len(before), kernel, before)
        return [*many, PixelShuffle(stride), Crop(after), *behind]

    def _up_kernel(self, default: int) -> int:
        return default if isinstance(self.up_kernel, str) else self.up_kernel


def channels_and_sides(shape: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Return the channels of a sample, and its sides: series are (length, channels), all others begin with the channels."""
    return (shape[1], shape[:1]) if len(shape) == 2 else (shape[0], shape[1:])


def default_channels(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Halve until the shortest side is at most 7 pixels: 32 channels, then 64, then 128 for all that follow."""
    stages = max(1, math.ceil(math.log2(max(1, min(channels_and_sides(shape)[1]) / 7))))
    return tuple([32, 64, 128][min(stage, 2)] for stage in range(stages))
