"""Samplers: where new codes come from once a model is trained."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.part import Part

WIDEST_FULL = 64
"""Codes of more numbers than this get mixtures of diagonal covariance: a full one would need more rows than there are."""
CANDIDATES = (2, 5, 10, 20, 50, 100)
"""How many components a mixture tries."""
MOST_HELD_OUT = 2000
EM_STEPS = 30


class Sampler(Part, ABC):
    """Learn where codes lie, ``fit(codes, seed) -> state``, and draw new ones, ``draw(state, n, rng) -> (n, *z_shape)``."""

    is_slow: ClassVar[bool] = False
    """Does it take long to learn, so that a saved model keeps what it has learned?"""

    @abstractmethod
    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]: ...

    @abstractmethod
    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor: ...


@dataclass
class Prior(Sampler):
    """N(0, 1) in every number: what a variational code is trained towards, and a Wasserstein one too."""

    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]:
        return {"like": codes[:1]}

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, *state["like"].shape[1:], generator=rng, device=rng.device)


@dataclass
class Aggregated(Sampler):
    """The aggregated posterior: codes of training rows, each moved by ``jitter`` times the spread of its number.

    With ``jitter=0`` every code is one that was seen, as discrete codes must be.
    """

    jitter: float = 0.0

    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]:
        return {"codes": codes}

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        codes = state["codes"].to(rng.device)
        z = codes[torch.randint(len(codes), (n,), generator=rng, device=rng.device)]
        if not self.jitter:
            return z
        return z + self.jitter * codes.std(0, correction=0) * torch.randn(z.shape, generator=rng, device=rng.device)


@dataclass
class Mixture(Sampler):
    """A mixture of Gaussians fitted on the codes by expectation maximisation (Ghosh 2020 uses it for plain codes).

    ``components`` is a number, or "auto": 1, 2, 5, 10, 20, 50 or 100, the largest that finds a held-out fifth of the codes
    (at most 2,000 of them) more probable, beyond doubt, than the smaller ones.
    """

    components: int | str = "auto"
    is_slow: ClassVar[bool] = True

    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]:
        from sklearn.mixture import GaussianMixture  # seconds to import, for a use that most programs do not have

        flat = codes.flatten(1).double().numpy()
        full = flat.shape[1] <= WIDEST_FULL
        # a code that never moves has no variance; the smallest that EM may find is a millionth of the widest
        least = 1e-6 * max(float(flat.var(0).max()), 1e-6)

        def mixture(k: int, rows: np.ndarray, start: GaussianMixture | None = None) -> GaussianMixture:
            kind = "full" if full and len(rows) >= 2 * k * flat.shape[1] else "diag"
            known: dict[str, Any] = {}
            if start is not None and start.covariance_type == kind:
                known = {f"{name}_init": getattr(start, f"{name}_") for name in ("weights", "means", "precisions")}
            em = GaussianMixture(
                k, covariance_type=kind, reg_covar=least, max_iter=EM_STEPS, random_state=seed % 2**32, **known
            )
            with warnings.catch_warnings():  # samples are as good as they get long before the last digit stands still
                warnings.simplefilter("ignore")
                return em.fit(rows)

        best, found = self._chosen(flat, seed, mixture)
        fitted = mixture(best, flat, found)
        covariances = torch.from_numpy(fitted.covariances_)
        factor = torch.linalg.cholesky(covariances) if fitted.covariance_type == "full" else covariances.sqrt()
        return {
            "weights": torch.from_numpy(fitted.weights_).float(),
            "means": torch.from_numpy(fitted.means_).float(),
            "factors": factor.float(),
            "like": codes[:1],
        }

    def _chosen(self, flat: np.ndarray, seed: int, mixture: Callable[..., Any]) -> tuple[int, Any]:
        """Return how many components there are to be, and a mixture of as many where one was fitted on the way."""
        if self.components != "auto":
            best = int(self.components)
            if not 1 <= best <= len(flat):
                raise SettingError(
                    f"Mixture(components={self.components}) must be from 1 to the {len(flat)} known codes."
                )
            return best, None
        shuffled = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed)).numpy()]
        held_out, rest = np.split(shuffled, [min(len(flat) // 5, MOST_HELD_OUT)])
        if not len(held_out):
            return 1, None
        best, most = mixture(1, rest), len(np.unique(flat, axis=0)) // 10  # clouds need some points each
        likely, failed = best.score_samples(held_out), 0
        for k in (k for k in CANDIDATES if k <= most):
            found = mixture(k, rest)
            gain = found.score_samples(held_out) - likely
            # more clouds must earn their place: a gain within its standard error is none
            if gain.mean() > gain.std(ddof=1) / math.sqrt(len(gain)):
                best, likely, failed = found, found.score_samples(held_out), 0
            elif (failed := failed + 1) == 2:
                break
        return len(best.weights_), best

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        weights, means, factors, like = (state[name].to(rng.device) for name in ("weights", "means", "factors", "like"))
        which = torch.multinomial(weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, means.shape[1], generator=rng, device=rng.device)
        if factors.dim() == 3:
            spread = (factors[which] @ noise[:, :, None])[:, :, 0]
        else:
            spread = factors[which] * noise
        return (means[which] + spread).view(n, *like.shape[1:])
