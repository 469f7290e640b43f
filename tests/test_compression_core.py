"""The ground that every engine stands on: integer tables and their coder, grids and bounds."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isthmus.apps.compression.bounds import Bound
from isthmus.apps.compression.coder import Decoder, Encoder, Tables, bit_lengths, frequencies
from isthmus.apps.compression.engines.engine import nearest
from isthmus.apps.compression.grid import Grid, exp2
from isthmus.errors import DataError, SettingError

FLOATS = (np.float16, np.float32, np.float64)


def shapes(rng: np.random.Generator, symbols: int, tables: int) -> np.ndarray:
    return frequencies(rng.integers(0, 1000, (tables, symbols)) ** 2)


def test_real_bytes_are_within_a_permille_of_the_ideal_and_come_back() -> None:
    rng = np.random.default_rng(0)
    tables = Tables(shapes(rng, 40, 5))
    which = rng.integers(0, 5, 100_000)
    symbols = np.array([rng.choice(40, p=tables.probabilities[t]) for t in which[:20_000]])
    which = which[:20_000]
    encoder = Encoder()
    encoder.put(symbols, tables, which)
    data = encoder.to_bytes()
    assert 8 * len(data) == pytest.approx(tables.cost(symbols, which).sum(), rel=1e-3, abs=64)
    np.testing.assert_array_equal(Decoder(data).get(tables, which), symbols)


def test_a_table_for_every_symbol_gives_the_same_symbols() -> None:
    rng = np.random.default_rng(1)
    tables = shapes(rng, 7, 500)
    symbols = rng.integers(0, 7, 500)
    encoder = Encoder()
    encoder.put(symbols, tables)
    np.testing.assert_array_equal(Decoder(encoder.to_bytes()).get(tables), symbols)


def test_the_stream_has_the_bytes_that_earlier_versions_wrote() -> None:
    encoder = Encoder()
    which = np.arange(3000) % 3
    encoder.put(np.arange(3000) ** 2 % 11, frequencies(np.arange(1, 34).reshape(3, 11) ** 3), which)
    encoder.put(np.arange(200) % 5, np.tile(frequencies(np.array([[5, 1, 9, 2, 2]]), 12), (200, 1)))
    encoder.put_bits(np.arange(100) * 0x123456789, 40)
    encoder.put_integers((np.arange(-300, 300) ** 3) << 20)
    data = encoder.to_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == GOLDEN


GOLDEN = (6224, "4393c1babff350cb")


def plain_decoder(data: bytes, tables: np.ndarray, which: np.ndarray) -> list[int]:
    """Range decoding by Python's whole numbers alone: words of 32 bits, a state of 64, probabilities of 24."""
    words = [*np.frombuffer(data, "<u4").tolist(), 0, 0]
    point, width, at, symbols = (words[0] << 32) | words[1], (1 << 64) - 1, 2, []
    low = 0
    for t in which:
        cumulative = tables[t].tolist()
        total, free = cumulative[-1], (1 << 24) - (len(cumulative) - 1)
        fine = [c * free // total + s for s, c in enumerate(cumulative[:-1])] + [1 << 24]
        scale = width >> 24
        quantile = ((point - low) % (1 << 64)) // scale
        symbol = max(s for s in range(len(fine) - 1) if fine[s] <= quantile)
        low = (low + scale * fine[symbol]) % (1 << 64)
        width = scale * (fine[symbol + 1] - fine[symbol])
        if width < 1 << 32:
            low, width = (low << 32) % (1 << 64), width << 32
            point = ((point << 32) % (1 << 64)) | (words[at] if at < len(words) else 0)
            at += 1
        symbols.append(symbol)
    return symbols


def test_a_reader_of_thirty_lines_without_the_library_reads_the_stream() -> None:
    rng = np.random.default_rng(2)
    tables = shapes(rng, 9, 4)
    which = np.sort(rng.integers(0, 4, 2000))
    symbols = rng.integers(0, 9, 2000)
    encoder = Encoder()
    encoder.put(symbols, tables, which)
    assert plain_decoder(encoder.to_bytes(), tables, which) == symbols.tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_any_whole_number_passes_the_gamma_code(values: list[int]) -> None:
    numbers = np.array(values, np.int64)
    encoder = Encoder()
    encoder.put_integers(numbers)
    np.testing.assert_array_equal(Decoder(encoder.to_bytes()).get_integers(len(numbers)), numbers)


def test_bit_lengths_are_those_of_python() -> None:
    values = [0, 1, 2, 3, 255, 256, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
    assert bit_lengths(np.array(values, np.uint64)).tolist() == [value.bit_length() for value in values]


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, (3, 8), elements=st.integers(0, 2**62)))
def test_frequencies_sum_to_a_power_of_two_and_leave_no_symbol_out(weights: np.ndarray) -> None:
    tables = frequencies(weights, 12)
    assert (np.diff(tables) >= 1).all()
    assert (tables[:, -1] == 4096).all()
    Tables(tables)


def test_a_table_that_is_none_is_refused() -> None:
    for wrong in ([[0, 1, 3]], [[1, 2, 4]], [[0, 0, 4]], [[0, 2, 4], [0, 4, 8]]):
        with pytest.raises(DataError, match="damaged"):
            Tables(np.array(wrong))
    with pytest.raises(DataError, match="words of four"):
        Decoder(b"abc")


