"""Plain arrays of numbers: numpy, torch and scipy sparse matrices (n, d)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..layout import Layout
from . import memory
from .rows import DenseRows, Rows, ScaledRows, SparseRows
from .scaling import Scaling, first_infinite, guard, learn_scaling, resolve, scaled

FORMAT = 1


@dataclass(frozen=True, eq=False)
class ArrayCodec:
    """x = (X - offset) / factor for arrays (n, d); NaN is a gap; what was sparse comes back as a numpy array."""

    scaling: Scaling
    width: int
    dtype: np.dtype
    family: str
    """ "numpy", "torch" or "sparse": the container that decode returns (numpy for "sparse")."""
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "array"

    @property
    def layout(self) -> Layout:
        return Layout((self.width,))

    @property
    def feature_names(self) -> list[str] | None:
        return None

    def encode(self, X: Any) -> Rows:
        if is_sparse(X):
            return self._encode_sparse(X)
        matrix = self._matrix(X)
        _refuse_infinite(matrix)
        memory.require(len(matrix), matrix.shape[1])
        return DenseRows(*scaled(matrix, self.scaling))

    def view(self, X: Any) -> Rows:
        return self.encode(X) if is_sparse(X) else ScaledRows(self._matrix(X), self.scaling, _refuse_infinite)

    def decode(self, x: np.ndarray) -> Any:
        return in_family(self.scaling.decode(np.asarray(x), self.dtype), self.family)

    def decode_as(self, x: np.ndarray, template: Any) -> Any:
        return in_family(self.scaling.decode(np.asarray(x), self.dtype), family_of(template))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": FORMAT,
            "width": self.width,
            "dtype": self.dtype.str,
            "family": self.family,
            "notes": self.notes,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return self.scaling._asdict()

    def _matrix(self, X: Any) -> np.ndarray:
        matrix = as_numbers(X)
        _require_matrix(matrix)
        self._require_width(matrix.shape[1])
        return matrix

    def _encode_sparse(self, X: Any) -> Rows:
        matrix = _checked_sparse(X)
        self._require_width(matrix.shape[1])
        if np.isnan(self.scaling.offset).any():
            raise DataError("the training data had columns without any number, which a sparse matrix cannot say.")
        return SparseRows(matrix, self.scaling.offset, self.scaling.factor)

    def _require_width(self, width: int) -> None:
        if width != self.width:
            raise DataError(
                f"X has {width} features, but the model is expecting {self.width} features as input; "
                f"give it the {self.width} columns it was trained on."
            )


def learn_array(X: Any, scale: str = "auto") -> ArrayCodec:
    """Learn the codec of an array (n, d); "auto" centres each column and divides everything by one scale."""
    resolved = resolve(scale, "common")
    if is_sparse(X):
        matrix = _checked_sparse(X)
        return ArrayCodec(_sparse_scaling(matrix, resolved), matrix.shape[1], np.dtype(matrix.dtype), "sparse")
    matrix = as_numbers(X)
    _require_matrix(matrix)
    _refuse_infinite(matrix)
    memory.require(len(matrix), matrix.shape[1])
    scaling = learn_scaling(matrix, resolved)
    notes = [f"column {j} holds no number at all; it comes back as gaps" for j in _never_seen(scaling)]
    return ArrayCodec(scaling, matrix.shape[1], matrix.dtype, family_of(X), notes)


def array_from(state: dict[str, Any], arrays: dict[str, np.ndarray]) -> ArrayCodec:
    """Rebuild an ArrayCodec from what to_json and arrays gave."""
    scaling = Scaling(arrays["offset"], arrays["factor"])
    return ArrayCodec(scaling, state["width"], np.dtype(state["dtype"]), state["family"], list(state["notes"]))


def as_numbers(X: Any) -> np.ndarray:
    """Return X as a numpy array of real numbers or booleans, without a copy where possible."""
    if is_tensor(X):
        X = X.detach().cpu()
        X = X.float() if str(X.dtype) == "torch.bfloat16" else X  # numpy has no bfloat16
    try:
        array = np.asarray(X)
    except ValueError as error:
        raise DataError(f"the rows of X have different lengths ({error}); give every row as many numbers.") from error
    if array.dtype.kind == "c":
        raise DataError("Complex data not supported; give real and imaginary parts as columns of their own.")
    if array.dtype.kind in "OUS":
        array = _numbers_in(array)
    if array.dtype.kind not in "biuf":
        raise DataError(f"X holds {array.dtype} values, not numbers; put them into a DataFrame, where dates are known.")
    return array


def is_tensor(X: Any) -> bool:
    """Say whether X is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(X, torch.Tensor)


