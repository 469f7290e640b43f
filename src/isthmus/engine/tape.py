"""The tape: the calls of a step, bound to their buffers once. Playing it looks nothing up and allocates nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor


class Tape:
    """Calls in the order they were recorded; ``tape(function, *arguments)`` records one.

    Layers multiply in ``multiplied``, which may be half precision; everything between them is computed in ``dtype``.
    """

    def __init__(self, rows: int, dtype: torch.dtype, multiplied: torch.dtype | None = None) -> None:
        self.rows, self.dtype, self.multiplied = rows, dtype, multiplied or dtype
        self.calls: list[Callable[[], object]] = []
        # what changes from step to step and is no tensor
        self.rng = torch.Generator()
        self.progress = 0.0

    def __call__(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self.calls.append(partial(function, *arguments, **named))

    def play(self) -> None:
        for call in self.calls:
            call()

    def empty(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return a buffer (rows, *shape)."""
        return torch.empty(self.rows, *shape, dtype=dtype or self.dtype)

    def cast(self, values: Tensor, dtype: torch.dtype) -> Tensor:
        """Record a copy of another type, where it is another; return its buffer."""
        if values.dtype == dtype:
            return values
        copy = torch.empty_like(values, dtype=dtype)
        self(copy.copy_, values)
        return copy

    def number(self) -> Tensor:
        """Return a buffer for one number, ()."""
        return torch.empty((), dtype=self.dtype)
