"""Picture files -> Images: one size, one colour mode, broken files skipped and named.

folder -> headers (size, mode) -> common size and channels -> pixels (n, c, h, w) uint8
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import DataError, DataWarning
from .. import memory
from ..containers import Images
from .writing import PICTURES

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_ORIENTATION = 0x0112


class Header(NamedTuple):
    """What a picture file says before its pixels are read."""

    path: Path
    size: tuple[int, int]
    """Height and width, as shown."""
    channels: int


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files in a folder and the folders in it, sorted by relative path."""
    found = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file()]
    if not found:
        raise DataError(f"the folder {str(folder)!r} holds no picture; known are {', '.join(PICTURES)}.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_pictures(folder: Path, paths: Sequence[Path], size: tuple[int, int] | None, channels: int | None) -> Images:
    """Read pictures into one array; those that cannot be read are skipped with one warning."""
    headers, broken = _headers(paths)
    if not headers:
        raise DataError(f"none of the {len(paths)} pictures in {str(folder)!r} can be read ({paths[0].name}, ..).")
    sizes = np.array([header.size for header in headers])
    height, width = size or tuple(int(side) for side in np.median(sizes, axis=0).round())
    channels = channels or max(header.channels for header in headers)
    if channels not in _MODES:
        raise DataError(f"the model was trained on {channels} channels, which no picture file has; give it an array.")
    memory.require(len(headers), channels * height * width, "the pictures")
    pixels = np.empty((len(headers), channels, height, width), np.uint8)
    names = []
    for header in headers:
        try:
            pixels[len(names)] = _pixels(header.path, (height, width), channels)
        except _BROKEN as error:
            broken.append((header.path, error))
            continue
        names.append(header.path.relative_to(folder).as_posix())
    _report(folder, broken, len(paths))
    return Images(pixels[: len(names)], names, _notes(sizes, (height, width), headers, channels))


def _headers(paths: Sequence[Path]) -> tuple[list[Header], list[tuple[Path, Exception]]]:
    headers, broken = [], []
    for path in paths:
        try:
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION) in _TURNED
                headers.append(Header(path, (width, height) if turned else (height, width), _channels(image)))
        except _BROKEN as error:
            broken.append((path, error))
    return headers, broken


def _channels(image: Image.Image) -> int:
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return 4
    return 1 if image.mode in ("1", "L", "F") or image.mode.startswith("I") else 3


def _pixels(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """Read one picture as (c, h, w) uint8, cropped around its centre to the aspect ratio and resized where needed."""
    with Image.open(path) as opened:
        image = _eight_bits(ImageOps.exif_transpose(opened)).convert(_MODES[channels])
    height, width = size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else np.moveaxis(pixels, -1, 0)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit grey to 8 bits by dividing: Pillow's own conversion would cut everything above 255."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8))


def _report(folder: Path, broken: list[tuple[Path, Exception]], total: int) -> None:
    if not broken:
        return
    if len(broken) == total:
        raise DataError(f"none of the {total} pictures in {str(folder)!r} can be read ({broken[0][0].name}, ..).")
    names = ", ".join(sorted(path.name for path, _ in broken)[:5]) + (", .." if len(broken) > 5 else "")
    warnings.warn(
        f"{len(broken)} of {total} pictures cannot be read and were skipped: {names}.", DataWarning, stacklevel=4
    )


def _notes(sizes: np.ndarray, size: tuple[int, int], headers: list[Header], channels: int) -> list[str]:
    notes = []
    resized = int((sizes != np.array(size)).any(axis=1).sum())
    if resized:
        notes.append(
            f"{resized} of {len(sizes)} pictures were cropped around their centre and resized to "
            f"{size[0]} x {size[1]} pixels"
        )
    recoloured = sum(header.channels != channels for header in headers)
    if recoloured:
        notes.append(f"{recoloured} of {len(headers)} pictures were converted to {_MODES[channels]}")
    return notes
