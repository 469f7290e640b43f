"""Sparse codes that learn where to cut: each number has a threshold or a gate of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Auxiliary, Bottleneck, Head, broadcast
from isthmus.parts.step import Code, Step, per_sample, ramp


class ThresholdHead(nn.Module):
    """h -> one pre-activation for each number of the code; beside it the logarithm of its threshold."""

    def __init__(self, h_shape: tuple[int, ...], latent_dim: int, threshold: float) -> None:
        super().__init__()
        self.linear = Head(h_shape, latent_dim)
        self.log_threshold = nn.Parameter(torch.full((latent_dim,), math.log(threshold)))

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h)


@dataclass
class JumpReLU(Bottleneck):
    """Cut each number at a threshold it learns: z = h 1[h > theta] for h = W h' + b (Rajamanoharan 2024b).

    The term "l0" is ``weight`` * sum_j 1[h_j > theta_j], the count itself. Neither z nor the count has a gradient that would
    move theta, so training takes that of a count smoothed over a window of ``bandwidth`` around the threshold:
    dz/dtheta = -theta/bandwidth K, d1/dtheta = -1/bandwidth K, where K = 1 if |h - theta| < bandwidth / 2 and 0 otherwise.
    theta = exp(log theta) starts at ``bandwidth``; the weight grows linearly over the first ``warm_up`` of the training.
    """

    weight: float = 0.3
    bandwidth: float = 0.2
    warm_up: float = 0.2
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True
    is_rounded: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # what a linear map adds is not sparse

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        if not self.bandwidth > 0:
            raise SettingError(
                f"JumpReLU(bandwidth={self.bandwidth}) leaves no window that teaches the thresholds; try 0.2."
            )
        return ThresholdHead(h_shape, latent_dim, self.bandwidth), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        assert isinstance(head, ThresholdHead)
        before = head(h)  # (B, latent_dim, *positions)
        threshold = broadcast(head.log_threshold.exp(), before)
        z, is_open = jump(before, threshold, self.bandwidth)
        weight = self.weight * ramp(progress, self.warm_up)
        return Code(z=z, embedding=z, terms={"l0": weight * per_sample(is_open)}, before=before)

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None


def jump(h: Tensor, threshold: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """Return h 1[h > threshold] and 1[h > threshold], whose gradients reach the threshold as :class:`JumpReLU` says."""
    is_open = (h > threshold).to(h.dtype)
    window = ((h - threshold).abs() < bandwidth / 2).to(h.dtype).detach()
    moved = threshold - threshold.detach()  # 0, with the gradient of the threshold
    z = h * is_open - threshold.detach() / bandwidth * window * moved
    return z, is_open - window / bandwidth * moved


class GatedHead(nn.Module):
    """h -> (gate, magnitude), two pre-activations for each number of the code from one matrix W.

    gate = W h + b_gate and magnitude = exp(r) * W h + b_magnitude, with a scale r for each number.
    """

    def __init__(self, h_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.linear = Head(h_shape, latent_dim, bias=False)
        self.gate_bias, self.bias, self.log_scale = (nn.Parameter(torch.zeros(latent_dim)) for _ in range(3))

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.linear(h)
        scale = broadcast(self.log_scale.exp(), shared)
        return shared + broadcast(self.gate_bias, shared), scale * shared + broadcast(self.bias, shared)


@dataclass
class Gated(Bottleneck, Auxiliary):
    """Decide by a gate which numbers are there: z = 1[gate > 0] max(0, magnitude) (Rajamanoharan 2024a).

    Only the gate pays for being open, "sparsity" = ``weight`` * sum_j max(0, gate_j), so that sparsity does not shrink the
    magnitudes. What teaches the gate is "gate" = error(g(max(0, gate))), where g is the decoder held still: the rectified gate
    must be a code as well. The weight grows linearly over the first ``warm_up`` of the training.
    """

    weight: float = 0.3
    warm_up: float = 0.2
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # what a linear map adds is not sparse

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return GatedHead(h_shape, latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        gate, magnitude = head(h)  # each (B, latent_dim, *positions)
        z = (gate > 0) * F.relu(magnitude)
        weight = self.weight * ramp(progress, self.warm_up)
        return Code(z=z, embedding=z, terms={"sparsity": weight * per_sample(F.relu(gate))}, before=gate)

    def auxiliary(self, head: nn.Module, step: Step) -> dict[str, Tensor]:
        assert step.code.before is not None, "a gated code says what its gates were"
        return {"gate": step.error(step.frozen_decode(F.relu(step.code.before)))}

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None
