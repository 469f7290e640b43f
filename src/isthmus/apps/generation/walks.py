"""Walks through the code of a fitted autoencoder: from one row to another, or along single numbers of the code."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.apps.generation.strips import WalkDisplay
from isthmus.apps.section import Figure, Section
from isthmus.apps.words import plain
from isthmus.codestats import ACTIVE
from isthmus.errors import DataError, SettingError

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

MOST_DIMS = 10
"""How many numbers of the code a traverse takes by itself: those that move most."""
PARALLEL = 1e-4
"""Codes whose angle is smaller (radians), or that point to opposite sides, are joined by a straight line."""


@dataclass(frozen=True)
class Walk:
    """Samples along paths through the code."""

    samples: Any
    """paths x steps rows in the form of the data, path after path."""
    codes: np.ndarray
    """(paths, steps, latent)"""
    places: np.ndarray
    """(steps,) where each step is: 0 to 1 between two rows; in standard deviations along a number of the code."""
    paths: tuple[str, ...]
    """What each path is called."""
    kind: str
    """Of data: "table", "array", "images", "volumes" or "series"."""
    x: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False)
    """(paths, steps, *shape) the same samples, scaled."""

    def display(self) -> WalkDisplay:
        """Return the plot of the walk: a film strip of images, curves of series, a table of numbers."""
        return WalkDisplay(self.x, self.samples, self.places, self.paths, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """Return codes, places and names of the paths as plain data; the samples have the form of your data."""
        return plain({"paths": self.paths, "places": self.places, "codes": self.codes})

    def section(self) -> Section:
        """Return the walk as a section of the report."""
        display = self.display()
        figure = Figure(display, "walk", f"Samples along {len(self.paths)} walks through the code.", display.size)
        sentence = f"{len(self.paths)} walks of {len(self.places)} steps through the code, one a line."
        return Section("Walks through the code", (sentence,), figures=(figure,), facts=self.to_dict())


def interpolate(
    ae: Autoencoder,
    a: Any,
    b: Any,
    steps: int = 9,
    path: Literal["linear", "spherical"] = "linear",
    condition: Any = None,
) -> Walk:
    """Walk from each row of ``a`` to the row of ``b`` beside it, in equal steps; the ends are their reconstructions.

    A "linear" path is (1 - t) z_a + t z_b. A "spherical" one turns at an even rate, (sin((1 - t) w) z_a + sin(t w) z_b) / sin w
    for the angle w between the codes (Shoemake 1985; White 2016), so that it does not cut through the middle of a normal
    cloud, where no codes are. A conditional model is told the same mixture of what it knows of both rows.

    >>> ist.interpolate(ae, X[:1], X[1:2], steps=5).samples  # doctest: +SKIP
    """
    check_is_fitted(ae)
    if path not in ("linear", "spherical"):
        raise SettingError(f"path={path!r} is not known; use 'linear' or 'spherical'.")
    _check_steps(steps)
    start, end = ae.transform(a, condition), ae.transform(b, condition)
    if len(start) != len(end):
        raise DataError(f"a has {len(start)} rows and b has {len(end)}; a walk needs one of each: give as many.")
    places = np.linspace(0, 1, steps)
    codes = np.stack([between(start, end, float(t), path) for t in places], axis=1)  # (n, steps, latent)
    told = [ae._condition(rows, condition, len(start)) for rows in (a, b)]
    return _walk(ae, codes, places, tuple(f"pair {i}" for i in range(len(start))), _mixed(told, places), a)


def traverse(
    ae: Autoencoder,
    x: Any,
    dims: Sequence[int] | None = None,
    span: float = 2.0,
    steps: int = 7,
    condition: Any = None,
) -> Walk:
    """Move one number of the code at a time, from ``-span`` to ``span`` standard deviations, and keep the others at x's.

    Mean and standard deviation are those of the number over the codes of training rows. Every row of ``x`` gets a path for
    each of ``dims``; None takes those that are at work, the ten that vary most, the most varied first.
    """
    check_is_fitted(ae)
    _check_steps(steps)
    if not (math.isfinite(span) and span > 0):
        raise SettingError(f"span={span!r} must be a positive number of standard deviations; try 2.0.")
    codes = ae.transform(x, condition)  # (n, latent)
    if not len(ae.codes_):
        raise SettingError(
            "This model kept no codes of its training rows, which say how far a number moves; fit again."
        )
    known = ae.codes_.flatten(1).double().numpy()
    mean, spread = known.mean(0), known.std(0)
    chosen = _dims(dims, spread)
    places = np.linspace(-span, span, steps)
    moved = np.repeat(codes[:, None, None], len(chosen), axis=1).repeat(steps, axis=2)  # (n, dims, steps, latent)
    for place, dim in enumerate(chosen):
        moved[:, place, :, dim] = mean[dim] + places * spread[dim]
    told = ae._condition(x, condition, len(codes))
    every = None if told is None else told.repeat_interleave(len(chosen) * steps, 0)
    names = tuple(
        f"row {i}, code {dim}" if len(codes) > 1 else f"code {dim}" for i in range(len(codes)) for dim in chosen
    )
    return _walk(ae, moved.reshape(-1, steps, codes.shape[1]), places, names, every, x)


def _walk(
    ae: Autoencoder, codes: np.ndarray, places: np.ndarray, paths: tuple[str, ...], told: Tensor | None, template: Any
) -> Walk:
    x = ae._decoded(np.ascontiguousarray(codes.reshape(-1, codes.shape[2]), np.float32), told)
    samples = ae.codec_.decode_as(x, template)
    return Walk(samples, codes, places, paths, ae.codec_.kind, x.reshape(*codes.shape[:2], *x.shape[1:]))


def between(start: np.ndarray, end: np.ndarray, t: float, path: str) -> np.ndarray:
    """Return the codes (n, latent) at t; at 0 and 1 they are ``start`` and ``end`` to the last bit."""
    if t in (0.0, 1.0):
        return end if t else start
    straight = (1 - t) * start.astype(np.float64) + t * end
    if path == "linear":
        return straight.astype(np.float32)
    a, b = start.astype(np.float64), end.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.einsum("ij,ij->i", a, b) / np.where(lengths > 0, lengths, 1)
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None]
    turns = (lengths[:, None] > 0) & (np.minimum(angle, np.pi - angle) > PARALLEL)
    sine = np.where(turns, np.sin(angle), 1)
    turned = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / sine
    return np.where(turns, turned, straight).astype(np.float32)


def _mixed(told: list[Tensor | None], places: np.ndarray) -> Tensor | None:
    """Return what the decoder is told at each step of each path, (n * steps, c)."""
    a, b = told
    if a is None or b is None:
        return None
    t = torch.from_numpy(places).to(a)[:, None]
    return torch.where(t == 1, b[:, None], a[:, None] * (1 - t) + b[:, None] * t).flatten(0, 1)


def _dims(dims: Sequence[int] | None, spread: np.ndarray) -> list[int]:
    if dims is None:
        order = np.argsort(-spread, kind="stable")
        return [int(d) for d in order[:MOST_DIMS] if spread[d] > ACTIVE * spread.max()] or [0]
    for dim in dims:
        if not hasattr(dim, "__index__") or not 0 <= dim < len(spread):
            raise SettingError(f"dims={dim!r} is no number of this code, which has the numbers 0 to {len(spread) - 1}.")
    if not len(dims):
        raise SettingError("dims=() names no number of the code; leave it out for those that vary most.")
    return [int(dim) for dim in dims]


def _check_steps(steps: Any) -> None:
    if not hasattr(steps, "__index__") or steps < 2:
        raise SettingError(f"steps={steps!r} must be a whole number of at least 2: a walk has two ends.")
