"""Fully connected networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import activation
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network


@dataclass
class MLP(Network):
    """Fully connected layers; the decoder is the encoder's mirror image.

    ``hidden=()`` leaves only the linear maps of bottleneck and output; ``hidden="auto"`` derives the widths from the data
    (:func:`default_widths`).
    """

    hidden: tuple[int, ...] | str = "auto"
    activation: str = "silu"
    dropout: float = 0.0

    sees_gaps: ClassVar[bool] = False

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        widths = [math.prod(shape), *self._widths()]
        return nn.Sequential(nn.Flatten(), *self._layers(widths)), (widths[-1],)

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        widths = [math.prod(z_shape), *reversed(self._widths())]
        output = Linear(widths[-1], math.prod(shape))
        return nn.Sequential(nn.Flatten(), *self._layers(widths), output, nn.Unflatten(1, shape))

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if not 0 <= self.dropout < 1:
            raise SettingError(f"MLP(dropout={self.dropout}) must be at least 0 and below 1; try 0.1.")
        if isinstance(self.hidden, str):
            if self.hidden != "auto":
                raise SettingError(f'MLP(hidden={self.hidden!r}) must be widths such as (256, 128), or "auto".')
            return replace(self, hidden=default_widths(math.prod(shape), n_rows))
        if any(width < 1 for width in self.hidden):
            raise SettingError(
                f"MLP(hidden={tuple(self.hidden)}) has a layer without units; every width must be at least 1."
            )
        return self

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return True

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _widths(self) -> tuple[int, ...]:
        if isinstance(self.hidden, str):
            raise TypeError('hidden="auto" has no widths yet: call resolve(shape, n_rows) first.')
        return tuple(self.hidden)

    def _layers(self, widths: list[int]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [Linear(inside, outside), activation(self.activation)]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return layers


def is_small(size: int, n_rows: int) -> bool:
    """Is this data that a large network would learn by heart? Fewer than 3,000 rows, and than 200 rows a number."""
    return n_rows < 3000 and n_rows < 200 * size


def default_widths(size: int, n_rows: int) -> tuple[int, ...]:
    """Return (256, 128) for small data; else (512, 256, 128), or (512, 256) for samples of more than 256 numbers."""
    if is_small(size, n_rows):
        return (256, 128)
    return (512, 256) if size > 256 else (512, 256, 128)


def default_dropout(size: int, n_rows: int) -> float:
    """Return 0.2 for small data below 1,000 rows, 0.1 for other small data, and no dropout where there are rows enough."""
    return (0.2 if n_rows < 1000 else 0.1) if is_small(size, n_rows) else 0.0
