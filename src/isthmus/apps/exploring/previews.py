"""How a sample is shown: a small picture, a curve, or its cells by name."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np

from isthmus.apps.displays import picture
from isthmus.apps.words import plain
from isthmus.data import Images

LARGEST_PICTURE = 160
"""Pictures are shrunk to so many pixels a side."""
MOST_CELLS = 16
"""Rows of an array with more columns than these are shown as a curve."""


@dataclass(frozen=True)
class Preview:
    """One sample: exactly one of the three is there."""

    pixels: np.ndarray | None = None
    """uint8, (h, w) or (h, w, 3)"""
    curve: np.ndarray | None = None
    """(channels, length) in the units of the data; NaN at gaps."""
    cells: tuple[tuple[str, Any], ...] = ()
    """Name and value of each column; None is a gap."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data; pixels row by row in base64."""
        if self.pixels is not None:
            height, width = self.pixels.shape[:2]
            channels = 1 if self.pixels.ndim == 2 else 3
            data = base64.b64encode(np.ascontiguousarray(self.pixels).tobytes()).decode()
            return {"image": {"width": width, "height": height, "channels": channels, "pixels": data}}
        if self.curve is not None:
            return {"curve": plain(self.curve)}
        return {"cells": [[name, plain(value)] for name, value in self.cells]}


def previews(ae: Any, X: Any) -> list[Preview]:
    """Return how the samples of ``X`` are shown, which are in the form of the data of ``ae``."""
    codec = ae.codec_
    if codec.kind in ("images", "volumes"):
        x = codec.view(X).take(slice(None))[0].numpy()  # (n, c, [d,] h, w)
        return [Preview(pixels=_small(picture(each if each.ndim == 3 else each[:, each.shape[1] // 2]))) for each in x]
    if codec.kind == "table":
        return [Preview(cells=cells) for cells in table_cells(X)]
    if codec.kind == "series":
        windows = np.asarray(X, np.float64)
        return [Preview(curve=window.reshape(len(window), -1).T) for window in windows]
    matrix = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
    if matrix.shape[1] > MOST_CELLS:
        return [Preview(curve=row[None].astype(np.float64)) for row in matrix]
    return [Preview(cells=tuple((f"column {i}", value) for i, value in enumerate(row))) for row in matrix.tolist()]


def table_cells(X: Any) -> list[tuple[tuple[str, Any], ...]]:
    """Return the cells of each row of a table, as name and plain value; None is a gap."""
    import narwhals as nw

    frame = nw.from_native(X, eager_only=True)
    columns = []
    for name in frame.columns:
        gaps = frame[name].is_null().to_list()
        columns.append([None if gap else value for value, gap in zip(frame[name].to_list(), gaps, strict=True)])
    names = [str(name) for name in frame.columns]
    return [tuple(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def image_label(X: Any, row: int) -> str | None:
    """Return the name of the file of a picture; None where there is none."""
    return X.names[row] if isinstance(X, Images) else None


def _small(pixels: np.ndarray) -> np.ndarray:
    if max(pixels.shape[:2]) <= LARGEST_PICTURE:
        return pixels
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    return np.asarray(image)
