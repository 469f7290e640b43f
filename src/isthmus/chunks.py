"""Rows in pieces: how many at a time, by how wide they are."""

from __future__ import annotations

from collections.abc import Iterator


def chunks(n_rows: int, size: int) -> Iterator[slice]:
    """Yield slices that cover ``range(n_rows)``, each of at most ``size``."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def chunk_rows(size: int, most: int = 1024, least: int = 32) -> int:
    """Return how many rows of ``size`` numbers a chunk holds: half a million numbers or so.

    A power of two, ``least`` to ``most``.
    """
    return min(most, max(least, 2 ** ((2**19 // max(1, size)).bit_length() - 1)))
