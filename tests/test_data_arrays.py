"""Arrays go in, float32 samples come out, and decode is the way back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import sparse

from isthmus.data import codec_from, learn, memory
from isthmus.errors import DataError, SettingError

SCALES = ("auto", "common", "columns", "range", "none")


def encoded(codec, X):
    return codec.encode(X).take(slice(None))


def round_trip(X, scale="auto"):
    codec = learn(X, scale=scale)
    return codec.decode(encoded(codec, X)[0].numpy())


def numbers(rows=40, columns=5, dtype="f8"):
    return (np.random.default_rng(0).normal(3, 10, (rows, columns))).astype(dtype)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", ["f8", "f4", "f2"])
def test_floats_come_back_in_their_own_dtype(scale, dtype):
    X = numbers(dtype=dtype)
    back = round_trip(X, scale)
    assert back.dtype == X.dtype
    np.testing.assert_allclose(back, X, rtol=1e-5 if dtype != "f2" else 2e-3, atol=1e-4)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("dtype", ["u1", "i1", "i4", "i8", "u8", "?"])
def test_integers_and_booleans_come_back_exactly(scale, dtype):
    X = np.random.default_rng(0).integers(0, 100, (40, 5)).astype(dtype)
    back = round_trip(X, scale)
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


def test_expected_values_beyond_a_byte_are_clipped():
    codec = learn(np.array([[0, 255], [10, 20]], np.uint8), scale="none")
    assert codec.decode(np.array([[-3.0, 300.0]], np.float32)).tolist() == [[0, 255]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_tensors_come_back_as_tensors(dtype):
    X = (torch.rand(20, 3, generator=torch.Generator().manual_seed(0)) * 50).to(dtype)
    back = round_trip(X)
    assert isinstance(back, torch.Tensor)
    assert back.dtype == dtype
    torch.testing.assert_close(back, X, rtol=1e-5, atol=1e-4)


def test_the_common_scale_keeps_the_geometry_of_pca():
    X = numbers() * np.array([1, 2, 3, 4, 5])
    x = encoded(learn(X), X)[0].numpy().astype(np.float64)
    centred = X - X.mean(0)
    ratio = np.linalg.norm(centred) / np.linalg.norm(x)
    np.testing.assert_allclose(x * ratio, centred, atol=1e-4)
    assert np.isclose(x.var(0).mean(), 1.0)


def test_columns_are_standardised_one_by_one():
    x = encoded(learn(numbers(), scale="columns"), numbers())[0].numpy()
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-6)


def test_range_spans_zero_to_one_over_the_whole_array():
    x = encoded(learn(numbers(), scale="range"), numbers())[0]
    assert x.min() == 0
    assert x.max() == 1


def test_a_constant_array_is_encoded_as_zeros():
    X = np.full((7, 2), 0.1)
    codec = learn(X)
    assert torch.equal(encoded(codec, X)[0], torch.zeros(7, 2))
    np.testing.assert_array_equal(codec.decode(np.zeros((7, 2), np.float32)), X)


def test_a_nan_is_a_gap_and_does_not_move_the_mean():
    X = numbers()
    X[3, 1] = np.nan
    codec = learn(X)
    x, observed = encoded(codec, X)
    assert observed is not None
    assert (~observed).nonzero().tolist() == [[3, 1]]
    assert x[3, 1] == 0
    np.testing.assert_allclose(codec.decode(np.zeros((1, 5), np.float32))[0], np.nanmean(X, 0), atol=1e-6)


def test_nothing_is_observed_apart_when_nothing_is_missing():
    assert encoded(learn(numbers()), numbers())[1] is None


def test_a_column_without_any_number_comes_back_as_gaps():
    X = numbers()
    X[:, 2] = np.nan
    codec = learn(X)
    x, observed = encoded(codec, X)
    assert observed is not None
    assert not observed[:, 2].any()
    assert (x[:, 2] == 0).all()
    assert np.isnan(codec.decode(x.numpy())[:, 2]).all()
    assert "column 2 " in codec.notes[0]


def test_infinity_is_refused_with_its_row_and_column():
    X = numbers()
    X[4, 2] = np.inf
    with pytest.raises(DataError, match="row 4, column 2"):
        learn(X)
    with pytest.raises(DataError, match="row 4, column 2"):
        learn(numbers()).encode(X)


@pytest.mark.parametrize("scale", SCALES)
def test_a_sparse_matrix_is_encoded_like_its_dense_twin(scale):
    X = sparse.random_array((60, 9), density=0.2, rng=np.random.default_rng(0)).tocoo()
    some = torch.tensor([5, 0, 59])
    twin = learn(X.toarray(), scale=scale).encode(X.toarray()).take(some)[0]
    for kind in (sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.coo_array):
        codec = learn(kind(X), scale=scale)
        torch.testing.assert_close(codec.encode(kind(X)).take(some)[0], twin, rtol=1e-4, atol=1e-5)
        assert isinstance(codec.decode(twin.numpy()), np.ndarray)


def test_a_sparse_matrix_must_be_finite():
    X = sparse.csr_array(np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(DataError, match="row 1, column 0"):
        learn(X)


def test_another_number_of_columns_is_refused():
    with pytest.raises(DataError, match="X has 3 features, but the model is expecting 5 features"):
        learn(numbers()).encode(numbers(columns=3))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros(3), "Reshape your data"),
        (np.zeros((0, 3)), "0 sample"),
        (np.zeros((3, 0)), "0 feature"),
        (np.zeros((3, 2), complex), "Complex data not supported"),
        (np.full((3, 2), np.nan), "every number"),
        (np.array([[1, "two"], [3, 4]], object), "row 0, column 1 of X holds 'two'"),
        (np.array(["2020-01-01"], "M8[D]").reshape(1, 1), "datetime64"),
        ([[1, 2], [3]], "different lengths"),
    ],
)
def test_what_is_no_matrix_of_numbers_is_refused(X, message):
    with pytest.raises(DataError, match=message):
        learn(X)


def test_an_unknown_scale_is_refused():
    with pytest.raises(SettingError, match="'weird'"):
        learn(numbers(), scale="weird")


def test_lists_of_numbers_are_arrays():
    assert learn([[1, 2], [3, 5]]).kind == "array"


@pytest.mark.parametrize("scale", SCALES)
def test_a_rebuilt_codec_behaves_the_same(scale):
    X = numbers()
    codec = learn(X, scale=scale)
    again = codec_from(json.loads(json.dumps(codec.to_json())), codec.arrays())
    assert torch.equal(encoded(again, X)[0], encoded(codec, X)[0])
    np.testing.assert_array_equal(again.decode(encoded(codec, X)[0].numpy()), round_trip(X, scale))


def test_a_newer_codec_is_refused_by_its_number():
    with pytest.raises(DataError, match="format 99"):
        codec_from({**learn(numbers()).to_json(), "format": 99}, {})


def test_more_than_half_of_the_memory_is_refused_before_it_is_taken(monkeypatch):
    codec = learn(numbers())
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    for action in (lambda: learn(numbers()), lambda: codec.encode(numbers())):
        with pytest.raises(DataError, match="use at most 25 rows"):
            action()


def test_large_offsets_do_not_cost_precision():
    X = 1e9 + np.arange(12.0).reshape(6, 2)
    np.testing.assert_allclose(round_trip(X), X, rtol=0, atol=1e-5)


def test_absurdly_far_values_stay_finite():
    x = encoded(learn(numbers()), np.full((1, 5), 1e300))[0]
    assert torch.isfinite(x.square()).all()
