"""The columns that a score is shared out to: each of a table, each channel of a series, each number of anything else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.codec import Codec
from isthmus.data.rows import Rows
from isthmus.layout import Block, Layout


class Columns(NamedTuple):
    """How encoded numbers belong to columns."""

    blocks: tuple[Block, ...]
    names: tuple[str, ...]
    """Of the columns of a table or the channels of a series; empty for everything else."""
    owner: np.ndarray
    """(d,) the column of each encoded number."""

    @classmethod
    def of(cls, layout: Layout) -> Columns:
        if not layout.blocks:
            return cls((), (), np.arange(layout.size))
        names = tuple(dict.fromkeys(block.column for block in layout.blocks))
        owner = np.empty(layout.size, np.int64)
        for block in layout.blocks:
            owner[block.features] = names.index(block.column)
        return cls(layout.blocks, names, owner)

    @classmethod
    def of_codec(cls, codec: Codec) -> Columns:
        """Take the channels of a series for columns, whatever their point of time."""
        if codec.kind != "series":
            return cls.of(codec.layout)
        length, channels = codec.layout.shape
        return cls((), tuple(f"channel {i}" for i in range(channels)), np.tile(np.arange(channels), length))

    @property
    def number(self) -> int:
        """How many columns there are."""
        return len(self.names) or len(self.owner)

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Sum (n, d) over the numbers of each column: (n, columns)."""
        if not self.names:
            return values
        return _sums(values, self.owner, self.number)

    def gather_blocks(self, cells: np.ndarray) -> np.ndarray:
        """Sum what a model says of each cell, (n, blocks) or (n, *shape), over the blocks of each column."""
        cells = cells.reshape(len(cells), -1)
        if not self.blocks:
            return self.gather(cells)
        return _sums(cells, np.array([self.names.index(block.column) for block in self.blocks]), self.number)

    @property
    def is_numeric(self) -> np.ndarray:
        """(columns,) whether a column is made of numbers, rather than of categories or booleans."""
        numeric = np.ones(self.number, bool)
        for block in self.blocks:
            if not block.gap and block.kind != "numeric":
                numeric[self.names.index(block.column)] = False
        return numeric


def _sums(values: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((len(values), count), values.dtype)
    for place, column in enumerate(owner):
        sums[:, column] += values[:, place]
    return sums


def pieces(rows: Rows) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield (place, x (m, d) with 0 at gaps, observed (m, d) or None) of all rows, a cacheful at a time."""
    size = math.prod(rows.shape)
    for place in chunks(len(rows), chunk_rows(size)):
        x, observed = rows.take(place)
        yield place, x.flatten(1).numpy(), None if observed is None else observed.flatten(1).numpy()
