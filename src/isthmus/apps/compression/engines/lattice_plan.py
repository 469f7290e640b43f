"""The order in which a lattice is walked: frames from coarse to fine, channels one by one, points from coarse to fine.

    times        0 ---------------- 8      then 4, then 2 6, then 1 3 5 7: each between two known ones
    points       o . o     o . o     o x o
                 . . .  -> . x .  -> x o x      a class of points at a time; all frames of a step at once
                 o . o     o . o     o x o

A point is predicted by its **taps**: known points around it, and those around its place in frames that are known as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

Offset = tuple[int, ...]

_NEAR = {1: (6, 12), 2: (3, 24), 3: (2, 32)}
"""By the number of axes: how far taps lie at most, and how many a point has."""
_REFERENCES = 6
_RING = {1: (2, 4), 2: (1, 2), 3: (1, 1)}
"""By the number of axes: how far taps in other frames lie at most along an axis, and squared in all."""


@dataclass(frozen=True)
class Layout:
    """Which axis of X (n, *shape) is time, which are channels, which are space.

    ``rows``: "time" (coarse to fine, whole frames), "space" (an axis of every frame) or "channel" (one after another). The last
    ``inner`` axes are space, whatever lies between are channels.
    """

    rows: str
    inner: int
    time_top: int
    space_top: int
    time_pool: int
    """Levels of time from this one on share their rules; likewise of space, and channels."""
    space_pool: int
    channel_pool: int

    def frames(self, X: np.ndarray) -> np.ndarray:
        """Return X as (times * channels, *space); a view where it can be one."""
        if self.rows == "space":
            axes = [*range(1, X.ndim - self.inner), 0, *range(X.ndim - self.inner, X.ndim)]
            return X.transpose(axes).reshape(-1, X.shape[0], *X.shape[X.ndim - self.inner :])
        return X.reshape(-1, *X.shape[X.ndim - self.inner :])

    def rows_of(self, frames: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Undo ``frames``."""
        if self.rows != "space":
            return frames.reshape(shape)
        between = shape[1 : len(shape) - self.inner]
        apart = frames.reshape(*between, shape[0], *shape[len(shape) - self.inner :])
        return np.moveaxis(apart, len(between), 0)

    def extent(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of ``frames`` of an array of that shape."""
        space = shape[len(shape) - self.inner :]
        times = shape[0] if self.rows == "time" else 1
        return (times * self.channels(shape), *((shape[0], *space) if self.rows == "space" else space))

    def channels(self, shape: tuple[int, ...]) -> int:
        between = prod(shape[1 : len(shape) - self.inner])
        return between * (shape[0] if self.rows == "channel" else 1)

    def hops(self, shape: tuple[int, ...]) -> list[int]:
        """Return how many channels back the channels lie that a channel is predicted from."""
        extents = shape[1 : len(shape) - self.inner]
        if self.rows == "channel" and extents:
            sizes = np.cumprod([1, *extents[::-1]]).tolist()
            return sorted({int(size) for size in sizes})
        return list(range(1, _REFERENCES + 1))


class Step(NamedTuple):
    """Frames that are walked at once, the known frames each of them refers to, and where their rules are."""

    frames: np.ndarray
    references: list[np.ndarray]
    time: int
    channel: int


def levels(layout: Layout, shape: tuple[int, ...]) -> list[tuple[int, int, int, int, int]]:
    """Return, in the order of ``steps``: level of time, 1 between known frames, channel, references in time, channels back."""
    times, channels = shape[0] if layout.rows == "time" else 1, layout.channels(shape)
    order = [(layout.time_top + 1, 0), *((level, 1) for level in range(layout.time_top, -1, -1) if 1 << level < times)]
    hops = layout.hops(shape)
    back = [sum(hop <= c for hop in hops) for c in range(channels)]
    return [
        (time, between, c, 4 * between, min(back[c], 2 if between else _REFERENCES))
        for time, between in order
        for c in range(channels)
    ]


def steps(layout: Layout, shape: tuple[int, ...]) -> Iterator[Step]:
    """Yield the frames of an array of that shape in their order."""
    times, channels = shape[0] if layout.rows == "time" else 1, layout.channels(shape)
    hops = layout.hops(shape)
    for time, between, c, _, back in levels(layout, shape):
        half = 1 << time
        t = np.arange(half if between else 0, times, 2 * half if between else half)
        references = [r * channels + c for r in (_around(t, half, times) if between else [])]
        references += [t * channels + c - hop for hop in hops[:back]]
        yield Step(t * channels + c, references, min(time, layout.time_pool), min(c, layout.channel_pool))


def _around(t: np.ndarray, half: int, times: int) -> list[np.ndarray]:
    before, after = t - half, np.where(t + half < times, t + half, t - half)
    return [
        before,
        after,
        np.where(before - 2 * half >= 0, before - 2 * half, before),
        np.where(after + 2 * half < times, after + 2 * half, after),
    ]


class Pass(NamedTuple):
    """The points start + i * step of every axis, walked at once; ``half`` is the unit of their taps."""

    start: Offset
    step: int
    half: int
    level: int
    kind: int
    """0: the coarsest points; else which class of its level."""
    near: tuple[Offset, ...]
    """Known points around, nearest first."""


@cache
def passes(axes: int, top: int) -> tuple[Pass, ...]:
    """Return the passes over a frame of so many axes whose coarsest points are 2^top apart."""
    found = [Pass((0,) * axes, 1 << top, 1, top, 0, ())]
    classes = sorted((c for c in product((0, 1), repeat=axes) if any(c)), key=lambda c: (-sum(c), c))
    near = [_near(axes, [(0,) * axes, *classes[:i]], kind) for i, kind in enumerate(classes)]
    for level in range(top - 1, -1, -1):
        half = 1 << level
        for i, kind in enumerate(classes):
            found.append(Pass(tuple(half * c for c in kind), 2 * half, half, level, i + 1, near[i]))
    return tuple(found)


def _near(axes: int, known: list[Offset], kind: Offset) -> tuple[Offset, ...]:
    reach, most = _NEAR[axes]
    square = reach * reach + 1
    found = [
        o
        for o in product(range(-reach, reach + 1), repeat=axes)
        if sum(a * a for a in o) <= square and tuple((a + c) % 2 for a, c in zip(o, kind, strict=True)) in known
    ]
    return tuple(sorted(found, key=lambda o: (sum(a * a for a in o), o))[:most])


@cache
def ring(axes: int) -> tuple[Offset, ...]:
    """Return the places around a point that are looked at in other frames, the point itself first."""
    reach, square = _RING[axes]
    found = [o for o in product(range(-reach, reach + 1), repeat=axes) if sum(a * a for a in o) <= square]
    return tuple(sorted(found, key=lambda o: (sum(a * a for a in o), o)))


class Site:
    """The points of one pass in the frames of one step."""

    def __init__(self, step: Step, turn: Pass, space: tuple[int, ...], thin: int = 0) -> None:
        self.step, self.turn, self.space = step, turn, space
        self.axes = [np.arange(start, n, turn.step) for start, n in zip(turn.start, space, strict=True)]
        self.order = slice(None)
        if thin:
            self._thin(thin)
        self.frames = step.frames[self.order]
        self.points = np.ix_(self.frames, *self.axes)
        self.size = len(self.frames) * int(np.prod([len(a) for a in self.axes], dtype=np.int64))

    def _thin(self, most: int) -> None:
        """Keep about ``most`` points: fewer frames first, then fewer along the axes."""
        size = len(self.step.frames) * int(np.prod([len(a) for a in self.axes], dtype=np.int64))
        keep = -(-size // most)
        if keep > 1:
            across = min(keep, max(len(self.step.frames) // 4, 1))
            self.order = slice(across // 2, None, across)
            keep = -(-keep // across)
            for axis in range(len(self.axes)):
                if keep > 1:
                    every = min(-(-keep // 2) if axis + 1 < len(self.axes) else keep, max(len(self.axes[axis]) // 4, 1))
                    self.axes[axis] = self.axes[axis][every // 2 :: every]
                    keep = -(-keep // every)

    def tap(self, A: np.ndarray, j: int, reference: int = -1) -> np.ndarray | None:
        """Return the numbers (n,) at tap j of every point; None where an axis is too short to have any.

        A tap of the frame itself may be asked of a reference instead.
        """
        near = len(self.turn.near)
        if j < near:
            known = [self._known(axis, o) for axis, o in enumerate(self.turn.near[j])]
            axes = [i for i in known if i is not None]
            if len(axes) < len(known):
                return None
            frames = self.frames if reference < 0 else self.step.references[reference][self.order]
            return A[np.ix_(frames, *axes)].reshape(-1)
        around = ring(len(self.space))
        reference, place = divmod(j - near, len(around))
        axes = [
            np.clip(i + o * self.turn.half, 0, n - 1)
            for i, o, n in zip(self.axes, around[place], self.space, strict=True)
        ]
        return A[np.ix_(self.step.references[reference][self.order], *axes)].reshape(-1)

    def _known(self, axis: int, offset: int) -> np.ndarray | None:
        """Return the places ``offset`` away along an axis; beyond an edge the last one of the same class."""
        i = self.axes[axis] + offset * self.turn.half
        last, step = self.space[axis] - 1, self.turn.step
        i = i + np.minimum((last - i) // step, 0) * step
        i = i - np.minimum(i // step, 0) * step
        return None if len(i) and i.max() > last else i
