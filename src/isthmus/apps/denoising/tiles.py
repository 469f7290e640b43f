"""Pictures of any size: cut into tiles that overlap, restored tile by tile, and put together without seams."""

from __future__ import annotations

import math

import numpy as np

from isthmus.errors import DataError


def corners(height: int, width: int, tile: tuple[int, int], overlap: int) -> list[tuple[int, int]]:
    """Return (top, left) of tiles that lie evenly, by ``overlap`` pixels at least on each other, and cover all."""
    if height < tile[0] or width < tile[1]:
        raise DataError(
            f"a picture of {height} x {width} pixels is smaller than a tile of {tile[0]} x {tile[1]}; set "
            f"tile={min(height, width)} when fitting, or restore it alone with regime='single'."
        )
    tops, lefts = (
        np.linspace(0, side - length, math.ceil((side - length) / max(1, length - overlap)) + 1).round().astype(int)
        for side, length in ((height, tile[0]), (width, tile[1]))
    )
    return [(top, left) for top in tops.tolist() for left in lefts.tolist()]


def cut(pixels: np.ndarray, places: list[tuple[int, int]], tile: tuple[int, int]) -> np.ndarray:
    """Return the tiles (n, c, *tile) of a picture (c, h, w)."""
    return np.stack([pixels[:, top : top + tile[0], left : left + tile[1]] for top, left in places])


def stitch(tiles: np.ndarray, places: list[tuple[int, int]], shape: tuple[int, ...]) -> np.ndarray:
    """Return the picture (c, h, w): the mean of the tiles (n, c, th, tw), each weighing less towards its edge."""
    down, right = (1 - np.abs(np.linspace(-1, 1, side + 2)[1:-1]) for side in tiles.shape[2:])
    weight = down[:, None] * right
    total, weights = np.zeros(shape), np.zeros(shape[1:])
    for tile, (top, left) in zip(tiles, places, strict=True):
        place = slice(top, top + tile.shape[1]), slice(left, left + tile.shape[2])
        total[:, *place] += tile * weight
        weights[place] += weight
    return (total / weights).astype(np.float32)
