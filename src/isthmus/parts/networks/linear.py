"""Linear maps whose result for a row does not depend on where in memory the row lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.parts.step import Settling

FIRST_ITERATIONS = 15
"""How often the power iteration of a new layer runs; from then on once a step, for the weights move slowly."""


FUSED: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.SiLU: "swish",
    nn.GELU: "gelu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
}
"""The activations, by exact type, that oneDNN computes while it writes a product; and its names for them."""


class Packed:
    """The weights of a model in the order in which oneDNN reads them for products of ``rows`` rows."""

    def __init__(self, model: nn.Module, rows: int) -> None:
        self.rows = rows
        # A weight is known by where it lies; what is computed on the way, such as W / sigma, may lie where another just lay.
        self._places = {p.data_ptr() for p in model.parameters() if p.dim() == 2 and p.dtype == torch.float32}
        self._packed: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}

    def get(self, weight: Tensor) -> Tensor | None:
        """Return a weight of the model, or its transpose, packed; None for every other."""
        if weight.data_ptr() not in self._places:
            return None
        key = weight.data_ptr(), weight.shape, weight.stride()
        if key not in self._packed:
            self._packed[key] = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), self.rows)
        return self._packed[key]


_packed: ContextVar[Packed | None] = ContextVar("packed", default=None)


@contextmanager
def packed(model: nn.Module, rows: int) -> Iterator[None]:
    """Compute the linear maps of ``model`` by oneDNN while the block runs; its weights must not change there."""
    token = _packed.set(Packed(model, rows))
    try:
        yield
    finally:
        _packed.reset(token)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: nn.Module | None = None) -> Tensor:
    """Return x W^T + b, for x (B, inside) and W (outside, inside); through the activation ``then``, if any.

    In inference the inner width is padded with zeros to a multiple of 4: the matrix kernels of x86 round a row that does not
    start on a 16-byte boundary differently, so equal rows would get unequal codes. Those of oneDNN do not.
    """
    if not torch.is_grad_enabled():
        known = _packed.get()
        ready = None if known is None else known.get(weight)
        if ready is not None:
            name, algorithm = "none" if then is None else FUSED[type(then)], getattr(then, "approximate", "")
            return torch.ops.mkldnn._linear_pointwise(x, ready, bias, name, [], algorithm)
        if spare := -weight.shape[1] % 4:
            x, weight = F.pad(x, (0, spare)), F.pad(weight, (0, spare))
    y = F.linear(x, weight, bias)
    return y if then is None else then(y)


class Linear(nn.Linear):
    """A linear layer that computes :func:`linear`."""

    def forward(self, input: Tensor, then: nn.Module | None = None) -> Tensor:
        return linear(input, self.weight, self.bias, then)


class Layers(nn.Sequential):
    """Layers one after the other. In inference an activation is computed along with the linear map before it."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() or _packed.get() is None:
            return super().forward(input)
        x, done = input, None
        for layer, following in pairwise([*self, None]):
            if layer is not None and layer is done:
                done = None
            elif isinstance(layer, (Linear, Transposed)) and type(following) in FUSED:
                x, done = layer(x, following), following
            elif layer is not None:
                x = layer(x)
        return x


class Transposed(nn.Module):
    """The way back through a linear layer, by its own weights: x W + b, with a bias of its own (Vincent 2008)."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias  # the very Parameter of the other layer: whatever moves one moves both

    def forward(self, x: Tensor, then: nn.Module | None = None) -> Tensor:
        return linear(x, self.weight.T, self.bias, then)


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
