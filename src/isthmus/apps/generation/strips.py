"""The plot of a walk: a film strip of images, curves of series, a table of everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isthmus.apps.displays import PALETTE, _axes, _figure_of, picture
from isthmus.data.containers import is_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MOST_PATHS, MOST_COLUMNS = 12, 6
"""More lines than these, and columns of a table that change less than so many others, are not drawn."""


class WalkDisplay:
    """One line for each path, one step after the other from left to right.

    >>> ist.interpolate(ae, X[:3], X[3:6]).display().plot()  # doctest: +SKIP
    """

    figure_: Figure
    ax_: Axes

    def __init__(self, x: np.ndarray, samples: Any, places: np.ndarray, paths: Sequence[str], kind: str) -> None:
        self.x, self.samples, self.places, self.paths, self.kind = x, samples, places, paths, kind
        self.shown = min(MOST_PATHS, len(paths))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        steps = len(self.places)
        return {
            "images": (0.75 * steps, 0.8 * self.shown + 0.3),
            "series": (1.9 * self.shown, 2.1),
        }.get(self.kind, (0.9 * steps + 1.2, 0.3 * self.shown * (MOST_COLUMNS + 1) + 0.5))

    def plot(self, ax: Axes | None = None) -> Self:
        ax = self.ax_ = _axes(ax, self.size)
        self.figure_ = _figure_of(ax)
        {"images": self._plot_strip, "series": self._plot_curves}.get(self.kind, self._plot_table)(ax)
        return self

    def _plot_strip(self, ax: Axes) -> None:
        lines = [np.concatenate([picture(x) for x in path], axis=1) for path in self.x[: self.shown]]
        strip = np.concatenate(lines, axis=0)
        height, width = lines[0].shape[0], lines[0].shape[1] / len(self.places)
        ax.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_yticks(height * (np.arange(self.shown) + 0.5), self.paths[: self.shown])
        ax.set_xticks(width * (np.arange(len(self.places)) + 0.5), self._places())
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)

    def _plot_curves(self, ax: Axes) -> None:
        """Draw the channel that moves most, from the first step (grey) to the last (colour)."""
        length, ticks = self.x.shape[2], []
        for place, path in enumerate(self.x[: self.shown]):
            channel = int(np.ptp(path, axis=0).max(0).argmax())
            time = np.arange(length) + place * length * 1.12
            for step, curve in enumerate(path):
                share = step / (len(path) - 1)
                style: dict[str, Any] = {"color": PALETTE.accent, "alpha": 0.25 + 0.75 * share, "linewidth": 1.1}
                if step == 0:
                    style = {"color": PALETTE.muted, "linewidth": 1.3}
                ax.plot(time, curve[:, channel], **style)
            ticks.append(time.mean())
        ax.set_xticks(ticks, self.paths[: self.shown])
        ax.tick_params(length=0)

    def _plot_table(self, ax: Axes) -> None:
        """Write the columns that change most along each path, one a line."""
        steps, cells, labels = len(self.places), [], []
        names, values = _columns(self.samples)
        for place in range(self.shown):
            own = {
                name: column[place * steps : (place + 1) * steps] for name, column in zip(names, values, strict=True)
            }
            for name in sorted(own, key=lambda name: -_change(own[name]))[:MOST_COLUMNS]:
                cells.append([_written(value) for value in own[name]])
                labels.append(f"{self.paths[place]}: {name}")
        ax.set_axis_off()
        drawn = ax.table(cells, rowLabels=labels, colLabels=self._places(), loc="center", edges="horizontal")
        drawn.auto_set_font_size(False)
        drawn.set_fontsize(8)
        for cell in drawn.get_celld().values():
            cell.set_edgecolor(PALETTE.line)
            cell.get_text().set_color(PALETTE.ink)

    def _places(self) -> list[str]:
        return [f"{place:.2g}" for place in self.places]


def _columns(samples: Any) -> tuple[list[str], list[list[Any]]]:
    """Return the columns of the samples, by name."""
    if is_table(samples):
        import narwhals as nw

        frame = nw.from_native(samples, eager_only=True)
        return list(map(str, frame.columns)), [frame[name].to_list() for name in frame.columns]
    samples = samples.toarray() if hasattr(samples, "toarray") else samples
    flat = np.asarray(samples).reshape(len(samples), -1)
    return [f"column {i}" for i in range(flat.shape[1])], flat.T.tolist()


def _change(values: list[Any]) -> float:
    """Return how much a column changes along a path: its range over its size, or how many values it takes."""
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return float(len(set(map(str, values))) - 1)
    return (max(numbers) - min(numbers)) / (max(map(abs, numbers)) or 1.0)


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
