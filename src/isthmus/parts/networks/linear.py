"""Linear maps whose result for a row does not depend on where in memory the row lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
