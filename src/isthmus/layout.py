"""What the numbers of a sample mean: the vocabulary that data (which writes it) and mathematics (which reads it) share.

It stands below both, so that neither imports the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

BlockKind = Literal["numeric", "boolean", "category"]


class Block(NamedTuple):
    """A run of features that together describe one cell of a table row."""

    kind: BlockKind
    start: int
    width: int
    column: str
    """The table column the cell belongs to; a gap indicator belongs to the column it reports on."""
    gap: bool = False
    """True for the boolean feature that says "this cell is missing"."""

    @property
    def features(self) -> slice:
        return slice(self.start, self.start + self.width)


@dataclass(frozen=True)
class Layout:
    """The shape of one encoded sample and, for tables, the meaning of each feature.

    ``shape`` is ``(d,)`` for tables and arrays, ``(c, h, w)`` for images, ``(c, d, h, w)`` for volumes and
    ``(length, channels)`` for series windows. ``blocks`` is empty when all numbers are of one kind, else it covers
    ``range(d)`` in order.
    """

    shape: tuple[int, ...]
    blocks: tuple[Block, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers one encoded sample has."""
        size = 1
        for side in self.shape:
            size *= side
        return size

    def to_json(self) -> dict[str, object]:
        return {"shape": list(self.shape), "blocks": [list(block) for block in self.blocks]}

    @classmethod
    def from_json(cls, state: dict) -> Layout:
        return cls(tuple(state["shape"]), tuple(Block(*block) for block in state["blocks"]))
