"""Rows hand out batches of encoded samples; a subset shares the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from isthmus.data.rows import DenseRows, Rows, SparseRows, WindowRows

X = np.arange(30, dtype=np.float32).reshape(10, 3)


def dense() -> Rows:
    return DenseRows(X)


def sparse_rows() -> Rows:
    return SparseRows(sparse.csr_array(X), np.zeros(3), np.array(1.0))


def windows() -> Rows:
    return WindowRows(torch.arange(12.0)[:, None], None, length=3, step=1)


@pytest.mark.parametrize("make", [dense, sparse_rows, windows])
def test_a_subset_of_a_subset_takes_the_composed_positions(make):
    rows = make()
    part = rows.subset(np.array([8, 6, 4, 2, 0])).subset(slice(1, 4))
    assert len(part) == 3
    assert part.shape == rows.shape
    expected = rows.take(torch.tensor([6, 4, 2]))[0]
    assert torch.equal(part.take(slice(None))[0], expected)
    assert torch.equal(part.take(torch.tensor([2, 0]))[0], expected[[2, 0]])


@pytest.mark.parametrize("make", [dense, sparse_rows, windows])
def test_a_slice_takes_the_same_rows_as_their_positions(make):
    rows = make()
    assert torch.equal(rows.take(slice(2, 5))[0], rows.take(torch.tensor([2, 3, 4]))[0])
    assert rows.take(slice(0, 1))[0].dtype == torch.float32


def test_a_boolean_mask_chooses_rows():
    mask = np.arange(10) % 3 == 0
    assert torch.equal(dense().subset(mask).take(slice(None))[0], torch.from_numpy(X[mask]))


def test_dense_rows_share_the_memory_they_were_given():
    rows = DenseRows(X)
    assert rows.x.data_ptr() == X.ctypes.data
    assert rows.take(slice(2, 4))[0].data_ptr() == X[2:].ctypes.data


def test_observed_travels_with_the_rows():
    observed = np.ones((10, 3), bool)
    observed[4, 1] = False
    taken = DenseRows(X, observed).subset(np.array([4, 5])).take(torch.tensor([0]))[1]
    assert taken is not None
    assert taken.tolist() == [[True, False, True]]
    assert dense().take(slice(None))[1] is None


def test_windows_of_a_series_are_its_slices():
    series = torch.arange(20.0).reshape(10, 2)
    rows = WindowRows(series, None, length=4, step=3)
    assert len(rows) == 3
    assert rows.shape == (4, 2)
    assert torch.equal(rows.take(torch.tensor([2]))[0][0], series[6:10])
