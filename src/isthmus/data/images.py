"""Pictures of one size: arrays (n, h, w), (n, c, h, w) or (n, h, w, c), and ``Images`` read from picture files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import DataError
from ..layout import Layout
from . import memory
from .arrays import as_numbers, family_of, in_family
from .containers import Images, channels_first, guess_axes
from .rows import DenseRows, Rows, ScaledRows
from .scaling import Scaling, first_infinite, learn_scaling, resolve, scaled

FORMAT = 1


@dataclass(frozen=True, eq=False)
class ImageCodec:
    """x = (X - offset) / factor for pictures, always (c, h, w) inside; NaN is a gap."""

    scaling: Scaling
    shape: tuple[int, int, int]
    axes: str
    """How the user's array is laid out: "nhw", "nchw" or "nhwc"."""
    dtype: np.dtype
    family: str
    """ "images", "numpy" or "torch"."""
    notes: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "images"

    @property
    def layout(self) -> Layout:
        return Layout(self.shape)

    @property
    def feature_names(self) -> list[str] | None:
        return None

    def encode(self, X: Any) -> Rows:
        pixels = self._fitting(X)
        memory.require(len(pixels), int(np.prod(self.shape)), "the encoded images")
        _refuse_infinite(pixels)
        return DenseRows(*scaled(pixels, self.scaling))

    def view(self, X: Any) -> Rows:
        return ScaledRows(self._fitting(X), self.scaling, _refuse_infinite)

    def decode(self, x: np.ndarray) -> Any:
        return self._contain(x, self.family, self.axes)

    def decode_as(self, x: np.ndarray, template: Any) -> Any:
        if not isinstance(template, Images):
            axes = self.axes if self.family != "images" else self._axes_of(template)
            return self._contain(x, family_of(template), axes)
        images = self._contain(x, "images", "nchw")
        return replace(images, names=list(template.names)) if len(template) == len(images) else images

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "format": FORMAT,
            "shape": list(self.shape),
            "axes": self.axes,
            "dtype": self.dtype.str,
            "family": self.family,
            "notes": self.notes,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return self.scaling._asdict()

    def _fitting(self, X: Any) -> np.ndarray:
        pixels, _ = channels_first(_pixels(X), self._axes_of(X))
        if pixels.shape[1:] != self.shape:
            raise DataError(
                f"the images are {_size(pixels.shape[1:])}, the model was trained on {_size(self.shape)}; "
                "resize them, or read them with size=(height, width)."
            )
        _refuse_empty(pixels)
        if isinstance(X, Images) and self.dtype.kind == "f":  # most likely from 0 to 1
            raise DataError(
                f"the model learned pixels that are {self.dtype} numbers, and a picture has whole numbers from 0 to 255; "
                "give a .npy file of such pixels as it learned from."
            )
        return pixels

    def _axes_of(self, X: Any) -> str:
        """Return the axes of X: as learned, but any other layout that fits the learned size is taken too."""
        if isinstance(X, Images):
            return "nchw"
        shape = tuple(getattr(X, "shape", np.shape(X)))
        channels, height, width = self.shape
        fits = {
            "nhw": (height, width) if channels == 1 else None,
            "nchw": self.shape,
            "nhwc": (height, width, channels),
        }
        own = self.axes if fits[self.axes] == shape[1:] else None
        return own or next(
            (axes for axes, fit in fits.items() if fit == shape[1:]), "nhw" if len(shape) == 3 else "nchw"
        )

    def _contain(self, x: np.ndarray, family: str, axes: str) -> Any:
        pixels = self.scaling.decode(np.asarray(x).reshape(-1, *self.shape), self.dtype)  # (n, c, h, w)
        if family == "images":
            if self.dtype != np.uint8:
                pixels = self._eight_bits(pixels)
            return Images(pixels, [f"image_{i + 1:05d}.png" for i in range(len(pixels))])
        if axes == "nhw":
            pixels = pixels[:, 0]
        elif axes == "nhwc":
            pixels = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
        return in_family(pixels, family)

    def _eight_bits(self, pixels: np.ndarray) -> np.ndarray:
        """Map the range learned for "range" scaling to 0..255, for pictures that must fit into a file."""
        low, span = np.min(self.scaling.offset), np.max(self.scaling.factor)
        unit = (pixels.astype(np.float64) - low) / span
        return np.clip(np.rint(255 * np.nan_to_num(unit)), 0, 255).astype(np.uint8)


def learn_images(X: Any, scale: str = "auto") -> ImageCodec:
    """Learn the codec of pictures; "auto" maps them to [0, 1].

    uint8 is divided by 255, uint16 by the largest number of as many bits as its maximum has, floats by min and max.
    """
    resolved = resolve(scale, "range")
    array = _pixels(X)
    axes, notes = ("nchw", list(X.notes)) if isinstance(X, Images) else guess_axes(array.shape)
    pixels, shape = channels_first(array, axes)
    _refuse_empty(pixels)
    memory.require(len(pixels), int(np.prod(pixels.shape[1:])), "the encoded images")
    _refuse_infinite(pixels)
    family = "images" if isinstance(X, Images) else family_of(X)
    return ImageCodec(unit_scaling(pixels, resolved), shape, axes, pixels.dtype, family, notes)


def images_from(state: dict[str, Any], arrays: dict[str, np.ndarray]) -> ImageCodec:
    """Rebuild an ImageCodec from what to_json and arrays gave."""
    channels, height, width = state["shape"]
    return ImageCodec(
        Scaling(arrays["offset"], arrays["factor"]),
        (channels, height, width),
        state["axes"],
        np.dtype(state["dtype"]),
        state["family"],
        list(state["notes"]),
    )


def _pixels(X: Any) -> np.ndarray:
    return X.pixels if isinstance(X, Images) else as_numbers(X)


def _refuse_empty(pixels: np.ndarray) -> None:
    if 0 in pixels.shape:
        raise DataError(f"the array of pictures has shape {pixels.shape}: nothing is in it; give at least one picture.")


def _refuse_infinite(pixels: np.ndarray) -> None:
    place = first_infinite(pixels)
    if place is not None:
        image, channel, row, column = place
        raise DataError(
            f"image {image} holds infinity at channel {channel}, row {row}, column {column}; "
            "replace it by a number, or by NaN to call it a gap."
        )


def unit_scaling(pixels: np.ndarray, scale: Any) -> Scaling:
    """Return the scaling of pixels or voxels; "range" takes it from the number type where that says the full range."""
    deep = float(2 ** int(pixels.max()).bit_length() - 1) or 1.0 if pixels.dtype.name == "uint16" else None
    fixed = {"uint8": 255.0, "uint16": deep, "bool": 1.0}.get(pixels.dtype.name)
    if scale == "range" and fixed is not None:
        return Scaling(np.array(0.0), np.array(fixed))
    return learn_scaling(pixels, scale)


def _size(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{height} x {width} pixels with {channels} channel{'s' if channels > 1 else ''}"
