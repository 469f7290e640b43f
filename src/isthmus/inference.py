"""Inference in chunks of one fixed shape, so that a row's result does not depend on the rows around it.

Matrix products round differently for different shapes; with one shape for every call, and rows aligned in memory
(``parts.networks.linear``), they cannot. A chunk is small enough for the cache, from the scaling of its rows to its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import Rows
from isthmus.engine.products import blas_is_narrow
from isthmus.parts.networks.linear import Layers, packed
from isthmus.parts.step import Batch
from isthmus.threads import convolves, threads_for

MOST_DENSE = 8192
"""The most rows of a chunk for dense layers: a call costs tens of microseconds, which narrow layers must outweigh
(``python benchmarks/inference.py``)."""

MAPS = 4
"""A convolution's maps hold about so many times the numbers of a sample: what a chunk of them must leave in the cache."""
LEAST_OF_MAPS = 4
"""The fewest rows of a chunk for convolutions: one large picture fills the cache, but calls are not free."""

FEW = 16
"""The rows of a chunk for requests that come one by one: dense layers take little longer for them than for one."""
FEW_WORK = 2e7
"""Floating-point operations of such a chunk, above which it holds fewer rows: there computing costs more than calling. Those of
convolutions count twice: a few rows reach half the speed of a product."""

_few: ContextVar[int | None] = ContextVar("few", default=None)


@contextmanager
def few_at_once(rows: int = FEW) -> Iterator[None]:
    """Compute in chunks of ``rows`` rows while the block runs: a single row is not padded to thousands.

    A row's result is as independent of its neighbours as in large chunks, and differs from that of those by rounding.
    """
    token = _few.set(rows)
    try:
        yield
    finally:
        _few.reset(token)


def rows_for_few(function: Callable[[], object]) -> int:
    """Return how many rows such a chunk holds, for a ``function`` that computes one row: a power of two, at most 16."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, few_at_once(1):
        function()
    convolving = counter.get_flop_counts()["Global"].get(torch.ops.aten.convolution, 0)
    most = max(1, int(FEW_WORK // max(1, counter.get_total_flops() + convolving)))
    return min(FEW, 2 ** (most.bit_length() - 1))


def rows_at_once(model: nn.Module, size: int) -> int:
    """Return how many rows a chunk holds, for samples of ``size`` numbers: by the widest layer where all are dense."""
    if (few := _few.get()) is not None:
        return few
    modules = list(model.modules())
    if convolves(model):
        return chunk_rows(MAPS * size, least=LEAST_OF_MAPS)
    if not any(isinstance(module, Layers) for module in modules):
        return chunk_rows(size)
    widths = [max(weight.shape) for weight in (*model.parameters(), *model.buffers()) if weight.dim() == 2]
    return chunk_rows(max([size, *widths]), MOST_DENSE)


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
    size = size or rows_at_once(model, math.prod(rows.shape))
    parameter = next(model.parameters())
    cells = None if cells is None else cells.to(parameter.device)
    _keep_freed_memory()
    out = written = None
    with threads_for(model, size, passes=1), packed(model, size) if packs(parameter) else nullcontext():
        for place in chunks(len(rows), size):
            x, observed = rows.take(place)
            count = len(x)
            x = _padded(x, size).to(parameter)
            observed = None if observed is None else _padded(observed, size).to(parameter.device)
            told = None if condition is None else _padded(condition[place], size).to(parameter)
            result = function(Batch(x, observed, cells, condition=told))[:count]
            if out is None or written is None:
                out = np.empty((len(rows), *result.shape[1:]), dtype=result[:0].cpu().numpy().dtype)
                written = torch.from_numpy(out)
            written[place] = result
    assert out is not None, "there is at least one row"
    return out


@cache
def _keep_freed_memory() -> None:
    """Let the allocator keep what a chunk has freed for the next one, rather than give it back and fault in every page again.

    That of glibc keeps blocks up to the largest it has seen freed (``mallopt(3)``, M_MMAP_THRESHOLD), so it is shown one of
    16 MiB, of which no page is touched. Small networks encode half as fast without; other allocators lose nothing.
    """
    torch.empty(2**22)


def packs(parameter: Tensor) -> bool:
    """Say whether oneDNN multiplies: with packed weights it wins wherever the BLAS of torch is slow, but for few rows, which
    do not pay for the packing.
    """
    if _few.get() is not None:
        return False
    return parameter.device.type == "cpu" and parameter.dtype == torch.float32 and blas_is_narrow()


def _padded(values: Tensor, size: int) -> Tensor:
    if len(values) == size:
        return values
    padded = values.new_zeros(size, *values.shape[1:])
    padded[: len(values)] = values
    return padded
