"""Normalisation between a layer and its activation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.step import Settling

NORMS = ("none", "layer", "batch")


class BatchNorm(Settling):
    """Batch normalisation (Ioffe 2015): each channel less its mean, over its standard deviation, times w, plus b.

    Training takes mean and variance of the batch, everything else their running averages, so that a row's result does not
    depend on its neighbours. So does a batch of one value a channel, which has no variance.
    """

    momentum = 0.1

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.mean: Tensor
        self.variance: Tensor
        self._noted: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        over = [0, *range(2, x.dim())]
        if not self.training or math.prod(x.shape[place] for place in over) < 2:
            return F.batch_norm(x, self.mean, self.variance, self.weight, self.bias)
        if self._noted is None:  # the first pass of a step is that of its batch; later ones may be a penalty's
            variance, mean = torch.var_mean(x.detach().to(self.mean), over)
            self._noted = mean, variance
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True)

    @torch.no_grad()
    def after_step(self, rng: torch.Generator) -> None:
        if self._noted is not None:
            self.mean.lerp_(self._noted[0], self.momentum)
            self.variance.lerp_(self._noted[1], self.momentum)
            self._noted = None


def norm(kind: str, width: int, is_map: bool = False) -> list[nn.Module]:
    """Return the normalisation of ``width`` channels: none, over each sample ("layer", Ba 2016), or over the batch.

    "layer" of a map normalises over channels and positions together.
    """
    if kind == "none":
        return []
    if kind == "batch":
        return [BatchNorm(width)]
    return [nn.GroupNorm(1, width) if is_map else nn.LayerNorm(width)]


def check_norm(owner: str, kind: str) -> None:
    """Refuse a normalisation that nobody knows."""
    if kind not in NORMS:
        raise SettingError(f"{owner}(norm={kind!r}) is not known; choose one of {', '.join(NORMS)}.")
