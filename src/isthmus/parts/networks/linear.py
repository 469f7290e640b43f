"""Linear maps whose result for a row does not depend on where in memory the row lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.parts.step import Settling

FIRST_ITERATIONS = 15
"""How often the power iteration of a new layer runs; from then on once a step, for the weights move slowly."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W^T + b, for x (B, inside) and W (outside, inside).

    In inference the inner width is padded with zeros to a multiple of 4: the matrix kernels of x86 round a row that does not
    start on a 16-byte boundary differently, so equal rows would get unequal codes.
    """
    spare = -weight.shape[1] % 4
    if spare and not torch.is_grad_enabled():
        x, weight = F.pad(x, (0, spare)), F.pad(weight, (0, spare))
    return F.linear(x, weight, bias)


class Linear(nn.Linear):
    """A linear layer that computes :func:`linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class Transposed(nn.Module):
    """The way back through a linear layer, by its own weights: x W + b, with a bias of its own (Vincent 2008)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias  # the very Parameter of the other layer: whatever moves one moves both

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight.T, self.bias)


class Spectral(Settling):
    """A linear layer of steepness 1: x (W / sigma)^T + b, sigma the largest singular value of W (Miyato 2018).

    sigma = u^T W v, where u and v follow W by one power iteration after each step.
    """

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear = Linear(inside, outside)
        self.register_buffer("u", F.normalize(torch.randn(outside), dim=0))
        self.register_buffer("v", torch.zeros(inside))
        self.u: Tensor
        self.v: Tensor
        for _ in range(FIRST_ITERATIONS):
            self._iterate()

    def forward(self, x: Tensor) -> Tensor:
        weight = self.linear.weight
        return linear(x, weight / (self.u @ weight @ self.v), self.linear.bias)

    def after_step(self, rng: torch.Generator) -> None:
        self._iterate()

    @torch.no_grad()
    def _iterate(self) -> None:
        self.v.copy_(F.normalize(self.u @ self.linear.weight, dim=0))
        self.u.copy_(F.normalize(self.linear.weight @ self.v, dim=0))
