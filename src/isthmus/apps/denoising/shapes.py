"""Pictures in whatever container they come, as arrays (c, h, w), and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from isthmus.data.containers import Images, channels_first, guess_axes, is_table
from isthmus.errors import DataError


def are_pictures(X: Any) -> bool:
    """Are these pictures: ``Images``, an array of three or four axes, or a list of arrays of two or three?"""
    if isinstance(X, Images) or getattr(X, "ndim", 0) in (3, 4):
        return True
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(getattr(each, "ndim", 0) in (2, 3) for each in X)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures taken out of their container."""

    container: Any
    pixels: list[np.ndarray]
    """Each (c, h, w), of the type it came in."""
    axes: list[str]
    """ "nhw", "nchw" or "nhwc": how each lay in its container."""

    @classmethod
    def of(cls, X: Any, alone: bool = False) -> Gallery:
        """Take pictures out of ``X``; ``alone``: an array (h, w) or (h, w, 3) is one picture."""
        if is_table(X) or not (are_pictures(X) or (alone and getattr(X, "ndim", 0) == 2)):
            raise DataError(
                f"pictures are Images, an array (n, h, w) or (n, c, h, w), or a list of arrays (h, w), not {_what(X)}; "
                "reshape them."
            )
        if isinstance(X, Images):
            return cls(X, list(X.pixels), ["nchw"] * len(X))
        if alone and is_one(X):
            array = _numpy(X)
            axes = "nhw" if array.ndim == 2 else "nhwc"
            return cls(X, [channels_first(array[None], axes)[0][0]], [axes])
        if isinstance(X, Sequence):
            each = [_numpy(x)[None] for x in X]
            axes = [guess_axes(x.shape)[0] for x in each]
            return cls(X, [channels_first(x, a)[0][0] for x, a in zip(each, axes, strict=True)], axes)
        array = _numpy(X)
        axes = guess_axes(array.shape)[0]
        pixels, _ = channels_first(array, axes)
        if not len(pixels):
            raise DataError("there is no picture in the array; give at least one.")
        return cls(X, list(pixels), [axes] * len(pixels))

    def back(self, pixels: list[np.ndarray]) -> Any:
        """Return pictures (c, h, w), of the type they came in, in the container of these."""
        if isinstance(self.container, Images):
            return replace(self.container, pixels=np.stack(pixels))
        turned = [_turned(x, axes) for x, axes in zip(pixels, self.axes, strict=True)]
        if isinstance(self.container, Sequence):
            given = zip(turned, self.container, strict=True)
            return [torch.from_numpy(x) if isinstance(old, torch.Tensor) else x for x, old in given]
        array = turned[0] if is_one(self.container) and len(turned) == 1 else np.stack(turned)
        array = array.reshape(tuple(self.container.shape))
        return torch.from_numpy(array) if isinstance(self.container, torch.Tensor) else array


def is_one(X: Any) -> bool:
    """Is the array one picture: (h, w), or (h, w, 3 or 4)?"""
    shape = getattr(X, "shape", ())
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (3, 4))


def as_type(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return numbers in ``dtype``; whole ones are rounded and kept in its range."""
    if dtype.kind == "f":
        return x.astype(dtype)
    if dtype.kind == "b":
        return x > 0.5
    ends = np.iinfo(dtype)
    return np.clip(np.rint(x), ends.min, ends.max).astype(dtype)


def _numpy(X: Any) -> np.ndarray:
    return X.detach().cpu().numpy() if isinstance(X, torch.Tensor) else np.asarray(X)


def _turned(x: np.ndarray, axes: str) -> np.ndarray:
    if axes == "nhw":
        return x[0]
    return np.ascontiguousarray(np.moveaxis(x, 0, -1)) if axes == "nhwc" else x


def _what(X: Any) -> str:
    shape = getattr(X, "shape", None)
    return f"a {type(X).__name__}" + ("" if shape is None else f" of the shape {tuple(shape)}")
