"""Plots for notebooks, in scikit-learn's Display style; the report draws the same ones.

>>> LearningCurveDisplay.from_estimator(ae).plot()  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from isthmus.apps.evidence import Evidence, Pair, gather_evidence, typical_and_worst

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isthmus.apps.anomaly.decisions import OperatingCurve
    from isthmus.apps.anomaly.series import PointScores
    from isthmus.apps.interpretation import Interpretation
    from isthmus.estimator import Autoencoder
    from isthmus.history import History

# matplotlib is imported where a plot is drawn: computing a report must not cost it.


class Palette(NamedTuple):
    """The colours of every plot; the report replaces each by the colour of its own theme."""

    ink: str = "#1b2024"
    muted: str = "#68737c"
    line: str = "#d5dadd"
    accent: str = "#0b7a83"
    alert: str = "#c2540a"


PALETTE = Palette()
CATEGORIES = (
    "#1c9bf7",
    "#fe6a00",
    "#8254c4",
    "#f0bb4b",
    "#a03646",
    "#b3b2f9",
    "#81347c",
    "#cbaa89",
    "#e24130",
    "#8a9398",
)
"""Those of the explorer (``web/src/map/palette.ts``): told apart on white and on near-black, by all eyes."""
MOST_POINTS = 2_000


class LearningCurveDisplay:
    """The loss of each epoch on training and held-out rows, with the epoch whose weights were kept."""

    figure_: Figure
    ax_: Axes

    def __init__(
        self,
        epochs: Sequence[int],
        train: Sequence[float],
        held_out: Sequence[float],
        best_epoch: int,
        term: str = "loss",
    ) -> None:
        self.epochs, self.train, self.held_out = epochs, train, held_out
        self.best_epoch, self.term = best_epoch, term

    @classmethod
    def from_estimator(cls, ae: Autoencoder, term: str = "loss", ax: Axes | None = None) -> Self:
        """Plot one term of the history, by default the whole loss."""
        return cls.from_history(ae.history_, term).plot(ax)

    @classmethod
    def from_history(cls, history: History, term: str = "loss") -> Self:
        """Take what is to be shown; nothing is drawn yet."""
        epochs = [record["epoch"] for record in history]
        return cls(epochs, history.curve("train", term), history.curve("held_out", term), history.best_epoch, term)

    def plot(self, ax: Axes | None = None) -> Self:
        from matplotlib.ticker import MaxNLocator

        ax = self.ax_ = _axes(ax, (6.4, 3.2))
        self.figure_ = _figure_of(ax)
        ax.plot(self.epochs, self.train, color=PALETTE.muted, linewidth=1.4, label="training rows")
        if len(self.held_out):
            ax.plot(self.epochs, self.held_out, color=PALETTE.accent, linewidth=1.8, label="held-out rows")
        if _wants_log([*self.train, *self.held_out]):
            ax.set_yscale("log")
        if self.best_epoch in self.epochs:
            curve = self.held_out or self.train
            best = curve[list(self.epochs).index(self.best_epoch)]
            ax.axvline(self.best_epoch, color=PALETTE.line, linewidth=1, zorder=0)
            ax.plot(
                [self.best_epoch],
                [best],
                "o",
                color=PALETTE.accent,
                markersize=6,
                label=f"kept: epoch {self.best_epoch}",
            )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss per row" if self.term == "loss" else f"{self.term} per row")
        ax.legend(frameon=False, labelcolor=PALETTE.muted, fontsize="small")
        return self


class BaselineDisplay:
    """The squared error of the model beside that of PCA with as many numbers, and of the mean of every column."""

    figure_: Figure
    ax_: Axes

    def __init__(self, errors: dict[str, float], rows: int, held_out: bool) -> None:
        self.errors, self.rows, self.held_out = errors, rows, held_out

    @classmethod
    def from_estimator(cls, ae: Autoencoder, ax: Axes | None = None) -> Self:
        """Plot the scores that the model carries; no data is needed."""
        return cls.from_scores(ae.scores_, ae.code_size_).plot(ax)

    @classmethod
    def from_scores(cls, scores: dict[str, Any], latent_dim: int) -> Self:
        """Take what is to be shown; nothing is drawn yet."""
        errors = {label: scores[name]["squared_error"] for name, label in rivals(latent_dim).items()}
        return cls(errors, scores["rows"], scores["held_out"])

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 1.7))
        self.figure_ = _figure_of(ax)
        labels, values = list(self.errors), list(self.errors.values())
        bars = ax.barh(labels, values, height=0.55, color=[PALETTE.accent, PALETTE.muted, PALETTE.line])
        ax.bar_label(bars, [f"{value:.4g}" for value in values], padding=6, color=PALETTE.ink, fontsize="small")
        ax.invert_yaxis()
        ax.margins(x=0.15)
        ax.spines["bottom"].set_visible(False)
        ax.tick_params(length=0)
        ax.set_xticks([])
        ax.set_xlabel(f"squared error per row, {self.rows:,} {'held-out' if self.held_out else 'training'} rows")
        return self


class CodeMapDisplay:
    """Every row as a point: its code, or the first two principal components of its code."""

    figure_: Figure
    ax_: Axes

    def __init__(self, points: np.ndarray, values: np.ndarray, label: str, axes: tuple[str, str]) -> None:
        self.points, self.values, self.label, self.axes = points, values, label, axes

    @classmethod
    def from_estimator(cls, ae: Autoencoder, X: Any, y: Any = None, ax: Axes | None = None) -> Self:
        """Plot the codes of X, coloured by ``y`` or by their error."""
        return cls.from_evidence(gather_evidence(ae, X), y).plot(ax)

    @classmethod
    def from_evidence(cls, evidence: Evidence, y: Any = None, name: str | None = None) -> Self:
        """Choose at most 2,000 points and their colours; nothing is drawn yet."""
        keep = np.arange(len(evidence.codes))
        if len(keep) > MOST_POINTS:
            keep = np.sort(np.random.default_rng(0).choice(keep, MOST_POINTS, replace=False))
        points, axes = flatten_codes(evidence.codes)
        if y is None:
            return cls(points[keep], evidence.errors[keep], "squared error", axes)
        labels = np.asarray(y)[evidence.positions]
        return cls(points[keep], labels[keep], name or str(getattr(y, "name", None) or "y"), axes)

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 4.6))
        self.figure_ = _figure_of(ax)
        if self._is_grouped():
            self._plot_groups(ax)
        else:
            self._plot_numbers(ax)
        ax.set_xlabel(self.axes[0])
        ax.set_ylabel(self.axes[1])
        ax.margins(0.04)
        return self

    def _is_grouped(self) -> bool:
        return self.values.dtype.kind not in "iuf" or (
            self.values.dtype.kind in "iu" and len(np.unique(self.values)) <= 20
        )

    def _plot_groups(self, ax: Axes) -> None:
        """Colour the nine most frequent values, and give the others one grey."""
        names, counts = np.unique(self.values.astype(str), return_counts=True)
        frequent = names if len(names) <= len(CATEGORIES) else np.sort(names[np.argsort(-counts, kind="stable")[:9]])
        for name, colour in zip(frequent, CATEGORIES, strict=False):
            self._scatter(ax, self.values.astype(str) == name, color=colour, label=name)
        if len(frequent) < len(names):
            self._scatter(ax, ~np.isin(self.values.astype(str), frequent), color=PALETTE.line, label="others", zorder=0)
        ax.legend(
            title=self.label,
            markerscale=1.5,
            frameon=False,
            fontsize="small",
            labelcolor=PALETTE.muted,
            loc="center left",
            bbox_to_anchor=(1, 0.5),
        ).get_title().set_color(PALETTE.muted)

    def _plot_numbers(self, ax: Axes) -> None:
        from matplotlib.colors import LinearSegmentedColormap, Normalize

        heat = LinearSegmentedColormap.from_list("error", ["#a9b7bf", "#d9a36b", "#d0540a"])
        values = self.values.astype(float)
        order = np.argsort(values)  # the largest errors are drawn last, on top
        # One extreme row would leave all others in a single colour.
        bounds = Normalize(np.nanmin(values), np.nanpercentile(values, 98), clip=True)
        points = self._scatter(ax, order, c=values[order], cmap=heat, norm=bounds)
        bar = self.figure_.colorbar(points, ax=ax, label=self.label, pad=0.02, fraction=0.04, aspect=30, extend="max")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
        bar.ax.tick_params(color=PALETTE.line, labelcolor=PALETTE.muted, labelsize="small")
        bar.ax.yaxis.label.set(color=PALETTE.muted, fontsize="small")
        if bar.solids is not None:
            bar.solids.set_rasterized(True)

    def _scatter(self, ax: Axes, chosen: np.ndarray, **style: Any) -> Any:
        # Thousands of vector circles make a page slow, so the points alone become pixels.
        size = float(np.clip(9_000 / max(len(self.points), 1), 6, 36))
        return ax.scatter(*self.points[chosen].T, s=size, alpha=0.85, linewidths=0, rasterized=True, **style)


class ReconstructionDisplay:
    """Rows beside their reconstructions: pictures, curves, or the cells at fault."""

    figure_: Figure
    ax_: Axes

    def __init__(self, pairs: Sequence[Pair], kind: str, title: str = "") -> None:
        self.pairs, self.kind, self.title = pairs, kind, title

    @classmethod
    def from_estimator(
        cls, ae: Autoencoder, X: Any, which: str = "worst", count: int = 6, ax: Axes | None = None
    ) -> Self:
        """Plot the "worst" or the "typical" rows of X (of its held-out rows, if ``ae`` was trained on X)."""
        typical, worst = typical_and_worst(ae, gather_evidence(ae, X), count)
        return cls(worst if which == "worst" else typical, ae.codec_.kind, f"{which} rows").plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        size = {"images": (1.1 * len(self.pairs), 2.4), "series": (1.8 * len(self.pairs), 1.9)}
        ax = self.ax_ = _axes(ax, size.get(self.kind, (6.4, 3.4)))
        self.figure_ = _figure_of(ax)
        draw = {"images": self._plot_pictures, "series": self._plot_curves}.get(self.kind, self._plot_cells)
        draw(ax)
        ax.set_title(self.title, loc="left", fontsize="medium", color=PALETTE.ink)
        return self

    def _plot_pictures(self, ax: Axes) -> None:
        columns = [np.concatenate([picture(pair.x), picture(pair.x_hat)], axis=0) for pair in self.pairs]
        gap = np.full((columns[0].shape[0], max(1, columns[0].shape[1] // 12), *columns[0].shape[2:]), 255, np.uint8)
        strip = np.concatenate([part for column in columns for part in (column, gap)][:-1], axis=1)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        height = strip.shape[0] / 2
        ax.set_yticks([height / 2, 1.5 * height], ["original", "rebuilt"])
        ax.set_xticks([])
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)

    def _plot_curves(self, ax: Axes) -> None:
        """Draw windows side by side; of several channels, the one that came back worst."""
        length = len(self.pairs[0].x)
        ticks = []
        for place, pair in enumerate(self.pairs):
            channel = int(np.nanargmax(np.nansum(np.square(pair.x - pair.x_hat), axis=0)))
            time = np.arange(length) + place * length * 1.12
            ax.plot(
                time, pair.x[:, channel], color=PALETTE.muted, linewidth=1.1, label="original" if place == 0 else None
            )
            label = "rebuilt" if place == 0 else None
            ax.plot(time, pair.x_hat[:, channel], color=PALETTE.accent, linewidth=1.4, label=label)
            ticks.append((time.mean(), f"window {pair.row}"))
        ax.set_xticks([middle for middle, _ in ticks], [name for _, name in ticks])
        ax.tick_params(length=0)
        ax.legend(
            frameon=False, labelcolor=PALETTE.muted, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2
        )

    def _plot_cells(self, ax: Axes) -> None:
        """Draw how much of its squared error each row owes to its three worst cells."""
        labels, shares, colours = [], [], []
        for pair in self.pairs:
            for rank, cell in enumerate(pair.cells[:3]):
                labels.append(f"row {pair.row}: {cell.name}" if rank == 0 else cell.name)
                shares.append(100 * cell.share)
                colours.append(PALETTE.alert if rank == 0 else PALETTE.line)
        ax.barh(range(len(labels)), shares, color=colours, height=0.6)
        ax.set_yticks(range(len(labels)), labels, fontsize="small")
        ax.invert_yaxis()
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("% of the row's squared error")


class MovesDisplay:
    """How numbers of the code move a window of a series, beside the principal components that move it most alike."""

    figure_: Figure
    ax_: Axes

    def __init__(self, ours: np.ndarray, theirs: np.ndarray, names: Sequence[str]) -> None:
        self.ours, self.theirs, self.names = ours, theirs, names

    @classmethod
    def from_interpretation(cls, found: Interpretation, count: int) -> Self:
        """Take the ``count`` numbers that move most and, of several channels, the one each moves most."""
        best, cosine = found.nearest()
        ours, theirs, names = [], [], []
        for place in found.order[:count]:
            channel = int(np.linalg.norm(found.moves[place], axis=0).argmax())
            ours.append(found.signed[place][:, channel])
            theirs.append(np.sign(cosine[place]) * found.loadings[best[place]][:, channel])
            names.append(f"code {found.codes[place] + 1}")
        return cls(np.array(ours), np.array(theirs), names)

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (1.8 * len(self.ours), 1.9))
        self.figure_ = _figure_of(ax)
        length = self.ours.shape[1]
        time = np.arange(length) + 1.12 * length * np.arange(len(self.ours))[:, None]
        ax.axhline(0, color=PALETTE.line, linewidth=0.8, zorder=0)
        for place, (t, our, their) in enumerate(zip(time, self.ours, self.theirs, strict=True)):
            ax.plot(t, their, color=PALETTE.muted, linewidth=1.1, label=None if place else "PCA's nearest")
            ax.plot(t, our, color=PALETTE.accent, linewidth=1.4, label=None if place else "this model")
        ax.set_xticks(time.mean(1), self.names)
        ax.tick_params(length=0)
        ax.legend(
            frameon=False, labelcolor=PALETTE.muted, fontsize="small", loc="lower right", bbox_to_anchor=(1, 1), ncols=2
        )
        return self


class OperatingCurveDisplay:
    """For every cut the share of normal rows flagged wrongly and the share of the rows at hand flagged, and the cut in use."""

    figure_: Figure
    ax_: Axes

    def __init__(self, curve: OperatingCurve) -> None:
        self.curve = curve

    @classmethod
    def from_estimator(cls, detector: Any, ax: Axes | None = None) -> Self:
        """Plot what every cut of a fitted detector would cost."""
        return cls(detector.operating_curve_).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 3.2))
        self.figure_ = _figure_of(ax)
        curve = self.curve
        ax.plot(curve.cuts, curve.flagged, color=PALETTE.muted, linewidth=1.4, label="rows flagged")
        ax.plot(curve.cuts, curve.false_alarm_rate, color=PALETTE.accent, linewidth=1.8, label="normal rows flagged")
        if curve.chosen is not None:
            ax.axvline(curve.chosen.score, color=PALETTE.alert, linewidth=1, zorder=0, label=curve.chosen.rule)
        ax.set_yscale("log")
        ax.set_xlabel("score above which a row is flagged")
        ax.set_ylabel("share of rows")
        ax.legend(frameon=False, labelcolor=PALETTE.muted, fontsize="small")
        return self


class ScoreHistogramDisplay:
    """How many rows have which anomaly score, and the score above which they are flagged."""

    figure_: Figure
    ax_: Axes

    def __init__(self, scores: np.ndarray, threshold: float, noun: str = "row") -> None:
        self.scores, self.threshold, self.noun = scores, threshold, noun

    @classmethod
    def from_estimator(cls, detector: Any, X: Any, ax: Axes | None = None) -> Self:
        """Plot what a fitted detector says of ``X``."""
        return cls(detector.anomaly_score(X), detector.threshold_).plot(ax)

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 2.8))
        self.figure_ = _figure_of(ax)
        edges = self._edges()
        usual = self.scores <= self.threshold
        shown = np.minimum(self.scores, edges[-1])  # the last bar holds all beyond
        style: dict[str, Any] = {"bins": edges, "rwidth": 0.9}
        counts, _, _ = ax.hist(shown[usual], color=PALETTE.muted, label="not flagged", **style)
        if not usual.all():
            odd, _, _ = ax.hist(shown[~usual], color=PALETTE.alert, label="flagged", **style)
            counts = np.maximum(counts, odd)  # pyright: ignore[reportArgumentType, reportCallIssue] - one series, one array
        if np.max(counts) > LARGEST_PLAIN_COUNT:
            ax.set_yscale("log", nonpositive="clip")
            ax.set_ylim(bottom=0.6)  # a bar of one row must be seen
        if edges[0] <= self.threshold <= edges[-1]:
            ax.axvline(self.threshold, color=PALETTE.alert, linewidth=1, label=f"threshold {self.threshold:.4g}")
        ax.set_xlabel("anomaly score" if edges[-1] >= self.scores.max() else "anomaly score (last bar: and beyond)")
        ax.set_ylabel(f"{self.noun}s")
        ax.legend(frameon=False, labelcolor=PALETTE.muted, fontsize="small")
        return self

    def _edges(self) -> np.ndarray:
        """Return edges of bars of equal width, one of them the threshold, so that no bar is partly flagged."""
        low, high = float(self.scores.min()), float(self.scores.max())
        if self.threshold > np.median(self.scores):  # one row far out must not squeeze all others
            high = min(high, low + FARTHEST * (self.threshold - low))
        width = (high - low or 1.0) / BARS
        if not low <= self.threshold <= high:
            return low + width * np.arange(BARS + 1)
        below, above = int(np.ceil((self.threshold - low) / width)), int(np.ceil((high - self.threshold) / width))
        return self.threshold + width * np.arange(-max(below, 1), max(above, 1) + 1)


BARS = 50
FARTHEST = 3
"""The axis ends at so many times the way from the lowest score to the threshold."""
LARGEST_PLAIN_COUNT = 60
"""Where a bar holds more rows than these, counts are shown on a logarithmic scale: the odd ones are few."""


class PointScoresDisplay:
    """How odd each point of a series is, the stretches that stand out, and the warm-up, where less is known, in pale."""

    figure_: Figure
    ax_: Axes

    def __init__(self, points: PointScores, alpha: float = 0.01) -> None:
        self.points, self.alpha = points, alpha

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, (6.4, 2.4))
        self.figure_ = _figure_of(ax)
        scores, pale = self.points.scores, self.points.warm_up
        ax.plot(np.where(pale, scores, np.nan), color=PALETTE.line, linewidth=1)
        ax.plot(np.where(pale, np.nan, scores), color=PALETTE.accent, linewidth=1)
        for event in self.points.events(self.alpha):
            ax.axvspan(event.start - 0.5, event.stop - 0.5, color=PALETTE.alert, alpha=0.2, linewidth=0)
        ax.set_xlabel("point")
        ax.set_ylabel("anomaly score")
        return self


def flatten_codes(codes: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return a point (x, y) for each code, and the names of the two axes."""
    if codes.shape[1] == 1:
        return np.column_stack([codes[:, 0], np.zeros(len(codes))]), ("code 1", "")
    if codes.shape[1] == 2:
        return codes, ("code 1", "code 2")
    if len(codes) == 1:  # no principal components
        return codes[:, :2], ("code 1", "code 2")
    centred = codes.astype(np.float64) - codes.mean(0)
    left, spread, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(1)])  # a sign of svd is arbitrary
    share = 100 * np.square(spread) / max(np.square(spread).sum(), 1e-30)
    names = [f"principal component {i + 1} of the codes ({share[i]:.0f}%)" for i in range(2)]
    return left[:, :2] * spread[:2] * signs, (names[0], names[1])


def picture(x: np.ndarray) -> np.ndarray:
    """Turn an encoded picture (c, h, w) into uint8 (h, w) or (h, w, 3); it is in [0, 1] unless scaled otherwise."""
    low, high = (0.0, 1.0) if np.nanmin(x) >= -0.5 and np.nanmax(x) <= 1.5 else (np.nanmin(x), np.nanmax(x))
    unit = np.clip((np.nan_to_num(x, nan=low) - low) / max(high - low, 1e-12), 0, 1)
    pixels = np.rint(255 * unit).astype(np.uint8)
    return np.moveaxis(pixels[:3], 0, -1) if len(pixels) >= 3 else pixels[0]


def rivals(latent_dim: int) -> dict[str, str]:
    """Return what each entry of the scores is called where people read it."""
    return {"model": "this model", "pca": f"PCA with {latent_dim}", "mean": "the mean"}


def _wants_log(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > 8


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return axes in the house style: no box, quiet ticks."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALETTE.line)
    ax.tick_params(which="both", color=PALETTE.line, labelcolor=PALETTE.muted, labelsize="small")
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_color(PALETTE.muted)
        axis.label.set_fontsize("small")
    ax.patch.set_alpha(0)
    return ax


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes belong to a figure"
    return figure
