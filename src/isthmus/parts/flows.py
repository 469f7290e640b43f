"""A normalising flow over codes: a mixture of Gaussians, bent by a network wherever held-out codes ask for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.gaussians import Gaussians
from isthmus.parts.samplers import MOST_HELD_OUT, Mixture, Sampler, mixture_in

RATE, BATCH, LOOKS = 2e-3, 256, 20
"""Peak of the learning rate, codes a step, and how often the held-out codes are asked."""
STEEPEST = 2.0
"""A layer stretches a number at most e^2-fold, so that no draw can run away."""


class Layer(NamedTuple):
    """One coupling: a network (d -> hidden -> 2 d) that sees the kept half of a code and moves the other."""

    inside: Tensor
    """(hidden, d)"""
    bias: Tensor
    """(hidden,)"""
    outside: Tensor
    """(2 d, hidden), 0 before training: the layer begins as the identity."""
    shift: Tensor
    """(2 d,)"""

    def moves(self, u: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return log stretch and shift of every number, both 0 at those that are kept."""
        h = torch.nn.functional.silu((u * kept) @ self.inside.T + self.bias)
        log_scale, shift = (h @ self.outside.T + self.shift).chunk(2, dim=1)
        return STEEPEST * torch.tanh(log_scale / STEEPEST) * (1 - kept), shift * (1 - kept)


@dataclass
class Flow(Sampler):
    """Affine couplings (RealNVP; Dinh 2017) over a mixture of Gaussians, trained by the likelihood of the codes.

    The mixture is fitted first and each layer begins as the identity, so that the flow begins as the mixture; the weights
    kept are those that find a held-out fifth of the codes most probable. It is never less likely there than the mixture.

    Parameters
    ----------
    layers : how many couplings; neighbours keep opposite numbers.
    hidden : width of the network of each.
    steps : how many steps it learns for.
    """

    layers: int = 6
    hidden: int = 128
    steps: int = 1000
    is_slow: ClassVar[bool] = True

    def fit(self, codes: Tensor, seed: int) -> dict[str, Tensor]:
        for name in ("layers", "hidden", "steps"):
            if getattr(self, name) < 1:
                raise SettingError(f"Flow({name}={getattr(self, name)}) must be at least 1.")
        rng = torch.Generator().manual_seed(seed)
        flat = codes.flatten(1).float()
        mean, spread = flat.mean(0), flat.std(0, correction=0)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))  # a code that never moves stays where it is
        u = ((flat - mean) / spread)[torch.randperm(len(flat), generator=rng)]
        held_out, rest = u.tensor_split([min(len(u) // 5, MOST_HELD_OUT)])
        base = Mixture().fit(rest, seed)
        layers = [self._fresh(u.shape[1], rng) for _ in range(self.layers)]
        if len(held_out):
            layers = self._trained(layers, mixture_in(base), rest, held_out, rng)
        state = {f"base.{name}": value for name, value in base.items()} | {"mean": mean, "spread": spread}
        for place, layer in enumerate(layers):
            state |= {f"layer{place}.{name}": value.detach() for name, value in layer._asdict().items()}
        return state | {"like": codes[:1]}

    def draw(self, state: dict[str, Tensor], n: int, rng: torch.Generator) -> Tensor:
        v, layers = mixture_in(state, "base.", rng.device).draw(n, rng), self._layers(state, rng.device)
        for place in reversed(range(len(layers))):
            log_scale, shift = layers[place].moves(v, kept := _kept(v, place))
            v = v * kept + (1 - kept) * (v - shift) * (-log_scale).exp()
        u = v * state["spread"].to(v) + state["mean"].to(v)
        return u.view(n, *state["like"].shape[1:])

    def log_density(self, state: dict[str, Tensor], codes: Tensor) -> Tensor:
        """Return log p of codes (n, *z_shape), (n,) in nats."""
        u = (codes.flatten(1) - state["mean"]) / state["spread"]
        base = mixture_in(state, "base.")
        return _log_density(u, self._layers(state, u.device), base) - state["spread"].log().sum()

    def _layers(self, state: dict[str, Tensor], device: torch.device) -> list[Layer]:
        return [
            Layer(*(state[f"layer{place}.{name}"].to(device) for name in Layer._fields)) for place in range(self.layers)
        ]

    def _fresh(self, d: int, rng: torch.Generator) -> Layer:
        inside = torch.randn(self.hidden, d, generator=rng) / math.sqrt(max(1, d / 2))
        return Layer(inside, torch.zeros(self.hidden), torch.zeros(2 * d, self.hidden), torch.zeros(2 * d))

    def _trained(
        self, layers: list[Layer], base: Gaussians, rest: Tensor, held_out: Tensor, rng: torch.Generator
    ) -> list[Layer]:
        """Raise the likelihood of ``rest``; return the layers that ``held_out`` likes best, the untrained ones included."""
        from torch.optim import Adam  # a second to import, for a use that most programs do not have

        with torch.enable_grad(), torch.inference_mode(False):
            learning = [Layer(*(value.clone().requires_grad_() for value in layer)) for layer in layers]
            optimizer = Adam([value for layer in learning for value in layer], lr=RATE)
            best, most = layers, float(_log_density(held_out, layers, base).mean())
            for step in range(self.steps):
                rate = RATE * min(1.0, 10 * (step + 1) / self.steps) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
                for group in optimizer.param_groups:
                    group["lr"] = rate
                batch = rest[torch.randint(len(rest), (min(BATCH, len(rest)),), generator=rng)]
                optimizer.zero_grad()
                (-_log_density(batch, learning, base).mean()).backward()
                optimizer.step()
                if (step + 1) % max(1, self.steps // LOOKS) == 0:
                    found = [Layer(*(value.detach().clone() for value in layer)) for layer in learning]
                    likely = float(_log_density(held_out, found, base).mean())
                    if likely > most:
                        best, most = found, likely
        return best


def _log_density(u: Tensor, layers: list[Layer], base: Gaussians) -> Tensor:
    """Return log p(u) (B,): of what the layers make of u under the base, and how much they stretch."""
    stretched = u.new_zeros(len(u))
    for place, layer in enumerate(layers):
        log_scale, shift = layer.moves(u, _kept(u, place))
        u = u * log_scale.exp() + shift
        stretched = stretched + log_scale.sum(1)
    return base.log_density(u).to(stretched) + stretched


def _kept(u: Tensor, place: int) -> Tensor:
    """Return 1 for the numbers that layer ``place`` keeps: every other one, or one half of them, by turns."""
    number = torch.arange(u.shape[1], device=u.device)
    kind = number % 2 if place % 4 < 2 else number * 2 // max(1, u.shape[1])
    return ((kind + place) % 2 == 0).to(u.dtype)
