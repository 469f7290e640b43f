"""The principal components of encoded rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import Rows
from isthmus.parts.principal import Chunk, Principal, principal


def principal_of(rows: Rows, weight: Tensor | None, k: int, seed: int) -> Principal:
    """Return the first ``k`` principal components of some rows, flattened."""
    width = int(np.prod(rows.shape))

    def pieces() -> Iterator[Chunk]:
        for place in chunks(len(rows), 2 * chunk_rows(width)):
            x, observed = rows.take(place)
            seen = None if observed is None else observed.flatten(1)
            yield x.flatten(1), seen, None if weight is None else weight[place]

    return principal(pieces, width, len(rows), k, torch.Generator().manual_seed(seed))
