"""New samples of a trained model: codes that a sampler draws, and what the decoder makes of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.model import Model
from isthmus.parts.samplers import Prior, Sampler


class Learned(NamedTuple):
    """A sampler, and what it learned from the codes of training rows."""

    sampler: Sampler | None
    state: dict[str, Tensor]


UNFITTED = Learned(None, {})
"""No sampler has learned from the codes yet."""


def seeded(random_state: Any, device: torch.device) -> torch.Generator:
    """Return a generator that follows ``random_state``; of None, one that nobody can foretell."""
    rng = torch.Generator(device)
    if random_state is None:
        rng.seed()
    else:
        rng.manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
    return rng


def learned_sampler(sampler: Sampler, before: Learned, codes: Tensor, seed: int) -> Learned:
    """Let ``sampler`` learn from ``codes`` (n, *z_shape), unless it has ``before``."""
    if not len(codes) and not isinstance(sampler, Prior):
        raise SettingError(
            f"This model kept no codes of its training rows, so {type(sampler).__name__} has nothing to learn from; use "
            f"sampler='prior', or fit the model again."
        )
    return before if before.sampler == sampler else Learned(sampler, sampler.fit(codes, seed))


@torch.inference_mode()
def draw(model: Model, learned: Learned, n: int, rng: torch.Generator, condition: Tensor | None) -> np.ndarray:
    """Return ``n`` scaled samples (n, *shape). A model that has a prior of its own draws from that."""
    assert learned.sampler is not None, "a sampler learns before it draws"
    x = model.sample(n, rng, condition) if isinstance(learned.sampler, Prior) else None
    if x is None:
        x = model.decoder(learned.sampler.draw(learned.state, n, rng), condition)
    return x.cpu().numpy()
