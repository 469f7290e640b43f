"""Where the rows of a training lie: on the GPU as a whole when they fit, else in blocks that are copied ahead of their use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import DenseRows, Rows
from isthmus.engine.engine import Block, mapped

SHARE = 0.5
"""How much of a GPU's free memory the rows may take: weights, activations and recorded steps need the rest."""
TOGETHER = 64
"""How many chunks of rows are copied to a GPU at once."""


def too_large(sets: Sequence[Rows], device: torch.device) -> str:
    """Say why the rows cannot lie on a device; "" when they fit into its share of the memory that is free there."""
    if device.type != "cuda":
        return f"rows do not stay on a device of the type {device.type!r}"
    needed, free = sum(map(size_of, sets)), torch.cuda.mem_get_info(device)[0]
    if needed <= SHARE * free:
        return ""
    return (
        f"the rows stay in the memory of the host, for they take {needed / 2**30:.3g} GiB of the {free / 2**30:.3g} GiB that "
        f"are free on the GPU, more than {SHARE:.0%}"
    )


def size_of(rows: Rows) -> int:
    """Return how many bytes rows take once they are dense: 4 a number, and 1 more where some are missing."""
    has_gaps = len(rows) > 0 and rows.take(slice(0, 1))[1] is not None
    return len(rows) * math.prod(rows.shape) * (5 if has_gaps else 4)


def device_of(rows: Rows) -> torch.device:
    """Return where rows lie; all but those that were moved lie in the memory of the host."""
    return rows.x.device if isinstance(rows, DenseRows) else torch.device("cpu")


def moved(rows: Rows, device: torch.device) -> DenseRows:
    """Return the rows as dense ones on a device, copied piece by piece."""
    x, observed = torch.empty(len(rows), *rows.shape, device=device), None
    for place in chunks(len(rows), TOGETHER * chunk_rows(math.prod(rows.shape))):
        taken, known = rows.take(place)
        x[place] = taken.to(device)
        if known is not None:
            observed = torch.empty_like(x, dtype=torch.bool) if observed is None else observed
            observed[place] = known.to(device)
    return DenseRows(x, observed)


def ahead(blocks: Iterator[Block], device: torch.device) -> Iterator[Block]:
    """Yield blocks of the host's memory as blocks on the GPU; the next is gathered and copied while one is computed.

    A thread gathers into pinned memory, from where a stream of its own copies without the host's help.
    """
    stream = torch.cuda.Stream(device)

    def fetch() -> tuple[Block, Any] | None:
        block = next(blocks, None)
        if block is None:
            return None
        with torch.cuda.stream(stream):
            rows = mapped(block.rows, lambda values: values.pin_memory().to(device, non_blocking=True))
            return block._replace(rows=rows), stream.record_event()

    with ThreadPoolExecutor(1) as worker:
        coming = worker.submit(fetch)
        while (fetched := coming.result()) is not None:
            block, copied = fetched
            coming = worker.submit(fetch)
            current = torch.cuda.current_stream(device)
            current.wait_event(copied)
            for values in block.rows:
                if values is not None:
                    values.record_stream(current)  # or its memory would be given away while a step still reads it
            yield block
