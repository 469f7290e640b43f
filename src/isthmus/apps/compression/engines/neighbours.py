"""Which values are known before a value is coded: the causal neighbourhood of every place of a picture.

Places run row by row, and channel by channel within a pixel. Neighbours are those above and to the left (all channels), the
earlier channels of the pixel itself, and - many things are symmetric - those around the mirrored place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ROWS, _COLUMNS, _DISTANCE = 4, 5, 6
_REACH = 3
_COLOUR = (2, 2, 3)
_SERIES = 24
_SHORTEST = 16
_MIRRORED = [(-2, 0), *((-1, d) for d in range(-2, 3)), *((0, d) for d in range(-2, 3))]
_CHANNELS = 4


class Neighbourhood(NamedTuple):
    """Places of what is known before each place; the place ``places`` (one beyond the last) is outside, and holds 0."""

    order: np.ndarray
    """(places,) where the t-th place to be coded lies in a sample laid end to end."""
    around: np.ndarray
    """(places, features) counted in coding order."""
    west_north_both: np.ndarray
    """(places, 3) the neighbours of which the guess is made; at an edge the ones that are there."""


def neighbourhood(shape: tuple[int, ...]) -> Neighbourhood:
    """Return the neighbourhoods in samples of ``shape``: (w,), (h, w), (h, w, c) or (c, h, w) with c <= 4."""
    h, w, c, order = _raster(shape)
    places = h * w * c
    offsets = _offsets(h, c)
    around, guess = [], []
    for t in range(places):
        y, x, k = t // (w * c), t // c % w, t % c

        def at(dy: int, dx: int, channel: int, y: int = y, x: int = x, t: int = t) -> int:
            yy, xx = y + dy, x + dx
            place = (yy * w + xx) * c + channel
            return place if yy >= 0 and 0 <= xx < w and channel >= 0 and place < t else places

        near = [at(dy, dx, channel) for dy, dx in offsets for channel in range(c)]
        near += [at(0, 0, k - back) for back in range(1, c)]
        if h > 1 and w >= 8:
            near += [at(dy, w - 1 - 2 * x + dx, k) for dy, dx in _MIRRORED]
        around.append(near)
        west, north, both = at(0, -1, k), at(-1, 0, k), at(-1, -1, k)
        west, north = (north if west == places else west), (west if north == places else north)
        guess.append([west, north, north if both == places else both])
    return Neighbourhood(order, np.array(around, np.int32), np.array(guess, np.int32))


def window(shape: tuple[int, ...]) -> np.ndarray:
    """Return the places (places, features) on all sides of each place and itself, in coding order; outside as above."""
    h, w, c, _ = _raster(shape)
    tall, wide = (0, _SERIES // 2) if h == 1 else (_REACH, _REACH) if c == 1 else (_COLOUR[0], _COLOUR[0])
    dy, dx, k = (part.ravel() for part in np.mgrid[-tall : tall + 1, -wide : wide + 1, 0:c])
    place = np.arange(h * w * c)[:, None]
    y, x, own = place // (w * c) + dy, place // c % w + dx, place % c
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    return np.where(inside, (y * w + x) * c + (own + k) % c, h * w * c).astype(np.int32)


def suits(shape: tuple[int, ...]) -> bool:
    """Say whether samples of this shape are pictures or series (a row of few columns is neither)."""
    if len(shape) == 1:
        return shape[0] >= _SHORTEST
    return len(shape) == 2 or (len(shape) == 3 and min(shape[0], shape[-1]) <= _CHANNELS)


def _raster(shape: tuple[int, ...]) -> tuple[int, int, int, np.ndarray]:
    """Return height, width, channels, and where each place lies in memory."""
    index = np.arange(int(np.prod(shape)))
    if len(shape) == 1:
        return 1, shape[0], 1, index
    if len(shape) == 2:
        return shape[0], shape[1], 1, index
    if shape[-1] <= _CHANNELS:
        return shape[0], shape[1], shape[2], index
    return shape[1], shape[2], shape[0], np.moveaxis(index.reshape(shape), 0, -1).ravel()


def _offsets(h: int, c: int) -> list[tuple[int, int]]:
    """Return (rows, columns) from a place to its neighbours."""
    if h == 1:
        return [(0, -d) for d in range(1, _SERIES + 1)]
    rows, columns, distance = (_ROWS, _COLUMNS, _DISTANCE) if c == 1 else _COLOUR
    return [
        (dy, dx)
        for dy in range(-rows, 1)
        for dx in range(-columns, columns + 1)
        if (dy < 0 or dx < 0) and abs(dy) + abs(dx) <= distance
    ]
