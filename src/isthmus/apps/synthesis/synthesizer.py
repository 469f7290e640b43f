"""The synthesizer: learns a table column by column, and draws rows that could have stood in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.synthesis.coding import Coding
from isthmus.apps.synthesis.conditions import Condition, place_of, resolve
from isthmus.apps.synthesis.drawing import Learned, draw
from isthmus.apps.synthesis.fitting import Recipe, learn
from isthmus.apps.synthesis.saving import restore, to_saved
from isthmus.data.containers import is_table
from isthmus.errors import DataError, SettingError
from isthmus.inputs import check_input

FEWEST = 10
"""Rows below which there is nothing to learn from."""


class Synthesizer(BaseEstimator):
    """Draw rows that could have stood in a table: column by column, each given those drawn before it.

    By the chain rule p(row) is a product of p(column | columns before it); small networks learn every factor at once, each
    on top of a closed-form linear answer. Values that occur often are drawn as often, ranges are kept, gaps come back as
    gaps. Takes tables (pandas, polars, Arrow; numbers, categories, booleans, dates) and arrays with NaN.

    Parameters
    ----------
    random_state : the seed of the fit; numpy's and torch's own generators are never touched.

    Attributes
    ----------
    order_ : the names of the columns, in the order in which they are drawn.
    losses_ : -log p of a held-out row in nats: of independent columns, of the linear start, and at every look.

    >>> import numpy as np, isthmus as ist
    >>> X = np.random.default_rng(0).normal(size=(200, 1)) * np.ones(3)
    >>> ist.Synthesizer(random_state=0).fit(X).sample(5, random_state=0).shape
    (5, 3)
    """

    n_features_in_: int

    def __init__(self, random_state: Any = None) -> None:
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the table ``X``; ``y`` is ignored."""
        X = self._checked(X)
        seed = np.random.SeedSequence().generate_state(1)[0] >> 1
        self.seed_ = int(
            seed if self.random_state is None else check_random_state(self.random_state).randint(2**31 - 1)
        )
        coding, cells = Coding.learn(X)
        fitted = learn(coding, cells, Recipe.of(coding, len(cells)), self.seed_)
        self.learned_ = Learned(coding, fitted.linear, fitted.chain)
        self.losses_ = fitted.losses
        self.is_array_ = not is_table(X)
        self.n_rows_ = len(cells)
        return self

    def sample(
        self,
        n: int = 1,
        where: Mapping[str, Any] | None = None,
        balance: str | None = None,
        random_state: Any = None,
    ) -> Any:
        """Draw ``n`` new rows, in the form of the training data.

        Parameters
        ----------
        where : what every row must be, {column: wish}: a value, a list of them, (low, high) of a number (None is an open
            end), or None for a gap. Rows are drawn from what was learned, given just that.
        balance : a column of categories, each of which is drawn equally often.
        """
        check_is_fitted(self)
        if not hasattr(n, "__index__") or n < 1:
            raise SettingError(f"sample(n={n!r}) must ask for at least 1 row.")
        coding = self.learned_.coding
        conditions = resolve(coding, where)
        rng = np.random.default_rng(
            None if random_state is None else check_random_state(random_state).randint(2**31 - 1)
        )
        if balance is None:
            cells = draw(self.learned_, int(n), rng, conditions)
        else:
            cells = self._balanced(int(n), balance, conditions, rng)
        if self.is_array_:
            return cells_as_array(coding, cells)
        return coding.decode(cells)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder: networks, linear answers, and the values of every column. No row is kept."""
        check_is_fitted(self)
        persistence.write(to_saved(self), path)

    @property
    def order_(self) -> list[str]:
        """The columns in the order in which they are drawn."""
        check_is_fitted(self)
        return [column.name for column in self.learned_.coding.columns]

    @property
    def codec_(self) -> Any:
        """How the columns are turned into numbers."""
        check_is_fitted(self)
        return self.learned_.coding.codec

    def _balanced(self, n: int, name: str, conditions: dict[int, Condition], rng: np.random.Generator) -> np.ndarray:
        """Draw as many rows of every category of a column; what does not divide goes to the first ones drawn by lot."""
        coding = self.learned_.coding
        place = place_of(coding, name)
        column = coding.columns[place]
        if column.number:
            raise SettingError(f"balance={name!r} holds numbers; name a column of categories.")
        wanted = column.known
        if place in conditions:
            wanted = wanted[conditions[place].meets(wanted)]
        if not len(wanted):
            raise SettingError(f"where leaves no category of {name!r} to balance; leave out balance, or that wish.")
        counts = np.full(len(wanted), n // len(wanted))
        counts[rng.permutation(len(wanted))[: n % len(wanted)]] += 1
        kind = coding.codec.fields[column.place].column
        names = kind.from_exact(wanted).to_pylist()
        pieces = [
            draw(self.learned_, int(count), rng, {**conditions, place: Condition(f"{name}={told}", np.array([value]))})
            for count, value, told in zip(counts, wanted, names, strict=True)
            if count
        ]
        return rng.permutation(np.concatenate(pieces))

    def _checked(self, X: Any) -> Any:
        if hasattr(X, "tocsr"):
            raise DataError("a sparse matrix is no table; give an array or a data frame.")
        if getattr(X, "ndim", 2) > 2:
            raise DataError(f"X has the shape {np.shape(X)}; a Synthesizer learns tables (rows, columns).")
        X = check_input(self, X, reset=True)
        if len(X) < FEWEST:
            raise DataError(f"{len(X)} rows are too few to learn a table from; give at least {FEWEST}.")
        return X

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def cells_as_array(coding: Coding, cells: np.ndarray) -> np.ndarray:
    """Return drawn cells as the array (n, columns) that was learned."""
    table = coding.decode(cells)
    return np.column_stack([column.to_numpy(zero_copy_only=False).astype(np.float64) for column in table.columns])


def _rebuild(saved: persistence.Saved) -> Synthesizer:
    synthesizer = Synthesizer(**saved.config["params"])
    restore(synthesizer, saved)
    return synthesizer


persistence.register("synthesizer", _rebuild)
