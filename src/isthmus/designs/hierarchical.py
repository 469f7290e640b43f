"""A ladder of two codes: the lower one has a prior that the upper one draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from isthmus.designs.composed import Decoder, Encoder, corrupted, left_by, reducible
from isthmus.designs.design import Design
from isthmus.designs.draws import (
    Draws,
    Weighable,
    divergence,
    drawn,
    log_density,
    refuse_penalties,
    refuse_shaped,
    refuse_unlikely,
    repeated,
    standard,
)
from isthmus.errors import SettingError
from isthmus.model import Blueprint, Model
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.networks.linear import Linear
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import Starting
from isthmus.parts.step import Batch, Code, Posterior, normal, ramp
from isthmus.training import Run


@dataclass
class Hierarchical(Design):
    """Two levels of code, p(x, z1, z2) = p(x | z1) p(z1 | z2) N(z2; 0, 1): the ladder autoencoder (Sonderby 2016).

    Upwards, the encoder says what x tells of z1 - a mean, and a precision l to add - and from that q(z2 | x). Downwards,
    q(z1 | x, z2) joins it with p(z1 | z2): their precisions add. So the posterior can be exact where everything is linear
    and normal, and with p(z1 | z2) = N(0, 1) it is that of a variational autoencoder.

    Terms, in nats a sample: reconstruction; "kl" = beta * KL(q(z1 | x, z2) || p(z1 | z2)) at the z2 drawn; "kl_top" =
    beta * KL(q(z2 | x) || N(0, 1)). The code is z1. ``top_dim="auto"`` is half of it; ``hidden`` is the width of the layer
    between the codes, 0 leaves that map linear.
    """

    top_dim: int | str = "auto"
    hidden: int = 64
    carries_shortcut: ClassVar[bool] = False  # the prior fixes the scale of the code

    def build(self, blueprint: Blueprint) -> Model:
        if self.top_dim != "auto" and not (isinstance(self.top_dim, int) and self.top_dim >= 1):
            raise SettingError(f'Hierarchical(top_dim={self.top_dim!r}) must be at least 1, or "auto".')
        if self.hidden < 0:
            raise SettingError(f"Hierarchical(hidden={self.hidden}) must be a width, or 0 for a linear map; try 64.")
        return Ladder(blueprint, self.top_dim, self.hidden)

    def prepare(self, run: Run) -> None:
        pass


class Rungs(NamedTuple):
    """What the ladder holds for one batch, everything flat."""

    z1: Tensor
    """(B, latent)"""
    z2: Tensor
    """(B, top)"""
    q1: Posterior
    """q(z1 | x, z2)"""
    p1: Posterior
    """p(z1 | z2)"""
    q2: Posterior
    """q(z2 | x)"""


class LadderEncoder(nn.Module):
    """x (B, *shape) -> the mean of z1 at the mean of z2 (B, *z_shape); it owns what both directions need."""

    def __init__(self, blueprint: Blueprint, gaussian: Gaussian, top_dim: int | str, hidden: int) -> None:
        super().__init__()
        self.gaussian = gaussian
        self.below = Encoder(blueprint)
        self.z_shape = self.below.z_shape
        size = math.prod(self.z_shape)
        self.top_dim = max(1, math.ceil(size / 2)) if isinstance(top_dim, str) else top_dim
        self.up = between(2 * size, self.top_dim, hidden)
        self.down = between(self.top_dim, size, hidden)

    def forward(self, x: Tensor, observed: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        return self.rungs(Batch(x, observed, condition=condition), None).z1.view(-1, *self.z_shape)

    def rungs(self, batch: Batch, rng: torch.Generator | None) -> Rungs:
        """Climb the ladder and come down again; without a generator along the means."""
        told, q2 = self.climb(batch)
        z2 = q2.mu if rng is None else q2.mu + (0.5 * q2.log_var).exp() * normal(q2.mu, rng)
        p1 = self.prior(z2)
        q1 = joined(told, p1)
        z1 = q1.mu if rng is None else q1.mu + (0.5 * q1.log_var).exp() * normal(q1.mu, rng)
        return Rungs(z1, z2, q1, p1, q2)

    def climb(self, batch: Batch) -> tuple[Posterior, Posterior]:
        """Return what x tells of z1, and q(z2 | x)."""
        told = self.below.code(batch.x, batch.observed, batch.condition, None, 1.0).posterior
        assert told is not None, "a Gaussian code has a posterior"
        told = Posterior(told.mu.flatten(1), told.log_var.flatten(1))
        return told, self.gaussian.posterior(self.up, torch.cat(told, 1))

    def prior(self, z2: Tensor) -> Posterior:
        """Return p(z1 | z2)."""
        return self.gaussian.posterior(self.down, z2)


class Ladder(Model, Weighable):
    """x -> N(m, s) -> z2 -> p(z1 | z2); both -> z1 -> x_hat."""

    def __init__(self, blueprint: Blueprint, top_dim: int | str, hidden: int) -> None:
        super().__init__()
        self.blueprint = blueprint
        parts = blueprint.parts
        refuse_penalties(parts, "Hierarchical")
        if not isinstance(parts.bottleneck, Gaussian):
            raise SettingError(
                f"Hierarchical stacks Gaussian codes, which {type(parts.bottleneck).__name__} does not make; use "
                f"bottleneck='gaussian'."
            )
        refuse_shaped(parts.bottleneck, "Hierarchical")
        self.gaussian = parts.bottleneck
        self.encoder = LadderEncoder(blueprint, self.gaussian, top_dim, hidden)
        self.z_shape = self.encoder.z_shape
        self.decoder = Decoder(blueprint, self.z_shape)
        below = self.encoder.below
        parts.network.join(below.body, below.head, self.decoder.body)
        self.scale = parts.reconstruction.module(blueprint.layout)

    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        rungs = self.encoder.rungs(batch, rng)
        embedding = rungs.q1.mu if rng is None else self.encoder.rungs(batch, None).z1
        weight = self.gaussian.beta * ramp(progress, self.gaussian.warm_up)
        nothing = Posterior(torch.zeros_like(rungs.z2), torch.zeros_like(rungs.z2))
        terms = {
            "kl": weight * divergence(rungs.q1, rungs.p1),
            "kl_top": weight * divergence(rungs.q2, nothing),
        }
        place = (-1, *self.z_shape)
        posterior = Posterior(rungs.q1.mu.view(place), rungs.q1.log_var.view(place))
        return Code(rungs.z1.view(place), embedding.view(place), terms, posterior)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.decoder.outputs(z, condition)

    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        seen = batch if rng is None else corrupted(self.parts.corruptions, batch, rng, progress)
        code = self.encode(seen, rng, progress)
        return {"reconstruction": self._error(self.decode(code.z, seen.condition), batch), **code.terms}

    def weigh(self, batch: Batch, noise: Tensor, seen: Batch | None = None) -> Draws:
        refuse_unlikely(self.parts)
        seen, k = batch if seen is None else seen, len(noise)
        top, below = noise.split([self.encoder.top_dim, noise.shape[2] - self.encoder.top_dim], dim=2)
        told, q2 = self.encoder.climb(seen)
        z2, log_q2 = drawn(q2, top)  # (k, B, top), (k, B)
        p1 = self.encoder.prior(z2.flatten(0, 1))  # (k B, latent)
        q1 = joined(Posterior(told.mu.repeat(k, 1), told.log_var.repeat(k, 1)), p1)
        z1, log_q1 = drawn(q1, below.reshape(1, -1, below.shape[2]))  # (1, k B, latent), (1, k B)
        log_p1 = log_density(z1[0], *p1).view(log_q2.shape)
        z = z1.view(k, -1, *self.z_shape)
        many = repeated(batch._replace(condition=seen.condition), k)
        error = self._error(self.decode(z.flatten(0, 1), many.condition), many)
        return Draws(z, -error.view(log_q2.shape), standard(z2) + log_p1, log_q2 + log_q1.view(log_q2.shape))

    @property
    def noise_width(self) -> int:
        return self.encoder.top_dim + math.prod(self.z_shape)

    def cells(self, batch: Batch) -> Tensor:
        x_hat = self.decode(self.encode(batch).z, batch.condition)
        return reducible(self.parts.reconstruction, x_hat, batch, self.layout, self.scale)

    def sample(self, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        z2 = torch.randn(n, self.encoder.top_dim, generator=rng, device=rng.device)
        mu, log_var = self.encoder.prior(z2)
        z1 = mu + (0.5 * log_var).exp() * normal(mu, rng)
        return self.decoder(z1.view(n, *self.z_shape), condition)

    def start_from(self, floor: Principal) -> None:
        if isinstance(self.scale, Starting):
            self.scale.start_from(floor.mean, left_by(floor, self.layout))

    def become_linear(self, floor: Principal) -> None:
        raise SettingError("A hierarchical model carries no shortcut, and cannot become PCA; use shortcut='auto'.")

    def _error(self, x_hat: Tensor, batch: Batch) -> Tensor:
        return self.parts.reconstruction(x_hat, batch, self.layout, self.scale)


def between(inside: int, outside: int, hidden: int) -> nn.Module:
    """Return a map from one code to mean and log variance of the other, (B, inside) -> (B, 2 outside)."""
    if not hidden:
        return Linear(inside, 2 * outside)
    return nn.Sequential(Linear(inside, hidden), nn.SiLU(), Linear(hidden, 2 * outside))


def joined(told: Posterior, prior: Posterior) -> Posterior:
    """Return the prior times what x tells, normalised: precisions add, and so do means times precisions.

    What x tells is said as the posterior N(m, 1 / (1 + l)) that it makes of the prior N(0, 1), l = e^-log_var being the
    precision it adds. Were its own mean said instead, no gradient would reach it where l is near 0, and the ladder would
    stay collapsed as it begins.
    """
    log_var = -torch.logaddexp(-told.log_var, -prior.log_var)
    mean_times_precision = told.mu * (1 + (-told.log_var).exp())
    mu = mean_times_precision * log_var.exp() + prior.mu * (log_var - prior.log_var).exp()
    return Posterior(mu, log_var)
