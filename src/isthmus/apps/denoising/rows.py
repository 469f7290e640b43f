"""Arrays, tables and the windows of series: what is learned of them, and how noisy rows are restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.apps.denoising.learning import learn, linear_alone, split
from isthmus.apps.denoising.levels import FEWEST_NUMBERS, level_of_rows
from isthmus.apps.denoising.noises import Gaussian, Noise, Recorrupted, Spoiled, span
from isthmus.apps.denoising.results import Denoising
from isthmus.data import Series
from isthmus.data.series import average
from isthmus.errors import DataError, SettingError
from isthmus.inputs import check_input, learn_rows
from isthmus.layout import Layout
from isthmus.parts.corruptions import GaussianNoise, Masking
from isthmus.parts.step import Batch, normal

LEVELS = (0.1, 1.0)
"""Between which shares of the data's standard deviation noise is learned, where its level is not given."""
FEWEST_TO_JUDGE = 40
"""With fewer rows the linear answer stands alone: what four held-out rows say is noise."""
MOST_WINDOWS = 50_000


@dataclass(frozen=True)
class NumbersOnly:
    """Gaussian noise on the numbers of a table; categories and booleans stay. Its level is drawn row by row."""

    low: float
    high: float
    numbers: tuple[int, ...]

    def __call__(self, batch: Batch, rng: torch.Generator) -> Batch:
        level = self.low * (self.high / self.low) ** torch.rand(len(batch.x), 1, generator=rng)
        x = batch.x.clone()
        places = list(self.numbers)
        x[:, places] += level * normal(x[:, places], rng)
        return batch._replace(x=x)


