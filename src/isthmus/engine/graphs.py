"""The graphs engine: training steps recorded once on a CUDA device, and launched many at a time.

A small step is some hundred kernels of a few microseconds each, and the host takes longer to ask for one than the device to
compute it. Recorded, all kernels of several steps are asked for in one call.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import ClassVar, cast

import torch
from torch import Tensor

from isthmus.engine.adam import Adam
from isthmus.engine.capture import Capture
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Block, Engine, Tally, mapped, part_of
from isthmus.engine.precision import multiplying
from isthmus.engine.progress import Progress
from isthmus.errors import IsthmusError
from isthmus.model import Model
from isthmus.parts.step import Batch

TOGETHER = 8
"""How many steps a recording holds. More would spare little: playing it is one call, and making it costs as many steps."""
REHEARSALS = 3
"""How many steps are taken, and undone, before the first recording: libraries set themselves up on their first calls."""


class Graphs(Engine):
    """Serves every model on a CUDA device whose step asks the host for nothing; the steps of others it takes one by one."""

    name: ClassVar[str] = "graphs"

    def __init__(
        self, model: Model, optimizer: Adam, precision: str = "float32", recorder: Capture | None = None
    ) -> None:
        self.model, self.eager = model, Eager(model, optimizer, precision)
        self.terms, device = self.eager.terms, self.eager.device
        self.recorder = recorder or Capture(device)
        self.rng = torch.Generator(device)  # a recording keeps to one generator, and every epoch comes with another
        self.totals: dict[str, Tensor] = {}
        self._since: float | None = None  # the progress from which on steps may be recorded
        self._why_not, self._is_hopeless = "", False
        self._programs: dict[tuple[int, int], Program] = {}
        self._counts = {True: 0, False: 0}

    @staticmethod
    def refuses(model: Model) -> str:
        """Say why this engine cannot compute a model; "" when it can."""
        return "" if next(model.parameters()).device.type == "cuda" else "it is not on a CUDA device"

    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        tally, start = Tally(), 0
        self.rng.set_state(rng.get_state())
        with multiplying(self.eager.precision, self.eager.device):
            self._prepare(part_of(block.rows, 0, block.sizes[0]), block.progress[0])
            rates = torch.tensor(block.rates, dtype=torch.float32, device=self.eager.device)
            for first, count in pieces(block.sizes, TOGETHER):
                stop = start + count * block.sizes[first]
                steps = slice(first, first + count)
                rows = part_of(block.rows, start, stop)
                program = self._program(rows, count, block.progress[first])
                if program is None:
                    piece = Block(rows, block.sizes[steps], block.progress[steps], block.rates[steps])
                    self._one_by_one(piece, tally)
                else:
                    program.play(rows, rates[steps])
                self._counts[program is not None] += count
                start = stop
        rng.set_state(self.rng.get_state())
        self._tell()
        return self._sums(tally)

    def _prepare(self, batch: Batch, progress: float) -> None:
        """Set the sums to zero; find out whether steps can be recorded from now on."""
        for total in self.totals.values():
            total.zero_()
        if self._since is None and not self._is_hopeless:
            why_not = self._rehearse(batch, progress)
            self._since = None if why_not else progress
            self._why_not = why_not or self._why_not

    def _program(self, rows: Batch, count: int, progress: float) -> Program | None:
        """Return the recording of so many steps; None where they must be taken one by one."""
        if self._since is None or progress < self._since:  # a restart may go back to before
            return None
        form = count, len(rows.x)
        if form not in self._programs:
            try:
                self._programs[form] = Program(self, rows, count, progress)
            except RuntimeError as error:
                self._since, self._is_hopeless, self._why_not = None, True, _reason(error)
                self._programs.clear()
                self._forget_gradients()
                return None
        return self._programs[form]

    def _one_by_one(self, block: Block, tally: Tally) -> None:
        for batch, progress, rate in block.steps():
            means = self.eager.step(batch, self.rng, progress, rate)
            tally.add({name: mean * len(batch.x) for name, mean in means.items() if name != "loss"})

    def _rehearse(self, batch: Batch, progress: float) -> str:
        """Take some steps and undo them. Return why they cannot be recorded, "" when they can."""
        share, why = Progress(progress), ""
        device, optimizer = self.eager.device, self.eager.optimizer
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        moments, state = optimizer.state(), self.rng.get_state()
        rate, means = torch.zeros((), device=device), dict[str, Tensor]()
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            try:
                with self.recorder.rehearsal():
                    for _ in range(REHEARSALS):
                        means = self.eager.step(batch, self.rng, cast("float", share), rate)
                self.totals = {n: rate.new_zeros((), dtype=torch.float64) for n in means if n != "loss"}
            except IsthmusError:
                raise
            except (RuntimeError, TypeError) as error:
                why, self._is_hopeless = _reason(error), True
                with suppress(RuntimeError):
                    self.model.after_step(self.rng)  # it lets go of what it has noted
        self._forget_gradients()
        self.model.load_state_dict(weights)
        optimizer.restore(moments)
        self.rng.set_state(state)
        return why or ("it changes with the progress of the training" if share.matters else "")

    def _forget_gradients(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = None

    def _tell(self) -> None:
        alone, recorded = self._counts[False], self._counts[True]
        if alone:
            self.note = f"{alone} of {alone + recorded} steps were launched kernel by kernel, because {self._why_not}"

    def _sums(self, tally: Tally) -> dict[str, float]:
        """Return what the steps of a block said, recorded or not: one wait for the device."""
        tally.add(self.totals)
        return tally.sums()


class Program:
    """Some steps for batches of one size, recorded over buffers of their own."""

    def __init__(self, engine: Graphs, like: Batch, count: int, progress: float) -> None:
        self.rows = mapped(like, torch.clone)._replace(cells=like.cells)
        self.rates = torch.zeros(count, device=like.x.device)
        size = len(like.x) // count

        def steps() -> None:
            for place in range(count):
                batch = part_of(self.rows, place * size, (place + 1) * size)
                means = engine.eager.step(batch, engine.rng, progress, self.rates[place])
                for name, total in engine.totals.items():
                    total.add_(means[name], alpha=size)

        self._replay = engine.recorder.record(steps, engine.rng)

    def play(self, rows: Batch, rates: Tensor) -> None:
        """Take the steps on such rows, at such rates."""
        self.rates.copy_(rates)
        for here, given in zip(self.rows, rows, strict=True):
            if here is not None and given is not None and given is not rows.cells:
                here.copy_(given)
        self._replay()


def pieces(sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Cut steps into (first, count): ``most`` together where so many batches in a row have one size, the others alone."""
    place = 0
    while place < len(sizes):
        together = sizes[place : place + most]
        count = most if len(together) == most and len(set(together)) == 1 else 1
        yield place, count
        place += count


def _reason(error: Exception) -> str:
    """Say what stood in the way: who reads from the device, or the words of the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    callers = [frame for frame in frames if not frame.f_globals.get("__name__", "").startswith("torch")]
    if "synchronizing" in str(error) and callers:
        return f"{callers[-1].f_code.co_qualname} waits for a number from the device"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
