"""The codec as a pair of modules: numbers in the user's units <-> scaled samples with a mask of what is observed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.data.codec import Codec
from isthmus.data.columns import Constant, LeftOut, Numeric, TwoValued
from isthmus.data.frames import is_text
from isthmus.data.scaling import Scaler
from isthmus.errors import SettingError

_FAR = 1e18
"""Where the codecs cut what is absurdly far."""


class Scaled(nn.Module):
    """x = (X - offset) / factor for arrays, images, volumes and windows; NaN is a gap. Steps and types are the codec's."""

    def __init__(self, codec: Any) -> None:
        super().__init__()
        self.axes: str = codec.axes if codec.kind == "images" else ""
        self.shape = codec.layout.shape
        self.precision = torch.float32 if np.can_cast(codec.dtype, np.float32) else torch.float64
        scaler = Scaler(codec.scaling, codec.dtype)
        known = {"offset": scaler.offset, "factor": scaler.factor, "rest": scaler.rest}
        known |= {
            "unit": torch.from_numpy(codec.scaling.factor.astype(np.float64)).to(self.precision),
            "origin": torch.from_numpy(codec.scaling.offset.astype(np.float64)).to(self.precision),
        }
        for name, values in known.items():
            self.register_buffer(name, values)
        self.offset: Tensor
        self.factor: Tensor
        self.rest: Tensor | None
        self.unit: Tensor
        self.origin: Tensor

    @property
    def sample(self) -> tuple[int, ...]:
        """The shape of one sample, as users give it."""
        if self.axes == "nhw":
            return self.shape[1:]
        return (*self.shape[1:], self.shape[0]) if self.axes == "nhwc" else self.shape

    @property
    def units(self) -> Tensor:
        """How large a scaled 1 is, for each number of a sample as users give it."""
        return self._outside(self.unit.expand(1, *self.shape))

    def encode(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """X (B, *sample) -> x (B, *shape) float32, 0 at gaps, and what is observed."""
        if self.axes == "nhw":
            X = X.unsqueeze(1)
        elif self.axes == "nhwc":
            X = X.permute(0, 3, 1, 2)
        x = (X.to(self.offset.dtype) - self.offset).to(self.factor.dtype)
        x = (x if self.rest is None else x - self.rest) / self.factor
        return _seen(x)

    def decode(self, x: Tensor) -> Tensor:
        """x (B, *shape) -> X (B, *sample), neither rounded nor kept in the range of a type."""
        return self._outside(x.to(self.precision) * self.unit + self.origin)

    def _outside(self, X: Tensor) -> Tensor:
        if self.axes == "nhw":
            return X.squeeze(1)
        return X.permute(0, 2, 3, 1) if self.axes == "nhwc" else X


class Columns(nn.Module):
    """A table of numbers as an array (B, columns), in the order of its columns, with NaN where cells are missing."""

    def __init__(self, codec: Any) -> None:
        super().__init__()
        for field in codec.fields:
            _refuse_words(field)
        self.fields = codec.fields
        self.precision = torch.float64

    @property
    def sample(self) -> tuple[int, ...]:
        return (len(self.fields),)

    @property
    def units(self) -> Tensor:
        kinds = [field.column for field in self.fields]
        return torch.tensor(
            [[kind.factor if isinstance(kind, Numeric) else 1.0 for kind in kinds]], dtype=self.precision
        )

    def encode(self, X: Tensor) -> tuple[Tensor, Tensor]:
        x, observed = [], []
        for place, field in enumerate(self.fields):
            values = X[:, place : place + 1]
            scaled, seen = _column_in(field.column, values)
            if field.column.width:
                x.append(scaled)
                observed.append(seen)
            if field.gap is not None:
                x.append((~seen).to(torch.float32))
                observed.append(torch.ones_like(seen))
        return torch.cat(x, 1), torch.cat(observed, 1)

    def decode(self, x: Tensor) -> Tensor:
        columns = []
        for field in self.fields:
            scaled = x[:, field.start : field.start + 1].to(self.precision)
            values = _column_out(field.column, scaled, x[:, :1].to(self.precision))
            if field.gap is not None:
                missing = x[:, field.gap : field.gap + 1] > 0.5
                values = torch.where(missing, torch.full_like(values, torch.nan), values)
            columns.append(values)
        return torch.cat(columns, 1)


def numbers_of(codec: Codec) -> Scaled | Columns:
    """Return the codec as modules, or say which column is no number."""
    return Columns(codec) if codec.kind == "table" else Scaled(codec)


def _refuse_words(field: Any) -> None:
    column, name = field.column, field.dress.name
    is_number = isinstance(column, Numeric | TwoValued) and not is_text(column.type)
    if is_number or (isinstance(column, Constant | LeftOut) and not is_text(column.type)):
        return
    raise SettingError(
        f"column {name!r} holds {column.type} values ({column.kind.replace('_', ' ')}), and a graph takes numbers alone; "
        "export a model of the numeric columns, or use the model folder itself (isthmus serve)."
    )


def _seen(x: Tensor) -> tuple[Tensor, Tensor]:
    observed = ~torch.isnan(x)
    return torch.where(observed, x, torch.zeros_like(x)).clamp(-_FAR, _FAR).to(torch.float32), observed


def _column_in(column: Any, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the feature of a column (B, 1), and which of its cells are known."""
    if isinstance(column, LeftOut):
        return values, torch.ones_like(values, dtype=torch.bool)
    if isinstance(column, TwoValued):
        low, high = map(float, column.values)
        return (values == high).to(torch.float32), (values == low) | (values == high)
    if not isinstance(column, Numeric):
        return values, ~torch.isnan(values)
    x = (values - column.offset) / column.factor
    if column.knee is not None:
        size = x.abs()
        far = column.knee + torch.log1p((size - column.knee).clamp(min=0))
        x = x.sign() * torch.where(size > column.knee, far, size)
    return _seen(x)


def _column_out(column: Any, x: Tensor, like: Tensor) -> Tensor:
    """Return a column in the user's units, (B, 1), not rounded."""
    if isinstance(column, LeftOut):
        return torch.full_like(like, torch.nan)
    if isinstance(column, Constant):
        return torch.full_like(like, float(column.value))
    if isinstance(column, TwoValued):
        low, high = map(float, column.values)
        return torch.where(x > 0.5, torch.full_like(x, high), torch.full_like(x, low))
    if column.knee is not None:
        size = x.abs()
        far = column.knee + torch.expm1((size - column.knee).clamp(min=0, max=700.0))
        x = x.sign() * torch.where(size > column.knee, far, size)
    return x * column.factor + column.offset
