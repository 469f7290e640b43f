"""How steep a network is at each sample: the squared Frobenius norm of its Jacobian, differentiable again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.errors import SettingError
from isthmus.parts.step import per_sample

Projections = int | Literal["exact"]


def squared_jacobian(y: Tensor, x: Tensor, projections: Projections, rng: torch.Generator) -> Tensor:
    """Return |dy/dx|_F^2 of each sample, (B,), where y (B, ...) was computed from x (B, ...) row by row.

    "exact" costs one backward pass for each number of y or of x, whichever has fewer. A number of projections costs so
    many passes and is right on average, E |v^T J|^2 = |J|_F^2 for signs v drawn at random (Hutchinson 1990); with as many
    as the exact value would take, that is computed instead.
    """
    width = min(y[:1].numel(), x[:1].numel())
    if projections == "exact" or projections >= width:
        rows = _rows(y, x) if y[:1].numel() == width else _columns(y, x)
    else:
        rows = [_pull(y, x, _signs(y, rng)) / projections**0.5 for _ in range(projections)]
    return torch.stack([per_sample(row.square()) for row in rows]).sum(0)


def refuse_no_projections(name: str, projections: Any) -> None:
    """Refuse what is neither "exact" nor a whole number of at least 1; ``name`` is the part that was given it."""
    if projections != "exact" and (not hasattr(projections, "__index__") or projections < 1):
        raise SettingError(
            f"{name}(projections={projections!r}) must be 'exact' or a whole number of at least 1; try 4."
        )


def twice_differentiable() -> AbstractContextManager[Any]:
    """Return a context in which what is computed can be differentiated twice, attention too."""
    return sdpa_kernel(SDPBackend.MATH)  # the fused kernels of attention know their first derivative alone


def _rows(y: Tensor, x: Tensor) -> list[Tensor]:
    """Return dy_j/dx for every number j of y, each (B, *x_shape): rows do not mix, so the batch is pulled back at once."""
    return [_pull(y, x, mark) for mark in _marks(y)]


def _columns(y: Tensor, x: Tensor) -> list[Tensor]:
    """Return dy/dx_j for every number j of x, each (B, *y_shape): v^T J is linear in v, so J e_j = d(v^T J)_j / dv."""
    v = torch.zeros_like(y, requires_grad=True)
    pulled = _pull(y, x, v)
    return [_pull(pulled, v, mark) for mark in _marks(pulled)]


def _marks(values: Tensor) -> list[Tensor]:
    """Return, for every number j of a sample, 1 at j and 0 elsewhere, shaped like ``values``."""
    width = values[:1].numel()
    ones = torch.eye(width, dtype=values.dtype, device=values.device)
    return [mark.view(1, *values.shape[1:]).expand_as(values) for mark in ones]


def _signs(y: Tensor, rng: torch.Generator) -> Tensor:
    return 2 * torch.randint(2, y.shape, generator=rng, device=y.device).to(y.dtype) - 1


def _pull(y: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """Return v^T dy/dx, (B, *x_shape), with a graph of its own."""
    pulled = torch.autograd.grad(y, x, v, create_graph=True, allow_unused=True)[0] if y.requires_grad else None
    if pulled is None:
        raise SettingError(
            "A penalty on how steep a network is needs a code through which gradients flow, and this bottleneck's is not one; "
            "use a bottleneck such as Plain() or Gaussian()."
        )
    return pulled
