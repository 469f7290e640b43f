"""Which cell of a row is wrong, if one is: by Bayes' rule, from the distribution of each column given all others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.frequencies import Frequencies
from isthmus.apps.anomaly.plausibility import STEP, Plausibility
from isthmus.apps.columns.coding import Choice, Number, encoded_rows
from isthmus.apps.columns.conditionals import cumulative, quantile
from isthmus.chunks import chunks
from isthmus.data.rows import Rows

FAR = 1 / 3
"""So many wrong numbers lie beyond all that were seen; the others are those of other rows."""
UNSEEN = 0.05
"""So many wrong cells hold what was never seen in their column, a gap or a category."""
GAP = 1e-3
"""So many are gaps where others are: few, for such gaps mostly follow from other cells, by a rule that is not known here."""
DOUBT = 2e-4
"""So much of every distribution is spread over all values, half as they are frequent and half evenly."""
STRAY = 0.005
"""So many of the numbers that were learned from may be wrong themselves, on either side."""
ROWS = 4096
"""How many rows are looked at at a time."""


class Culprits(NamedTuple):
    """How suspect each cell of some rows is, and what stands there otherwise."""

    odds: np.ndarray
    """(n, columns) log odds that this cell is wrong."""
    expected: np.ndarray
    """(n, d) the likeliest category and the median of numbers given all other cells, encoded."""
    is_gap: np.ndarray
    """(n, columns) whether a gap is expected: the cell is one, and no suspect, or nothing else is known of the column."""


def find_culprits(head: Plausibility, rarity: Frequencies, rows: Rows) -> Culprits:
    """Return the log odds that a cell is wrong rather than none, all columns being wrong equally often.

    If column j of a row was replaced, v by x_j with probability u_j(x_j | v), Bayes' rule says of the row x as it is found

        P(column j | x) / P(none | x)  ∝  sum_v p(v | x_-j) u_j(x_j | v) / p(x_j | x_-j)

    for p(x_-j) is the same on both sides: conditional distributions are all that is needed. u_j says what is wrong:

    * a category: any other, evenly: log (1 - p) / ((k - 1) p), p = p(x_j | x_-j);
    * a number: another row's, at least one interquartile range (where that is 0, a standard deviation) from v, or, with
      probability ``FAR``, one far out (:func:`_far`), where normal ones thin out as the square of the distance;
    * a gap, or what was never seen: of such cells no more is known than how frequent gaps are in the column.
    """
    coding, columns = head.model.coding, head.columns
    odds = np.log(GAP) + rarity.of(rows)
    expected = np.zeros((len(rows), coding.codec.layout.size), np.float32)
    is_gap = np.ones(odds.shape, bool)
    for piece in chunks(len(rows), ROWS):
        x, observed = encoded_rows(rows.subset(piece))
        cells, gaps = coding.cells(x, observed), _gaps(columns, x)
        usual = np.empty_like(cells.values)
        for place, chances in head.chances(cells, range(len(coding.columns))):
            column, owner, values = coding.columns[place], head.owner[place], cells.values[:, place].astype(np.float64)
            if isinstance(column, Choice):
                usual[:, place] = chances.argmax(1)
                found = odds_of_category(column, chances, values.astype(np.int64))
            else:
                usual[:, place] = quantile(column, chances, 0.5)
                found = odds_of_number(column, chances, values)
            absent = np.where(gaps[:, owner], odds[piece, owner], np.log(UNSEEN / DOUBT))
            odds[piece, owner] = np.where(cells.observed[:, place], found, absent)
            is_gap[piece, owner] = gaps[:, owner] & (absent <= 0)
        expected[piece] = coding.features(usual)
    return Culprits(np.rint(odds / STEP) * STEP, expected, is_gap)


def _gaps(columns: Columns, x: np.ndarray) -> np.ndarray:
    """Return (n, columns) which cells of encoded rows (n, d) are gaps in columns that have had some."""
    found = np.zeros((len(x), columns.number), bool)
    for block in columns.blocks:
        if block.gap:
            found[:, columns.names.index(block.column)] = x[:, block.start] > 0.5
    return found


def odds_of_category(column: Choice, chances: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return (n,) the log odds that categories ``own`` (n,) are wrong where ``chances`` (n, k) are the probabilities of all."""
    p = _doubted(chances, column.frequencies)[np.arange(len(own)), own]
    return np.log(np.maximum(1 - p, DOUBT) / (max(column.width - 1, 1) * p))


def odds_of_number(column: Number, chances: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return (n,) the log odds that ``values`` (n,) are wrong where ``chances`` (n, bins) are the probabilities of all bins."""
    support, shares, bins = column.support, np.diff(column.shares), column.classes(values)
    chances = _doubted(chances, shares)
    p = chances[np.arange(len(values)), bins]
    step = float(np.subtract(*np.quantile(support, [0.75, 0.25]))) or column.deviation
    # of each right value, what one draw of all that lie at least a step away is worth; by bins, as the chances are
    near = np.searchsorted(support, support + step, "left") - np.searchsorted(support, support - step, "right")
    worth = len(support) / np.maximum(len(support) - near, 1)
    owned = column.classes(support)
    chances = chances * (np.bincount(owned, worth) / np.bincount(owned))
    inside = cumulative(column, chances, values + step)[0] - cumulative(column, chances, values - step)[1]
    others = (1 - FAR) * np.maximum(chances.sum(1) - inside, DOUBT) * shares[bins] / p
    far = _far(support, step, values)
    return np.log(np.where(far > 0, FAR * shares[bins] / p * far, others))


def _far(support: np.ndarray, step: float, values: np.ndarray) -> np.ndarray:
    """Return (n,) how many times likelier so far out a wrong number is than a normal one; 0 where it is not far.

    Far is what lies beyond all of ``support``, or a step beyond all but its ``STRAY`` outermost on either side: those that were
    learned from may be wrong, too. Of normal ones so many are as far out as there were, at least ``DOUBT``.
    """
    size, last = len(support), max(1, round(STRAY * len(support)))
    beyond = np.maximum(values - support[-1 - last], support[last] - values) / step
    outward = (
        np.minimum(np.searchsorted(support, values, "right"), size - np.searchsorted(support, values, "left")) / size
    )
    is_far = (beyond > 1) | (values > support[-1]) | (values < support[0])
    return np.where(is_far, (1 + np.maximum(beyond, 0)) ** 2 / np.maximum(outward, DOUBT), 0)


def _doubted(chances: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    return (1 - DOUBT) * chances + DOUBT * (frequencies + 1 / chances.shape[1]) / 2
