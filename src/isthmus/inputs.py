"""What the estimator accepts, by scikit-learn's rules where they apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import (
    _check_feature_names,  # pyright: ignore[reportPrivateUsage] - tables bypass check_array, not the naming rules
    check_array,
    validate_data,
)
from torch import Tensor

from isthmus import data
from isthmus.chunks import chunk_rows, chunks
from isthmus.data import Images, Series
from isthmus.data.codec import Codec
from isthmus.data.containers import is_table
from isthmus.data.fingerprint import fingerprint
from isthmus.data.rows import Rows
from isthmus.errors import DataError
from isthmus.layout import Layout


class Learned(NamedTuple):
    """What is learned of rows before any model is: how to write them as numbers, and the numbers."""

    codec: Codec
    rows: Rows
    fingerprint: str


def learn_rows(X: Any, scale: str) -> Learned:
    """Learn the codec of ``X`` and encode it."""
    codec = data.learn(X, scale=scale)
    rows = codec.encode(X)
    return Learned(codec, rows, fingerprint(rows))


def check_input(estimator: Any, X: Any, reset: bool) -> Any:
    """Check ``X`` and remember (``reset``) or compare its width and column names; return it in a form the codec knows.

    Gaps (NaN) pass, infinities do not. Two-dimensional arrays follow scikit-learn's checks to the letter; tables, images
    and series are checked by their codec.
    """
    if isinstance(X, (str, Path)):
        raise DataError(f"{str(X)!r} is a path, not data; read it first: isthmus.read({str(X)!r}).")
    if hasattr(X, "collect") and hasattr(X, "collect_schema"):
        raise DataError("a lazy frame holds no rows yet; call .collect() on it first.")
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        X = (X.float() if X.dtype == torch.bfloat16 else X).numpy()
    if isinstance(X, (Images, Series)) or getattr(X, "ndim", 2) in (3, 4, 5):
        return _check_samples(estimator, X, reset)
    if not reset and estimator.codec_.kind == "series":
        return X
    if is_table(X):
        return _check_table(estimator, X, reset)
    codec = None if reset else estimator.codec_
    if codec is not None and codec.kind in ("images", "volumes"):
        raise DataError(
            f"The model expects {codec.kind} of the shape {codec.layout.shape}, but got an array of {np.shape(X)}."
        )
    return validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype="numeric",
        ensure_all_finite="allow-nan" if reset else False,  # the codec refuses infinities as it comes across them
        ensure_min_samples=2 if reset else 1,
    )


def _check_samples(estimator: Any, X: Any, reset: bool) -> Any:
    if hasattr(X, "ndim"):
        X = check_array(X, dtype="numeric", allow_nd=True, ensure_all_finite="allow-nan" if reset else False)  # pyright: ignore[reportArgumentType] - typed by its default
        if reset and len(X) < 2:
            raise DataError("The data holds 1 sample; at least 2 are needed to learn from.")
    if reset:
        values = X if hasattr(X, "ndim") else X.pixels if isinstance(X, Images) else np.asarray(X.values)
        estimator.n_features_in_ = int(np.prod(np.shape(values)[1:]))
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    return X


def _check_table(estimator: Any, X: Any, reset: bool) -> Any:
    rows, columns = X.shape
    if rows < (2 if reset else 1):
        raise DataError(f"The table has {rows} sample(s) (shape={X.shape}); at least {2 if reset else 1} are needed.")
    if reset:
        estimator.n_features_in_ = columns
    _check_feature_names(estimator, X, reset=reset)
    return X


def check_weight(sample_weight: Any, n_rows: int) -> Tensor | None:
    """Return the sample weights as float32 (n,), scaled to a mean of 1; None when every row counts the same."""
    if sample_weight is None:
        return None
    weight = np.asarray(check_array(sample_weight, ensure_2d=False, input_name="sample_weight"), np.float64)
    if weight.shape != (n_rows,):
        raise DataError(
            f"sample_weight has the shape {weight.shape}, but there are {n_rows} rows; give one number a row."
        )
    if (weight < 0).any() or not weight.any():
        raise DataError("sample_weight must not be negative, nor all zero.")
    return torch.from_numpy((weight / weight.mean()).astype(np.float32))


def weight_of(weight: Tensor | None, index: np.ndarray) -> Tensor | None:
    """Return the weights of some rows; None where they are equal, which weighs nothing."""
    if weight is None or not len(index):
        return None
    chosen = weight[torch.from_numpy(index)]
    return None if bool((chosen == chosen[0]).all()) else chosen


def check_counts(rows: Rows, layout: Layout, wanted_by: str) -> None:
    """Refuse data that counts nothing: what is observed must be whole numbers of at least 0. Gaps are 0 in ``rows``."""
    for place in chunks(len(rows), chunk_rows(layout.size)):
        x, _ = rows.take(place)
        wrong = ((x < 0) | (x != x.round())).flatten(1).nonzero()
        if len(wrong):
            row, number = wrong[0].tolist()
            owners = [f"column {b.column!r}" for b in layout.blocks if b.start <= number < b.start + b.width]
            where = owners[0] if owners else f"number {number}"
            raise DataError(
                f"{where} of row {(place.start or 0) + row} is {x.flatten(1)[row, number]:.6g}, but {wanted_by} counts events: "
                f"it takes whole numbers of at least 0. For measurements, use 'normal' or 'squared_error'."
            )
