"""Pictures: learning from whole ones or from tiles, restoring them by overlapping tiles, or each from itself alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus.apps.denoising import local
from isthmus.apps.denoising.learning import FEWEST_HELD_OUT, learn, split
from isthmus.apps.denoising.levels import level_of_pictures
from isthmus.apps.denoising.linear import Prior
from isthmus.apps.denoising.noises import Gaussian, Noise, Recorrupted, Spoiled, span
from isthmus.apps.denoising.results import Denoising
from isthmus.apps.denoising.shapes import Gallery, are_pictures, as_type
from isthmus.apps.denoising.tiles import corners, cut, stitch
from isthmus.data.containers import is_table
from isthmus.data.images import unit_scaling
from isthmus.data.scaling import Scaling
from isthmus.errors import DataError
from isthmus.parts.corruptions import GaussianNoise, Masking

LEVELS = (0.05, 0.55)
"""Between which shares of their range noise is learned, where its level is not given."""
MOST_WHOLE, MOST_TILE = 3072, 1100
"""Pictures of more numbers are cut, into tiles of at most so many: the linear answer takes the cube of it."""
MOST_TILES = 40_000
FEWEST = 20
_LARGE, _PIECE, _OVERLAP = 640, 512, 32
"""A larger picture alone is restored in overlapping pieces, which bounds the memory."""


def require(X: Any, regime: str) -> None:
    """Refuse what is no picture."""
    if is_table(X) or (not are_pictures(X) and getattr(X, "ndim", 0) != 2):
        raise DataError(
            f"regime={regime!r} restores photographs, not a {type(X).__name__}; for tables, arrays and series use "
            "regime='noisy', which learns from the noisy rows themselves."
        )


# -- learning -----------------------------------------------------------------------------------------------------


def fit(denoiser: Any, X: Any) -> None:
    """Learn from pictures, whole or in tiles."""
    gallery = Gallery.of(X)
    tile = _tile(gallery, denoiser.tile)
    tiles = _tiles(gallery, tile)
    _refuse_gaps(tiles, "to learn from")
    if len(tiles) < FEWEST:
        raise DataError(
            f"{len(tiles)} pictures of {tile[0]} x {tile[1]} pixels are too few to learn from; give at least {FEWEST}, set a "
            "smaller tile, or restore each picture alone with regime='single'."
        )
    scaling = _noisy_scaling(tiles) if denoiser.regime == "noisy" else _range_scaling(tiles)
    denoiser.dtype_, denoiser.scaling_ = tiles.dtype, scaling
    denoiser.shape_ = tuple(tiles.shape[1:])
    denoiser.n_features_in_ = int(np.prod(denoiser.shape_))
    x = _scaled(tiles, scaling).flatten(1)
    noise = _noise(denoiser, x)
    train, held = split(len(x), denoiser.seed_, is_ordered=False)
    assert len(held) >= FEWEST_HELD_OUT
    denoiser.restorer_, denoiser.found_ = learn(
        x[train], x[held], denoiser.shape_, noise, denoiser.effort, denoiser.seed_
    )
    denoiser.answer_, denoiser.errors_ = denoiser.restorer_.answer, vars(denoiser.found_)


def _range_scaling(tiles: np.ndarray) -> Scaling:
    found = unit_scaling(tiles, "range")
    return Scaling(np.array(float(found.offset.min())), np.array(float(found.factor)))  # the same for every pixel


def _noisy_scaling(tiles: np.ndarray) -> Scaling:
    """Return the scaling of noisy pictures, by three deviations of the signal: their range is that of the noise."""
    values = torch.from_numpy(tiles.astype(np.float32))
    signal = float(values.var()) - level_of_pictures(values) ** 2
    least = 0.01 * float(values.var())
    return Scaling(np.array(float(values.mean())), np.array(3 * max(signal, least, 1e-12) ** 0.5))


def _tile(gallery: Gallery, tile: int | str) -> tuple[int, int]:
    """Return the height and width of what is learned: whole pictures, or tiles."""
    shapes = {each.shape for each in gallery.pixels}
    channels = {shape[0] for shape in shapes}
    if len(channels) > 1:
        raise DataError(f"the pictures have {sorted(channels)} channels; bring them all to one number of channels.")
    if isinstance(tile, int):
        return tile, tile
    if len(shapes) == 1:
        shape = next(iter(shapes))
        if int(np.prod(shape)) <= MOST_WHOLE:
            return shape[1], shape[2]
    side = int((MOST_TILE / next(iter(channels))) ** 0.5) // 4 * 4
    smallest = min(min(shape[1:]) for shape in shapes)
    return min(side, smallest), min(side, smallest)


def _tiles(gallery: Gallery, tile: tuple[int, int]) -> np.ndarray:
    """Return tiles (n, c, h, w) that overlap by half, evenly spread ones where there are too many."""
    parts = [cut(x, corners(x.shape[1], x.shape[2], tile, min(tile) // 2), tile) for x in gallery.pixels]
    tiles = np.concatenate(parts)
    return tiles[:: -(-len(tiles) // MOST_TILES)] if len(parts) < len(tiles) else tiles


def _noise(denoiser: Any, x: Tensor) -> Noise:
    """Return what is learned to be removed, and note its level where it is known."""
    factor, shape = denoiser.scaling_.factor.item(), denoiser.shape_
    sigma = None if denoiser.sigma is None else denoiser.sigma / factor
    denoiser.sigma_ = denoiser.sigma
    if denoiser.regime == "noisy":
        sigma = level_of_pictures(x.view(-1, *shape)) if sigma is None else sigma
        denoiser.sigma_ = sigma * factor
        return Recorrupted(max(sigma, 1e-6))
    if isinstance(denoiser.noise, GaussianNoise):
        return Gaussian(*span(denoiser.noise))
    if denoiser.noise != "gaussian":
        return Spoiled(denoiser.noise, shape)
    return Gaussian(*LEVELS) if sigma is None else Gaussian(sigma, sigma)


# -- restoring ----------------------------------------------------------------------------------------------------


def restore(denoiser: Any, X: Any, clean: Any) -> Denoising:
    """Restore pictures by what was learned, whole or by tiles that overlap by half."""
    gallery, tile = Gallery.of(X), denoiser.shape_[1:]
    for each in gallery.pixels:
        _check(denoiser, each)
    places = [corners(each.shape[1], each.shape[2], tile, min(tile) // 2) for each in gallery.pixels]
    owners = np.repeat(np.arange(len(places)), [len(each) for each in places])
    tiles = np.concatenate([cut(x, place, tile) for x, place in zip(gallery.pixels, places, strict=True)])
    y, observed = _gapped(denoiser, tiles)
    level = _levels(denoiser, y, owners)
    x = denoiser.restorer_.restore(y, level, observed)
    if observed is not None:
        x = torch.where(observed, y, x)  # what was not missing is known
    if denoiser.regime == "clean":
        x = x.clamp(0, 1)  # the range of clean pictures
    restored = x.view(-1, *denoiser.shape_).numpy()
    ends = np.cumsum([0, *map(len, places)])
    scaling, pixels = denoiser.scaling_, []
    for i, (given, place) in enumerate(zip(gallery.pixels, places, strict=True)):
        whole = stitch(restored[ends[i] : ends[i + 1]], place, given.shape) if len(place) > 1 else restored[ends[i]]
        pixels.append(as_type(whole * scaling.factor + scaling.offset, given.dtype))
    is_gaussian = bool(denoiser.restorer_.high)
    sigma = level.numpy()[ends[:-1], 0] * scaling.factor.item() if is_gaussian else None
    psnr = None if clean is None else _psnr(gallery, pixels, Gallery.of(clean), scaling.factor.item())
    return Denoising(gallery.back(pixels), sigma, denoiser.answer_, denoiser.errors_, psnr)


def _levels(denoiser: Any, y: Tensor, owners: np.ndarray) -> Tensor:
    """Return (tiles, 1) the noise level of each tile, the same for all of a picture."""
    if not denoiser.restorer_.high:
        return torch.zeros(len(y), 1)
    if denoiser.sigma_ is not None:
        return torch.full((len(y), 1), denoiser.sigma_ / denoiser.scaling_.factor.item())
    prior = denoiser.restorer_.linear
    assert isinstance(prior, Prior)
    level = prior.level(y, pooled=False)
    for owner in np.unique(owners[1:][owners[1:] == owners[:-1]]):  # pictures of several tiles
        own = torch.from_numpy(owners == owner)
        level[own] = prior.level(y[own], pooled=True)
    return level


def _check(denoiser: Any, pixels: np.ndarray) -> None:
    if pixels.shape[0] != denoiser.shape_[0]:
        raise DataError(
            f"a picture has {pixels.shape[0]} channels, those learned from had {denoiser.shape_[0]}; convert it."
        )
    if (pixels.dtype.kind == "f") < (denoiser.dtype_.kind == "f"):
        raise DataError(
            f"a picture holds {pixels.dtype}, those learned from held {denoiser.dtype_}: bring it to their range, as by / 255."
        )


def _gapped(denoiser: Any, tiles: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """Return encoded tiles (n, d), 0 where a number is missing, and which are observed."""
    y = _scaled(tiles, denoiser.scaling_).flatten(1)
    if isinstance(denoiser.noise, Masking):
        return y.nan_to_num(0.0), ~y.isnan()
    _refuse_gaps(tiles, f"to restore with noise={denoiser.noise!r}")
    return y, None


def _scaled(pixels: np.ndarray, scaling: Any) -> Tensor:
    return torch.from_numpy(((pixels - scaling.offset) / scaling.factor).astype(np.float32))


def _refuse_gaps(pixels: np.ndarray, purpose: str) -> None:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        number = int(np.flatnonzero(~np.isfinite(pixels).reshape(len(pixels), -1).all(1))[0])
        raise DataError(
            f"picture or tile {number} holds missing or infinite pixels, which cannot be used {purpose}; leave it out, or "
            "fill missing pixels by a Denoiser(noise=ist.Masking(0.5))."
        )


# -- each alone ---------------------------------------------------------------------------------------------------


def alone(denoiser: Any, X: Any, clean: Any) -> Denoising:
    """Restore each picture from its own patches."""
    require(X, "single")
    gallery = Gallery.of(X, alone=True)
    pixels, sigmas = [], []
    for given in gallery.pixels:
        _refuse_gaps(given[None], "to restore a picture alone")
        if min(given.shape[1:]) < local.FEWEST_PIXELS:
            raise DataError(
                f"a picture of {given.shape[1]} x {given.shape[2]} pixels is too small to be restored alone, which takes "
                f"{local.FEWEST_PIXELS} a side; learn from many such pictures with regime='noisy'."
            )
        colours = given[: 3 if len(given) == 4 else len(given)]  # transparency has no noise
        y = torch.from_numpy(colours.astype(np.float32))
        sigma = level_of_pictures(y[None]) if denoiser.sigma is None else float(denoiser.sigma)
        restored = np.concatenate([_piecewise(y, sigma), given[len(colours) :].astype(np.float32)])
        pixels.append(as_type(restored, given.dtype))
        sigmas.append(sigma)
    psnr = None
    if clean is not None:
        truth = Gallery.of(clean, alone=True)
        psnr = _psnr(gallery, pixels, truth, _range(truth))
    return Denoising(gallery.back(pixels), np.array(sigmas), "patches", {}, psnr)


def _piecewise(y: Tensor, sigma: float) -> np.ndarray:
    if max(y.shape[1:]) <= _LARGE:
        return local.restore_picture(y, sigma).numpy()
    tile = min(_PIECE, y.shape[1]), min(_PIECE, y.shape[2])
    places = corners(y.shape[1], y.shape[2], tile, _OVERLAP)
    pieces = [local.restore_picture(torch.from_numpy(piece), sigma).numpy() for piece in cut(y.numpy(), places, tile)]
    return stitch(np.stack(pieces), places, tuple(y.shape))


def _range(gallery: Gallery) -> float:
    if gallery.pixels[0].dtype == np.uint8:
        return 255.0
    return float(max(x.max() for x in gallery.pixels) - min(x.min() for x in gallery.pixels))


def _psnr(noisy: Gallery, restored: list[np.ndarray], clean: Gallery, top: float) -> tuple[float, float]:
    """Return the mean peak signal-to-noise ratio of the pictures before and after, 10 log10(range^2 / mse)."""
    if [x.shape for x in clean.pixels] != [x.shape for x in noisy.pixels]:
        raise DataError(
            "the clean pictures have other numbers or sizes than the noisy ones; give one for each, in order."
        )

    def mean(pictures: list[np.ndarray]) -> float:
        errors = [np.square(x.astype(np.float64) - c).mean() for x, c in zip(pictures, clean.pixels, strict=True)]
        return float(np.mean([10 * np.log10(top**2 / max(error, 1e-12)) for error in errors]))

    return mean(noisy.pixels), mean(restored)
