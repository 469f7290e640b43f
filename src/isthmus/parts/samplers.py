"""Samplers: where new codes come from once a model is trained."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.part import Part

WIDEST_FULL = 64
"""Codes of more numbers than this get mixtures of diagonal covariance: a full one would need more rows than there are."""


class Sampler(Part, ABC):
    """Learn where codes lie, ``fit(codes, seed) -> state``, and draw new ones, ``draw(state, n, rng) -> (n, *z_shape)``."""

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

    ``components`` is a number, or "auto": 1, 2, 5, 10 or 20, the largest that finds a held-out fifth of the codes
    more probable, beyond doubt, than the smaller ones.
    """

    components: int | str = "auto"

    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]:
        from sklearn.mixture import GaussianMixture  # seconds to import, for a use that most programs do not have

        flat = codes.flatten(1).double().numpy()
        distinct = len(torch.unique(codes.flatten(1), dim=0))  # clouds need at least a point each
        full = flat.shape[1] <= WIDEST_FULL

        def mixture(k: int, rows: int) -> GaussianMixture:
            kind = "full" if full and rows >= 2 * k * flat.shape[1] else "diag"
            # a code that never moves has no variance; the smallest that EM may find is a millionth of the widest
            least = 1e-6 * max(float(flat.var(0).max()), 1e-6)
            return GaussianMixture(k, covariance_type=kind, reg_covar=least, random_state=seed % 2**32)

        if self.components == "auto":
            shuffled = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed)).numpy()]
            held_out, rest = shuffled[: len(flat) // 5], shuffled[len(flat) // 5 :]
            best, likely = 1, None
            for k in (1, 2, 5, 10, 20):
                if k > 1 and k > distinct // 10:
                    break
                found = (
                    torch.from_numpy(mixture(k, len(rest)).fit(rest).score_samples(held_out)) if len(held_out) else None
                )
                # more clouds must earn their place: a gain within its standard error is none
                gain = None if found is None or likely is None else found - likely
                if gain is None or gain.mean() > gain.std() / math.sqrt(len(gain)):
                    best, likely = k, found
        else:
            best = int(self.components)
            if not 1 <= best <= len(flat):
                raise SettingError(
                    f"Mixture(components={self.components}) must be from 1 to the {len(flat)} known codes."
                )
        fitted = mixture(best, len(flat)).fit(flat)
        covariances = torch.from_numpy(fitted.covariances_)
        factor = torch.linalg.cholesky(covariances) if fitted.covariance_type == "full" else covariances.sqrt()
        return {
            "weights": torch.from_numpy(fitted.weights_).float(),
            "means": torch.from_numpy(fitted.means_).float(),
            "factors": factor.float(),
            "like": codes[:1],
        }

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        weights, means, factors, like = (state[name].to(rng.device) for name in ("weights", "means", "factors", "like"))
        which = torch.multinomial(weights, n, replacement=True, generator=rng)
        noise = torch.randn(n, means.shape[1], generator=rng, device=rng.device)
        if factors.dim() == 3:
            spread = (factors[which] @ noise[:, :, None])[:, :, 0]
        else:
            spread = factors[which] * noise
        return (means[which] + spread).view(n, *like.shape[1:])
