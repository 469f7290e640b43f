"""Samples cut into patches, and put together again: squares of images, spans of series, groups of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from isthmus.errors import SettingError

MOST_SQUARES = 8
"""How many patches "auto" puts along the longer side of an image, at most: attention costs the square of their number."""
MOST_SPANS = 16
"""How many patches "auto" cuts a series or a row of features into, at most."""


@dataclass(frozen=True)
class Grid:
    """How samples of one shape are cut: (d,) into runs of features, (length, channels) into spans, (c, *sides) into cubes."""

    shape: tuple[int, ...]
    patch: int
    """How many features, steps or pixels a side a patch has; the last one is padded with zeros."""

    @property
    def sides(self) -> tuple[int, ...]:
        """The places of a sample: features, steps, or rows and columns of pixels."""
        return self.shape[1:] if len(self.shape) > 2 else self.shape[:1]

    @property
    def channels(self) -> int:
        """How many numbers stand at each place."""
        return math.prod(self.shape) // math.prod(self.sides)

    @property
    def positions(self) -> tuple[int, ...]:
        """How many patches lie along each side."""
        return tuple(-(-side // self.patch) for side in self.sides)

    @property
    def count(self) -> int:
        return math.prod(self.positions)

    @property
    def width(self) -> int:
        """How many numbers a patch has."""
        return self.channels * self.patch ** len(self.sides)

    def split(self, x: Tensor) -> Tensor:
        """Cut (B, *shape) into (B, count, width); what is added at the edges is 0."""
        x = x.movedim(1, -1) if len(self.shape) > 2 else x.reshape(len(x), *self.sides, self.channels)
        spare = [0, 0]  # F.pad counts from the last dimension, which are the channels
        for side in reversed(self.sides):
            spare += [0, -side % self.patch]
        x = F.pad(x, spare) if any(spare) else x
        x = x.reshape(len(x), *self._folded(), self.channels)  # (B, n_1, patch, n_2, patch, .., channels)
        ranks = range(1, 1 + 2 * len(self.sides))
        return x.permute(0, *ranks[::2], *ranks[1::2], x.dim() - 1).reshape(len(x), self.count, self.width)

    def join(self, patches: Tensor) -> Tensor:
        """Put (B, count, width) together to (B, *shape): the inverse of :meth:`split`."""
        rank, count = len(self.sides), len(patches)
        x = patches.reshape(count, *self.positions, *[self.patch] * rank, self.channels)
        order = [place for i in range(rank) for place in (1 + i, 1 + rank + i)]
        x = x.permute(0, *order, 1 + 2 * rank)
        x = x.reshape(count, *[n * self.patch for n in self.positions], self.channels)
        for i, side in enumerate(self.sides):
            x = x.narrow(1 + i, 0, side)
        return x.movedim(-1, 1) if len(self.shape) > 2 else x.reshape(count, *self.shape)

    def _folded(self) -> list[int]:
        return [size for n in self.positions for size in (n, self.patch)]


def grid(shape: tuple[int, ...], patch: int | str, owner: str) -> Grid:
    """Return the grid for samples of ``shape``; "auto" takes :func:`default_patch`. ``owner`` is named in errors."""
    if patch == "auto":
        return Grid(tuple(shape), default_patch(shape))
    if isinstance(patch, str) or patch < 1:
        raise SettingError(f'{owner}(patch={patch!r}) must be a whole number of at least 1, or "auto".')
    longest = max(Grid(tuple(shape), 1).sides)
    return Grid(tuple(shape), min(int(patch), longest))  # a larger one would hold nothing but padding


def default_patch(shape: tuple[int, ...]) -> int:
    """Return the side of a patch: the least power of two from 2 on that leaves at most 8 along the longer side of an image;
    for series and features the least number that leaves at most 16.
    """
    longest = max(Grid(tuple(shape), 1).sides)
    if len(shape) <= 2:
        return -(-longest // MOST_SPANS)
    return min(longest, 2 ** max(1, math.ceil(math.log2(max(1, longest / MOST_SQUARES)))))
