"""The detector's recipe for series: what a window's past, its other channels and its own stillness say of it.

windows (n, length, channels) --heads--> (n, channels) each --tails, the largest--> (n,) --mean of those that cover--> (T,)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from isthmus.apps.anomaly.bags import halves, seen
from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.cells import Columns, pieces
from isthmus.apps.anomaly.conditional import Conditional
from isthmus.apps.anomaly.ensemble import prune
from isthmus.apps.anomaly.judge import Head, Judge
from isthmus.apps.anomaly.neighbours import BAGS, MOST, Neighbours
from isthmus.apps.anomaly.residuals import BATCH, STEPS, Residuals, members_for
from isthmus.apps.anomaly.tails import Tail
from isthmus.apps.words import plain
from isthmus.data.rows import Rows
from isthmus.data.series import average
from isthmus.inputs import Learned
from isthmus.layout import Layout
from isthmus.many import fit_many

MEMBERS = 4
CODES = (0.1, 0.3)
"""The smallest and the largest code, as shares of the numbers of a window."""
MOST_CODES = 48
MOST_WINDOWS, MOST_NUMBERS = 50_000, 2**26
"""Of a series with more windows, or more numbers in all of them, every second, third, .. window is learned from."""


def learn_series(X: Any, learned: Learned, prunes: bool, rng: np.random.Generator) -> tuple[Judge, np.ndarray, int]:
    """Return a judge of windows, the score (n,) of each by members that have not seen its points, and the stride.

    Score i is that of window i * stride. Faults of series show in one way and in no other - a stuck sensor in its
    repetitions, a swapped one beside its neighbours - so the oddest head decides, where rows take the product of all.
    """
    layout = learned.codec.layout
    n, size = len(learned.rows), layout.size
    stride = max(1, -(-n // MOST_WINDOWS), -(-n * size // MOST_NUMBERS))
    pool = np.arange(0, n, stride)
    rows, columns = learned.rows.subset(pool), Columns.of_codec(learned.codec)
    overlap = -(-(getattr(learned.rows, "overlap", 0) + 1) // stride) - 1
    kept = prune(rows, rng) if prunes else np.arange(len(pool))
    heads: dict[str, Head] = {}
    found: dict[str, np.ndarray] = {}

    def bags(number: int, most: int) -> tuple[list[np.ndarray], np.ndarray]:
        chosen = halves(kept, number, most, rng, overlap)
        return chosen, seen(chosen, len(pool), overlap)

    if size > 1:
        chosen, known = bags(MEMBERS, STEPS * BATCH // 2)
        seeds = rng.integers(2**31 - 1, size=MEMBERS).tolist()
        # little more than principal components: a short while of what a network adds
        members = members_for(layout.size, len(chosen[0]), seeds, CODES, MOST_CODES)
        fitted = fit_many(members, X, rows=[pool[bag] for bag in chosen], codec=learned)
        head = heads["residual"] = Residuals(fitted, columns)
        found["residual"] = head.settle(rows, kept, known)
    chosen, known = bags(MEMBERS, MOST_WINDOWS)
    head = heads["conditional"] = Conditional.learn(rows, layout, chosen)
    found["conditional"] = head.of(rows, known)
    chosen, known = bags(BAGS, MOST)
    head = heads["distance"] = Neighbours.learn(rows, columns, chosen)
    found["distance"] = head.of(rows, known)
    for alone in (False, True)[: layout.shape[1]]:
        name = "stuck alone" if alone else "stuck"
        head = heads[name] = Stuck.learn(rows.subset(kept), layout, alone)
        found[name] = head.of(rows)
    judge = Judge.settle(heads, found, kept, columns, one_suffices=True)
    return judge, judge.combine(found), stride


class Stuck:
    """How rare it is for a channel to repeat one value so many times in a row: -log of the share of windows that do.

    With ``alone`` only repeats count beside which another channel moves: recorders that pause hold all channels, which is
    usual in many series, and would hide a single sensor that is stuck.
    """

    def __init__(self, tails: list[Tail], alone: bool) -> None:
        self.tails, self.alone = tails, alone
        """One for each channel."""

    @classmethod
    def learn(cls, rows: Rows, layout: Layout, alone: bool) -> Stuck:
        return cls([Tail.learn(channel) for channel in longest_repeats(rows, layout.shape[1], alone).T], alone)

    def of(self, rows: Rows) -> np.ndarray:
        lengths = longest_repeats(rows, len(self.tails), self.alone)
        return np.stack([tail(channel) for tail, channel in zip(self.tails, lengths.T, strict=True)], 1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything, flat."""
        return {
            "repeats": np.concatenate([tail.knots for tail in self.tails]),
            "rarities": np.concatenate([tail.heights for tail in self.tails]),
            "slopes": np.array([tail.slope for tail in self.tails]),
            "sizes": np.array([len(tail.knots) for tail in self.tails]),
            "alone": np.array([self.alone]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Stuck:
        cuts = np.cumsum(arrays["sizes"])[:-1]
        parts = (np.split(arrays["repeats"], cuts), np.split(arrays["rarities"], cuts), arrays["slopes"])
        tails = [Tail(knots, heights, float(slope)) for knots, heights, slope in zip(*parts, strict=True)]
        return cls(tails, bool(arrays["alone"][0]))


def longest_repeats(rows: Rows, channels: int, alone: bool = False) -> np.ndarray:
    """Return (n, channels) how often in a row, at most, each channel of a window repeats the value before.

    Gaps repeat nothing; with ``alone`` neither does a point at which every channel repeats.
    """
    out = np.empty((len(rows), channels))
    for place, x, observed in pieces(rows):
        steps = np.diff(_windows(x, observed, (-1, channels)), axis=1)
        same = steps == 0
        if alone:
            same &= (abs(steps) > 0).any(-1, keepdims=True)
        run = longest = np.zeros((len(x), channels), np.int64)
        for point in range(same.shape[1]):
            run = np.where(same[:, point], run + 1, 0)
            longest = np.maximum(longest, run)
        out[place] = longest
    return out


def _windows(x: np.ndarray, observed: np.ndarray | None, shape: Sequence[int]) -> np.ndarray:
    """Return float64 (m, length, channels) with NaN at gaps."""
    values = x.astype(np.float64) if observed is None else np.where(observed, x, np.nan).astype(np.float64)
    return values.reshape(len(x), *shape)


# -- from windows to points ------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """A stretch of points [start, stop) that stand out, its smallest p-value and the channel that adds most."""

    start: int
    stop: int
    p_value: float
    channel: int


@dataclass(frozen=True, eq=False)
class PointScores:
    """How odd every point of a series is: the mean score of the windows that cover it, shared out to the channels.

    Where a fault begins and ends, windows still see it: a single odd point raises those around it, most of all itself.
    """

    scores: np.ndarray
    """(T,) higher is odder; NaN where no window reaches (behind the last of a ``step`` above 1)."""
    p_values: np.ndarray
    """(T,) the share of the training points that are as odd; NaN as above."""
    channels: np.ndarray
    """(T, channels) what each channel adds; they sum to the score."""
    warm_up: np.ndarray
    """(T,) whether fewer windows cover the point than can: the first and the last ones, of which less is known."""
    length: int
    """Points to a window."""

    def events(self, alpha: float = 0.01) -> list[Event]:
        """Return the stretches of points with p-values of at most ``alpha``, those within a window of each other as one."""
        at = np.flatnonzero(self.p_values <= alpha)
        parts = np.split(at, np.flatnonzero(np.diff(at) >= self.length) + 1) if len(at) else []
        found = []
        for part in parts:
            worst = part[np.nanargmax(self.scores[part])]
            channel = int(self.channels[worst].argmax())
            found.append(Event(int(part[0]), int(part[-1]) + 1, float(self.p_values[part].min()), channel))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return plain(vars(self)) | {"events": [event._asdict() for event in self.events()]}


def points_from(judge: Judge, rows: Rows, total: int, length: int, step: int, calibration: Calibration) -> PointScores:
    """Return the scores of the ``total`` points that windows of ``length`` every ``step`` were cut from."""
    cells = judge.cells(rows)
    scores, shares = judge.combine(cells), judge.shares(cells)
    both = np.concatenate([scores[:, None], scores[:, None] * shares], 1)
    by_point = average(np.repeat(both[:, None], length, axis=1), total, step)
    covers = coverage(len(scores), total, length, step)
    p = np.full(total, np.nan)
    p[covers > 0] = calibration.p_values(by_point[covers > 0, 0])
    return PointScores(by_point[:, 0], p, by_point[:, 1:], covers < covers.max(), length)


def coverage(windows: int, total: int, length: int, step: int) -> np.ndarray:
    """Return (total,) how many windows cover each point."""
    ends = np.zeros(total + 1, np.int64)
    starts = np.arange(windows) * step
    np.add.at(ends, starts, 1)
    np.add.at(ends, starts + length, -1)
    return ends[:-1].cumsum()


def by_point(scores: np.ndarray, length: int, step: int) -> np.ndarray:
    """Return the mean score of each run of windows, one every ``step`` points, that cover a point together."""
    width = min(-(-length // step), len(scores))
    return np.convolve(scores, np.full(width, 1 / width), "valid")
