"""Inference in chunks of one fixed shape, so that a row's result does not depend on the rows around it.

Matrix products round differently for different shapes; with one shape for every call, and rows aligned in memory
(``parts.networks.linear``), they cannot.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import Rows
from isthmus.parts.step import Batch
from isthmus.threads import threads_for


@torch.inference_mode()
def map_rows(
    function: Callable[[Batch], Tensor],
    rows: Rows,
    model: nn.Module,
    size: int | None = None,
    cells: Tensor | None = None,
    condition: Tensor | None = None,
) -> np.ndarray:
    """Apply ``function(batch) -> (B, ...)`` to all rows, chunk by chunk, each padded to ``size`` rows.

    ``cells`` is as in :class:`Batch`; ``condition`` (n, c) goes along with the rows.
    """
    size = size or chunk_rows(int(np.prod(rows.shape)))
    parameter = next(model.parameters())
    out: np.ndarray | None = None
    with threads_for(model, size, passes=1):
        for place in chunks(len(rows), size):
            x, observed = rows.take(place)
            count = len(x)
            x = _padded(x, size).to(parameter)
            observed = None if observed is None else _padded(observed, size).to(parameter.device)
            told = None if condition is None else _padded(condition[place], size).to(parameter)
            batch = Batch(x, observed, None if cells is None else cells.to(parameter.device), condition=told)
            result = function(batch)[:count].cpu().numpy()
            if out is None:
                out = np.empty((len(rows), *result.shape[1:]), dtype=result.dtype)
            out[place] = result
    assert out is not None, "there is at least one row"
    return out


def _padded(values: Tensor, size: int) -> Tensor:
    if len(values) == size:
        return values
    padded = values.new_zeros(size, *values.shape[1:])
    padded[: len(values)] = values
    return padded
