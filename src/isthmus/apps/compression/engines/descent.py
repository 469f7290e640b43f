"""The descent of small networks: Adam in the eigenbasis of the gradients, SOAP (Vyas et al. 2024, arXiv 2409.11321).

Neighbours in a picture are nearly equal, so gradients lie along few directions, where plain Adam crawls; in their own
basis all directions move alike. For layers of a hundred columns the basis costs less than the batch, and far fewer steps
suffice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

_WARM = 50
_ROUNDED_FROM = 0.6
_MEMORY, _SECOND, _BASIS = 0.9, 0.98, 0.95
_REFRESH = 10
_LARGEST = 256
"""Matrices with a longer side (tables of places) are left in their own basis."""


def descend(
    parameters: Iterable[torch.nn.Parameter], loss: Callable[[bool], torch.Tensor], steps: int, rate: float
) -> None:
    """Take ``steps``, the rate falling by a cosine; ``loss(rounded)`` draws a batch of its own."""
    moments = [_Moments(parameter) for parameter in parameters]
    for step in range(steps):
        share = step / steps
        now = rate * min(1.0, (step + 1) / _WARM) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        value = loss(share > _ROUNDED_FROM)
        value.backward()  # pyright: ignore[reportUnknownMemberType]
        for moment in moments:
            moment.step(now)


class _Moments:
    """A parameter, and what is known of its gradients."""

    def __init__(self, parameter: torch.nn.Parameter) -> None:
        self.parameter, self.taken = parameter, 0
        self.first, self.second = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self.has_basis = parameter.ndim == 2 and max(parameter.shape) <= _LARGEST
        self.squares: list[Any] = []
        self.basis: list[Any] = []

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the parameter, and forget the gradient."""
        gradient = self.parameter.grad
        assert gradient is not None
        self.taken += 1
        if self.has_basis:
            self._turn(gradient)
        self.first.lerp_(gradient, 1 - _MEMORY)
        self.second.lerp_(self._in(gradient).square(), 1 - _SECOND)
        size = (self.second / (1 - _SECOND**self.taken)).sqrt() + 1e-8
        move = self._in(self.first) / (1 - _MEMORY**self.taken) / size
        self.parameter.sub_(self._out(move), alpha=rate)
        self.parameter.grad = None

    def _turn(self, gradient: torch.Tensor) -> None:
        """Follow the eigenbasis of G G' and G' G: by one step of the power method now and then."""
        now = [gradient @ gradient.T, gradient.T @ gradient]
        if not self.basis:
            self.squares, self.basis = now, [torch.linalg.eigh(square)[1] for square in now]
            return
        for square, new in zip(self.squares, now, strict=True):
            square.lerp_(new, 1 - _BASIS)
        if self.taken % _REFRESH == 0:
            pairs = zip(self.squares, self.basis, strict=True)
            self.basis = [torch.linalg.qr(square @ basis)[0] for square, basis in pairs]

    def _in(self, x: torch.Tensor) -> torch.Tensor:
        return self.basis[0].T @ x @ self.basis[1] if self.has_basis else x

    def _out(self, x: torch.Tensor) -> torch.Tensor:
        return self.basis[0] @ x @ self.basis[1].T if self.has_basis else x