def is_sparse(X: Any) -> bool:
    """Say whether X is a scipy sparse matrix or array, without importing scipy."""
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and sparse.issparse(X)


def family_of(X: Any) -> str:
    """Return which kind of array X is: "torch", "sparse" or "numpy"."""
    if is_tensor(X):
        return "torch"
    return "sparse" if is_sparse(X) else "numpy"


def in_family(values: np.ndarray, family: str) -> Any:
    """Return the array as a torch tensor where that was the family, else as it is."""
    if family != "torch":
        return values
    import torch  # only for those who gave a tensor

    return torch.from_numpy(values)


def _numbers_in(array: np.ndarray) -> np.ndarray:
    """Convert text or Python objects to float64, or name the first cell that is not a number."""
    try:
        return array.astype(np.float64)
    except (ValueError, TypeError) as error:
        place, value = next((place, value) for place, value in np.ndenumerate(array) if not _is_number(value))
        row, *rest = place
        column = f", column {rest[0]}" if rest else ""
        raise DataError(
            f"row {row}{column} of X holds {value!r}, which is not a number; put mixed columns into a DataFrame."
        ) from error


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True


def _require_matrix(X: np.ndarray) -> None:
    if X.ndim != 2:
        raise DataError(
            f"Expected 2D array, got {X.ndim}D array instead (shape {X.shape}). Reshape your data: "
            "X.reshape(-1, 1) for one column, X.reshape(1, -1) for one row."
        )
    _require_some(X.shape)


def _require_some(shape: tuple[int, ...]) -> None:
    if shape[0] == 0:
        raise DataError(f"Found array with 0 sample(s) (shape={shape}) while a minimum of 1 is required.")
    if shape[1] == 0:
        raise DataError(f"Found array with 0 feature(s) (shape={shape}) while a minimum of 1 is required.")


def _refuse_infinite(X: np.ndarray) -> None:
    place = first_infinite(X)
    if place is not None:
        raise DataError(
            f"row {place[0]}, column {place[1]} of X holds {X[place]} (infinity); "
            "replace it by a number, or by NaN to call it a gap."
        )


def _checked_sparse(X: Any) -> Any:
    """Return X as CSR with finite float or integer numbers."""
    if X.dtype.kind == "c":
        raise DataError("Complex data not supported; give real and imaginary parts as columns of their own.")
    if X.ndim != 2:
        raise DataError(f"Expected 2D array, got {X.ndim}D array instead (shape {X.shape}). Reshape your data.")
    matrix = X.tocsr()
    _require_some(matrix.shape)
    bad = np.flatnonzero(~np.isfinite(matrix.data)) if matrix.data.dtype.kind == "f" else np.empty(0, int)
    if len(bad):
        row = int(np.searchsorted(matrix.indptr, bad[0], side="right")) - 1
        raise DataError(
            f"row {row}, column {matrix.indices[bad[0]]} of the sparse matrix holds {matrix.data[bad[0]]}; "
            "sparse data must be finite: drop the entry or convert to a dense array, where NaN is a gap."
        )
    return matrix


def _sparse_scaling(matrix: Any, scale: str) -> Scaling:
    """Learn offset and factor of a CSR matrix without making it dense; Var X = E X^2 - (E X)^2."""
    rows, width = matrix.shape
    if scale == "none":
        return Scaling(np.zeros(width), np.array(1.0))
    values = matrix.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if scale == "range":
        return Scaling(np.full(width, low), guard(high - low, max(abs(low), abs(high))))
    mean = np.asarray(values.sum(axis=0)).ravel() / rows
    squares = np.asarray(values.multiply(values).sum(axis=0)).ravel() / rows
    # The difference of two rounded numbers: what is below their rounding is no variance.
    variance = np.where(squares - mean**2 > 1e-12 * squares, squares - mean**2, 0.0)
    if scale == "common":
        return Scaling(mean, guard(np.sqrt(variance.mean()), max(abs(low), abs(high))))
    return Scaling(mean, guard(np.sqrt(variance), np.abs(mean)))


def _never_seen(scaling: Scaling) -> list[int]:
    return np.flatnonzero(np.isnan(scaling.offset)).tolist()
