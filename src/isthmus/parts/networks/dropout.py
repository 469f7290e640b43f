"""Dropout from few random bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

LEVELS = 2**16
"""A rate is rounded to a multiple of one part in so many."""


class Dropout(nn.Module):
    """In training each number becomes 0 with probability ``p``, and what is left grows by 1 / (1 - p) (Srivastava 2014).

    One draw of 64 bits decides on four numbers, which takes a sixth of the time of ``nn.Dropout``: its draws would be a third
    of the training of a small network. Like there, they come from torch's global generator.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.p):
            return input
        kept = torch.empty(input.shape, dtype=input.dtype, device=input.device)
        self.draw(self.bits(input), kept)
        return input * kept

    def bits(self, like: Tensor) -> Tensor:
        """Return a buffer for the bits of a draw: 16 for each number of ``like``."""
        return torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)

    def draw(self, bits: Tensor, kept: Tensor, rng: torch.Generator | None = None) -> None:
        """Put what each number is multiplied with into ``kept``: 0, or 1 / (1 - p)."""
        bits.random_(-(2**63), None, generator=rng)
        self.decide(bits.view(torch.int16)[: kept.numel()].view(kept.shape), kept)

    def decide(self, levels: Tensor, kept: Tensor) -> None:
        """Do that by 16 random bits for each number."""
        dropped = round(self.p * LEVELS)  # of the levels from -2^15 on, the lowest
        torch.ge(levels, dropped - LEVELS // 2, out=kept)
        kept.mul_(LEVELS / (LEVELS - dropped))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def draw_kept(layer: Dropout | nn.Dropout, kept: Tensor, rng: torch.Generator | None = None) -> None:
    """Draw what a layer in training multiplies its input with into ``kept``, with the very draws of its forward pass."""
    if isinstance(layer, Dropout):
        layer.draw(layer.bits(kept), kept, rng)
    else:
        kept.bernoulli_(1 - layer.p, generator=rng).div_(1 - layer.p)


def draw_all_kept(layers: Sequence[Dropout | nn.Dropout], masks: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Draw ``masks`` (n, width), one a layer, for batches of these sizes, with the very draws of batch after batch."""
    start, ours = 0, [layer for layer in layers if isinstance(layer, Dropout)]
    for size, alike in groupby(sizes):
        count = len(list(alike))
        rows = [mask[start : start + count * size].view(count, -1) for mask in masks]
        start += count * size
        if len(ours) < len(layers):
            for batch in range(count):
                for layer, kept in zip(layers, rows, strict=True):
                    draw_kept(layer, kept[batch])
            continue
        lengths = [-(-kept.shape[1] // 4) for kept in rows]
        bits = torch.empty(count, sum(lengths), dtype=torch.int64).random_(-(2**63), None)
        for layer, kept, drawn in zip(ours, rows, bits.split(lengths, 1), strict=True):
            layer.decide(drawn.view(torch.int16)[:, : kept.shape[1]], kept)
