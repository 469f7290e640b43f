"""What a trained network says: the distribution of every column of a row, given the columns of it that are observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from isthmus.apps.columns.coding import Cells, Coding, Number
from isthmus.apps.columns.fitting import LIMIT, Tensors, tensors
from isthmus.apps.columns.network import Inputs, Members

ROWS = 1024
"""How many rows are asked at a time."""


class Predicted(NamedTuple):
    """Distributions of all columns of some rows; only those of hidden columns are predictions."""

    means: np.ndarray
    """(n, numbers), standardised: the expected value."""
    chances: np.ndarray
    """(n, classes of all columns): the probability of each bin of a number, and of each category."""
    linear: np.ndarray
    """(n, p): what the linear answer fills in, as normal scores and one-hots."""


@dataclass(frozen=True, eq=False)
class Conditionals:
    """p(column | observed columns) for any set of observed columns, averaged over the members.

    A number is a bin, by its probability, and within the bin one of the values observed there, each as probable as it was
    frequent: probabilities sum to 1 and atoms stay atoms. By the chain rule the columns of a row, drawn one by one in any
    order, each given those before, are a draw from a joint distribution.
    """

    coding: Coding
    network: Members

    def rows(self, cells: Cells) -> Tensors:
        """Return cells as tensors, to be asked about."""
        return tensors(self.coding, cells, self.network)

    @torch.no_grad()
    def predict(self, rows: Tensors, observed: np.ndarray, by: np.ndarray | None = None) -> Predicted:
        """Return the distributions given the cells that ``observed`` (n, k) shows.

        ``by`` (n,) says which member is asked about a row; -1, and None, is the mean of all.
        """
        seen = torch.from_numpy(observed)
        parts: list[list[np.ndarray]] = []
        for start in range(0, max(1, len(seen)), ROWS):
            place = slice(start, start + ROWS)
            inputs = self._inputs(rows, seen, place)
            answer, (_, linear) = self.network(inputs), self.network.linear(inputs)
            chances = self._chances(answer.logits)
            linear = linear * self.network.spread + self.network.centre
            chosen = None if by is None else torch.from_numpy(by[place])
            parts.append([_asked(values, chosen).numpy() for values in (answer.means, chances, linear)])
        return Predicted(*(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))

    @torch.no_grad()
    def chances(self, rows: Tensors, observed: np.ndarray, column: int, by: np.ndarray | None = None) -> np.ndarray:
        """Return (n, classes) what :meth:`predict` says of one column, for a part of the work."""
        seen, own = torch.from_numpy(observed), self.columns(column)
        parts = []
        for start in range(0, max(1, len(seen)), ROWS):
            place = slice(start, start + ROWS)
            logits = self.network(self._inputs(rows, seen, place), only=own).logits
            chosen = None if by is None else torch.from_numpy(by[place])
            parts.append(_asked(logits.clamp(-LIMIT, LIMIT).softmax(-1), chosen).numpy())
        return np.concatenate(parts)

    def _inputs(self, rows: Tensors, seen: torch.Tensor, place: slice) -> Inputs:
        shown = seen[place].to(rows.y.dtype).expand(self.members, -1, -1)
        return Inputs(rows.y[place] * shown[..., self.network.owners], shown)

    @property
    def members(self) -> int:
        return len(self.network.loadings)

    def columns(self, place: int) -> slice:
        """Return where the chances of a column stand."""
        offsets = self.coding.offsets
        return slice(int(offsets[place]), int(offsets[place + 1]))

    def _chances(self, logits: torch.Tensor) -> torch.Tensor:
        pieces = logits.clamp(-LIMIT, LIMIT).split(np.diff(self.coding.offsets).tolist(), -1)
        return torch.cat([piece.softmax(-1) for piece in pieces], -1)


def _asked(values: torch.Tensor, by: torch.Tensor | None) -> torch.Tensor:
    """Return the mean over the members (K, n, ..) -> (n, ..), or the member that each row asks."""
    mean = values.mean(0)
    if by is None:
        return mean
    one = values[by.clamp_min(0), torch.arange(len(by))]
    return torch.where(by[:, None] < 0, mean, one)


def quantile(column: Number, chances: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    """Return the value below which a number lies with probability ``level``, (n,): exact for the distribution above."""
    cumulative = np.concatenate([np.zeros((len(chances), 1)), np.cumsum(chances, 1)], 1)
    level = np.broadcast_to(np.asarray(level, np.float64), len(chances))
    place = np.clip((cumulative[:, 1:] < level[:, None]).sum(1), 0, column.width - 1)
    each = np.arange(len(chances))
    inside = (level - cumulative[each, place]) / np.maximum(chances[each, place], 1e-12)
    shares = column.shares
    return column.quantiles(shares[place] + np.clip(inside, 0, 1) * (shares[place + 1] - shares[place]))


def cumulative(column: Number, chances: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of less than, and of no more than, each value, (n,) each."""
    bins, each = column.classes(values), np.arange(len(values))
    below = np.cumsum(chances, 1)[each, bins] - chances[each, bins]
    shares, size = column.shares, len(column.support)
    span = np.maximum(shares[bins + 1] - shares[bins], 1e-12)
    sides = [np.searchsorted(column.support, values, side=side) / size for side in ("left", "right")]
    left, right = (np.clip((side - shares[bins]) / span, 0, 1) for side in sides)
    return below + chances[each, bins] * left, below + chances[each, bins] * right


def sample(model: Conditionals, cells: Cells, rng: np.random.Generator) -> np.ndarray:
    """Return the cells with every gap drawn, (n, k): column by column in a random order, each given all before."""
    values, observed = cells.values.copy(), cells.observed.copy()
    for place in rng.permutation(values.shape[1]):
        gaps = np.flatnonzero(~observed[:, place])
        if not len(gaps):
            continue
        rows = model.rows(Cells(values[gaps], observed[gaps]))
        chances = model.chances(rows, observed[gaps], int(place))
        column = model.coding.columns[place]
        level = rng.random(len(gaps))
        if isinstance(column, Number):
            values[gaps, place] = quantile(column, chances, level)
        else:
            values[gaps, place] = np.clip((np.cumsum(chances, 1) < level[:, None]).sum(1), 0, column.width - 1)
        observed[gaps, place] = True
    return values
