"""The tape: the calls of a step, bound to their buffers once. Playing it looks nothing up and allocates nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

Members: TypeAlias = Sequence[torch.Generator] | None
"""The models that one tape computes, each by the generator of its dropout; None is a single one, without an axis for it."""


class Tape:
    """Calls in the order they were recorded; ``tape(function, *arguments)`` records one.

    Layers multiply in ``multiplied``, which may be half precision; everything between them is computed in ``dtype``. With
    ``members`` one call computes for as many models at once: every buffer and every weight has a leading axis of them.
    """

    def __init__(
        self, rows: int, dtype: torch.dtype, multiplied: torch.dtype | None = None, members: Members = None
    ) -> None:
        self.rows, self.dtype, self.multiplied, self.members = rows, dtype, multiplied or dtype, members
        self.calls: list[Callable[[], object]] = []
        # what changes from step to step and is no tensor
        self.rng = torch.Generator()
        self.progress = 0.0
        self.draw_normal: Callable[[Tensor], object] = lambda noise: noise.normal_(generator=self.rng)

    def __call__(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self.calls.append(partial(function, *arguments, **named))

    def play(self) -> None:
        for call in self.calls:
            call()

    def empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a buffer (rows, *shape)."""
        return torch.empty(*self._axes, self.rows, *shape, dtype=dtype or self.dtype)

    def cast(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Record a copy of another type, where it is another; return its buffer."""
        if values.dtype == dtype:
            return values
        copy = torch.empty_like(values, dtype=dtype)
        self(copy.copy_, values)
        return copy

    def number(self) -> Tensor:
        """Return a buffer for one number, ()."""
        return torch.empty(self._axes, dtype=self.dtype)

    def flat(self, values: Tensor) -> Tensor:
        """Return samples (rows, *shape) as (rows, d)."""
        return values.flatten(len(self._axes) + 1)

    def each(self, values: Tensor) -> Iterable[tuple[Tensor, torch.Generator | None]]:
        """Return what each member has of a buffer, and the generator of its dropout; None is torch's own."""
        return [(values, None)] if self.members is None else zip(values, self.members, strict=True)

    def sum(self, values: Tensor, out: Tensor) -> None:
        """Record the sum of a buffer (rows, ..), ()."""
        self(torch.sum, values.view(*self._axes, -1), -1, out=out)

    def dot(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        """Record the sum of the product of two buffers, ()."""
        product = torch.dot if self.members is None else torch.linalg.vecdot
        self(product, left.view(*self._axes, -1), right.view(*self._axes, -1), out=out)

    @property
    def _axes(self) -> tuple[int, ...]:
        return () if self.members is None else (len(self.members),)
