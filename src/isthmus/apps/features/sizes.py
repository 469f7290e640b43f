"""How long a code should be: the held-out error, and a probe, for codes of many sizes that are trained as one computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor

from isthmus.apps.displays import PALETTE, _axes, _figure_of
from isthmus.apps.features.measures import Target, mean_and_error, principal_codes
from isthmus.apps.section import Figure, Section, Table
from isthmus.apps.words import plain
from isthmus.data import Series
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows
from isthmus.inputs import learn_rows
from isthmus.many import fit_many, rows_of
from isthmus.parts.step import Batch

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
HELD_OUT = 0.2
FEWEST = 20
"""Held-out rows below which no error of a mean is worth naming."""


class Size(NamedTuple):
    """What a code of one size leaves."""

    latent_dim: int
    error: float
    """Mean squared error of the held-out rows, in percent of that of the mean."""
    standard_error: float
    pca_error: float
    """The same of PCA with as many numbers."""
    probe: float | None = None
    """Accuracy, or R², of a linear probe of y on the codes of held-out rows."""
    probe_error: float | None = None
    pca_probe: float | None = None
    is_pca: bool = False
    """Was the network set aside, because it saved nothing beyond doubt?"""


@dataclass(frozen=True)
class LatentDimCurve:
    """The error by the size of the code, and where it bends."""

    sizes: tuple[Size, ...]
    knee: int | None
    """The size farthest below the straight line between the ends of the curve (Satopää 2011); None where none is, beyond two
    standard errors."""
    knee_depth: float | None
    """How far, in percent of the error of the mean."""
    enough: int
    """The smallest size whose error is at most one standard error of the difference above the least."""
    probe_enough: int | None
    """The smallest size whose probe is at most one standard error of the difference below the best."""
    measure: str | None
    """What the probe is measured in: "accuracy", "R²", or None without y."""
    held_out: int
    """Rows that no model has seen, on which all is measured."""
    models: tuple[Autoencoder, ...]
    """The fitted autoencoders, one a size."""

    @property
    def suggested(self) -> int:
        """The size to take: where the probe has all it can use; else the knee; else the smallest as good as the best."""
        return self.probe_enough or self.knee or self.enough

    @property
    def best_model(self) -> Autoencoder:
        """The fitted autoencoder of the suggested size."""
        return next(ae for ae, size in zip(self.models, self.sizes, strict=True) if size.latent_dim == self.suggested)

    def to_dict(self) -> dict[str, Any]:
        """Return the curve and the choices as plain data."""
        names = ("knee", "knee_depth", "enough", "probe_enough", "measure", "held_out")
        facts = {name: getattr(self, name) for name in names}
        return plain(facts | {"suggested": self.suggested, "sizes": [size._asdict() for size in self.sizes]})

    def to_table(self) -> pa.Table:
        """Return one row a size."""
        import pyarrow as pa

        return pa.Table.from_pylist([plain(size._asdict()) for size in self.sizes])

    @property
    def sentences(self) -> tuple[str, ...]:
        """Which size to take, and why."""
        first, last = self.sizes[0], self.sizes[-1]
        at = {size.latent_dim: size for size in self.sizes}
        said = [
            f"On {self.held_out:,} rows no model has seen, a code of {first.latent_dim} leaves {first.error:.3g} % of the "
            f"squared error of the mean, one of {last.latent_dim} {last.error:.3g} %."
        ]
        if self.knee is None:
            said.append(
                "The error falls without a knee: no size lies below the straight line between the ends beyond doubt."
            )
        else:
            said.append(
                f"The knee is at {self.knee}: its {at[self.knee].error:.3g} % lie farthest below the straight line between "
                f"the ends ({self.knee_depth:.3g} points). Before it a doubling of the code saves more than it "
                f"does on the average of the curve, after it less."
            )
        said.append(f"The smallest code within one standard error of the least error has {self.enough} numbers.")
        if self.probe_enough is not None:
            best = max(size.probe or 0.0 for size in self.sizes)
            said.append(
                f"A linear probe is best at {best:.3f} ({self.measure}); {self.probe_enough} numbers are the fewest within one "
                f"standard error of that."
            )
        pca = sum(size.error < size.pca_error for size in self.sizes)
        said.append(f"Codes leave less than PCA of as many numbers at {pca} of {len(self.sizes)} sizes.")
        return (*said, f"Suggested: latent_dim={self.suggested}.")

    def display(self) -> LatentDimDisplay:
        """Return the plot of the curve."""
        return LatentDimDisplay(self)

    def section(self) -> Section:
        """Return the curve as a section of the report."""
        header = ("numbers", "error, %", "± standard error", "PCA, %") + (
            () if self.measure is None else (f"probe, {self.measure}", "probe on PCA")
        )
        rows = [
            (s.latent_dim, s.error, s.standard_error, s.pca_error)
            + (() if self.measure is None else (s.probe, s.pca_probe))
            for s in self.sizes
        ]
        table = Table("squared error in percent of that of the mean", header, rows)
        figure = Figure(self.display(), "latent_dims", "The held-out error by the size of the code, beside PCA.")
        return Section("How long the code should be", self.sentences, (table,), (figure,), facts=self.to_dict())


class LatentDimDisplay:
    """The held-out error of every size beside PCA, the knee, and what a probe reaches."""

    figure_: Drawing
    ax_: Axes

    def __init__(self, curve: LatentDimCurve) -> None:
        self.curve = curve

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 3.2))
        self.figure_ = _figure_of(ax)
        sizes, curve = self.curve.sizes, self.curve
        dims = [size.latent_dim for size in sizes]
        ax.plot(dims, [size.pca_error for size in sizes], color=PALETTE.muted, linewidth=1.4, label="PCA")
        bars = [size.standard_error for size in sizes]
        errors = [size.error for size in sizes]
        ax.errorbar(dims, errors, bars, color=PALETTE.accent, linewidth=1.8, marker="o", markersize=4, label="codes")
        if curve.knee is not None:
            ax.axvline(curve.knee, color=PALETTE.alert, linewidth=1, zorder=0, label=f"knee: {curve.knee}")
        if curve.measure is not None:
            beside = ax.twinx()
            beside.plot(dims, [size.probe or 0.0 for size in sizes], color=PALETTE.alert, linewidth=1.4, linestyle=":")
            beside.set_ylabel(f"probe, {curve.measure} (dotted)", color=PALETTE.muted, fontsize="small")
            beside.tick_params(color=PALETTE.line, labelcolor=PALETTE.muted, labelsize="small")
            beside.spines[["top", "right"]].set_visible(False)
            beside.patch.set_alpha(0)
        ax.set_xscale("log", base=2)
        ax.set_xticks(dims, [str(dim) for dim in dims])
        ax.set_xlabel("numbers of the code")
        ax.set_ylabel("squared error, % of the mean's")
        ax.legend(frameon=False, labelcolor=PALETTE.muted, fontsize="small")
        return self


def latent_dim_curve(
    X: Any,
    y: Any = None,
    dims: Sequence[int] | None = None,
    autoencoder: Autoencoder | None = None,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> LatentDimCurve:
    """Fit codes of several sizes on four fifths of the rows, all together, and measure each on the last fifth.

    The fifth is taken at random; of a ``Series`` it is the end. Errors are squared errors in scaled units, in percent of
    those of the mean of the rows learned from.

    Parameters
    ----------
    y : one value a row, which a linear probe is to tell: classes (text, booleans, at most 20 whole numbers) or numbers.
    dims : sizes to try; None takes 1, 2, 3, 4, 6, 8, .. to half of the numbers of a sample, at most 64.
    autoencoder : settings of the models, not fitted; None is ``Autoencoder(effort="quick")``.
    n_jobs : as for :func:`fit_many`.

    >>> print(*ist.latent_dim_curve(X).sentences, sep="\\n")  # doctest: +SKIP
    """
    form = Autoencoder(effort="quick", verbose=False) if autoencoder is None else autoencoder
    if not isinstance(form, Autoencoder):
        raise SettingError(f"autoencoder={form!r} is no Autoencoder; leave it out, or give one.")
    learned, unseen, positions = _divided(X, random_state)
    size = learn_rows(learned, "auto").codec.layout.size if dims is None else 0
    chosen = _checked(dims) if dims is not None else [dim for dim in SIZES if dim <= max(1, size // 2)]
    fresh: Any = clone
    members: list[Any] = [fresh(form).set_params(latent_dim=dim, random_state=random_state) for dim in chosen]
    fitted = fit_many(members, learned, n_jobs=n_jobs)
    losses = np.stack([_losses(ae, unseen, None) for ae in fitted])  # (sizes, rows)
    widest = fitted[-1]
    pca = np.stack([_losses(widest, unseen, dim) for dim in chosen])
    unit = _losses(widest, unseen, 0).mean() / 100
    probes = None if y is None else _probes(fitted, X, y, positions, chosen)
    found = []
    for place, dim in enumerate(chosen):
        error, doubt = mean_and_error(losses[place] / unit)
        told = (None, None, None) if probes is None else probes.at(place)
        floor = fitted[place].floor_
        found.append(
            Size(dim, error, doubt, float(pca[place].mean() / unit), *told, floor is not None and not floor.kept)
        )
    knee, depth = knee_of(chosen, losses / unit)
    return LatentDimCurve(
        tuple(found),
        None if knee is None else chosen[knee],
        depth,
        chosen[first_as_good(losses)],
        None if probes is None else chosen[first_as_good(-probes.codes)],
        None if probes is None else probes.measure,
        losses.shape[1],
        tuple(fitted),
    )


def knee_of(dims: Sequence[int], losses: np.ndarray) -> tuple[int | None, float | None]:
    """Return which size lies farthest below the straight line between the ends of the curve, and how far.

    ``losses`` (sizes, rows) are of the same rows, so the distance has a standard error of its own; below twice that there is
    no knee. Sizes count by their logarithm to base 2, as the curve is drawn: a doubling is a step.
    """
    if len(dims) < 3:
        return None, None
    place = np.log2(np.asarray(dims, float))
    share = ((place - place[0]) / (place[-1] - place[0]))[:, None]
    below = (1 - share) * losses[0] + share * losses[-1] - losses  # (sizes, rows)
    knee = int(below.mean(1).argmax())
    depth, doubt = mean_and_error(below[knee])
    return (knee, depth) if depth > 2 * doubt else (None, None)


def first_as_good(losses: np.ndarray) -> int:
    """Return the first size whose mean loss is at most one standard error above the least (Breiman 1984), rows being paired."""
    best = losses[int(losses.mean(1).argmin())]
    for place, own in enumerate(losses):
        excess, doubt = mean_and_error(own - best)
        if excess <= doubt:
            return place
    raise AssertionError("the best is as good as itself")


class _Probes(NamedTuple):
    codes: np.ndarray
    """(sizes, tested rows) the credit of each."""
    pca: np.ndarray
    measure: str

    def at(self, place: int) -> tuple[float, float, float]:
        return (*mean_and_error(self.codes[place]), float(self.pca[place].mean()))


def _probes(fitted: Sequence[Autoencoder], X: Any, y: Any, positions: Positions, dims: Sequence[int]) -> _Probes:
    """Tell y from codes, and from principal components, of the rows the models learned from."""
    values = np.asarray(y)
    if isinstance(X, Series):
        raise SettingError("The windows of a Series have no labels of their own; leave y out.")
    if len(values) != len(positions.train) + len(positions.test):
        raise DataError(f"y has {len(values)} values, but X has another number of rows; give one value a row.")
    target = Target(values, positions.train, positions.test)
    pca = principal_codes(fitted[-1], fitted[-1].codec_.encode(X))
    ours = np.stack([target.linear(ae.transform(X)) for ae in fitted])
    return _Probes(ours, np.stack([target.linear(pca[:, :dim]) for dim in dims]), target.measure)


class Positions(NamedTuple):
    """Where rows stand in the data that was given."""

    train: np.ndarray
    test: np.ndarray


def _divided(X: Any, seed: int) -> tuple[Any, Any, Positions]:
    """Return rows to learn from, rows to be judged by, and where they stand."""
    if isinstance(X, Series):
        cut = len(X.values) - max(X.length, round(HELD_OUT * len(X.values)))
        if cut < 2 * X.length:
            raise DataError(
                f"a series of {len(X.values)} points is too short to hold out some of its windows of {X.length}."
            )
        values = np.asarray(X.values)
        none = np.arange(0)
        return Series(values[:cut], X.length, X.step), Series(values[cut:], X.length, X.step), Positions(none, none)
    count = len(X) if not hasattr(X, "shape") else X.shape[0]
    test_count = round(HELD_OUT * count)
    if test_count < FEWEST:
        raise DataError(
            f"{count} rows are too few to say how long a code should be; give at least {round(FEWEST / HELD_OUT)}."
        )
    order = np.random.default_rng(seed).permutation(count)
    train, test = np.sort(order[test_count:]), np.sort(order[:test_count])
    return rows_of(X, train), rows_of(X, test), Positions(train, test)


def _losses(ae: Autoencoder, X: Any, components: int | None) -> np.ndarray:
    """Return the squared error of each row over what was observed: of the model, or of so many principal components."""
    floor = ae.principal_.leading(components or 0)

    def loss(batch: Batch) -> Tensor:
        flat = batch.x.flatten(1)
        seen = None if batch.observed is None else batch.observed.flatten(1)
        if components is None:
            guess = ae.model_.expected(batch).flatten(1)
        else:
            guess = floor._replace(mean=floor.mean.to(flat), directions=floor.directions.to(flat)).project(flat, seen)
        squared = (guess - flat).square()
        return (squared if seen is None else torch.where(seen, squared, torch.zeros_like(squared))).sum(1)

    return map_rows(loss, ae.codec_.encode(X), ae.model_).astype(np.float64)


def _checked(dims: Sequence[int]) -> list[int]:
    if not len(dims):
        raise SettingError("dims=() names no size; leave it out for 1, 2, 3, 4, 6, 8, ..")
    for dim in dims:
        if not hasattr(dim, "__index__") or int(dim) < 1:
            raise SettingError(f"dims={dim!r} must be whole numbers of at least 1.")
    return sorted({int(dim) for dim in dims})