def fit(denoiser: Any, X: Any) -> None:
    """Learn from rows or windows."""
    X = check_input(denoiser, X, reset=True)
    if hasattr(X, "tocsr"):
        raise DataError(
            "noise makes every number differ from 0, so a sparse matrix cannot hold it; give a dense array."
        )
    learned = learn_rows(X, "auto")
    denoiser.codec_, layout = learned.codec, learned.codec.layout
    overlap = getattr(learned.rows, "overlap", 0)
    stride = -(-len(learned.rows) // MOST_WINDOWS) if learned.codec.kind == "series" else 1
    x, observed = learned.rows.take(slice(None, None, stride))
    if observed is not None:
        raise DataError(
            "the rows to learn from have gaps (NaN); fill them with ist.Imputer, or leave those rows out, and fit again."
        )
    x = x.flatten(1)
    denoiser.shape_ = (x.shape[1],)
    noise = _noise(denoiser, x, layout)
    if len(x) < FEWEST_TO_JUDGE:
        denoiser.restorer_, denoiser.found_ = linear_alone(x, denoiser.shape_, noise, denoiser.seed_), None
        denoiser.answer_, denoiser.errors_ = "linear", {}
        return
    is_series = learned.codec.kind == "series"
    train, held = split(len(x), denoiser.seed_, is_series, -(-(overlap + 1) // stride) - 1)
    denoiser.restorer_, denoiser.found_ = learn(
        x[train], x[held], denoiser.shape_, noise, denoiser.effort, denoiser.seed_
    )
    denoiser.answer_, denoiser.errors_ = denoiser.restorer_.answer, vars(denoiser.found_)


def _noise(denoiser: Any, x: Tensor, layout: Layout) -> Noise:
    """Return what is learned to be removed, and note its level where it is known."""
    factor, sigma = _factor(denoiser), denoiser.sigma
    denoiser.sigma_ = sigma
    level = None if sigma is None else sigma / factor
    places = _numbers(layout)
    if denoiser.regime == "noisy":
        if len(places) < layout.size:
            raise SettingError(
                "regime='noisy' is for numbers, and the table has other columns; leave them out, or learn from clean rows."
            )
        if level is None:
            if x.shape[1] < FEWEST_NUMBERS:
                raise DataError(
                    f"noise cannot be told from what {x.shape[1]} numbers a row are like; say how strong it is: sigma=0.1."
                )
            level = level_of_rows(x)
            denoiser.sigma_ = level * factor
        return Recorrupted(max(level, 1e-6))
    cells = torch.tensor(_cells(layout)) if layout.blocks else None
    if isinstance(denoiser.noise, GaussianNoise):
        low, high = span(denoiser.noise)
    elif denoiser.noise != "gaussian":
        shape = layout.shape
        return Spoiled(denoiser.noise, shape, cells)
    else:
        low, high = LEVELS if level is None else (level, level)
    if len(places) < layout.size:  # the level of some columns only is no level of the row
        return Spoiled(NumbersOnly(low, high, places), layout.shape, cells)
    return Gaussian(low, high)


def restore(denoiser: Any, X: Any, clean: Any) -> Denoising:
    """Restore rows; the windows of a series are restored each by itself and averaged point by point."""
    X = check_input(denoiser, X, reset=False)
    y, observed = _encoded(denoiser, X)
    gaussian = bool(denoiser.restorer_.high)
    level = _level(denoiser, y)
    x = denoiser.restorer_.restore(y, level, observed)
    if observed is not None:
        x = torch.where(observed, y, x)
    if denoiser.noise == "gaussian":
        kept = sorted(set(range(x.shape[1])) - set(_numbers(denoiser.codec_.layout)))
        x[:, kept] = y[:, kept]  # categories had no noise
    sigma = level.numpy()[:, 0] * _factor(denoiser) if gaussian else None
    rmse = None
    if clean is not None:
        truth, _ = _encoded(denoiser, check_input(denoiser, clean, reset=False))
        if truth.shape != y.shape:
            raise DataError(f"there are {len(truth)} clean rows for {len(y)} noisy ones; give one for each, in order.")
        rmse = (float((y - truth).square().mean().sqrt()), float((x - truth).square().mean().sqrt()))
    return Denoising(_decoded(denoiser, x, X), sigma, denoiser.answer_, denoiser.errors_, None, rmse)


def _level(denoiser: Any, y: Tensor) -> Tensor:
    """Return (n, 1) the noise level, one for all rows: a row of a few numbers cannot say its own."""
    if not denoiser.restorer_.high:
        return torch.zeros(len(y), 1)
    if denoiser.sigma_ is not None:
        return torch.full((len(y), 1), denoiser.sigma_ / _factor(denoiser))
    return denoiser.restorer_.linear.level(y, pooled=True).clone()


def _encoded(denoiser: Any, X: Any) -> tuple[Tensor, Tensor | None]:
    if denoiser.codec_.kind == "series" and not isinstance(X, Series) and np.ndim(X) < 3:
        X = Series(X, denoiser.codec_.length, denoiser.codec_.step)
    y, observed = denoiser.codec_.encode(X).take(slice(None))
    hides = isinstance(denoiser.noise, Masking)
    if observed is not None and not hides:
        raise DataError(
            "the rows to restore have gaps (NaN); fill them with ist.Imputer first, or fit a Denoiser(noise=ist.Masking(0.5))."
        )
    if hides and observed is None:
        observed = torch.ones_like(y, dtype=torch.bool)
    return y.flatten(1), None if observed is None else observed.flatten(1)


def _decoded(denoiser: Any, x: Tensor, X: Any) -> Any:
    codec = denoiser.codec_
    if codec.kind != "series":
        return codec.decode_as(x.numpy(), X)
    windows = codec.decode(x.numpy())
    if not isinstance(X, Series) and np.ndim(X) == 3:
        return windows
    series = X if isinstance(X, Series) else Series(X, codec.length, codec.step)
    values = average(windows, len(series.values), series.step)
    return values[:, 0] if np.ndim(series.values) == 1 else values


def _factor(denoiser: Any) -> float:
    """Return what one unit of the encoded rows is in the units of ``sigma``."""
    codec = denoiser.codec_
    return codec.scaling.factor.item() if codec.kind == "array" else 1.0


def _numbers(layout: Layout) -> tuple[int, ...]:
    """Return the features that are numbers: all, but for tables of other columns."""
    if not layout.blocks:
        return tuple(range(layout.size))
    return tuple(place for b in layout.blocks if b.kind == "numeric" for place in range(b.start, b.start + b.width))


def _cells(layout: Layout) -> list[int]:
    return [number for number, block in enumerate(layout.blocks) for _ in range(block.width)]
