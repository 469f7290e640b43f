"""Clocks, and who runs when: every contestant once a round, so that a busy minute of the machine hits all of them."""

from __future__ import annotations

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]
"""Rows (n, *shape) -> their reconstructions, both float32."""
T = TypeVar("T")


class UnavailableError(Exception):
    """This cannot be measured here; the message says why, and is printed."""


class Cost(NamedTuple):
    """Seconds of CPU, of all threads together, and of the clock on the wall."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> Cost:
        return cls(time.process_time(), time.perf_counter())

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall)

    def __truediv__(self, count: float) -> Cost:
        return Cost(self.cpu / count, self.wall / count)


def spent(work: Callable[[], T]) -> tuple[T, Cost]:
    """Return what ``work()`` returns, and what it cost."""
    begin = Cost.now()
    result = work()
    return result, Cost.now() - begin


class Watch:
    """Follows one training: when each epoch ended and, if ``look`` is given, how good the model was then.

    The clock stands still while it looks.
    """

    def __init__(self, look: Callable[[Predict], float] | None = None) -> None:
        self.look = look
        self.restart()

    def restart(self) -> None:
        """Begin to count here: what came before was preparation."""
        self.ends: list[Cost] = []
        self.seen: list[tuple[float, float]] = []
        """(CPU seconds, what ``look`` said) at each epoch end."""
        self._epoch: Cost | None = None
        self._idle = Cost(0.0, 0.0)
        self._begin = Cost.now()

    @property
    def cost(self) -> Cost:
        """What was spent since the beginning, without the looking."""
        return Cost.now() - self._begin - self._idle

    def at_epoch_end(self, predict: Predict) -> None:
        """Note that an epoch has ended."""
        self.ends.append(self.cost)
        self.see(predict)

    def see(self, predict: Predict) -> None:
        """Note how good the model is, outside the time that counts."""
        if self.look is None:
            return
        paused = Cost.now()
        self.seen.append(((paused - self._begin - self._idle).cpu, self.look(predict)))
        looking = Cost.now() - paused
        self._idle = Cost(self._idle.cpu + looking.cpu, self._idle.wall + looking.wall)

    def slope(self, one: Cost, epochs: int, all_of_them: Cost) -> None:
        """For a library that does not say when an epoch ends: from fits of one epoch and of several."""
        self._epoch = (all_of_them - one) / (epochs - 1)

    @property
    def epoch(self) -> Cost:
        """What an epoch costs in the long run: the median, without the first, which may compile and allocate."""
        if self._epoch is not None:
            return self._epoch
        laps = [later - earlier for earlier, later in pairwise(self.ends)]
        return Cost(statistics.median(lap.cpu for lap in laps), statistics.median(lap.wall for lap in laps))


def interleave(contestants: dict[str, Callable[[int], T]], rounds: int) -> dict[str, list[T]]:
    """Run ``contestant(round)`` for all of them in round 0, then for all of them in round 1, and so on.

    Each round begins with another one, so that nobody always follows the same.
    """
    results: dict[str, list[T]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(rounds):
        first = turn % max(1, len(names))
        for name in names[first:] + names[:first]:
            _tell(f"round {turn + 1} of {rounds}: {name}")
            gc.collect()
            results[name].append(contestants[name](turn))
    _tell("")
    return results


def _tell(what: str) -> None:
    """Say in a terminal where we are, over what was said before."""
    if sys.stderr.isatty():
        print(f"\r{what:72}\r", end="", file=sys.stderr, flush=True)


def median(values: list[float]) -> float:
    """Return the median; infinite where most are."""
    return statistics.median(values)


def ratios(base: list[float], values: list[float]) -> list[float]:
    """Return base / value of each round: how many times faster than the base."""
    return [b / v for b, v in zip(base, values, strict=True)]


def peak_mib() -> float:
    """Return the most memory this program has held, in MiB: since :func:`forget_peak`, where the system can forget."""
    try:
        # ru_maxrss of a child begins at what its parent held; the high-water mark of /proc does not
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forget_peak() -> None:
    """Let the high-water mark begin at what is held now."""
    try:
        with open("/proc/self/clear_refs", "w") as switch:
            switch.write("5")
    except OSError:
        return  # then the mark holds the imports' own peak too, and the figures come out lower bounds
