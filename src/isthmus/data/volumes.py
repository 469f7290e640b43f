"""Volumes of one size: arrays (n, c, d, h, w)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from ..layout import Layout
from . import memory
from .arrays import as_numbers, family_of, in_family
from .images import unit_scaling
from .rows import DenseRows, Rows, ScaledRows
from .scaling import Scaling, first_infinite, resolve, scaled

FORMAT = 1


@dataclass(frozen=True, eq=False)
class VolumeCodec:
    """x = (X - offset) / factor for volumes (c, d, h, w); NaN is a gap."""

    scaling: Scaling
    shape: tuple[int, ...]
    dtype: np.dtype
    family: str
    """ "numpy" or "torch"."""
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "volumes"

    @property
    def layout(self) -> Layout:
        return Layout(self.shape)

    @property
    def feature_names(self) -> list[str] | None:
        return None

    def encode(self, X: Any) -> Rows:
        voxels = self._fitting(X)
        memory.require(len(voxels), int(np.prod(self.shape)), "the encoded volumes")
        _refuse_infinite(voxels)
        return DenseRows(*scaled(voxels, self.scaling))

    def view(self, X: Any) -> Rows:
        return ScaledRows(self._fitting(X), self.scaling, _refuse_infinite)

    def decode(self, x: np.ndarray) -> Any:
        return in_family(self.scaling.decode(np.asarray(x).reshape(-1, *self.shape), self.dtype), self.family)

    def decode_as(self, x: np.ndarray, template: Any) -> Any:
        return in_family(self.scaling.decode(np.asarray(x).reshape(-1, *self.shape), self.dtype), family_of(template))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": FORMAT,
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "family": self.family,
            "notes": self.notes,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return self.scaling._asdict()

    def _fitting(self, X: Any) -> np.ndarray:
        voxels = as_numbers(X)
        if voxels.shape[1:] != self.shape:
            raise DataError(
                f"one volume has the shape {voxels.shape[1:]}, the model was trained on {self.shape} (channels, depth, "
                f"height, width); resize them alike."
            )
        _refuse_empty(voxels)
        return voxels


def learn_volumes(X: Any, scale: str = "auto") -> VolumeCodec:
    """Learn the codec of volumes; "auto" maps them to [0, 1], as it does pictures."""
    resolved = resolve(scale, "range")
    voxels = as_numbers(X)
    _refuse_empty(voxels)
    memory.require(len(voxels), int(np.prod(voxels.shape[1:])), "the encoded volumes")
    _refuse_infinite(voxels)
    return VolumeCodec(unit_scaling(voxels, resolved), voxels.shape[1:], voxels.dtype, family_of(X))


def volumes_from(state: dict[str, Any], arrays: dict[str, np.ndarray]) -> VolumeCodec:
    """Rebuild a VolumeCodec from what to_json and arrays gave."""
    scaling = Scaling(arrays["offset"], arrays["factor"])
    return VolumeCodec(scaling, tuple(state["shape"]), np.dtype(state["dtype"]), state["family"], list(state["notes"]))


def _refuse_empty(voxels: np.ndarray) -> None:
    if 0 in voxels.shape:
        raise DataError(f"the array of volumes has shape {voxels.shape}: nothing is in it; give at least one volume.")


def _refuse_infinite(voxels: np.ndarray) -> None:
    place = first_infinite(voxels)
    if place is not None:
        raise DataError(
            f"volume {place[0]} holds infinity at (channel, depth, row, column) = {place[1:]}; replace it by a number, or by "
            f"NaN to call it a gap."
        )
