"""The engine without a bound: codes alone, as few bits as a stated quality takes, and a network that draws the picture.

X -- encode: coarse symbols -- Context: their bits -- decode: levels + network(symbols around, on all sides) --> X'

The prior is the context engine's; the decoder sees the symbols on all sides of a place, also those that come later, and
answers with the expected value. Where most of a picture is background or smooth this is far below a linear transform with
the same error (docs/uses/compression.md has the figures).
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.engines import mixture
from isthmus.apps.compression.engines.context import LARGEST, Context
from isthmus.apps.compression.engines.engine import UnsuitedError
from isthmus.apps.compression.engines.integers import (
    OUTPUT_FRACTION,
    IntegerNet,
    Layer,
    get_array,
    get_layers,
    put_array,
    put_layers,
)
from isthmus.apps.compression.engines.neighbours import window
from isthmus.errors import DataError

STEP = 0.28
"""A symbol is this share of the range, unless the caller says otherwise."""
_LEVEL = 6
"""Levels are in 2^-_LEVEL of the units that the network sees."""
_WIDTH = 32
_SHARE = 0.4
_WIDEST = 1024
_WIDEST_SPAN = 1 << 38
_MOST_MODEL = 1 << 24


class Latent:
    """Pictures as coarse symbols and a network that draws them; see the module.

    Parameters
    ----------
    prior : the coder of the symbols.
    span : the largest value less the smallest.
    low : the smallest value.
    levels : (symbols,) the mean value of each, 0 .. LARGEST for low .. low + span, in steps of 2^-_LEVEL.
    layers : what the network adds to the level, from the levels around.
    """

    name: ClassVar[str] = "latent"

    def __init__(self, prior: Context, low: int, span: int, levels: np.ndarray, layers: list[Layer]) -> None:
        self.prior, self.low, self.span, self.levels, self.layers = prior, low, span, levels, layers
        self._window = window(prior.shape)
        if layers[0].weight.shape[1] != self._window.shape[1] or len(levels) != prior.count + 1:
            raise DataError("the layers of a model do not fit the pictures it is for; the file is damaged.")
        self._net = IntegerNet(layers, LARGEST)

    @classmethod
    def learn(cls, X: np.ndarray, stride: int, seed: int, effort: str, step: int | None = None) -> Self | None:
        """Learn of ``X``; None under a bound, and where samples are few or no pictures. ``step`` of symbols: in units of X."""
        if stride or not X.size:
            return None
        low, span = int(X.min()), int(X.max()) - int(X.min())
        if not 0 < span < _WIDEST_SPAN:
            return None
        step = max(1, round(STEP * span)) if step is None else step
        prior = Context.learn(X, step | 1, seed, effort, width=_WIDTH, share=_SHARE)
        if prior is None:
            return None
        from isthmus.apps.compression.engines.latent_training import train

        symbols = prior.symbols(X)
        flat = X.reshape(len(X), -1)[:, prior.near.order].T
        levels, layers = train(symbols, (flat - low) * (LARGEST / span), prior.count, window(prior.shape), seed, effort)
        return cls(prior, low, span, levels, layers)

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload and the pictures that will be drawn."""
        if stride:
            raise UnsuitedError(f"codes alone hold no bound; a stride of {stride} was asked for")
        encoder, symbols = Encoder(), self.prior.symbols(X)
        self.prior.transfer(len(X), mixture.writing(encoder), symbols)
        return encoder.to_bytes(), self._draw(symbols)

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return the pictures (rows, *shape)."""
        return self._draw(self.prior.transfer(rows, mixture.reading(Decoder(payload)), None))

    def cost(self, X: np.ndarray) -> float:
        """Return the bits that the symbols of ``X`` ought to take."""
        return self.prior.cost(X)

    def _draw(self, symbols: np.ndarray) -> np.ndarray:
        """Return pictures (rows, *shape) of symbols (places, rows)."""
        places, rows = symbols.shape
        inputs = np.zeros((places + 1, rows), np.float32)
        inputs[:places] = (self.levels >> _LEVEL)[symbols]
        fine = self.levels << (OUTPUT_FRACTION - _LEVEL)
        flat = np.empty((rows, places), np.int64)
        unit = LARGEST << OUTPUT_FRACTION
        for t in range(places):
            drawn = fine[symbols[t]] + self._net(inputs[self._window[t]])[0].astype(np.int64) * (LARGEST + 1)
            flat[:, self.prior.near.order[t]] = (np.clip(drawn, 0, unit) * self.span + unit // 2) // unit
        return flat.reshape(rows, *self.prior.shape) + self.low

    def to_bytes(self) -> bytes:
        """Return the model, coded."""
        prior, encoder = self.prior.to_bytes(), Encoder()
        encoder.put_integers(np.array([self.low, self.span, len(self.layers[0].bias)]))
        put_array(encoder, self.levels)
        put_layers(encoder, self.layers)
        return len(prior).to_bytes(4, "little") + prior + encoder.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild the model; one that does not fit is a DataError."""
        end = 4 + int.from_bytes(data[:4], "little")
        if not 4 < end < len(data) < _MOST_MODEL:
            raise DataError("the parts of a model do not fit into its bytes; the file is damaged.")
        prior = Context.from_bytes(data[4:end])
        decoder = Decoder(data[end:])
        low, span, width = decoder.get_integers(3).tolist()
        if not (0 < span < _WIDEST_SPAN and 0 < width <= _WIDEST):
            raise DataError("the settings of a model do not fit together; the file is damaged.")
        levels = get_array(decoder, (prior.count + 1,))
        layers = get_layers(decoder, (window(prior.shape).shape[1], width, width, 1))
        if not 0 <= levels.min() <= levels.max() <= LARGEST << _LEVEL:
            raise DataError("the numbers of a model are out of their range; the file is damaged.")
        return cls(prior, low, span, levels, layers)
