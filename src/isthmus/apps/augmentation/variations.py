"""Variations of given samples: move in the code, by the posterior or by the spread of the codes around, and decode.

x' = x + decode(z') - decode(z)      what the code does not hold stays as it was; strength 0 gives x itself
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.data.rows import Rows
from isthmus.errors import DataError, SettingError
from isthmus.inference import map_rows
from isthmus.inputs import check_input
from isthmus.parts.step import Batch

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

NEIGHBOURS = 10
"""How many codes around a sample say how codes vary there."""
ENOUGH = 50
"""Samples whose range variations are kept in; fewer do not show it."""
FEWEST = 3
"""Codes that a spread can be told from."""


@dataclass(frozen=True, eq=False)
class Augmented:
    """Variations, and what they are variations of."""

    samples: Any
    """n samples in the form of the data."""
    sources: np.ndarray
    """(n,) the row that each is a variation of: its label is ``y[sources]``."""
    x: np.ndarray = field(repr=False)
    """(n, *shape) the same samples, scaled."""


def augment(
    ae: Autoencoder,
    X: Any,
    n: int | None = None,
    strength: float = 1.0,
    y: Any = None,
    detail: bool = True,
    random_state: Any = None,
    condition: Any = None,
) -> Augmented:
    """Return ``n`` variations of the samples X: images, series, tables or arrays.

    The code of a sample moves by its posterior, z' = mu + strength * sigma * eps, where the model has one; otherwise by the
    spread of the ten nearest codes, z' = z + strength * N(0, their covariance).

    Parameters
    ----------
    n : how many; None makes one of each. Every sample gets as many, but for what does not divide.
    strength : 1 moves as far as the posterior or the neighbours say, 0 nowhere.
    y : a label of each sample; neighbours are looked for among samples of the same label, otherwise among training codes.
    detail : keep what the code does not hold: add to the sample what its decoding gains, within the range of X where X has
        50 samples or more. False returns the decoding alone.

    Whether a classifier gains by them is another matter: :func:`augmentation_gain` measures it.

    >>> more = ist.augment(ae, X, n=1000, y=y)  # doctest: +SKIP
    >>> X_more, y_more = more.samples, y[more.sources]  # doctest: +SKIP
    """
    check_is_fitted(ae)
    X = check_input(ae, X, reset=False)
    rows = ae.codec_.encode(X)
    check_dials(n, strength)
    told = ae._condition(X, condition, len(rows))
    labels = checked_labels(y, len(rows))
    rng = np.random.default_rng(None if random_state is None else check_random_state(random_state).randint(2**31 - 1))
    x, sources = vary(ae, rows, told, labels, len(rows) if n is None else int(n), strength, detail, rng)
    return Augmented(ae.codec_.decode_as(x, X), sources, x)


def vary(
    ae: Autoencoder,
    rows: Rows,
    told: Tensor | None,
    labels: np.ndarray | None,
    n: int,
    strength: float,
    detail: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the scaled variations (n, *shape), and the row of each (n,)."""
    z, sigma = _codes(ae, rows, told)
    sources = _dealt(len(z), n, rng)
    noise = _by_posterior(sigma, sources, rng) if sigma is not None else _by_spread(ae, z, labels, sources, rng)
    moved = (z[sources] + strength * noise).astype(np.float32)
    again = None if told is None else told[torch.from_numpy(sources)]
    x = ae._decoded(moved, again)
    if not detail:
        return x, sources
    given, observed = rows.take(slice(None))
    kept = given.numpy()[sources] + x - ae._decoded(z, told)[sources]
    if len(given) >= ENOUGH:
        kept = np.clip(kept, *_range(given.numpy(), observed, ae.codec_.kind))
    return kept if observed is None else np.where(observed.numpy()[sources], kept, x), sources


