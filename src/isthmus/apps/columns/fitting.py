"""Training on random gaps: hide some observed cells of each row, and learn to say what they were.

A loop of its own, and not the house's: what is hidden is drawn anew for every row of every step and decides inputs, linear
answer and loss at once, members hold out different rows, and a fit of a small table must be over in a second.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.apps.columns.coding import Cells, Coding
from isthmus.apps.columns.dependencies import Dependencies
from isthmus.apps.columns.factors import Factors, fit_factors
from isthmus.apps.columns.network import Answer, Inputs, Members
from isthmus.apps.columns.stepping import Averages, batches, clip, one_cycle
from isthmus.engine.adam import Adam
from isthmus.threads import threads_for

FEW = 2000
"""Rows below which several small networks, each of which holds out other rows, are averaged."""
BINS_COUNT = 0.2
"""What the bin of a number counts beside its squared error."""
LOOKS = 10
"""How often held-out rows are judged."""
JUDGES = 512
"""How many rows judge a member; fewer are judged several times, with other cells hidden."""
LIMIT = 30.0
"""Logits are kept within +-LIMIT, so that their exponentials are summed without a maximum."""


class Recipe(NamedTuple):
    """How a network is trained.

    ``hide`` is the range of the share of cells that are hidden from a row, ``swap`` the share of those shown that are another
    row's: the network learns whom to believe when the cells of a row contradict each other.
    """

    members: int
    width: int
    steps: int
    batch: int
    rank: int
    blocks: int = 1
    hide: tuple[float, float] = (0.05, 0.4)
    swap: float = 0.0
    dropout: float = 0.0
    rate: float = 4e-3
    decay: float = 0.01

    @classmethod
    def of(cls, coding: Coding, rows: int) -> Recipe:
        """Return the recipe for a table of so many rows."""
        cells = len(coding.numbers) + sum(column.width for column in coding.choices)
        rank = max(1, min(6, (cells + 1) // 3))
        if rows < FEW:
            return cls(min(5, max(1, rows // 4)), 48, 120, min(256, rows), rank, dropout=0.2)
        return cls(3, 64, int(np.clip(2 * rows // 25, 300, 3000)), 256, rank, dropout=0.1)


class Tensors(NamedTuple):
    """The cells of a table, as the network and its loss want them."""

    y: Tensor
    """(n, p) scores and one-hots, standardised, 0 at gaps."""
    observed: Tensor
    """(n, k) bool."""
    standard: Tensor
    """(n, numbers)."""
    classes: Tensor
    """(n, k)."""


class Fitted(NamedTuple):
    """The members, who has not seen which row, and the loss at every look."""

    network: Members
    judge: np.ndarray
    """(n,): the member that held out a row, -1 where none did."""
    losses: list[float]


def tensors(coding: Coding, cells: Cells, network: Members) -> Tensors:
    """Return the cells as tensors."""
    y = (raw(coding, cells) - network.centre) / network.spread
    observed = torch.from_numpy(cells.observed)
    standard = torch.from_numpy(coding.standard(cells.values).astype(np.float32))
    return Tensors(y * observed[:, network.owners], observed, standard, torch.from_numpy(coding.classes(cells.values)))


def raw(coding: Coding, cells: Cells) -> Tensor:
    """Return scores and one-hots, (n, p)."""
    n = len(coding.numbers)
    hots = [
        cells.values[:, n + i, None] == np.arange(column.width, dtype=np.float32)
        for i, column in enumerate(coding.choices)
    ]
    return torch.from_numpy(np.concatenate([coding.scores(cells.values), *hots], 1).astype(np.float32))


def learn(coding: Coding, cells: Cells, recipe: Recipe, seed: int, dependencies: Dependencies | None = None) -> Fitted:
    """Fit the linear answer of every member, then train the networks on top of it.

    With ``dependencies`` a cell is hidden only where nothing it follows from is shown.
    """
    rng = torch.Generator().manual_seed(seed)
    network = Members(coding, recipe.members, recipe.rank, recipe.width, recipe.blocks, rng)
    order = torch.randperm(len(cells.values), generator=rng)
    folds, others = folds_of(order, recipe.members)
    with threads_for(network, recipe.batch, 3):
        rows = _with_linear(network, coding, cells, others, recipe.rank, rng)
        losses = _train(
            network, rows, _Loss(coding, rows), _Hiding(recipe.hide, dependencies), recipe, folds, others, rng
        )
    judge = torch.full((len(order),), -1)
    judge[folds] = torch.arange(recipe.members)[:, None].expand_as(folds)
    return Fitted(network.eval(), judge.numpy(), losses)


def folds_of(order: Tensor, members: int) -> tuple[Tensor, Tensor]:
    """Return which rows each member holds out (K, m): a tenth, or its share where there are several; and the others."""
    held = max(1, len(order) // (10 if members == 1 else members))
    folds = order[: members * held].view(members, held)
    others = [torch.cat([order[: i * held], order[(i + 1) * held :]]) for i in range(members)]
    return folds, torch.stack(others)


def _with_linear(
    network: Members, coding: Coding, cells: Cells, others: Tensor, rank: int, rng: torch.Generator
) -> Tensors:
    """Fit the linear answer of each member to its own rows, and return the cells on its scale."""
    y, seen = raw(coding, cells), torch.from_numpy(cells.observed)[:, network.owners].float()
    counts = seen.sum(0).clamp_min(1)
    centre = (y * seen).sum(0) / counts
    spread = (((y - centre) ** 2 * seen).sum(0) / counts).sqrt().clamp_min(1e-3)
    y = (y - centre) / spread * seen
    each = [fit_factors(y[rows], seen[rows], rank, rng) for rows in others]
    network.take(Factors(torch.cat([f.weights for f in each]), torch.cat([f.noise for f in each])), centre, spread)
    return tensors(coding, cells, network)


class _Loss:
    """Squared error of hidden numbers and cross-entropy of hidden classes, by what the column leaves to be known."""

    def __init__(self, coding: Coding, rows: Tensors) -> None:
        offsets = torch.from_numpy(coding.offsets)
        self.numbers, self.columns = len(coding.numbers), len(coding.columns)
        self.starts = offsets[:-1]
        widths = offsets.diff()
        self.sums = torch.zeros(int(offsets[-1]), self.columns)
        self.sums[torch.arange(int(offsets[-1])), torch.repeat_interleave(torch.arange(self.columns), widths)] = 1.0
        entropies = [
            _entropy(rows.classes[rows.observed[:, place], place], int(width)) for place, width in enumerate(widths)
        ]
        self.scale = 1 / torch.tensor(entropies).clamp_min(0.1)
        self.scale[: self.numbers] *= BINS_COUNT

    def __call__(self, answer: Answer, standard: Tensor, classes: Tensor, hidden: Tensor) -> Tensor:
        """Return the loss of each member, (K,)."""
        logits = answer.logits.clamp(-LIMIT, LIMIT)
        total = (logits.exp() @ self.sums).log()  # (K, B, k)
        cross = (total - logits.gather(-1, classes + self.starts)) * self.scale
        counts = hidden.sum(1).clamp_min(1)
        loss = ((cross * hidden).sum(1) / counts).sum(1)
        n = self.numbers
        if n:
            squared = (answer.means - standard).clamp(-8, 8) ** 2 * hidden[..., :n]
            loss = loss + (squared.sum(1) / counts[:, :n]).sum(1)
        return loss / self.columns


def _entropy(classes: Tensor, width: int) -> float:
    share = torch.bincount(classes, minlength=width).float() / max(len(classes), 1)
    return float(torch.special.entr(share).sum())


def _train(
    network: Members,
    rows: Tensors,
    loss_of: _Loss,
    hiding: _Hiding,
    recipe: Recipe,
    folds: Tensor,
    others: Tensor,
    rng: torch.Generator,
) -> list[float]:
    """Take the steps of one cycle of the learning rate; keep the averaged weights that judged best, member by member."""
    adam = Adam(network.named_parameters(), recipe.decay, members=recipe.members)
    judge = _gather(rows, folds[:, :JUDGES].repeat(1, max(1, JUDGES // folds.shape[1])), hiding, rng)
    averages = Averages(network, _judged(network, judge, loss_of))
    losses = [float(averages.lowest.mean())]
    for step, index in zip(range(recipe.steps), batches(others, recipe.batch, rng), strict=False):
        taken = _gather(rows, index, hiding, rng)
        shown = _swapped(taken.inputs, network.owners, recipe.swap, rng) if recipe.swap else taken.inputs
        answer = network(shown, 1 - recipe.dropout, rng)
        loss_of(answer, taken.standard, taken.classes, taken.hidden).sum().backward()
        clip(network)
        adam.step(one_cycle(recipe.rate, (step + 1) / recipe.steps))
        averages.follow(step)
        if (step + 1) % max(1, recipe.steps // LOOKS) == 0 or step + 1 == recipe.steps:
            losses.append(float(averages.judge(lambda: _judged(network, judge, loss_of)).mean()))
    averages.settle()
    return losses


class _Hiding:
    """Which of the observed cells of a row the network does not see."""

    def __init__(self, share: tuple[float, float], dependencies: Dependencies | None = None) -> None:
        self.low, self.high = share
        follows = None if dependencies is None or not dependencies.found else torch.from_numpy(dependencies.sources)
        self.leaders, self.above = None, list[tuple[int, Tensor]]()
        if follows is not None:
            alike = follows & follows.T
            self.leaders = alike.int().argmax(1)  # the first of those that follow from each other
            alone = follows & ~alike
            self.above = [(place, alone[place].nonzero()[:, 0]) for place in alone.any(1).nonzero()[:, 0].tolist()]

    def choose(self, seen: Tensor, rng: torch.Generator) -> Tensor:
        """Return which cells (K, B, k) to hide: those whose number is below the share of their row.

        Columns that follow from each other have one number; one that follows from others has at least those of them that are
        seen, so that it is not hidden where they are shown.
        """
        share = torch.rand(*seen.shape[:-1], 1, generator=rng) * (self.high - self.low) + self.low
        number = torch.rand(seen.shape, generator=rng)
        if self.leaders is not None:
            number = number[..., self.leaders]
        for place, sources in self.above:
            highest = (number[..., sources] * seen[..., sources]).amax(-1)
            number[..., place] = torch.maximum(number[..., place], highest)
        return (number < share) & seen


class _Taken(NamedTuple):
    inputs: Inputs
    standard: Tensor
    classes: Tensor
    hidden: Tensor


def _gather(rows: Tensors, index: Tensor, hiding: _Hiding, rng: torch.Generator) -> _Taken:
    """Take rows (K, B) and hide some of their observed cells."""
    shape = index.shape
    y, seen, standard, classes = (values.index_select(0, index.flatten()).view(*shape, -1) for values in rows)
    hidden = hiding.choose(seen, rng)
    return _Taken(Inputs(y, (seen & ~hidden).float()), standard, classes, hidden.float())


def _swapped(inputs: Inputs, owners: Tensor, share: float, rng: torch.Generator) -> Inputs:
    """Give each row a share of the cells of another row, where both show them."""
    y, shown = inputs
    other = torch.randperm(y.shape[1], generator=rng)
    swapped = (torch.rand(shown.shape, generator=rng) < share) & (shown * shown[:, other] > 0)
    return Inputs(torch.where(swapped[..., owners], y[:, other], y), shown)


@torch.no_grad()
def _judged(network: Members, judge: _Taken, loss_of: _Loss) -> Tensor:
    return loss_of(network(judge.inputs), judge.standard, judge.classes, judge.hidden)
