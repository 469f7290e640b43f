"""The tape: the calls of a step, bound to their buffers once. Playing it looks nothing up and allocates nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor


class Tape:
    """Calls in the order they were recorded; ``tape(function, *arguments)`` records one.

    With ``members``, one call computes for as many models at once: every buffer and every weight has a leading axis of them.
    """

    def __init__(self, rows: int, dtype: torch.dtype, members: int | None = None) -> None:
        self.rows, self.dtype, self.members = rows, dtype, members
        self.calls: list[Callable[[], object]] = []
        # what changes from step to step and is no tensor
        self.rng = torch.Generator()
        self.progress = 0.0
        self.draw_normal: Callable[[Tensor], object] = lambda noise: noise.normal_(generator=self.rng)
        # the same draws as nn.Dropout, from the generator that the loop seeds for it
        self.draw_kept: Callable[[Tensor, float], object] = Tensor.bernoulli_

    def __call__(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self.calls.append(partial(function, *arguments, **named))

    def play(self) -> None:
        for call in self.calls:
            call()

    def empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a buffer (rows, *shape)."""
        return torch.empty(*self._axes, self.rows, *shape, dtype=dtype or self.dtype)

    def number(self) -> Tensor:
        """Return a buffer for one number, ()."""
        return torch.empty(self._axes, dtype=self.dtype)

    def flat(self, values: Tensor) -> Tensor:
        """Return samples (rows, *shape) as (rows, d)."""
        return values.flatten(len(self._axes) + 1)

    def sum(self, values: Tensor, out: Tensor) -> None:
        """Record the sum of a buffer (rows, ..), ()."""
        self(torch.sum, values.view(*self._axes, -1), -1, out=out)

    def dot(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        """Record the sum of the product of two buffers, ()."""
        product = torch.dot if self.members is None else torch.linalg.vecdot
        self(product, left.view(*self._axes, -1), right.view(*self._axes, -1), out=out)

    @property
    def _axes(self) -> tuple[int, ...]:
        return () if self.members is None else (self.members,)
