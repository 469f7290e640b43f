"""Bags: halves of the rows, so that every row is judged by models that have not seen it."""

from __future__ import annotations

import numpy as np

from isthmus.errors import DataError

STRETCHES = 8
"""A series is cut into so many stretches: long ones, so that what is out of bag is another time, too."""


def halves(positions: np.ndarray, bags: int, most: int, rng: np.random.Generator, overlap: int = 0) -> list[np.ndarray]:
    """Return ``bags`` (an even number) random halves of ``positions``, two and two complementary, sorted.

    Each position lies in half of the bags at most: what the others say of its row is out of bag (Breiman 1996). All are
    equally large: of an odd number one is left out, and a half of more than ``most`` keeps a random ``most``. Windows that
    share points with the ``overlap`` ones before and after them go by :func:`blocks`.
    """
    if overlap:
        return blocks(positions, bags, most, rng, overlap)
    chosen = []
    for _ in range(bags // 2):
        order = rng.permutation(positions)
        size = max(1, len(order) // 2)
        chosen += [np.sort(half[:most]) for half in (order[:size], order[-size:])]
    return chosen


def blocks(positions: np.ndarray, bags: int, most: int, rng: np.random.Generator, overlap: int) -> list[np.ndarray]:
    """Return bags as :func:`halves` does, made of whole stretches of a series: every other one, and those between them.

    At the end of each stretch ``overlap`` windows are in neither bag (an embargo), so that no window of the one bag shares
    a point with any of the other. Each pair begins elsewhere, so that every window is out of bag for some pair.
    """
    n = int(positions.max()) + 1
    stretch = max(n // STRETCHES, 2 * (overlap + 1))
    if n < 3 * stretch:
        raise DataError(
            f"The series has {n} windows, of which each shares points with {2 * overlap} others; at least "
            f"{6 * (overlap + 1)} windows are needed to judge each by models that have not seen it: give a longer series, "
            "or shorter windows (length=)."
        )
    chosen = []
    for pair in range(bags // 2):
        place = positions + pair * stretch // (bags // 2)
        within = place % stretch < stretch - overlap
        even = place // stretch % 2 == 0
        chosen += [positions[within & even], positions[within & ~even]]
    size = min(most, *map(len, chosen))
    return [np.sort(rng.permutation(bag)[:size]) for bag in chosen]


def seen(bags: list[np.ndarray], n_rows: int, overlap: int = 0) -> np.ndarray:
    """Return (bags, n_rows) bool: which rows lie in which bag, or share points with a window that does."""
    inside = np.zeros((len(bags), n_rows), bool)
    for place, bag in enumerate(bags):
        inside[place, bag] = True
        for start in bag if overlap else ():
            inside[place, max(0, start - overlap) : start + overlap + 1] = True
    return inside


def mean_over(values: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """Return the mean over bags of ``values`` (bags, n, ...), of those ``counted`` (bags, n) where given."""
    total = np.zeros_like(values[0])
    for place, said in enumerate(values):  # one after the other: numpy would sum a single number in another order
        total += said if counted is None else said * counted[place].reshape(-1, *[1] * (said.ndim - 1))
    if counted is None:
        return total / len(values)
    return total / counted.sum(0).reshape(-1, *[1] * (total.ndim - 1))
