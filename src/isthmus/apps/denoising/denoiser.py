"""The denoiser: learns from clean rows, from noisy ones, or from nothing, and takes noise away."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.denoising import pictures, rows, saving
from isthmus.apps.denoising.learning import EFFORTS
from isthmus.apps.denoising.results import Denoising
from isthmus.apps.denoising.shapes import are_pictures
from isthmus.errors import SettingError
from isthmus.parts.corruptions import Corruption

REGIMES = ("clean", "noisy", "single")


class Denoiser(TransformerMixin, BaseEstimator):
    """Take the noise from pictures, series, tables and arrays.

    A closed-form linear answer comes first; a network that starts at zero corrects it, and is kept where it is better on
    held-out rows. What is kept is never expected to be worse than the noisy rows as they are.

    Parameters
    ----------
    regime : "clean" to fit on clean examples; "noisy" to fit on noisy ones, where there are no others; "single" for
        photographs each of which is restored from itself alone, and ``fit`` learns nothing.
    noise : "gaussian", whose level is found row by row when rows are restored; or a corruption that says what the noise
        does, such as ``ist.SaltAndPepper(0.2)``, ``ist.Masking(0.5)`` (missing numbers are NaN, and are filled) or
        ``ist.Swap(0.1)``: for the regime "clean".
    sigma : the standard deviation of Gaussian noise where it is known, in the units of pictures and arrays (25 for bytes), in
        standard deviations of each column of tables and channel of series; None to estimate it.
    tile : the side in pixels of the overlapping tiles that pictures are cut into; "auto": none for small pictures of one
        size.
    effort : "quick", "default" or "thorough": how long the network learns.
    random_state : the seed; numpy's and torch's own generators are never touched.

    Attributes
    ----------
    answer_ : "network", "linear" or "input" (no denoising): what was best on held-out rows; "patches" for single pictures.
    errors_ : root mean squared errors on held-out rows, in units of the encoded samples.
    sigma_ : the noise level in the units of ``sigma``, where one was given, or found in fitting; None otherwise.

    >>> import numpy as np, isthmus as ist
    >>> rng = np.random.default_rng(0)
    >>> clean = rng.normal(size=(300, 1)) * np.ones(20)
    >>> noisy = clean + 0.5 * rng.normal(size=clean.shape)
    >>> restored = ist.Denoiser(effort="quick", random_state=0).fit(clean).transform(noisy)
    >>> bool(np.square(restored - clean).mean() < 0.1 * np.square(noisy - clean).mean())
    True
    """

    n_features_in_: int
    codec_: Any
    reading_: dict[str, Any]

    def __init__(
        self,
        regime: str = "clean",
        noise: Any = "gaussian",
        sigma: float | None = None,
        tile: int | str = "auto",
        effort: str = "default",
        random_state: Any = None,
    ) -> None:
        self.regime = regime
        self.noise = noise
        self.sigma = sigma
        self.tile = tile
        self.effort = effort
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from clean rows, or from noisy ones, as ``regime`` says; ``y`` is ignored."""
        self._check()
        seed = np.random.SeedSequence().generate_state(1)[0] >> 1
        self.seed_ = int(
            seed if self.random_state is None else check_random_state(self.random_state).randint(2**31 - 1)
        )
        if self.regime == "single":
            pictures.require(X, self.regime)
            self.kind_, self.answer_, self.errors_, self.sigma_ = "single", "patches", {}, self.sigma
            return self
        self.kind_ = "pictures" if are_pictures(X) else "rows"
        (pictures if self.kind_ == "pictures" else rows).fit(self, X)
        return self

    def transform(self, X: Any) -> Any:
        """Return ``X`` without its noise, in its own type and units; a ``Series`` comes back as an array (T, channels)."""
        return self.denoise(X).restored

    def denoise(self, X: Any, clean: Any = None) -> Denoising:
        """Restore ``X`` and say how strong the noise was; given the ``clean`` data, say what was gained."""
        check_is_fitted(self, "kind_")
        room: Any = {"single": pictures.alone, "pictures": pictures.restore, "rows": rows.restore}[self.kind_]
        return room(self, X, clean)

    def estimate_sigma(self, X: Any) -> np.ndarray | None:
        """Return (n,) the standard deviation of the noise of each picture or row; None for noise that is not Gaussian."""
        return self.denoise(X).sigma

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder: linear answer, network, and how samples are scaled."""

        check_is_fitted(self, "kind_")
        persistence.write(saving.to_saved(self), path)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns, which are those that came in."""
        check_is_fitted(self, "kind_")
        named = getattr(self, "feature_names_in_", None)
        return np.array([f"x{i}" for i in range(self.n_features_in_)], object) if named is None else named

    def _check(self) -> None:
        if self.regime not in REGIMES:
            raise SettingError(f"regime={self.regime!r} is not one of {', '.join(REGIMES)}; choose by what you have.")
        if self.effort not in EFFORTS:
            raise SettingError(f"effort={self.effort!r} is not one of {', '.join(EFFORTS)}.")
        if self.noise != "gaussian" and not isinstance(self.noise, Corruption):
            raise SettingError(
                f"noise={self.noise!r} must be 'gaussian' or a corruption, such as ist.SaltAndPepper(0.2)."
            )
        if self.noise != "gaussian" and self.regime != "clean":
            raise SettingError(
                f"noise={self.noise!r} can be learned from clean examples only; use regime='clean', or noise='gaussian'."
            )
        if self.sigma is not None and (isinstance(self.sigma, (bool, str)) or not 0 < self.sigma < np.inf):
            raise SettingError(f"sigma={self.sigma!r} must be a positive number, or None to estimate it.")
        if self.sigma is not None and self.noise != "gaussian":
            raise SettingError(
                f"sigma={self.sigma!r} is the level of Gaussian noise; leave it out with noise={self.noise!r}."
            )
        if self.tile != "auto" and (
            isinstance(self.tile, (bool, str)) or not isinstance(self.tile, int) or self.tile < 4
        ):
            raise SettingError(f"tile={self.tile!r} must be 'auto', or the side of a tile in pixels, at least 4.")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = isinstance(self.noise, Corruption)
        return tags


def _rebuild(saved: persistence.Saved) -> Denoiser:
    params = saved.config["params"]
    denoiser = Denoiser(**params | {"noise": saving.noise_from(params["noise"])})
    saving.restore(denoiser, saved)
    return denoiser


persistence.register("denoiser", _rebuild)
