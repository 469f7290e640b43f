"""Sparsity: a code of which few numbers are not zero for any one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.penalties.penalty import Penalty
from isthmus.parts.step import Step, per_sample


@dataclass
class L1(Penalty):
    """Penalise the absolute size of activations: weight * sum_j |z_j| (Ng 2011).

    ``layers`` says of which: the "code", every "hidden" layer of the encoder, or "all" of them.
    """

    weight: float = 1e-3
    layers: Literal["code", "hidden", "all"] = "code"

    @property
    def of_code_only(self) -> bool:
        return self.layers == "code"

    def __call__(self, step: Step) -> Tensor:
        if self.layers not in ("code", "hidden", "all"):
            raise SettingError(f"L1(layers={self.layers!r}) is not known; use 'code', 'hidden' or 'all'.")
        if self.layers != "code" and not step.hidden:
            raise SettingError(
                f"L1(layers={self.layers!r}): the encoder has no hidden layer whose activations could be seen; use "
                f"layers='code', or a network such as MLP(hidden=(256,))."
            )
        hidden = step.hidden if self.layers != "code" else ()
        code = (step.code.z,) if self.layers != "hidden" else ()
        return self.weight * torch.stack([per_sample(values.abs()) for values in (*hidden, *code)]).sum(0)


@dataclass
class KLSparsity(Penalty):
    """Hold the mean of every number of a sigmoid code near ``rate``: weight * sum_j KL(rate || mean z_j) (Ng 2011).

    One number for the batch, (). KL(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), in nats; the mean is over the
    samples of a batch, by their weights, and over the positions of a map.
    """

    weight: float = 0.3
    rate: float = 0.05

    @property
    def of_code_only(self) -> bool:
        return True

    def __call__(self, step: Step) -> Tensor:
        if not 0 < self.rate < 1:
            raise SettingError(f"KLSparsity(rate={self.rate}) must lie between 0 and 1; try 0.05.")
        z = step.code.z
        if z.min() < 0 or z.max() > 1:
            raise SettingError(
                "KLSparsity compares shares, but this code leaves the range from 0 to 1; use bottleneck=Plain('sigmoid')."
            )
        each = z.flatten(2).mean(2) if z.dim() > 2 else z  # (B, k)
        if step.batch.weight is None:
            mean = each.mean(0)
        else:
            mean = step.batch.weight @ each / step.batch.weight.sum().clamp(min=1e-12)
        # A sigmoid that rounds to 0 or 1 everywhere would make the divergence infinite.
        mean = mean.clamp(1e-6, 1 - 1e-6)
        divergence = self.rate * (self.rate / mean).log() + (1 - self.rate) * ((1 - self.rate) / (1 - mean)).log()
        return self.weight * divergence.sum()
