"""A step made by hand, for tests of penalties: only what a test is about needs to be said."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isthmus.parts.step import Batch, Code, Posterior, Step


def step_of(
    z: Tensor, x: Tensor | None = None, x_hat: Tensor | None = None, posterior: Posterior | None = None, **said: Any
) -> Step:
    """Return a step whose code is ``z``; encoder and decoder are identities unless said otherwise."""
    x = z if x is None else x
    x_hat = x if x_hat is None else x_hat
    batch = Batch(x)
    decode = said.pop("decode", lambda z: z)
    return Step(
        **{
            "batch": batch,
            "seen": batch,
            "code": Code(z, z, posterior=posterior),
            "x_hat": x_hat,
            "encode": lambda x: x,
            "decode": decode,
            "frozen_decode": decode,
            "error": lambda other: (other - x).flatten(1).square().sum(1),
            "mean": lambda other: other,
            "rng": torch.Generator().manual_seed(0),
            **said,
        }
    )
