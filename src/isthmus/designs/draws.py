"""Importance sampling: codes drawn for each sample, and how probable they are under the model and as draws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.model import Parts
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.reconstructions import Mixed
from isthmus.parts.step import Batch, Posterior


class Draws(NamedTuple):
    """k codes for each of B samples, in nats."""

    z: Tensor
    """(k, B, *z_shape)"""
    log_likelihood: Tensor
    """(k, B) log p(x | z)"""
    log_prior: Tensor
    """(k, B) log p(z)"""
    log_posterior: Tensor
    """(k, B) log q(z | x)"""

    def log_weights(self, weight: float = 1.0) -> Tensor:
        """Return log p(x | z) + weight * (log p(z) - log q(z | x)), (k, B)."""
        return self.log_likelihood + weight * (self.log_prior - self.log_posterior)


class Weighable(ABC):
    """What a model is, besides, when log p(x) can be estimated by drawing codes from its posterior."""

    @property
    @abstractmethod
    def noise_width(self) -> int:
        """How many numbers of N(0, 1) one draw of everything hidden takes."""

    @abstractmethod
    def weigh(self, batch: Batch, noise: Tensor, seen: Batch | None = None) -> Draws:
        """Turn ``noise`` (k, B, noise_width) into k codes a sample, and weigh them.

        ``seen`` is what the encoder gets, where that is not the clean batch.
        """


def refuse_unlikely(parts: Parts) -> None:
    """Refuse parts whose log p(x) is not defined: codes that are not Gaussian, errors that are no likelihood."""
    if not isinstance(parts.bottleneck, Gaussian):
        raise SettingError(
            f"log p(x) is estimated by drawing codes from a normal posterior, which {type(parts.bottleneck).__name__} does "
            f"not have; use bottleneck='gaussian'."
        )
    part = parts.reconstruction
    if isinstance(part, Mixed) and part.variance != "learned":
        raise SettingError(f"Mixed(variance={part.variance!r}) is no likelihood; use Mixed(variance='learned').")
    if isinstance(part, Mixed) and (part.focal or part.class_weight):
        raise SettingError(f"{part!r} weighs classes, and is no likelihood; leave focal and class_weight out.")
    if not part.is_likelihood:
        raise SettingError(
            f"{type(part).__name__} is no likelihood, so that log p(x) is not defined; use reconstruction='normal', or "
            f"'bernoulli' for data of 0 and 1."
        )


def refuse_shaped(bottleneck: Gaussian, design: str) -> None:
    """Refuse what bends the divergence itself, where a design has a divergence of its own."""
    for name in ("capacity", "free_bits"):
        if getattr(bottleneck, name):
            raise SettingError(
                f"{design} has a divergence of its own, which Gaussian({name}={getattr(bottleneck, name)}) does not bend; "
                f"leave {name} out, or use design='direct'."
            )


def refuse_penalties(parts: Parts, design: str) -> None:
    """Refuse penalties, which ask for a step of one code a sample and the parts one after the other."""
    if parts.penalties:
        raise SettingError(
            f"{design} trains on its own bound and takes no penalties, but got {type(parts.penalties[0]).__name__}; use "
            f"design='direct' with them."
        )


def drawn(posterior: Posterior, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return z = mu + sigma * noise (k, B, *z_shape) and log q(z | x) (k, B), for noise (k, B, latent)."""
    mu, log_var = posterior  # (B, *z_shape)
    noise = noise.view(len(noise), *mu.shape)
    z = mu + (0.5 * log_var).exp() * noise
    # In terms of the noise nothing is divided by a variance that may be tiny.
    density = -0.5 * (noise.square() + log_var + math.log(2 * math.pi))
    return z, density.flatten(2).sum(2)


def standard(z: Tensor) -> Tensor:
    """Return log N(z; 0, 1) of codes (k, B, *z_shape): (k, B)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(2).sum(2)


def log_density(z: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
    """Return log N(z; mu, e^log_var), summed over the last dimension."""
    return -0.5 * ((z - mu).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)).sum(-1)


def divergence(q: Posterior, p: Posterior) -> Tensor:
    """Return KL(q || p) of two normal distributions, summed over the last dimension, in nats."""
    ratio = (q.log_var - p.log_var).exp() + (q.mu - p.mu).square() * (-p.log_var).exp()
    return 0.5 * (ratio - 1 + p.log_var - q.log_var).sum(-1)


def log_mean(log_weights: Tensor) -> Tensor:
    """Return the log of the mean of the weights (k, B) over the draws: (B,)."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def repeated(batch: Batch, k: int) -> Batch:
    """Return the batch k times, one after the other: (k B, ...)."""

    def many(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.repeat(k, *[1] * (values.dim() - 1))

    x = batch.x.repeat(k, *[1] * (batch.x.dim() - 1))
    return Batch(x, many(batch.observed), batch.cells, many(batch.weight), many(batch.condition))


def noise_for(batch: Batch, k: int, width: int, rng: torch.Generator) -> Tensor:
    """Draw (k, B, width) numbers of N(0, 1)."""
    x = batch.x
    return torch.randn(k, len(x), width, generator=rng, dtype=torch.float32, device=x.device).to(x.dtype)
