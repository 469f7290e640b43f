"""Samplers: where new codes come from once a model is trained."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.gaussians import Gaussians, fitted
from isthmus.parts.part import Part

WIDEST_FULL = 64
"""Codes of more numbers than this get mixtures of diagonal covariance: a full one would need more rows than there are."""
CANDIDATES = (2, 5, 10, 20, 50, 100)
"""How many components a mixture tries."""
MOST_HELD_OUT = 2000


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
        flat = codes.flatten(1).double()
        # a code that never moves has no variance; the smallest there may be is a millionth of the widest
        least = 1e-6 * max(float(flat.var(0, correction=0).max()), 1e-6)

        def mixture(k: int, rows: Tensor, start: Gaussians | None = None) -> Gaussians:
            is_full = flat.shape[1] <= WIDEST_FULL and len(rows) >= 2 * k * flat.shape[1]
            known = start if start is not None and start.is_full == is_full else None
            return fitted(rows, k, is_full, least, seed, known)

        best, found = self._chosen(flat, seed, mixture)
        known = mixture(best, flat, found)
        state = {"weights": known.weights, "means": known.means, "factors": known.factors}
        return {name: value.float() for name, value in state.items()} | {"like": codes[:1]}

    def _chosen(
        self, flat: Tensor, seed: int, mixture: Callable[[int, Tensor], Gaussians]
    ) -> tuple[int, Gaussians | None]:
        """Return how many components there are to be, and a mixture of as many where one was fitted on the way."""
        if self.components != "auto":
            best = int(self.components)
            if not 1 <= best <= len(flat):
                raise SettingError(
                    f"Mixture(components={self.components}) must be from 1 to the {len(flat)} known codes."
                )
            return best, None
        shuffled = flat[torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))]
        held_out, rest = shuffled.tensor_split([min(len(flat) // 5, MOST_HELD_OUT)])
        if not len(held_out):
            return 1, None
        best, most = mixture(1, rest), len(flat.unique(dim=0)) // 10  # clouds need some points each
        likely, failed = best.log_density(held_out), 0
        for k in (k for k in CANDIDATES if k <= most):
            found = mixture(k, rest)
            gain = found.log_density(held_out) - likely
            # more clouds must earn their place: a gain within its standard error is none
            if float(gain.mean()) > float(gain.std()) / math.sqrt(len(gain)):
                best, likely, failed = found, likely + gain, 0
            elif (failed := failed + 1) == 2:
                break
        return len(best.weights), best

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        return mixture_in(state, device=rng.device).draw(n, rng).view(n, *state["like"].shape[1:])


def mixture_in(state: dict[str, Tensor], prefix: str = "", device: torch.device | None = None) -> Gaussians:
    """Return what a :class:`Mixture` has learned, which its state holds under names with this prefix."""
    return Gaussians(*(state[prefix + name].to(device) for name in ("weights", "means", "factors")))
