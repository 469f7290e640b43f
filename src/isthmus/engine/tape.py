"""The tape: the calls of a step, bound to their buffers once. Playing it looks nothing up and allocates nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor


class Tape:
    """Calls in the order they were recorded; ``tape(function, *arguments)`` records one."""

    def __init__(self, rows: int, dtype: torch.dtype) -> None:
        self.rows, self.dtype = rows, dtype
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

    def number(self) -> Tensor:
        """Return a buffer for one number, ()."""
        return torch.empty((), dtype=self.dtype)
