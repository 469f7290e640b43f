"""Folders of pictures, read so that every pixel can come back: nothing is resized, nothing changes its colours."""

from __future__ import annotations

from pathlib import Path

from isthmus.data.containers import Images
from isthmus.errors import DataError

_MODES = ("L", "RGB", "RGBA")


def read_exactly(folder: Path) -> Images:
    """Return the pictures in a folder; those of other sizes or modes than the first are refused by name."""
    from PIL import Image

    from isthmus.data.files.pictures import pictures_in, read_pictures

    paths = pictures_in(folder)
    first: tuple[tuple[int, int], str] | None = None
    for path in paths:
        try:
            with Image.open(path) as image:
                found = image.size, image.mode
        except OSError as error:
            raise DataError(
                f"the picture {str(path)!r} cannot be read ({error}); take it out of the folder."
            ) from error
        if found[1] not in _MODES:
            raise DataError(
                f"the picture {str(path)!r} has the mode {found[1]}; convert it to one of {', '.join(_MODES)}."
            )
        first = first or found
        if found != first:
            raise DataError(
                f"the picture {str(path)!r} has {found[0][0]} x {found[0][1]} pixels {found[1]}, {paths[0].name!r} has "
                f"{first[0][0]} x {first[0][1]} {first[1]}; compress pictures of each size and mode by themselves."
            )
    return read_pictures(folder, paths, None, None)
