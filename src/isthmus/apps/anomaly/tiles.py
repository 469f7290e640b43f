"""Large pictures: a detector of small tiles, overlapping ones, whose worst one is the score of a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.decisions import Cut, decide
from isthmus.apps.anomaly.detector import AnomalyDetector
from isthmus.apps.anomaly.pictures import Region, heat_maps, worst_box
from isthmus.apps.anomaly.saving import to_saved
from isthmus.apps.anomaly.verdicts import Verdicts
from isthmus.apps.displays import picture as drawn
from isthmus.data.containers import Images, channels_first, guess_axes
from isthmus.errors import DataError, SettingError

HELD_OUT = 0.25
"""The share of the pictures whose worst tiles calibrate the scores; nothing is learned from them."""
FEWEST_PICTURES = 4
MOST_TILES = 20_000
"""Of more tiles than these, evenly spread ones are learned from."""


class Cuts(NamedTuple):
    """The tiles of one picture."""

    tiles: np.ndarray
    """(tiles, c, tile, tile)."""
    corners: list[tuple[int, int]]
    """(top, left) of each."""


class TiledDetector(Verdicts, OutlierMixin, BaseEstimator):
    """Find pictures that do not belong, whatever their size, and where in them.

    Pictures are cut into overlapping tiles; an :class:`AnomalyDetector` learns what tiles look like, and a picture is as odd
    as its worst tile. A quarter of the pictures is not learned from: their worst tiles say what normal pictures reach, so
    that a p-value is one of pictures, however many tiles they have. They should be of about one size.

    Parameters
    ----------
    detector : the detector of tiles, not fitted; None for ``AnomalyDetector()``. Its threshold and ``random_state`` hold.
    tile : the side of a tile in pixels.
    overlap : by which share of its side a tile lies on the next.

    >>> X = np.random.default_rng(0).normal(size=(40, 24, 24))
    >>> TiledDetector(AnomalyDetector(random_state=0), tile=12).fit(X).anomaly_score(X).shape
    (40,)
    """

    def __init__(self, detector: AnomalyDetector | None = None, tile: int = 32, overlap: float = 0.5) -> None:
        self.detector = detector
        self.tile = tile
        self.overlap = overlap

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from pictures: an array, ``Images``, or a list of arrays (h, w), (c, h, w) or (h, w, c); ``y`` is ignored."""
        self._check()
        detector: Any = AnomalyDetector() if self.detector is None else clone(self.detector)
        pictures = list(_pictures(X))
        if len(pictures) < FEWEST_PICTURES:
            raise DataError(
                f"{len(pictures)} pictures are too few to learn from some and calibrate on others; give at least "
                f"{FEWEST_PICTURES}."
            )
        held_out = np.linspace(0, len(pictures) - 1, max(1, int(HELD_OUT * len(pictures)))).round().astype(int)
        tiles = np.concatenate([self._cut(each).tiles for i, each in enumerate(pictures) if i not in held_out])
        self.detector_ = detector.fit(tiles[:: -(-len(tiles) // MOST_TILES)])
        self.calibration_ = Calibration(self.anomaly_score([pictures[i] for i in held_out]))
        self.cut_: Cut = decide(
            self.calibration_, detector.threshold, detector.fdr, detector.alpha, detector.contamination
        )
        self.threshold_, self.offset_ = self.cut_.score, -self.cut_.score
        return self

    def anomaly_score(self, X: Any) -> np.ndarray:
        """Return (n,) the score of each picture's worst tile."""
        check_is_fitted(self, "detector_")
        return np.array([self.detector_.anomaly_score(self._cut(each).tiles).max() for each in _pictures(X)])

    def explain(self, X: Any) -> list[Region]:
        """Return a heat map of each picture, stitched from those of its tiles, and its worst region."""
        check_is_fitted(self, "calibration_")
        return [self._explain(row, each) for row, each in enumerate(_pictures(X))]

    def _explain(self, row: int, pixels: np.ndarray) -> Region:
        cuts = self._cut(pixels)
        rows = self.detector_.codec_.encode(cuts.tiles)
        score = float(self.detector_.judge_.score(rows).max())
        heat = stitch(heat_maps(self.detector_, rows), cuts.corners, pixels.shape[1:])
        p_value = float(self.calibration_.p_values(np.array([score]))[0])
        return Region(row, score, p_value, heat, worst_box(heat), _shown(pixels))

    def _cut(self, pixels: np.ndarray) -> Cuts:
        return cut(pixels, self.tile, self.overlap)

    def _check(self) -> None:
        if isinstance(self.tile, bool) or not isinstance(self.tile, int) or self.tile < 2:
            raise SettingError(f"tile={self.tile!r} must be the side of a tile in pixels, at least 2.")
        if isinstance(self.overlap, bool) or not isinstance(self.overlap, (int, float)) or not 0 <= self.overlap < 1:
            raise SettingError(f"overlap={self.overlap!r} must be a share of at least 0 and below 1, such as 0.5.")
        if self.detector is not None and not isinstance(self.detector, AnomalyDetector):
            raise SettingError(f"detector={self.detector!r} must be an AnomalyDetector, or None.")

    # -- keeping ----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder, with the detector of tiles as one within it."""
        check_is_fitted(self, "calibration_")
        inner = to_saved(self.detector_)
        config = {"tile": self.tile, "overlap": self.overlap, "is_given": self.detector is not None}
        arrays = {"calibration": self.calibration_.scores}
        metrics = {"cut": self.cut_.to_dict()}
        inside = {"detector": inner}
        persistence.write(
            persistence.Saved("tiles", config, {}, {}, arrays, metrics, card=inner.card, inside=inside), path
        )


def cut(pixels: np.ndarray, tile: int, overlap: float) -> Cuts:
    """Cut a picture (c, h, w) into tiles that lie evenly, by ``overlap`` at least on each other, and cover all of it."""
    _, height, width = pixels.shape
    if min(height, width) < tile:
        raise DataError(
            f"A picture is {height} x {width}, smaller than a tile of {tile}; set tile={min(height, width)}."
        )
    step = max(1, int(tile * (1 - overlap)))
    tops, lefts = (
        np.linspace(0, side - tile, math.ceil((side - tile) / step) + 1).round().astype(int).tolist()
        for side in (height, width)
    )
    corners = [(top, left) for top in tops for left in lefts]
    return Cuts(np.stack([pixels[:, top : top + tile, left : left + tile] for top, left in corners]), corners)


def stitch(maps: np.ndarray, corners: Sequence[tuple[int, int]], shape: tuple[int, ...]) -> np.ndarray:
    """Return (h, w) the mean of overlapping maps (tiles, tile, tile), each weighing less towards its edge: no seams."""
    tile = maps.shape[1]
    hat = 1 - np.abs(np.linspace(-1, 1, tile + 2)[1:-1])
    weight = hat[:, None] * hat
    total, weights = np.zeros(shape), np.zeros(shape)
    for heat, (top, left) in zip(maps, corners, strict=True):
        place = slice(top, top + tile), slice(left, left + tile)
        total[place] += heat * weight
        weights[place] += weight
    return (total / weights).astype(np.float32)


def _pictures(X: Any) -> Iterator[np.ndarray]:
    """Yield pictures as (c, h, w)."""
    for each in X.pixels if isinstance(X, Images) else X:
        pixels = np.asarray(each)
        if pixels.ndim not in (2, 3):
            raise DataError(
                f"A picture is an array (h, w), (c, h, w) or (h, w, c), but one has the shape {pixels.shape}."
            )
        yield channels_first(pixels[None], guess_axes((1, *pixels.shape))[0])[0][0]


def _shown(pixels: np.ndarray) -> np.ndarray:
    return drawn(pixels / 255 if pixels.dtype == np.uint8 else pixels)


def _rebuild(saved: persistence.Saved) -> TiledDetector:
    config = saved.config
    inner = persistence.rebuild(saved.inside["detector"], "detector")
    unfitted: Any = clone(inner) if config["is_given"] else None
    tiled = TiledDetector(unfitted, config["tile"], config["overlap"])
    tiled.detector_ = inner
    tiled.calibration_, tiled.cut_ = Calibration(saved.arrays["calibration"]), Cut(**saved.metrics["cut"])
    tiled.threshold_, tiled.offset_ = tiled.cut_.score, -tiled.cut_.score
    return tiled


persistence.register("tiles", _rebuild)
