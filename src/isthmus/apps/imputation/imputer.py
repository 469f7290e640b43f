"""The imputer: fits every column given the others, and fills the gaps of tables."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.columns import Cells, Coding, sample
from isthmus.apps.columns.coding import Number
from isthmus.apps.columns.fitting import FEW
from isthmus.apps.imputation.filling import Filling, fit_filling
from isthmus.apps.imputation.merging import as_table, gaps_of, merge
from isthmus.apps.imputation.reconstructing import Reconstructing
from isthmus.apps.imputation.results import ColumnResult, Imputation
from isthmus.apps.imputation.saving import restore, to_saved
from isthmus.data.columns import LeftOut
from isthmus.data.containers import is_table
from isthmus.errors import DataError, DataWarning, SettingError
from isthmus.inputs import check_input


class Imputer(TransformerMixin, BaseEstimator):
    """Fill the gaps of a table: every missing cell from the observed cells of its row.

    What follows from another column (a name from a code) takes the value that goes with it. For all else small networks
    learn to say what was in cells that were hidden at random, starting from the linear answer (factor analysis with gaps, by
    EM); each holds out some rows, on which linear answer, network, groups of rows (below 2,000 rows), kernel ridge regression
    (from there on) and, where polished, boosted trees are weighed column by column. Takes tables (pandas, polars, Arrow;
    numbers, categories, booleans, dates) and arrays with NaN; gives back what came in, with the gaps filled and every observed
    cell as it was.

    Parameters
    ----------
    autoencoder : a fitted ``Autoencoder`` of such tables, to fill gaps by its reconstruction, repeated until nothing moves;
        None trains networks for this very task, which is nearly always better, and the only one with draws and intervals.
    polish : let boosted trees of scikit-learn correct the networks, too: True, False, or "auto", for 2,000 rows and more.
    draws : how many tables ``impute`` draws unless it is told.
    coverage : how probable it should be that an interval holds the missing number.
    random_state : the seed; numpy's and torch's own generators are never touched.

    Attributes
    ----------
    columns_ : tuple of ``ColumnResult``: what filling each column is worth, measured on cells that were hidden.
    losses_ : the mean held-out loss of the networks, at the start and at every look.

    >>> import numpy as np, isthmus as ist
    >>> X = np.random.default_rng(0).normal(size=(200, 1)) * np.ones(4)
    >>> X[0, 1] = np.nan
    >>> bool(np.isnan(ist.Imputer(random_state=0).fit_transform(X)).any())
    False
    """

    n_features_in_: int

    def __init__(
        self,
        autoencoder: Any = None,
        polish: bool | str = "auto",
        draws: int = 0,
        coverage: float = 0.9,
        random_state: Any = None,
    ) -> None:
        self.autoencoder = autoencoder
        self.polish = polish
        self.draws = draws
        self.coverage = coverage
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn every column of ``X`` given the others; ``y`` is ignored."""
        self._check_settings()
        X = self._checked(X, reset=True)
        seed = np.random.SeedSequence().generate_state(1)[0] >> 1
        self.seed_ = int(
            seed if self.random_state is None else check_random_state(self.random_state).randint(2**31 - 1)
        )
        if self.autoencoder is not None:
            self.filling_: Filling | Reconstructing = Reconstructing.of(self.autoencoder, X)
            self.losses_: list[float] = []
        else:
            table = as_table(X)
            coding, cells = Coding.learn(table)
            if not coding.columns:
                raise DataError(
                    "no column of X has two different values (identifiers and free text aside), so nothing can be learned; "
                    "fill each column with the value it has."
                )
            polish = len(cells.values) >= FEW if self.polish == "auto" else bool(self.polish)
            self.filling_, self.losses_ = fit_filling(coding, cells, coding.exact(table), polish, self.seed_)
        self.columns_ = tuple(self._described(gaps_of(X)))
        return self

    def transform(self, X: Any) -> Any:
        """Return ``X`` with its gaps filled; a table without gaps is returned as it is."""
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        if not any(gaps_of(X).values()):
            return X
        self._warn_of_the_left_out(X)
        if isinstance(self.filling_, Reconstructing):
            return merge(X, self.filling_.fill(X))
        cells, certain = self._cells(X)
        return self._merged(X, self._filled(cells), certain)

    def impute(
        self, X: Any, draws: int | None = None, coverage: float | None = None, random_state: Any = None
    ) -> Imputation:
        """Fill the gaps of ``X`` and say how sure that is.

        Parameters
        ----------
        draws : how many tables to draw besides (multiple imputation); intervals come with them, from 1 on.
        coverage : of the intervals.
        random_state : of the draws; by default that of the fit.
        """
        check_is_fitted(self)
        draws = self.draws if draws is None else draws
        coverage = self.coverage if coverage is None else coverage
        _check_draws(draws, coverage)
        X = self._checked(X, reset=False)
        columns = tuple(self._described(gaps_of(X)))
        if isinstance(self.filling_, Reconstructing):
            if draws:
                raise SettingError("an Imputer with an autoencoder knows no spread; leave autoencoder out to draw.")
            return Imputation(self.transform(X), None, None, coverage, (), columns)
        self._warn_of_the_left_out(X)
        cells, certain = self._cells(X)
        filled = self._filled(cells)
        table = self._merged(X, filled, certain)
        if not draws:
            return Imputation(table, None, None, coverage, (), columns)
        low, high = self._ends(cells, filled, coverage)
        seed = self.seed_ if random_state is None else check_random_state(random_state).randint(2**31 - 1)
        rng = np.random.default_rng(seed)
        drawn = (sample(self.filling_.model, cells, rng) for _ in range(draws))
        low, high = (self._merged(X, values, certain) for values in (low, high))
        return Imputation(
            table, low, high, coverage, tuple(self._merged(X, values, certain) for values in drawn), columns
        )

    def save(self, path: str) -> None:
        """Write the model folder: networks, linear answer, trees, and how columns are coded."""
        check_is_fitted(self)
        persistence.write(to_saved(self), path)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, which are those that came in."""
        check_is_fitted(self)
        named = getattr(self, "feature_names_in_", None)
        return np.array([f"x{i}" for i in range(self.n_features_in_)], object) if named is None else named

    def _warn_of_the_left_out(self, X: Any) -> None:
        gaps = gaps_of(X)
        fields = getattr(self.codec_, "fields", ())
        for name in (each.dress.name for each in fields if isinstance(each.column, LeftOut) and gaps[each.dress.name]):
            warnings.warn(
                f"nothing could be learned of column {name!r} (it holds only gaps, an identifier or free text in training); "
                f"its {gaps[name]} gaps stay. Leave the column out, or fill it by hand.",
                DataWarning,
                stacklevel=3,
            )

    def _merged(self, X: Any, values: np.ndarray, certain: np.ndarray) -> Any:
        assert isinstance(self.filling_, Filling)
        return merge(X, self.filling_.coding.decode(values, X, certain))

    def _cells(self, X: Any) -> tuple[Cells, np.ndarray]:
        assert isinstance(self.filling_, Filling)
        cells, certain = self.filling_.encode(X)
        empty = np.flatnonzero(~cells.observed.any(1))
        if len(empty):
            warnings.warn(
                f"{len(empty)} row{'s have' if len(empty) > 1 else ' has'} no observed cell (the first is row {empty[0]}); "
                "each column was filled with its mean or most frequent value. Consider leaving such rows out.",
                DataWarning,
                stacklevel=3,
            )
        return cells, certain

    def _filled(self, cells: Cells) -> np.ndarray:
        assert isinstance(self.filling_, Filling)
        filled = self.filling_.fill(cells)
        empty = ~cells.observed.any(1)
        for place, column in enumerate(self.filling_.coding.columns):
            filled[empty, place] = column.mean if isinstance(column, Number) else column.frequencies.argmax()
        return filled

    def _ends(self, cells: Cells, filled: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the filled cells with the ends of their intervals in the gaps of numbers."""
        assert isinstance(self.filling_, Filling)
        count = len(self.filling_.coding.numbers)
        low, high = filled.copy(), filled.copy()
        for target, ends in zip((low, high), self.filling_.intervals(cells, coverage), strict=True):
            target[:, :count] = np.where(cells.observed[:, :count], filled[:, :count], ends)
        return low, high

    def _described(self, gaps: dict[str, int]) -> list[ColumnResult]:
        if isinstance(self.filling_, Reconstructing):
            return [ColumnResult(name, "column", count, None, None, 0) for name, count in gaps.items()]
        follows = self.filling_.dependencies.sources
        known = {column.name: place for place, column in enumerate(self.filling_.coding.columns)}
        described = []
        for name, count in gaps.items():
            if name not in known:
                continue
            found = self.filling_.columns[known[name]]
            kind = "number" if known[name] < len(self.filling_.coding.numbers) else "category"
            errors = (found.error, found.plain) if found.judged else (None, None)
            sources = [s for s, place in known.items() if follows[known[name], place] and s != name]
            described.append(ColumnResult(name, kind, count, *errors, found.judged, sources))
        return described

    def _checked(self, X: Any, reset: bool) -> Any:
        """Return a table, or an array of floats with NaN at gaps; say which columns cannot be filled."""
        if hasattr(X, "tocsr"):
            raise DataError("a sparse matrix has no gaps to fill: what it does not hold is 0; give an array with NaN.")
        if getattr(X, "ndim", 2) > 2:
            raise DataError(f"X has the shape {np.shape(X)}; an Imputer fills tables (rows, columns).")
        X = check_input(self, X, reset)
        if not is_table(X):
            X = X if X.dtype.kind == "f" else X.astype(np.float64)
        return X

    def _check_settings(self) -> None:
        if self.polish not in (True, False, "auto"):
            raise SettingError(f"polish={self.polish!r} must be True, False or 'auto'.")
        _check_draws(self.draws, self.coverage)

    @property
    def codec_(self) -> Any:
        """How the columns are turned into numbers."""
        check_is_fitted(self, "filling_")
        return self.filling_.codec if isinstance(self.filling_, Reconstructing) else self.filling_.coding.codec

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _check_draws(draws: Any, coverage: Any) -> None:
    if not hasattr(draws, "__index__") or draws < 0:
        raise SettingError(f"draws={draws!r} must be a whole number of at least 0; try 10.")
    if not isinstance(coverage, (int, float)) or not 0 < coverage < 1:
        raise SettingError(f"coverage={coverage!r} must lie between 0 and 1; try 0.9.")


def _rebuild(saved: persistence.Saved) -> Imputer:
    imputer = Imputer(**saved.config["params"])
    restore(imputer, saved)
    return imputer


persistence.register("imputer", _rebuild)
