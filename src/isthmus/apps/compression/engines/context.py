"""The engine of many small pictures: each value by its causal neighbours, one place after another, all samples at once.

    symbols (rows, places) -- for each place t:  neighbours, place, code -> IntegerNet -> Mixture -> bits

A value's neighbours, a few learned numbers of its place, and (where it earns its bits) a code of the whole picture go through
a small network of whole numbers, whose answer is a hurdle and a mixture of logistics (Salimans et al. 2017, PixelCNN++).
"""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.engines import mixture
from isthmus.apps.compression.engines.engine import UnsuitedError, nearest
from isthmus.apps.compression.engines.integers import IntegerNet, Layer, get_array, get_layers, put_array, put_layers
from isthmus.apps.compression.engines.mixture import Tally, Wire
from isthmus.apps.compression.engines.neighbours import Neighbourhood, neighbourhood, suits
from isthmus.errors import DataError

LARGEST = 255
"""Inputs of the network lie within +- LARGEST."""
ALPHABET = 1 << 12
_FEWEST_ROWS, _FEWEST_VALUES, _MOST_PLACES = 100, 50_000, 1 << 14
_ESCAPES = 0.01
_WIDEST = 1024


class Context:
    """Pictures, value by value; see the module.

    Parameters
    ----------
    shape : of a sample.
    stride : of the symbols: value = low + stride * symbol, downwards where ``falling``.
    count : symbols are 0 .. count.
    layers : of the network: inputs are neighbours, then the numbers of the place, then the code.
    places : (places, numbers) whole numbers within LARGEST.
    """

    name: ClassVar[str] = "context"

    def __init__(
        self,
        shape: tuple[int, ...],
        stride: int,
        low: int,
        falling: bool,
        count: int,
        layers: list[Layer],
        places: np.ndarray,
    ) -> None:
        self.shape, self.stride, self.low, self.falling, self.count = shape, stride, low, falling, count
        self.layers, self.places = layers, places
        self.near: Neighbourhood = neighbourhood(shape)
        first, features = layers[0], self.near.around.shape[1]
        if first.weight.shape[1] != features + places.shape[1] or len(places) != len(self.near.order):
            raise DataError("the layers of a model do not fit the pictures it is for; the file is damaged.")
        self._of_place = first.weight[:, features:] @ places.T  # (width, places)
        slack = int(np.abs(self._of_place).max(initial=0))
        self._net = IntegerNet([first._replace(weight=first.weight[:, :features]), *layers[1:]], LARGEST, slack)

    @property
    def depth(self) -> int:
        """Return the bits that a symbol fits in."""
        return max(4, self.count.bit_length())

    @classmethod
    def learn(
        cls, X: np.ndarray, stride: int, seed: int, effort: str, width: int | None = None, share: float = 1.0
    ) -> Self | None:
        """Learn of ``X``; None where samples are few, no pictures, or of more than 4096 values a place."""
        n, shape = len(X), X.shape[1:]
        places = int(np.prod(shape))
        if stride < 1 or n < _FEWEST_ROWS or X.size < _FEWEST_VALUES or places > _MOST_PLACES or not suits(shape):
            return None
        low, high = int(X.min()), int(X.max())
        count = (high - low) // stride + 1
        if not 1 < count <= ALPHABET:
            return None
        low += (high - low) % stride // 2
        count = int(nearest(np.array([high - low]), stride)[0])
        falling = bool(np.count_nonzero(high - stride < X) > np.count_nonzero(low + stride > X))
        from isthmus.apps.compression.engines.context_training import train

        empty = cls.__new__(cls)
        empty.shape, empty.stride, empty.low, empty.falling, empty.count = shape, stride, low, falling, count
        empty.near = neighbourhood(shape)
        layers, table = train(empty.symbols(X), count, empty.near, seed, effort, width, share)
        return cls(shape, stride, low, falling, count, layers, table)

    def encode(self, X: np.ndarray, stride: int) -> tuple[bytes, np.ndarray]:
        """Return the payload and what it decodes to: exact for stride 1, else within half a stride."""
        if stride != self.stride:
            raise UnsuitedError(f"the model is for steps of {self.stride}, not {stride}")
        symbols = self.symbols(X)
        decoded = self.values(symbols, len(X))
        flat, wrong = decoded.reshape(-1), np.flatnonzero(np.abs(X - decoded) > stride // 2)
        if len(wrong) > _ESCAPES * X.size:
            raise UnsuitedError(f"{len(wrong)} of {X.size} values lie beyond those learned")
        encoder = Encoder()
        encoder.put_integers(np.array([len(wrong)]))
        encoder.put_integers(np.diff(wrong, prepend=0))
        encoder.put_integers(X.reshape(-1)[wrong])
        flat[wrong] = X.reshape(-1)[wrong]
        self.transfer(len(X), mixture.writing(encoder), symbols)
        return encoder.to_bytes(), decoded

    def decode(self, payload: bytes, rows: int, stride: int) -> np.ndarray:
        """Return the rows that were encoded."""
        decoder = Decoder(payload)
        number = int(decoder.get_integers(1)[0])
        size = rows * int(np.prod(self.shape))
        if not 0 <= number <= size:
            raise DataError(f"{number} values are said to stand apart among {size}; the file is damaged.")
        wrong = np.cumsum(decoder.get_integers(number))
        values = decoder.get_integers(number)
        if number and (wrong.min() < 0 or wrong.max() >= size):
            raise DataError("values that stand apart lie outside of their chunk; the file is damaged.")
        decoded = self.values(self.transfer(rows, mixture.reading(decoder), None), rows)
        decoded.reshape(-1)[wrong] = values
        return decoded

    def cost(self, X: np.ndarray) -> float:
        """Return the bits that the values of ``X`` ought to take."""
        tally = Tally()
        self.transfer(len(X), tally, self.symbols(X))
        return tally.bits

    def transfer(self, rows: int, wire: Wire, symbols: np.ndarray | None) -> np.ndarray:
        """Send ``symbols`` (places, rows) through the wire, or receive them; return them, in coding order."""
        places, shift = len(self.near.order), max(0, self.depth - 8)
        known = np.zeros((places + 1, rows), np.int64)
        inputs = np.zeros((places + 1, rows), np.float32)  # float32 holds them exactly
        for t in range(places):
            outputs = self._net(inputs[self.near.around[t]], self._of_place[:, t : t + 1])
            guess = clipped_gradient(*known[self.near.west_north_both[t]])
            symbol = None if symbols is None else symbols[t]
            known[t] = mixture.transfer(outputs, guess, self.depth, self.count, wire, symbol)
            inputs[t] = known[t] >> shift
        return known[:places]

    def symbols(self, X: np.ndarray) -> np.ndarray:
        """Return symbols (places, rows), those beyond the range cut."""
        flat = X.reshape(len(X), -1)[:, self.near.order].T
        symbols = np.clip(nearest(flat - self.low, self.stride), 0, self.count)
        return self.count - symbols if self.falling else symbols

    def values(self, symbols: np.ndarray, rows: int) -> np.ndarray:
        """Return values (rows, *shape) of symbols (places, rows)."""
        symbols = self.count - symbols if self.falling else symbols
        flat = np.empty((rows, len(symbols)), np.int64)
        flat[:, self.near.order] = (symbols * self.stride + self.low).T
        return flat.reshape(rows, *self.shape)

    def to_bytes(self) -> bytes:
        """Return the model, coded."""
        encoder = Encoder()
        settings = [self.stride, self.low, self.falling, self.count, self.places.shape[1], len(self.layers[0].bias)]
        for numbers in ([len(self.shape)], self.shape, settings):
            encoder.put_integers(np.array(numbers))
        put_array(encoder, self.places)
        put_layers(encoder, self.layers)
        return encoder.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Rebuild the model; one that does not fit is a DataError."""
        decoder = Decoder(data)
        axes = int(decoder.get_integers(1)[0])
        if not 1 <= axes <= 3:
            raise DataError(f"a model for samples of {axes} axes; the file is damaged.")
        shape = tuple(decoder.get_integers(axes).tolist())
        stride, low, falling, count, numbers, width = decoder.get_integers(6).tolist()
        fits = all(0 < side <= _MOST_PLACES for side in shape) and int(np.prod(shape)) <= _MOST_PLACES and suits(shape)
        if not (fits and stride > 0 and 0 < count <= ALPHABET and 0 <= numbers <= LARGEST and 0 < width <= _WIDEST):
            raise DataError("the settings of a model do not fit together; the file is damaged.")
        near = neighbourhood(shape)
        places = get_array(decoder, (len(near.order), numbers))
        widths = (near.around.shape[1] + numbers, width, width, mixture.OUTPUTS)
        layers = get_layers(decoder, widths)
        if places.max(initial=0) > LARGEST or places.min(initial=0) < -LARGEST:
            raise DataError("the numbers of a model are out of their range; the file is damaged.")
        return cls(shape, stride, low, bool(falling), count, layers, places)


def clipped_gradient(west: np.ndarray, north: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Return the guess of lossless JPEG (Weinberger et al. 2000): west + north - northwest, kept between west and north."""
    return np.clip(west + north - both, np.minimum(west, north), np.maximum(west, north))
