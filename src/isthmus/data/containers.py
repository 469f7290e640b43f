"""The two containers that no other library has: pictures with their names, and a long series with its window."""

# Light on purpose (numpy alone): reading and writing files needs them long before torch is wanted.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError

_CHANNELS = (1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Images:
    """Pictures as files hold them: ``pixels`` (n, c, h, w) uint8 and one name for each."""

    pixels: np.ndarray
    names: list[str]
    notes: list[str] = field(default_factory=list)
    """What was done on reading so that all have one size and one colour mode."""

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, eq=False)
class Series:
    """One long series: ``values`` (T, channels), (T,) or a numeric DataFrame, to be seen through windows.

    >>> len(Series([1.0, 2.0, 3.0, 4.0], length=2, step=1))
    3
    """

    values: Any
    length: int = 96
    step: int = 1

    def __post_init__(self) -> None:
        if self.length < 1 or self.step < 1:
            raise DataError(f"Series(length={self.length}, step={self.step}): both must be at least 1.")

    def __len__(self) -> int:
        """The number of windows."""
        return max(0, (len(self.values) - self.length) // self.step + 1)


def is_table(X: Any) -> bool:
    """Say whether X is a table of a family narwhals knows; imports none of them."""
    if isinstance(X, np.ndarray):
        return False
    import narwhals as nw  # an array is known without it

    return nw.dependencies.is_into_dataframe(X) or nw.dependencies.is_polars_lazyframe(X)


def guess_axes(shape: tuple[int, ...]) -> tuple[str, list[str]]:
    """Return how an array of pictures is laid out; channels are the axis of 1 to 4 next to two longer ones."""
    if len(shape) == 3:
        return "nhw", []
    if shape[-1] in _CHANNELS and (shape[1] not in _CHANNELS or shape[1] == shape[2] != shape[-1]):
        return "nhwc", [f"the array {shape} was read as (images, height, width, channels)"]
    return "nchw", []


def channels_first(array: np.ndarray, axes: str) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return a view (n, c, h, w) of the array, and (c, h, w)."""
    if array.ndim not in (3, 4):
        raise DataError(
            f"pictures must be an array (n, height, width) or (n, channels, height, width), got shape {array.shape}; "
            "reshape it."
        )
    if axes == "nhw":
        array = array[:, None]
    elif axes == "nhwc":
        array = np.moveaxis(array, -1, 1)
    _, channels, height, width = array.shape
    return array, (channels, height, width)
