"""Training: every network learns its column from the true columns before it, all in the same step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.apps.columns.fitting import folds_of
from isthmus.apps.columns.stepping import Averages, batches, clip, one_cycle
from isthmus.apps.synthesis.coding import Coding
from isthmus.apps.synthesis.linear import Linear, design, fit_linear
from isthmus.apps.synthesis.network import Chain
from isthmus.engine.adam import Adam
from isthmus.threads import threads_for

FEW = 2000
"""Rows below which networks are smaller and more of them are averaged."""
LOOKS = 10
"""How often held-out rows are judged."""
JUDGES = 1024
"""How many rows judge a member at most."""


class Recipe(NamedTuple):
    """How the networks of a chain are trained."""

    members: int
    width: int
    steps: int
    batch: int
    dropout: float = 0.1
    rate: float = 4e-3
    decay: float = 0.01

    @classmethod
    def of(cls, coding: Coding, rows: int) -> Recipe:
        """Return the recipe for a table of so many rows; wide tables get a single member."""
        members = 1 if len(coding.columns) * int(coding.offsets[-1]) > 20_000 else 3
        if rows < FEW:
            return cls(members, 32, 150, min(256, rows), dropout=0.2)
        return cls(members, 64, int(np.clip(rows // 40, 150, 3000)), 256)


class Rows(NamedTuple):
    """The cells of a table, as networks and their loss want them."""

    x: Tensor
    """(n, p)"""
    answers: Tensor
    """(n, k): the linear answers."""
    classes: Tensor
    """(n, k)"""


class Fitted(NamedTuple):
    """What was learned, and the held-out loss of a row in nats: of independent columns, and at every look."""

    chain: Chain
    linear: tuple[Linear | None, ...]
    losses: list[float]


def learn(coding: Coding, cells: np.ndarray, recipe: Recipe, seed: int) -> Fitted:
    """Fit the linear answer of every number, then train the networks on top of it."""
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(cells), generator=rng)
    rows, linear = prepared(coding, cells[order.numpy()])
    chain = Chain(coding, linear, recipe.members, recipe.width, rng)
    folds, others = folds_of(torch.arange(len(cells)), max(1, min(recipe.members, len(cells) // 2)))
    if len(folds) < recipe.members:
        folds, others = folds.repeat(recipe.members, 1), others.repeat(recipe.members, 1)
    with threads_for(chain, recipe.batch, 3):
        losses = _train(chain, rows, recipe, folds[: recipe.members], others[: recipe.members], rng)
    return Fitted(chain.eval(), linear, losses)


def prepared(coding: Coding, cells: np.ndarray) -> tuple[Rows, tuple[Linear | None, ...]]:
    """Return the cells (n, k) as tensors, and the linear answers fitted to them."""
    classes = np.stack([column.classes(cells[:, place]) for place, column in enumerate(coding.columns)], 1)
    pieces = [coding.features(place, cells[:, place], classes[:, place]) for place in range(len(coding.columns))]
    x = np.concatenate(pieces, 1)
    answers, linear = np.zeros(cells.shape, np.float32), []
    for place, column in enumerate(coding.columns):
        if not column.number:
            linear.append(None)
            continue
        mean, deviation = column.moments
        seen = ~np.isnan(cells[:, place])
        d = design(coding, place, x)
        linear.append(fit_linear(d[seen], (cells[seen, place] - mean) / deviation))
        answers[:, place] = d @ linear[-1].weights
    return Rows(torch.from_numpy(x), torch.from_numpy(answers), torch.from_numpy(classes)), tuple(linear)


def _losses(chain: Chain, rows: Rows, index: Tensor, keep: float = 1.0, rng: torch.Generator | None = None) -> Tensor:
    """Return the mean of -log p over rows (members, B), for each member and column, (members, k)."""
    out = chain(rows.x[index], keep, rng)
    losses = []
    for place, head in enumerate(chain.heads):
        logits = head.logits(out[:, place], rows.answers[index, place])
        each = F.cross_entropy(logits.flatten(0, 1), rows.classes[index, place].flatten(), reduction="none")
        losses.append(each.view(index.shape).mean(1))
    return torch.stack(losses, 1)


def _train(
    chain: Chain, rows: Rows, recipe: Recipe, folds: Tensor, others: Tensor, rng: torch.Generator
) -> list[float]:
    """Take the steps of one cycle of the learning rate; keep the averaged weights that judged best, column by column."""
    adam = Adam(chain.named_parameters(), recipe.decay, members=len(next(chain.parameters())))
    judges = folds[:, :JUDGES]
    with torch.no_grad():
        averages = Averages(chain, _losses(chain, rows, judges))
    losses = [_independent(rows, judges, chain), float(averages.lowest.mean(0).sum())]
    for step, taken in zip(range(recipe.steps), batches(others, recipe.batch, rng), strict=False):
        _losses(chain, rows, taken, 1 - recipe.dropout, rng).sum().backward()
        clip(chain)
        adam.step(one_cycle(recipe.rate, (step + 1) / recipe.steps))
        averages.follow(step)
        if (step + 1) % max(1, recipe.steps // LOOKS) == 0 or step + 1 == recipe.steps:
            averages.judge(lambda: _losses(chain, rows, judges))
            losses.append(float(averages.lowest.mean(0).sum()))
    averages.settle()
    return losses


def _independent(rows: Rows, judges: Tensor, chain: Chain) -> float:
    """Return the loss of columns drawn without looking at one another."""
    each = [head.base.log_softmax(0)[rows.classes[judges, place]].mean() for place, head in enumerate(chain.heads)]
    return -float(torch.stack(each).sum())