def check_dials(n: Any, strength: Any) -> None:
    """Refuse what is no number of samples, or no strength."""
    if n is not None and (not hasattr(n, "__index__") or n < 1):
        raise SettingError(f"n={n!r} must be a whole number of at least 1, or None for one variation of each sample.")
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength < math.inf:
        raise SettingError(
            f"strength={strength!r} must be a number of at least 0; 1 is the spread of the codes themselves."
        )


def checked_labels(y: Any, rows: int) -> np.ndarray | None:
    """Return labels as an array (n,), one a row."""
    if y is None:
        return None
    labels = np.asarray(y).ravel()
    if len(labels) != rows:
        raise DataError(f"y has {len(labels)} labels, but there are {rows} rows; give one a row.")
    return labels


def _codes(ae: Autoencoder, rows: Rows, told: Tensor | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the codes (n, latent) and, where the model has a posterior, the standard deviations of their numbers."""
    both = map_rows(lambda batch: _code(ae, batch), rows, ae.model_, condition=told)
    latent = math.prod(ae.model_.z_shape)
    return both[:, :latent], both[:, latent:] if both.shape[1] > latent else None


def _code(ae: Autoencoder, batch: Batch) -> Tensor:
    """Return the code and, where there is a posterior, its standard deviations beside it, (B, latent or twice that)."""
    code = ae.model_.encode(batch)
    parts = [code.embedding] if code.posterior is None else [code.embedding, (code.posterior.log_var / 2).exp()]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _dealt(count: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n rows in order, each as often as any other, but for what does not divide."""
    rest = rng.permutation(count)[: n % count]
    return np.sort(np.concatenate([np.tile(np.arange(count), n // count), rest]))


def _by_posterior(sigma: np.ndarray, sources: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return sigma[sources] * rng.standard_normal((len(sources), sigma.shape[1]))


def _by_spread(
    ae: Autoencoder, z: np.ndarray, labels: np.ndarray | None, sources: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return normal moves (n, latent) with the covariance of the codes nearest to each source.

    Weights drawn from N(0, 1) for the deviations of k neighbours, over the root of k - 1, have just that covariance.
    """
    known = ae.codes_.flatten(1).numpy() if len(ae.codes_) else z
    noise = np.zeros((len(sources), z.shape[1]))
    for label in [None] if labels is None else np.unique(labels.astype(str)):
        mine = np.arange(len(z)) if labels is None else np.flatnonzero(labels.astype(str) == label)
        pool = known if labels is None else z[mine]
        if len(pool) < FEWEST:
            told = "" if label is None else f" with the label {str(label)!r}"
            raise DataError(f"{len(pool)} samples{told} show no spread; give at least {FEWEST}.")
        near = pool[_nearest(z[mine], pool)]  # (m, k, latent)
        off = (near - near.mean(1, keepdims=True)) / math.sqrt(near.shape[1] - 1)
        at = np.flatnonzero(np.isin(sources, mine))
        weights = rng.standard_normal((len(at), near.shape[1]))
        noise[at] = np.einsum("nk,nkl->nl", weights, off[np.searchsorted(mine, sources[at])])
    return noise


def _nearest(z: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Return which codes of the pool are nearest to each of z, (n, k); itself, where it is one of them."""
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(pool))
    return NearestNeighbors(n_neighbors=count).fit(pool).kneighbors(z, return_distance=False)


def _range(x: np.ndarray, observed: Tensor | None, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return between which values a variation stays: those of each column of a table or array, of all pixels or points."""
    seen = x if observed is None else np.where(observed.numpy(), x, np.nan)
    axes = 0 if kind in ("table", "array") else None
    empty = np.isnan(seen).all(axes)
    with np.errstate(invalid="ignore"):
        low, high = (np.where(empty, end, f(np.nan_to_num(seen, nan=fill), axes)) for f, end, fill in _ENDS)
    return low, high


_ENDS = ((np.min, -np.inf, np.inf), (np.max, np.inf, -np.inf))
