"""Adversaries: what a critic, learning beside the model, cannot tell apart, is distributed alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.networks.linear import Linear
from isthmus.parts.penalties.penalty import Adversary
from isthmus.parts.step import Step, normal


class Critic(nn.Module):
    """Fully connected layers that judge a sample or a code: (B, ...) -> its logit, then its last hidden layer, (B, 1 + w)."""

    def __init__(self, size: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        if not hidden or any(width < 1 for width in hidden):
            raise SettingError(f"A critic with hidden={tuple(hidden)} has no units to judge by; try hidden=(128, 128).")
        layers: list[nn.Module] = []
        for inside, outside in pairwise((size, *hidden)):
            layers += [Linear(inside, outside), nn.LeakyReLU(0.2)]
        self.body, self.logit = nn.Sequential(nn.Flatten(), *layers), Linear(hidden[-1], 1)

    def forward(self, sample: Tensor) -> Tensor:
        hidden = self.body(sample)  # (B, w)
        return torch.cat([self.logit(hidden), hidden], dim=1)


@dataclass
class FactorCritic(Adversary):
    """Penalise what the numbers of a code say of each other: weight * log q(z) / prod_k q(z_k) (FactorVAE; Kim & Mnih 2018).

    The critic learns to tell codes from codes whose numbers were each shuffled over the batch; its logit is an estimate of
    that log ratio, whose mean over the codes is their total correlation in nats.
    """

    weight: float = 3.0
    hidden: tuple[int, ...] = (128, 128)

    def critic(self, layout: Layout, z_shape: tuple[int, ...]) -> nn.Module:
        return Critic(math.prod(z_shape), self.hidden)

    def __call__(self, step: Step) -> Tensor:
        return self.weight * _logit(step, step.code.z)

    def critic_term(self, step: Step) -> Tensor:
        z = step.code.z.detach()
        return _cross_entropy(_logit(step, z), _logit(step, shuffled(z.flatten(1), step.rng)))


@dataclass
class CodeCritic(Adversary):
    """Penalise codes that can be told from draws of N(0, 1): weight * -log D(z) (adversarial autoencoder; Makhzani 2015).

    D is the critic's probability that a code was drawn; it learns from as many draws as there are codes.
    """

    weight: float = 3.0
    hidden: tuple[int, ...] = (128, 128)

    def critic(self, layout: Layout, z_shape: tuple[int, ...]) -> nn.Module:
        return Critic(math.prod(z_shape), self.hidden)

    def __call__(self, step: Step) -> Tensor:
        return self.weight * F.softplus(-_logit(step, step.code.z))

    def critic_term(self, step: Step) -> Tensor:
        z = step.code.z.detach()
        return _cross_entropy(_logit(step, normal(z, step.rng)), _logit(step, z))


@dataclass
class SampleCritic(Adversary):
    """Penalise samples that a critic tells from data (VAE-GAN; Larsen 2016).

        weight * 1/2 (-log D(g(z)) - log D(g(p))) + similarity * 1/2 sum (D_l(x) - D_l(x_hat))^2,  p ~ N(0, 1)

    where D is the critic's probability that a sample is data and D_l its last hidden layer. As in the paper, the first term
    teaches the decoder g only, the second both encoder and decoder. The error in the numbers of a sample stays beside it.
    """

    weight: float = 3.0
    similarity: float = 0.1
    hidden: tuple[int, ...] = (128, 128)

    def critic(self, layout: Layout, z_shape: tuple[int, ...]) -> nn.Module:
        return Critic(layout.size, self.hidden)

    def __call__(self, step: Step) -> Tensor:
        assert step.critic is not None, "an adversary needs its critic"
        again, drawn = self._made(step)
        deceit = 0.5 * (F.softplus(-_logit(step, again)) + F.softplus(-_logit(step, drawn)))
        features, made = step.critic(step.batch.x)[:, 1:], step.critic(_shown(step, step.mean(step.x_hat)))[:, 1:]
        return self.weight * deceit + self.similarity * 0.5 * (features - made).square().sum(1)

    def critic_term(self, step: Step) -> Tensor:
        with torch.no_grad():
            again, drawn = self._made(step)
        real = _logit(step, step.batch.x)
        return 0.5 * (_cross_entropy(real, _logit(step, again)) + _cross_entropy(real, _logit(step, drawn)))

    def _made(self, step: Step) -> tuple[Tensor, Tensor]:
        """Return what the decoder makes of the codes and of draws from the prior, each (B, *shape)."""
        z = step.code.z.detach()
        x = step.mean(step.decode(torch.cat([z, normal(z, step.rng)])))
        again, drawn = x.chunk(2)
        return _shown(step, again), _shown(step, drawn)


def shuffled(z: Tensor, rng: torch.Generator) -> Tensor:
    """Return codes (B, d) whose numbers were permuted over the batch, each by a permutation of its own."""
    return z.gather(0, torch.rand(z.shape, generator=rng, device=z.device).argsort(0))


def _shown(step: Step, x: Tensor) -> Tensor:
    """Return samples with the gaps of the batch, so that no critic tells data by its gaps."""
    observed = step.batch.observed
    return x if observed is None else x * observed


def _logit(step: Step, sample: Tensor) -> Tensor:
    assert step.critic is not None, "an adversary needs its critic"
    return step.critic(sample)[:, 0]  # (B,)


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """Return what a critic minimises, (B,): half the surprise at each of the two; log 2 where it cannot tell them apart."""
    return 0.5 * (F.softplus(-real) + F.softplus(fake))
