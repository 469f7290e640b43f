"""Drawing rows from a chain, column by column, each given those before it; rows that miss a condition are dropped at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from isthmus.apps.synthesis.coding import Coding
from isthmus.apps.synthesis.conditions import Condition
from isthmus.apps.synthesis.linear import Linear, design
from isthmus.apps.synthesis.network import Chain
from isthmus.errors import DataError
from isthmus.threads import threads_for

ROWS = 2048
"""How many rows are drawn at a time."""
MOST_TRIES = 300_000
"""Rows that are begun for a condition, at least; more where more were asked for."""
TRIES_A_ROW = 100


class Learned(NamedTuple):
    """A chain that was fitted, and the columns it is one of."""

    coding: Coding
    linear: tuple[Linear | None, ...]
    chain: Chain


def draw(
    learned: Learned, n: int, rng: np.random.Generator, conditions: Mapping[int, Condition] | None = None
) -> np.ndarray:
    """Return the cells (n, k) of new rows, all of which meet the conditions, by the place of their column.

    Exact for the distribution that was learned: whoever misses a condition is replaced by a row begun anew.
    """
    conditions = dict(conditions or {})
    found, met, begun = [], 0, 0
    most = max(MOST_TRIES, TRIES_A_ROW * n)
    with threads_for(learned.chain, ROWS, 1):
        while met < n:
            share = max(met, 1) / begun if begun else 1.0
            count = int(np.clip(1.1 * (n - met) / share, 64, ROWS)) if conditions else min(n - met, ROWS)
            if begun + count > most:
                raise DataError(_too_rare(conditions, met, begun, n))
            rows = _rows(learned, count, rng, conditions)
            found.append(rows)
            met, begun = met + len(rows), begun + count
    return np.concatenate(found)[:n]


@torch.no_grad()
def _rows(learned: Learned, n: int, rng: np.random.Generator, conditions: Mapping[int, Condition]) -> np.ndarray:
    """Begin ``n`` rows and return those that meet the conditions, (m, k)."""
    coding, linear, chain = learned
    offsets = coding.offsets
    cells, x = np.empty((n, len(coding.columns))), torch.zeros(n, int(offsets[-1]))
    for place, column in enumerate(coding.columns):
        answer = torch.zeros(len(x))
        if (known := linear[place]) is not None:
            answer = torch.from_numpy((design(coding, place, x.numpy()) @ known.weights).astype(np.float32))
        chances = chain.chances(place, x, answer)
        level = rng.random((len(x), 1))
        which = np.minimum((np.cumsum(chances, 1) < level).sum(1), chances.shape[1] - 1)
        values = column.between(which, rng)
        cells[:, place] = values
        x[:, offsets[place] : offsets[place + 1]] = torch.from_numpy(coding.features(place, values, which))
        if place in conditions:
            meets = conditions[place].meets(values)
            cells, x = cells[meets], x[torch.from_numpy(meets)]
    return cells


def _too_rare(conditions: Mapping[int, Condition], met: int, begun: int, n: int) -> str:
    told = " and ".join(each.text for each in conditions.values())
    rate = f"{met} of {begun:,} rows drawn met" if met else f"none of {begun:,} rows drawn met"
    way = "ask for fewer rows, or for less" if met else "ask for less"
    return f"{rate} {told}, too few to make {n:,} of them: {way}."
