"""What autoencoders cannot rebuild: the residual of every cell, each column on a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.data.rows import Rows
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
SMALLEST, LARGEST = 0.1, 0.75
"""The first and the last member's code, as shares of the numbers of a sample."""
MOST_CODES = 48
MOST_ROWS = 20_000
"""Of more rows than these, evenly spread ones set the scales."""
CHI_MEDIAN = 2.2
"""1 / the median of a squared standard normal: what makes a median of squares a variance."""


def members_for(size: int, n_rows: int, seeds: Sequence[int]) -> list[Autoencoder]:
    """Return unfitted autoencoders for samples of ``size`` numbers, with codes from small to large, to fit on ``n_rows``."""
    codes = np.clip(np.rint(np.linspace(SMALLEST, LARGEST, len(seeds)) * size), 1, min(size - 1, MOST_CODES))
    return [
        Autoencoder(
            network=MLP(hidden=(WIDTH,)),
            latent_dim=int(code),
            scale="columns",
            shortcut=False,
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

    def __init__(self, members: Sequence[Autoencoder], columns: Columns) -> None:
        self.members, self.columns = list(members), columns
        self.scale = np.empty(0)
        """(members, columns)."""

    @classmethod
    def learn(cls, X: Any, learned: Learned, bags: Sequence[np.ndarray], rng: np.random.Generator) -> Residuals:
        """Fit one autoencoder on each bag of the rows of ``X``, which are encoded already."""
        layout = learned.codec.layout
        seeds = rng.integers(2**31 - 1, size=len(bags)).tolist()
        members = members_for(layout.size, len(bags[0]), seeds)
        return cls(fit_many(members, X, rows=bags, codec=learned), Columns.of(layout))

    def settle(self, rows: Rows, kept: np.ndarray, seen: np.ndarray | None) -> np.ndarray:
        """Learn the scales from what members say of the ``kept`` rows they have not ``seen``; return :meth:`of` all rows so."""
        if len(kept) > MOST_ROWS:
            kept = kept[:: -(-len(kept) // MOST_ROWS)]
        numeric = self.columns.is_numeric
        self.scale = np.ones((len(self.members), self.columns.number))
        for place, member in enumerate(self.members):
            fresh = kept if seen is None else kept[~seen[place, kept]]
            own = self._cells(member, rows.subset(fresh)).astype(np.float64)
            usual = CHI_MEDIAN * np.median(own, 0) + 0.01 * own.mean(0) + 1e-6
            self.scale[place] = np.where(numeric, usual, 0.5)
            sums = (own / self.scale[place]).sum(1)
            spread = 1.4826 * np.median(np.abs(sums - np.median(sums)))
            self.scale[place] *= spread if spread > 0 else max(sums.mean(), 1e-9)
        return self.of(rows, seen)

    def of(self, rows: Rows, seen: np.ndarray | None = None) -> np.ndarray:
        """Return (n, columns) what each column adds to the oddness of each row; members that have ``seen`` it are left out."""
        total = np.zeros((len(rows), self.columns.number))
        for place, member in enumerate(self.members):
            found = self._cells(member, rows) / self.scale[place]
            total += found if seen is None else found * ~seen[place, :, None]
        return total / (len(self.members) if seen is None else (~seen).sum(0)[:, None])

    def _cells(self, member: Autoencoder, rows: Rows) -> np.ndarray:
        model = member.model_
        known = cells_of(member.codec_.layout.blocks)
        return self.columns.gather_blocks(map_rows(model.cells, rows, model, cells=known))
