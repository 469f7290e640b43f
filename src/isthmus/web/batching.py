"""Requests that wait together are computed together, and none waits for company.

While a batch is computed others arrive; they are the next batch. A row's answer does not depend on who shares its batch: the
library computes in chunks of one fixed shape (``isthmus.inference``).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

MOST_ROWS = 256
"""The most rows of a batch; a larger request is computed in turns, so that small ones get through."""

_IN_A_TURN = 8
"""So many requests that go alone, most of which the library refuses at once, do not cost a queue its turn."""


@dataclass
class Job:
    """Rows that wait for an answer."""

    rows: Any
    count: int
    kind: Hashable
    """Only jobs of one kind share a batch; None shares with nobody."""
    answer: asyncio.Future[Any]


class Turn:
    """The thread that computes, and the right to use it: whoever has waited longest is next."""

    def __init__(self, prepare: Callable[[], None]) -> None:
        """``prepare`` is called in the thread before anything else."""
        self._pool = ThreadPoolExecutor(1, "isthmus-compute", initializer=prepare)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, *error: object) -> None:
        self._lock.release()

    async def run(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Compute something in the thread; to be called by whose turn it is."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *inputs)


class Batcher:
    """The queue of one verb of one model: ``compute(rows)`` returns as many rows as it is given."""

    def __init__(
        self,
        compute: Callable[[Any], Any],
        turn: Turn,
        note: Callable[[int, float], None],
        together: bool = True,
    ) -> None:
        """``note(rows, seconds)`` is told of each batch; without ``together`` every request is computed alone."""
        self._compute, self._turn, self._note, self._together = compute, turn, note, together
        self._waiting: deque[Job] = deque()
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, rows: Any, kind: Hashable) -> Any:
        """Return the answer to some rows."""
        pieces = [_piece(rows, start) for start in range(0, len(rows), MOST_ROWS)] if len(rows) > MOST_ROWS else [rows]
        answers = []
        for piece in pieces:  # one after the other: in between it is the turn of others
            answers.append(await self._queued(piece, kind))
        return joined(answers)

    async def _queued(self, rows: Any, kind: Hashable) -> Any:
        job = Job(rows, len(rows), kind, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._running is None:
            self._running = asyncio.create_task(self._work())
        return await job.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                async with self._turn:  # who comes while others compute still gets into the batch
                    for _ in range(_IN_A_TURN):
                        batch = self._next()
                        if batch:
                            await self._answer(batch)
                        if not batch or batch[0].kind is not None:
                            break
        finally:
            self._running = None

    def _next(self) -> list[Job]:
        """Take the oldest job from the queue, and those that can be computed with it."""
        while self._waiting and self._waiting[0].answer.done():  # nobody waits for it any more
            self._waiting.popleft()
        if not self._waiting:
            return []
        batch = [self._waiting.popleft()]
        rows, later = batch[0].count, deque[Job]()
        while self._together and batch[0].kind is not None and self._waiting:
            job = self._waiting.popleft()
            if job.kind == batch[0].kind and rows + job.count <= MOST_ROWS and not job.answer.done():
                batch.append(job)
                rows += job.count
            else:
                later.append(job)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _answer(self, batch: list[Job]) -> None:
        start = time.perf_counter()
        try:
            found = await self._turn.run(self._compute, joined([job.rows for job in batch]))
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].answer, error=error)
                return
            for job in batch:  # one of them is to blame, and the others shall not suffer for it
                await self._answer([job])
            return
        self._note(sum(job.count for job in batch), time.perf_counter() - start)
        place = 0
        for job in batch:
            _settle(job.answer, found if len(batch) == 1 else _piece(found, place, job.count))
            place += job.count


def joined(parts: list[Any]) -> Any:
    """Put rows, or answers to them, end to end: arrays, tables, or tuples of these."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, tuple):
        return tuple(joined(list(column)) for column in zip(*parts, strict=True))
    if isinstance(first, pa.Table):
        return pa.concat_tables(parts).combine_chunks()
    return np.concatenate(parts)


def _piece(rows: Any, start: int, count: int = MOST_ROWS) -> Any:
    if isinstance(rows, tuple):
        return tuple(_piece(column, start, count) for column in rows)
    return rows.slice(start, count) if isinstance(rows, pa.Table) else rows[start : start + count]


def _settle(answer: asyncio.Future[Any], value: Any = None, error: Exception | None = None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)
