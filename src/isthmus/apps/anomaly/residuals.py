"""What autoencoders cannot rebuild: the residual of every cell, each column on a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from isthmus.apps.anomaly.cells import Columns
from isthmus.data.rows import Index, Rows, Taken
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows
from isthmus.inputs import Learned
from isthmus.many import fit_many
from isthmus.parts.networks import MLP
from isthmus.parts.reconstructions import cells_of

MEMBERS = 8
STEPS, BATCH = 200, 128
"""Short: a network that has seen a cluster of anomalies long enough rebuilds it."""
WIDTH = 64
WIDEST = 500
"""Of tables with more numbers to a row than these, each member looks at a share of the numbers."""
SMALLEST, LARGEST = 0.1, 0.75
"""The first and the last member's code, as shares of the numbers of a sample."""
MOST_CODES = 48
MOST_ROWS = 20_000
"""Of more rows than these, evenly spread ones set the scales."""
CHI_MEDIAN = 2.2
"""1 / the median of a squared standard normal: what makes a median of squares a variance."""


def members_for(
    size: int,
    n_rows: int,
    seeds: Sequence[int],
    shares: tuple[float, float] = (SMALLEST, LARGEST),
    most: int = MOST_CODES,
) -> list[Autoencoder]:
    """Return unfitted autoencoders for samples of ``size`` numbers, to fit on ``n_rows``.

    Their codes go from the first to the last of ``shares`` of the numbers, up to ``most``. They start from the principal
    components, as every autoencoder does, which loses less to odd training rows than a random start.
    """
    codes = np.clip(np.rint(np.linspace(*shares, len(seeds)) * size), 1, min(size - 1, most))
    return [
        Autoencoder(
            network=MLP(hidden=(WIDTH,)),
            latent_dim=int(code),
            scale="columns",
            max_epochs=-(-STEPS * BATCH // n_rows),
            batch_size=BATCH,
            early_stopping=False,
            validation_fraction=0.0,
            precision="float32",
            device="cpu",
            random_state=int(seed),
            verbose=False,
        )
        for code, seed in zip(codes, seeds, strict=True)
    ]


class Residuals:
    """The mean over members of how badly each column comes back.

    A cell counts its squared residual over that of its column among the rows learned from (r^2 / s^2, with s^2 from the
    median where there is one: what is rebuilt worst in everyone's rows says nothing of anyone); a category or boolean twice
    its negative log-likelihood, which is the same unit. A member's columns are divided by the spread of its row sums, so that
    no member drowns the others.
    """

    def __init__(
        self,
        members: Sequence[Autoencoder],
        columns: Columns,
        groups: Sequence[np.ndarray] = (),
        weight: np.ndarray | None = None,
    ) -> None:
        self.members, self.columns = list(members), columns
        self.groups = list(groups)
        """Of each member, which numbers of a sample it looks at; empty where all look at all."""
        self.weight = weight
        """(d,) what encoded numbers are multiplied by before a member sees them; None: by nothing."""
        self.scale = np.empty(0)
        """(members, columns)."""

    @classmethod
    def learn(
        cls,
        X: Any,
        learned: Learned,
        bags: Sequence[np.ndarray],
        rng: np.random.Generator,
        weight: np.ndarray | None = None,
    ) -> Residuals:
        """Fit one autoencoder on each bag of the rows of ``X``, which are encoded already; ``weight`` multiplies them."""
        size, columns = learned.codec.layout.size, Columns.of(learned.codec.layout)
        learned = learned._replace(rows=weighed(learned.rows, weight))
        seeds = rng.integers(2**31 - 1, size=len(bags)).tolist()
        if size > WIDEST and learned.codec.kind in ("table", "array"):
            return cls._of_groups(learned.rows, columns, bags, in_groups(size, len(bags), rng), seeds, weight)
        members = members_for(size, len(bags[0]), seeds)
        return cls(fit_many(members, X, rows=bags, codec=learned), columns, weight=weight)

    @classmethod
    def _of_groups(
        cls,
        rows: Rows,
        columns: Columns,
        bags: Sequence[np.ndarray],
        groups: Sequence[np.ndarray],
        seeds: Sequence[int],
        weight: np.ndarray | None,
    ) -> Residuals:
        """Fit each member on some of the encoded and weighed numbers, which are an array to it."""
        members = members_for(len(groups[-1]), len(bags[0]), seeds)
        for member, group, bag in zip(members, groups, bags, strict=True):
            x, observed = Features(rows, group).take(torch.from_numpy(bag))
            known = x if observed is None else x.masked_fill(~observed, torch.nan)
            member.set_params(scale="none").fit(known.numpy())
        return cls(members, columns, groups, weight)

    def settle(self, rows: Rows, kept: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
        """Learn the scales from what members say of the ``kept`` rows they have not ``seen``; return :meth:`of` all rows so."""
        if len(kept) > MOST_ROWS:
            kept = kept[:: -(-len(kept) // MOST_ROWS)]
        numeric = self.columns.is_numeric if not self.groups else np.ones(self.columns.number, bool)
        self.scale = np.ones((len(self.members), self.columns.number))
        for place in range(len(self.members)):
            fresh = kept if seen is None else kept[~seen[place, kept]]
            own = self._cells(place, rows.subset(fresh)).astype(np.float64)
            usual = CHI_MEDIAN * np.median(own, 0) + 0.01 * own.mean(0) + 1e-6
            self.scale[place] = np.where(numeric, usual, 0.5)
            sums = (own / self.scale[place]).sum(1)
            spread = 1.4826 * np.median(np.abs(sums - np.median(sums)))
            self.scale[place] *= spread if spread > 0 else max(sums.mean(), 1e-9)
        return self.of(rows, seen)

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        """Return (n, columns) what each column adds to the oddness of each row; members that have ``seen`` it are left out."""
        total = np.zeros((len(rows), self.columns.number))
        for place in range(len(self.members)):
            found = self._cells(place, rows) / self.scale[place]
            total += found if seen is None else found * ~seen[place, :, None]
        return total / (len(self.members) if seen is None else (~seen).sum(0)[:, None])

    def _cells(self, place: int, rows: Rows) -> np.ndarray:
        """Return (n, columns) what one member says of each; nothing of those it does not look at."""
        member = self.members[place]
        model, codec = member.model_, member.codec_
        rows = weighed(rows, self.weight)
        if not self.groups:
            return self.columns.gather_blocks(map_rows(model.cells, rows, model, cells=cells_of(codec.layout.blocks)))
        group = self.groups[place]
        out = np.zeros((len(rows), len(self.columns.owner)), np.float32)
        out[:, group] = map_rows(model.cells, Features(rows, group), model)
        return self.columns.gather(out)


def weighed(rows: Rows, weight: np.ndarray | None) -> Rows:
    """Return the rows with their numbers times ``weight`` (d,); None is 1."""
    return rows if weight is None or (weight == 1).all() else Weighed(rows, weight)


class Weighed:
    """Samples whose numbers are multiplied as they are taken."""

    def __init__(self, rows: Rows, weight: np.ndarray) -> None:
        self.rows, self.weight = rows, weight
        self.factor = torch.from_numpy(weight.astype(np.float32)).reshape(rows.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Index) -> Taken:
        x, observed = self.rows.take(index)
        return x * self.factor, observed

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Weighed(self.rows.subset(index), self.weight)


class Features:
    """Some of the numbers of each sample."""

    def __init__(self, rows: Rows, index: np.ndarray) -> None:
        self.rows, self.index = rows, torch.from_numpy(index)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.index),)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, index: Index) -> Taken:
        x, observed = self.rows.take(index)
        return x.flatten(1)[:, self.index], None if observed is None else observed.flatten(1)[:, self.index]

    def subset(self, index: Index | np.ndarray) -> Rows:
        return Features(self.rows.subset(index), self.index.numpy())


def in_groups(size: int, members: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Share out the numbers of a sample, each group to the two members whose halves of the rows complement each other.

    So for every row and number there is a member that has the number and has not seen the row.
    """
    groups = np.array_split(rng.permutation(size), members // 2)
    return [np.sort(group) for group in groups for _ in range(2)]
