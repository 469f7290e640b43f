"""A series is seen through windows, and averaging the windows gives it back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from isthmus.data import Series, codec_from, learn
from isthmus.data.series import average
from isthmus.errors import DataError


def values(points=50, channels=2):
    return np.random.default_rng(0).normal(5, 3, (points, channels)).cumsum(0)


def test_windows_decode_to_the_slices_of_the_series():
    X = values()
    codec = learn(Series(X, length=8, step=3))
    x, observed = codec.encode(Series(X, length=8, step=3)).take(slice(None))
    assert observed is None
    assert codec.layout.shape == (8, 2)
    back = codec.decode(x.numpy())
    np.testing.assert_allclose(back, [X[i : i + 8] for i in range(0, 43, 3)], rtol=1e-5)


def test_each_channel_is_standardised():
    X = values()
    x = learn(Series(X, length=1)).encode(Series(X, length=1)).take(slice(None))[0][:, 0]
    torch.testing.assert_close(x.mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(2))


@pytest.mark.parametrize("step", [1, 3, 8])
def test_averaging_untouched_windows_gives_the_series_back(step):
    X = values()
    codec = learn(Series(X, length=8, step=step))
    windows = codec.decode(codec.encode(X).take(slice(None))[0].numpy())
    folded = average(windows, len(X), step)
    covered = (len(windows) - 1) * step + 8
    np.testing.assert_allclose(folded[:covered], X[:covered], rtol=1e-5)
    assert np.isnan(folded[covered:]).all()


def test_windows_are_views_of_one_series():
    X = values().astype(np.float32)
    rows = learn(Series(X, length=8)).encode(X)
    assert rows._windows.untyped_storage().nbytes() == X.nbytes  # pyright: ignore[reportAttributeAccessIssue]


def test_one_channel_may_be_a_plain_vector_and_a_table_may_be_a_series():
    assert learn(Series(values()[:, 0], length=8)).layout.shape == (8, 1)
    table = pd.DataFrame(values(), columns=["a", "b"])
    table["when"] = pd.date_range("2020-01-01", periods=50)
    codec = learn(Series(table, length=8))
    assert codec.layout.shape == (8, 2)
    assert "'when'" in codec.notes[0]


def test_a_gap_in_a_series_is_a_gap_in_every_window_that_covers_it():
    X = values()
    X[10, 1] = np.nan
    _, observed = learn(Series(X, length=4)).encode(X).take(slice(None))
    assert observed is not None
    assert int((~observed).sum()) == 4


def test_windows_may_be_encoded_directly():
    X = values()
    codec = learn(Series(X, length=5))
    cut = np.stack([X[i : i + 5] for i in range(46)])
    assert torch.equal(codec.encode(cut).take(slice(None))[0], codec.encode(X).take(slice(None))[0])


@pytest.mark.parametrize(
    ("series", "message"),
    [
        (Series(values(5), length=8), "5 points, fewer than one window of length=8"),
        (Series(np.full(9, np.inf), length=2), "infinity"),
        (Series(np.zeros((3, 3, 3)), length=2), "shape"),
    ],
)
def test_what_cannot_be_cut_is_refused(series, message):
    with pytest.raises(DataError, match=message):
        learn(series)


@pytest.mark.parametrize("settings", [{"length": 0}, {"step": 0}, {"length": -4}])
def test_a_window_of_nothing_is_refused(settings):
    with pytest.raises(DataError, match="both must be at least 1"):
        Series(values(), **settings)


def test_other_windows_than_learned_are_refused():
    codec = learn(Series(values(), length=8))
    with pytest.raises(DataError, match="use length=8"):
        codec.encode(Series(values(), length=9))
    with pytest.raises(DataError, match="3 channels"):
        codec.encode(values(channels=3))
    with pytest.raises(DataError, match="windows of 8 points"):
        codec.encode(np.zeros((2, 7, 2)))


def test_too_many_windows_for_the_series_are_refused():
    with pytest.raises(DataError, match="beyond total=3"):
        average(np.zeros((3, 2, 1)), 3)


def test_a_rebuilt_codec_behaves_the_same():
    codec = learn(Series(values(), length=8, step=2))
    again = codec_from(json.loads(json.dumps(codec.to_json())), codec.arrays())
    x = codec.encode(values()).take(slice(None))[0]
    assert torch.equal(again.encode(values()).take(slice(None))[0], x)
    np.testing.assert_array_equal(again.decode(x.numpy()), codec.decode(x.numpy()))