def test_nearest_is_the_nearest() -> None:
    X = np.arange(-1000, 1000)
    for stride in (1, 3, 7, 31):
        assert (np.abs(X - nearest(X, stride) * stride) <= (stride - 1) // 2).all()


def test_powers_of_two_are_those_of_numpy_to_two_units() -> None:
    y = np.linspace(-1000, 1000, 100_001)
    assert (np.abs(exp2(y) - np.exp2(y)) <= 2 * np.spacing(np.exp2(y))).all()


def values_of(dtype: type) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*FLOATS, np.int8, np.uint8, np.int32, np.int64, np.uint64, np.bool_]).flatmap(values_of),
    st.sampled_from(["lossless", "abs", "rel", "pointwise_rel"]),
    st.floats(1e-6, 0.5),
)
def test_whole_numbers_of_stride_one_are_the_values(x: np.ndarray, kind: str, value: float) -> None:
    bound = (Bound() if kind == "lossless" else Bound(kind, value)).resolve(x)  # pyright: ignore[reportArgumentType]
    grid = Grid.from_json(Grid.fit(x, bound).to_json())
    X, outside, negative = grid.to_integers(x)
    again = grid.to_values(X, negative)
    assert (again.dtype, again.shape, X.dtype) == (x.dtype, x.shape, np.int64)
    if grid.stride == 1:
        assert not (bound.violations(x, again) & (True if outside is None else ~outside)).any()


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", "i2", "u8"])
@pytest.mark.parametrize("kind", ["abs", "rel", "pointwise_rel"])
@pytest.mark.parametrize("value", [0.3, 1e-3])
def test_a_grid_keeps_the_bound_whatever_an_engine_does(dtype: str, kind: str, value: float) -> None:
    rng = np.random.default_rng(0)
    x = (np.abs(rng.normal(size=(100, 50))) * 1000 + 500).astype(dtype)
    bound = Bound(kind, value * (1000 if kind == "abs" else 1)).resolve(x)  # pyright: ignore[reportArgumentType]
    grid = Grid.fit(x, bound)
    X, outside, negative = grid.to_integers(x)
    assert outside is None
    assert (grid.stride > 1) == (dtype[-2] == "f" or kind != "pointwise_rel")
    half = (grid.stride - 1) // 2
    for shift in (-half, half, rng.integers(-half, half + 1, X.shape)):
        assert not bound.violations(x, grid.to_values(X + shift, negative)).any()
    if dtype[-2] == "f":  # and no bit is wasted: one unit more would break it
        assert bound.violations(x, grid.to_values(X + half + 1, negative)).mean() > 0.2


def test_signs_zeros_and_what_is_no_number_are_told_apart() -> None:
    x = np.array([-2.0, 3.0, 0.0, np.nan, -np.inf, -1e-300])
    X, outside, negative = Grid.fit(x, Bound("pointwise_rel", 0.01)).to_integers(x)
    assert outside is not None
    assert negative is not None
    assert outside.tolist() == [False, False, True, True, True, False]
    assert negative.tolist() == [True, False, False, False, False, True]
    assert X[1] == X[2] == X[3] == X[4]


def test_the_bound_is_judged_exactly() -> None:
    x = np.array([1.0, 1.0, 0.0, np.inf, np.nan, -0.0, 1e308])
    again = np.array([1.0 + 2.0**-52, 1.0 - 2.0**-53, 5e-324, np.inf, np.nan, 0.0, -1e308])
    assert Bound("abs", 2.0**-53).violations(x, again).tolist() == [True, False, False, False, False, False, True]
    tiny = np.array([1.0, 1.0]), np.array([2.0**-60, 0.0])
    assert Bound("abs", 1 - 2.0**-60).violations(*tiny).tolist() == [False, False]  # 1 - 2^-60 is 1.0 as a float
    beyond = np.array([1.0]), np.array([-(2.0**-60)])
    assert Bound("abs", 1.0).violations(*beyond).tolist() == [True]  # the subtraction rounds to the bound itself
    whole = np.array([2**63, 0, 7], np.uint64), np.array([2**63 + 2, 2, 9], np.uint64)
    assert Bound("abs", 2.5).violations(*whole).tolist() == [False] * 3
    assert Bound("abs", 1.5).violations(*whole).tolist() == [True] * 3


@pytest.mark.parametrize(("denominator", "dtype"), [(100, "f8"), (1000, "f4"), (255, "f4"), (1, "f8"), (64, "f4")])
def test_floats_that_are_quotients_are_found_out(denominator: int, dtype: str) -> None:
    X = np.random.default_rng(0).integers(-5000, 90_000, 5000)
    x = (X / denominator).astype(dtype)
    grid = Grid.fit(x, Bound())
    assert (grid.kind, grid.denominator) == ("quotients", denominator)
    np.testing.assert_array_equal(grid.to_integers(x).X, X)


def test_floats_that_are_none_keep_their_bits_and_their_order() -> None:
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    grid = Grid.fit(x, Bound())
    X = grid.to_integers(x).X
    assert grid.kind == "patterns"
    np.testing.assert_array_equal(np.argsort(X, kind="stable"), np.argsort(x, kind="stable"))


def test_a_bound_that_makes_no_sense_is_refused() -> None:
    for kind, value in (("abs", 0), ("abs", -1.0), ("abs", np.inf), ("rel", 1.5), ("pointwise_rel", np.nan)):
        with pytest.raises(SettingError, match=f"{kind}="):
            Bound(kind, value)
    with pytest.raises(DataError, match="damaged"):
        Grid.from_json({"dtype": "<f4", "kind": "linear", "delta": -1.0})
