"""How plausible each category of a row is, given all its other cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.columns import Cells, Coding, Conditionals, Recipe, learn
from isthmus.apps.columns.coding import Choice, encoded_rows
from isthmus.apps.columns.fitting import FEW
from isthmus.chunks import chunks
from isthmus.data.rows import Rows
from isthmus.data.tables import TableCodec

PLAUSIBILITY = "plausibility"
"""The name of this head."""
HIDE = (0.02, 0.2)
"""The share of cells that training hides: few, for all others of a row are there when it is judged."""
SWAP = 0.03
"""The share of cells that are another row's: where one cell is wrong, the others must still be told from it."""
MOST_STEPS, MOST_MEMBERS = 800, 2
LARGEST = 20_000
"""More rows teach nothing in so many steps."""
ROWS = 4096
"""How many rows are judged at a time."""
STEP = 1e-6
"""Odds are whole multiples of it: computed in float64, they do not depend on the rows that come with a row."""
LEAST = 1e-9
"""No category is thought less probable: the score must not hang on a single one."""


class Plausibility:
    """The log odds that a cell holds any category rather than its own, given all other cells of the row; never negative.

    If a cell of k categories is as likely to be what it is as to be another, drawn evenly, these are the odds of the second:

        log  1 / (k - 1) / p(category | all other cells)

    with p by networks trained on rows with gaps (``apps/columns``), in which ``SWAP`` of the other cells are wrong. An
    autoencoder that sees the category rebuilds it, plausible or not; this one must say it without having seen it. Numbers are
    judged by the other heads.
    """

    def __init__(self, model: Conditionals, columns: Columns) -> None:
        self.model, self.columns = Conditionals(model.coding, model.network.double()), columns
        names = [column.name for column in model.coding.columns]
        self._chosen = [place for place, c in enumerate(model.coding.columns) if isinstance(c, Choice) and c.width > 1]
        self.owner = np.array([columns.names.index(name) for name in names])
        """Which column of the table each of the model's is."""

    @classmethod
    def fits(cls, columns: Columns) -> bool:
        """Return whether there is a category, and anything else that could tell it."""
        return columns.number > 1 and not columns.is_numeric.all()

    @classmethod
    def learn(
        cls, rows: Rows, codec: TableCodec, columns: Columns, rng: np.random.Generator
    ) -> tuple[Plausibility, np.ndarray]:
        """Learn from ``rows``; return the head, and what it says of all of them by members that have not seen them.

        It learns from suspicious rows too: without them every rare category would count as one that cannot be.
        """
        taught = (
            np.arange(len(rows)) if len(rows) <= LARGEST else np.sort(rng.choice(len(rows), LARGEST, replace=False))
        )
        coding, cells = Coding.of(codec, *encoded_rows(rows.subset(taught)))
        fitted = learn(coding, cells, recipe_for(coding, len(taught)), int(rng.integers(2**31 - 1)))
        judged_by = np.full(len(rows), -1)
        judged_by[taught] = fitted.judge
        head = cls(Conditionals(coding, fitted.network), columns)
        return head, head.of(rows, judged_by)

    def of(self, rows: Rows, by: np.ndarray | None = None) -> np.ndarray:
        """Return (n, columns) the log odds; ``by`` (n,) names the member to ask about a row, -1 all of them."""
        out = np.empty((len(rows), self.columns.number))
        for place in chunks(len(rows), ROWS):
            cells = self.model.coding.cells(*encoded_rows(rows.subset(place)))
            out[place] = self._odds(cells, None if by is None else by[place])
        return out

    def weights(self) -> dict[str, np.ndarray]:
        """Return the weights as they were learned, in float32."""
        state = self.model.network.state_dict()
        return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in state.items()}

    def chances(
        self, cells: Cells, places: Iterable[int], by: np.ndarray | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each of these columns of the model with (n, classes) its probabilities, given all other cells of each row."""
        asked = self.model.rows(cells)
        for place in places:
            others = cells.observed.copy()
            others[:, place] = False
            yield place, self.model.chances(asked, others, place, by)

    def _odds(self, cells: Cells, by: np.ndarray | None) -> np.ndarray:
        out = np.zeros((len(cells.values), self.columns.number))
        coding = self.model.coding
        for place, chances in self.chances(cells, self._chosen, by):
            own = chances[np.arange(len(out)), cells.values[:, place].astype(np.int64)]
            odds = np.rint(-np.log(np.maximum(own, LEAST) * (coding.columns[place].width - 1)) / STEP) * STEP
            out[:, self.owner[place]] = np.where(cells.observed[:, place], np.maximum(odds, 0), 0)
        return out


def recipe_for(coding: Coding, rows: int) -> Recipe:
    """Return how the networks are trained that judge rows by all their cells, of which one may be wrong."""
    recipe = Recipe.of(coding, rows)
    members = recipe.members if rows < FEW else MOST_MEMBERS
    return recipe._replace(members=members, hide=HIDE, swap=SWAP, steps=min(recipe.steps, MOST_STEPS))
