"""Fully connected networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import Activated, activation, dropout, output, refuse_dropout
from isthmus.parts.networks.linear import Layers, Linear, Spectral, Transposed
from isthmus.parts.networks.network import Network
from isthmus.parts.networks.norms import check_norm, norm


@dataclass
class MLP(Activated, Network):
    """Fully connected layers; the decoder is the encoder's mirror image unless ``decoder_hidden`` says otherwise.

    ``hidden=()`` leaves only the linear maps of bottleneck and output; ``hidden="auto"`` derives the widths from the
    data (:func:`default_widths`). An ``activation`` is a name, with settings where it has some
    ("leaky_relu(negative_slope=0.2)"), or one of torch's modules, which is kept by name. Each hidden layer is linear
    map, ``norm`` ("none", "layer", "batch"), activation, dropout. ``output_activation`` stands behind the last layer,
    for reconstructions that compare the sample itself; likelihoods bring their own. ``tied`` decoders go back through
    the encoder's weights, transposed, with biases of their own (Vincent 2008). ``spectral_norm`` keeps every layer of
    the decoder from being steeper than 1 (Miyato 2018).
    """

    hidden: tuple[int, ...] | str = "auto"
    activation: str = "silu"
    dropout: float = 0.0
    norm: str = "none"
    decoder_hidden: tuple[int, ...] | None = None
    output_activation: str = "identity"
    tied: bool = False
    spectral_norm: bool = False

    sees_gaps: ClassVar[bool] = False

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        widths = [math.prod(shape), *self._widths()]
        return Layers(nn.Flatten(), *self._layers(widths, Linear)), (widths[-1],)

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        mirrored = reversed(self._widths()) if self.decoder_hidden is None else self.decoder_hidden
        widths = [math.prod(z_shape), *mirrored]
        layer = Spectral if self.spectral_norm else Linear
        hidden = self._layers(widths, layer)
        last = layer(widths[-1], math.prod(shape))
        return Layers(nn.Flatten(), *hidden, last, *output(self.output_activation), nn.Unflatten(1, shape))

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        refuse_dropout("MLP", self.dropout)
        check_norm("MLP", self.norm)
        for name in (self.activation, self.output_activation):
            activation(name)
        if self.tied and self.spectral_norm:
            raise SettingError(
                "MLP(tied=True, spectral_norm=True): a tied decoder has no weights of its own to normalise; leave one out."
            )
        if isinstance(self.hidden, str) and self.hidden != "auto":
            raise SettingError(f'MLP(hidden={self.hidden!r}) must be widths such as (256, 128), or "auto".')
        for name in ("hidden", "decoder_hidden"):
            widths = getattr(self, name)
            if widths is not None and not isinstance(widths, str) and any(width < 1 for width in widths):
                raise SettingError(
                    f"MLP({name}={tuple(widths)}) has a layer without units; every width must be at least 1."
                )
        if isinstance(self.hidden, str):
            return replace(self, hidden=default_widths(math.prod(shape), n_rows))
        return self

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        if not self.tied:
            return
        assert isinstance(decoder, nn.Sequential), "the decoder is what decoder() built"
        there = [layer for module in (encoder, head) for layer in module.modules() if isinstance(layer, nn.Linear)]
        back = {place: layer for place, layer in enumerate(decoder) if isinstance(layer, nn.Linear)}
        needed = [tuple(layer.weight.T.shape) for layer in reversed(there)]
        found = [tuple(layer.weight.shape) for layer in back.values()]
        if needed != found:
            raise SettingError(
                f"MLP(tied=True): the transposed layers of the encoder have the shapes {needed}, those of the decoder "
                f"{found}; tied weights need a bottleneck of one linear map, such as Plain(), no condition, and a decoder "
                f"that mirrors the encoder."
            )
        for (place, layer), twin in zip(back.items(), reversed(there), strict=True):
            decoder[place] = Transposed(twin.weight, layer.bias)

    @property
    def ends_linearly(self) -> bool:
        # the last layer of a tied decoder is the encoder's first too, and one of steepness 1 cannot be silent
        return self.output_activation == "identity" and not self.tied and not self.spectral_norm

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _widths(self) -> tuple[int, ...]:
        if isinstance(self.hidden, str):
            raise TypeError('hidden="auto" has no widths yet: call resolve(shape, n_rows) first.')
        return tuple(self.hidden)

    def _layers(self, widths: list[int], layer: Callable[[int, int], nn.Module]) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers += [layer(inside, outside), *norm(self.norm, outside), activation(self.activation)]
            layers += dropout(self.dropout)
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
