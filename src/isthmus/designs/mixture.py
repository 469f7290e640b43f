"""The variational mixture of posteriors: a prior as rich as the codes of a few made-up samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.designs.design import Design
from isthmus.designs.draws import Draws, divergence, log_density, refuse_penalties, refuse_shaped
from isthmus.designs.wrapping import Wrapping
from isthmus.errors import SettingError
from isthmus.model import Blueprint, Model
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.principal import Principal
from isthmus.parts.step import Batch, Code, Posterior, ramp
from isthmus.training import Run

NEAR = 0.1
"""How far from the mean made-up samples begin where no rows are there to begin from, in standard deviations."""


@dataclass
class VampPrior(Design):
    """Let the prior be p(z) = 1/K sum_k q(z | u_k), with K = ``components`` learned pseudo-inputs u_k (Tomczak 2018).

    The term "kl" is beta * (log q(z | x) - log p(z)) at the code drawn, in nats a sample. Where nothing is drawn it is
    beta * -log 1/K sum_k exp(-KL(q(z | x) || q(z | u_k))), which no KL exceeds (Hershey & Olsen 2007), and which is the KL
    for K = 1. The pseudo-inputs begin as training rows.
    """

    components: int = 50
    carries_shortcut: ClassVar[bool] = False  # a Gaussian code cannot carry it

    def build(self, blueprint: Blueprint) -> Model:
        if self.components < 1:
            raise SettingError(f"VampPrior(components={self.components}) needs at least 1 component; try 50.")
        return Mixture(blueprint, self.components)

    @torch.no_grad()
    def prepare(self, run: Run) -> None:
        """Let the pseudo-inputs begin as rows of the training data; a gap stays the mean."""
        assert isinstance(run.model, Mixture), "VampPrior prepares what it has built"
        pseudo, rows = run.model.pseudo_inputs, run.data.train
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(run.seed))
        x, observed = rows.take(order.repeat(math.ceil(len(pseudo) / len(order)))[: len(pseudo)])
        known = torch.ones_like(x, dtype=torch.bool) if observed is None else observed
        pseudo.copy_(torch.where(known.to(pseudo.device), x.to(pseudo), pseudo))


class Mixture(Wrapping):
    """x -> q(z | x) -> z -> x_hat, and u_1 .. u_K -> the same encoder -> the prior of z."""

    def __init__(self, blueprint: Blueprint, components: int) -> None:
        super().__init__(blueprint)
        refuse_penalties(self.parts, "VampPrior")
        bottleneck = self.parts.bottleneck
        if not isinstance(bottleneck, Gaussian):
            raise SettingError(
                f"VampPrior is a prior of Gaussian codes, which {type(bottleneck).__name__} does not make; use "
                f"bottleneck='gaussian'."
            )
        refuse_shaped(bottleneck, "VampPrior")
        if getattr(self.parts.network, "norm", "none") == "batch":
            raise SettingError(
                "VampPrior encodes made-up samples beside the data, which norm='batch' would normalise differently in training "
                "and afterwards; use norm='layer'."
            )
        self._gaussian = bottleneck
        self.pseudo_inputs = nn.Parameter(torch.randn(components, *self.layout.shape))

    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        code = self.composed.encode(batch, rng, progress)
        assert code.posterior is not None, "a Gaussian code has a posterior"
        q, p = _flat(code.posterior), self.components()
        if rng is None:
            one_by_one = divergence(Posterior(q.mu[:, None], q.log_var[:, None]), p)  # (B, K)
            kl = math.log(len(p.mu)) - (-one_by_one).logsumexp(1)
        else:
            z = code.z.flatten(1)
            kl = log_density(z, *q) - _log_mixture(z, p)
        return code._replace(terms={"kl": self._gaussian.beta * ramp(progress, self._gaussian.warm_up) * kl})

    def components(self) -> Posterior:
        """Return the posteriors of the pseudo-inputs, each (K, latent)."""
        u = self.pseudo_inputs
        code = self.composed.encode(Batch(u.clamp(0, 1) if self.parts.reconstruction.needs_unit_range else u))
        assert code.posterior is not None, "a Gaussian code has a posterior"
        return _flat(code.posterior)

    def log_prior(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (B, *z_shape), in nats: (B,)."""
        return _log_mixture(z.flatten(1), self.components())

    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        seen = batch if rng is None else self.composed.corrupted(batch, rng, progress)
        code = self.encode(seen, rng, progress)
        error = self.composed.error(self.decode(code.z, seen.condition), batch)
        return {"reconstruction": error, **code.terms}

    def weigh(self, batch: Batch, noise: Tensor, seen: Batch | None = None) -> Draws:
        draws = self.composed.weigh(batch, noise, seen)
        log_prior = self.log_prior(draws.z.flatten(0, 1)).view(draws.log_prior.shape)
        return draws._replace(log_prior=log_prior)

    def sample(self, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        mu, log_var = self.components()
        which = torch.randint(len(mu), (n,), generator=rng, device=rng.device)
        noise = torch.randn(n, mu.shape[1], generator=rng, device=rng.device)
        z = mu[which] + (0.5 * log_var[which]).exp() * noise
        return self.decoder(z.view(n, *self.z_shape), condition)

    @torch.no_grad()
    def start_from(self, floor: Principal) -> None:
        self.composed.start_from(floor)
        mean, spread = (values.view(self.layout.shape) for values in (floor.mean, floor.spread))
        self.pseudo_inputs.mul_(NEAR * spread).add_(mean)


def _flat(posterior: Posterior) -> Posterior:
    return Posterior(posterior.mu.flatten(1), posterior.log_var.flatten(1))


def _log_mixture(z: Tensor, p: Posterior) -> Tensor:
    """Return log 1/K sum_k N(z; mu_k, sigma_k) for z (B, latent): (B,)."""
    return log_density(z[:, None], *p).logsumexp(1) - math.log(len(p.mu))
