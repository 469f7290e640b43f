"""Where a picture is odd: heat maps of what autoencoders cannot rebuild, the worst region, and tiles of large pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from isthmus.apps.anomaly.judge import ROWS_AT_ONCE
from isthmus.apps.anomaly.residuals import Residuals
from isthmus.apps.displays import PALETTE, picture
from isthmus.apps.words import plain
from isthmus.chunks import chunks
from isthmus.data.rows import Rows
from isthmus.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isthmus.apps.anomaly.detector import AnomalyDetector

SMOOTH = 1 / 28
"""The standard deviation of the smoothing, as a share of the shorter side; one pixel at least."""
FLOOR = 0.1
"""This share of what a pixel usually leaves is granted to every one: paper that is always blank is no precise instrument."""


@dataclass(frozen=True)
class Region:
    """Where a picture is odd."""

    row: int
    score: float
    p_value: float
    heat: np.ndarray
    """(h, w) what could not be rebuilt, beyond what usually is not, in roots of the usual squared residual; smoothed."""
    box: tuple[int, int, int, int]
    """(top, left, bottom, right) of the hottest region, the last two exclusive."""
    pixels: np.ndarray
    """The picture, uint8 (h, w) or (h, w, 3)."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pixels as plain data."""
        return plain({name: value for name, value in vars(self).items() if name != "pixels"})

    def display(self) -> HeatDisplay:
        """Return the picture with its heat, to be plotted."""
        return HeatDisplay(self)


def find_regions(detector: AnomalyDetector, rows: Rows) -> list[Region]:
    """Return the heat map of each picture, and its worst region."""
    heats, scores = heat_maps(detector, rows), detector.judge_.score(rows)
    p_values = detector.calibration_.p_values(scores)
    x = rows.take(slice(None))[0].numpy()
    return [
        Region(i, float(scores[i]), float(p_values[i]), heat, worst_box(heat), picture(x[i]))
        for i, heat in enumerate(heats)
    ]


def heat_maps(detector: AnomalyDetector, rows: Rows) -> np.ndarray:
    """Return (n, h, w): the root of the smoothed squared residual of each pixel beyond its usual one, over all channels."""
    from scipy.ndimage import gaussian_filter

    judge = detector.judge_
    residual = judge.heads.get("residual")
    if not isinstance(residual, Residuals):
        raise DataError("Too few pictures were learned from to rebuild any; fit the detector on at least 40.")
    scale = residual.scale.mean(0)
    weight = scale / (scale + FLOOR * scale.mean())
    channels, height, width = rows.shape
    out = np.empty((len(rows), height, width), np.float32)
    for place in chunks(len(rows), max(1, ROWS_AT_ONCE // scale.size)):
        beyond = np.maximum(residual.of(rows.subset(place)) - judge.typical["residual"], 0) * weight
        pixels = beyond.reshape(-1, channels, height, width).sum(1)
        sigma = max(1.0, SMOOTH * min(height, width))
        out[place] = np.sqrt(np.maximum(gaussian_filter(pixels, (0, sigma, sigma)), 0))
    return out


def worst_box(heat: np.ndarray) -> tuple[int, int, int, int]:
    """Return (top, left, bottom, right) of what hangs together around the hottest pixel, down to half its heat."""
    from scipy.ndimage import find_objects, label

    peak = np.unravel_index(heat.argmax(), heat.shape)
    regions, _ = label(heat >= heat.max() / 2)
    rows, columns = find_objects(regions)[regions[peak] - 1]
    return int(rows.start), int(columns.start), int(rows.stop), int(columns.stop)


class HeatDisplay:
    """A picture, what is odd in it laid over, and a box around the worst region."""

    figure_: Figure
    ax_: Axes

    def __init__(self, region: Region) -> None:
        self.region = region

    def plot(self, ax: Axes | None = None) -> Self:
        import matplotlib.pyplot as plt
        from matplotlib.patches import Rectangle

        if ax is None:
            _, ax = plt.subplots(figsize=(3.2, 3.2), layout="constrained")
        self.ax_, region = ax, self.region
        figure = ax.get_figure(root=True)
        assert figure is not None, "axes belong to a figure"
        self.figure_ = figure
        ax.imshow(region.pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.imshow(overlay(region.heat), interpolation="nearest")
        top, left, bottom, right = region.box
        corner = (left - 0.5, top - 0.5)
        ax.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=PALETTE.alert))
        ax.set_axis_off()
        return self


def overlay(heat: np.ndarray) -> np.ndarray:
    """Return uint8 (h, w, 4): the colour of alarm, the more opaque the hotter, at most two thirds."""
    colour = [int(PALETTE.alert[i : i + 2], 16) for i in (1, 3, 5)]
    opaque = np.rint(170 * heat / max(float(heat.max()), 1e-30)).astype(np.uint8)
    return np.concatenate([np.broadcast_to(np.array(colour, np.uint8), (*heat.shape, 3)), opaque[..., None]], -1)
