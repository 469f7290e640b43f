"""Whole numbers <-> bits: a range coder driven by integer tables, so that every machine reads the same symbols.

Beneath is the range coder of `constriction`, whose words and whose rounding of probabilities are part of the format
(frequencies out of a power of two reach it as exact floats). Golden bytes in the tests hold it in place.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np

from isthmus.errors import DataError

stream: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue] - made in Rust, where no type checker sees it
models = stream.model

BITS = 16
"""Frequencies of a table sum to 2^BITS unless it says otherwise."""
_MOST_BITS = 22
_FLIP = models.Bernoulli(perfect=False)
_PIECE = 16


class Tables:
    """Integer distributions over the symbols 0 .. S - 1.

    Parameters
    ----------
    cumulative : (T, S + 1) whole numbers, rising in every row from 0 to the same power of two, at most 2^22: symbol s of
        table t has (cumulative[t, s + 1] - cumulative[t, s]) of 2^k, and every symbol has at least 1.

    >>> Tables(np.array([[0, 1, 4]])).cost(np.array([0, 1]), np.array([0, 0]))  # bits
    array([2.        , 0.4150375])
    """

    def __init__(self, cumulative: np.ndarray) -> None:
        cumulative = np.asarray(cumulative)
        total = int(cumulative[0, -1]) if cumulative.ndim == 2 and cumulative.size else 0
        steps = np.diff(cumulative, axis=-1)
        if (
            total not in [1 << bits for bits in range(_MOST_BITS + 1)]
            or cumulative[:, 0].any()
            or (cumulative[:, -1] != total).any()
            or (steps < 1).any()
        ):
            raise DataError("a table of frequencies does not rise from 0 to a power of two; is the model damaged?")
        self.cumulative, self.total = cumulative, total
        self.probabilities = steps / float(total)  # exact: a whole number over a power of two
        self._models: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.cumulative)

    def model(self, table: int) -> Any:
        """Return the coder's form of one table, made once."""
        if table not in self._models:
            self._models[table] = models.Categorical(self.probabilities[table], perfect=False)
        return self._models[table]

    def cost(self, symbols: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return what each symbol costs, in bits."""
        return -np.log2(self.probabilities[which, symbols])


def frequencies(weights: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Return cumulative frequencies (T, S + 1) in proportion to ``weights`` (T, S), each at least 1, of 2^bits in all.

    Whole weights are shared out in whole numbers, so that a decoder may do it too; floats only where a table is learned.
    """
    weights = np.atleast_2d(weights)
    count = weights.shape[1]
    free = (1 << bits) - count
    if free < 0:
        raise DataError(f"{count} symbols do not fit into a table of {bits} bits.")
    if weights.dtype.kind in "iub":
        whole = weights.astype(np.int64)
        over = max(0, int(whole.max(initial=0)).bit_length() + count.bit_length() - 40)
        rising = np.cumsum(whole >> over, axis=1)  # below 2^40, so that the product stays below 2^62
        inner = rising * free // np.maximum(rising[:, -1:], 1)
    else:
        rising = np.cumsum(weights, axis=1, dtype=np.float64)
        inner = np.floor(rising / np.maximum(rising[:, -1:], np.finfo(np.float64).tiny) * free).astype(np.int64)
    inner[:, -1] = free
    cumulative = np.zeros((len(weights), count + 1), np.int64)
    cumulative[:, 1:] = inner + np.arange(1, count + 1)
    return cumulative


def _lengths() -> Tables:
    """Return the table of Elias' gamma code: a number of b bits has about 2^-b."""
    shares = np.maximum(1 << np.maximum(14 - np.arange(65), 0), 8)
    return Tables(frequencies(shares[None]))


_GAMMA = _lengths()


class Encoder:
    """Write symbols one after another; the decoder asks for them in the same order.

    >>> encoder = Encoder()
    >>> encoder.put(np.array([0, 1, 1]), np.array([[0, 1, 4]]), np.array([0, 0, 0]))
    >>> encoder.put_integers(np.array([-5, 1 << 40]))
    >>> decoder = Decoder(encoder.to_bytes())
    >>> decoder.get(np.array([[0, 1, 4]]), np.array([0, 0, 0])), decoder.get_integers(2)
    (array([0, 1, 1]), array([           -5, 1099511627776]))
    """

    def __init__(self) -> None:
        self._coder = stream.queue.RangeEncoder()

    def put(self, symbols: np.ndarray, tables: Tables | np.ndarray, which: np.ndarray | None = None) -> None:
        """Write ``symbols`` (n,), the i-th by table ``which[i]``; without ``which``, by table i.

        With ``which`` the symbols go table by table, which is fast where few tables serve many symbols.
        """
        symbols = np.ascontiguousarray(symbols, np.int32)
        if not len(symbols):
            return
        tables = tables if isinstance(tables, Tables) else Tables(tables)
        if tables.probabilities.shape[1] == 1:  # one symbol, which goes without saying
            return
        if which is None:
            self._coder.encode(symbols, models.Categorical(perfect=False), tables.probabilities)
            return
        for table, place in _grouped(which):
            self._coder.encode(symbols[place], tables.model(table))

    def put_bits(self, values: np.ndarray, width: int) -> None:
        """Write ``values`` (n,), each 0 <= value < 2^width, as they are."""
        values = np.asarray(values).astype(np.uint64)
        for low in range(0, width if len(values) else 0, _PIECE):
            piece = (values >> np.uint64(low)) & np.uint64((1 << _PIECE) - 1)
            self._coder.encode(piece.astype(np.int32), models.Uniform(1 << min(_PIECE, width - low)))

    def put_flips(self, flips: np.ndarray, chances: np.ndarray) -> None:
        """Write yes or no (n,), each yes with a chance of chances / 2^BITS, 0 < chances < 2^BITS."""
        if len(flips):
            self._coder.encode(np.asarray(flips, np.int32), _FLIP, chances / float(1 << BITS))

    def put_integers(self, values: np.ndarray) -> None:
        """Write any int64 ``values`` (n,); those near 0 cost least (Elias 1975)."""
        values = np.asarray(values, np.int64)
        folded = ((values << 1) ^ (values >> 63)).astype(np.uint64)  # 0, -1, 1, -2, .. -> 0, 1, 2, 3, ..
        widths = bit_lengths(folded)
        self.put(widths, _GAMMA, np.zeros(len(values), np.int64))
        for width, place in _grouped(widths):
            self.put_bits(folded[place] & np.uint64((1 << max(width - 1, 0)) - 1), max(width - 1, 0))

    def to_bytes(self) -> bytes:
        """Return what was written, in words of four bytes."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Read what an Encoder wrote. What comes of damaged bytes is not defined: a checksum must stand above it."""

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise DataError(f"a stream of {len(data)} bytes is not made of words of four; the file is damaged.")
        self._coder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def get(self, tables: Tables | np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Return the next symbols (n,) int64: one for each of ``which``, or one for each table."""
        if not len(tables if which is None else which):
            return np.zeros(0, np.int64)
        tables = tables if isinstance(tables, Tables) else Tables(tables)
        if tables.probabilities.shape[1] == 1:
            return np.zeros(len(tables if which is None else which), np.int64)
        if which is None:
            family = models.Categorical(perfect=False)
            return _guarded(self._coder, family, tables.probabilities).astype(np.int64)
        symbols = np.empty(len(which), np.int64)
        for table, place in _grouped(which):
            symbols[place] = _guarded(self._coder, tables.model(table), len(place))
        return symbols

    def get_bits(self, count: int, width: int) -> np.ndarray:
        """Return ``count`` numbers of ``width`` bits, uint64."""
        values = np.zeros(count, np.uint64)
        for low in range(0, width if count else 0, _PIECE):
            uniform = models.Uniform(1 << min(_PIECE, width - low))
            values |= _guarded(self._coder, uniform, count).astype(np.uint64) << np.uint64(low)
        return values

    def get_flips(self, chances: np.ndarray) -> np.ndarray:
        """Return the next yes or no for each of ``chances``, bool (n,)."""
        if not len(chances):
            return np.zeros(0, bool)
        return _guarded(self._coder, _FLIP, chances / float(1 << BITS)).astype(bool)

    def get_integers(self, count: int) -> np.ndarray:
        """Return ``count`` numbers that ``put_integers`` wrote, int64."""
        widths = self.get(_GAMMA, np.zeros(count, np.int64))
        folded = np.zeros(count, np.uint64)
        for width, place in _grouped(widths):
            top = np.uint64(1 << (width - 1) if width else 0)
            folded[place] = self.get_bits(len(place), max(width - 1, 0)) | top
        return (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)


def bit_lengths(values: np.ndarray) -> np.ndarray:
    """Return how many bits each of ``values`` (uint64) has: 0 of 0, 64 of 2^63."""
    lengths = np.zeros(values.shape, np.int64)
    rest = values.copy()
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= np.uint64(1 << step)
        lengths += step * large
        rest = np.where(large, rest >> np.uint64(step), rest)
    return lengths + (rest > 0)


def _grouped(which: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the tables that are used, rising, each with the places that use it, in their order."""
    which = np.asarray(which)
    if not len(which):
        return []
    first = int(which[0])
    if (which == first).all():
        return [(first, np.arange(len(which)))]
    order = np.argsort(which, kind="stable")
    tables, starts = np.unique(which[order], return_index=True)
    return list(zip(tables.tolist(), np.split(order, starts[1:]), strict=True))


def _guarded(coder: Any, *arguments: Any) -> np.ndarray:
    try:
        return coder.decode(*arguments)
    except AssertionError as error:  # how constriction says that no encoder wrote this
        raise DataError("a stream of symbols cannot be decoded; the file is damaged.") from error
