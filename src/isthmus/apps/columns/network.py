"""The network: all columns of a row with gaps in, what every column may be out; several members as one product each.

scores, one-hots, observed -> factor analysis -> gaps filled in -> hats, flags, factors -> residual blocks -> means, logits
                                                              \\-------- linear shortcut -----------------/
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.apps.columns.coding import Coding, knots
from isthmus.apps.columns.factors import Factors, expect

HATS = 16
"""Piecewise linear functions of the rank of a number, which the network gets in place of the number."""


class Inputs(NamedTuple):
    """Rows for a network."""

    y: Tensor
    """(K, B, p) standardised normal scores of numbers and one-hots of categories, 0 at gaps."""
    observed: Tensor
    """(K, B, k) 0 or 1."""


class Answer(NamedTuple):
    """What a network says of every column."""

    means: Tensor
    """(K, B, numbers), standardised."""
    logits: Tensor
    """(K, B, classes of all columns)."""


class Members(nn.Module):
    """K networks of one form; every parameter has a leading axis of members."""

    owners: Tensor
    """(p,) the column that each cell of the linear answer belongs to."""
    centre: Tensor
    spread: Tensor
    loadings: Tensor
    noise: Tensor

    def __init__(self, coding: Coding, members: int, rank: int, width: int, blocks: int, rng: torch.Generator) -> None:
        super().__init__()
        offsets, count = coding.offsets, len(coding.columns)
        self.numbers = len(coding.numbers)
        wide = self.numbers + sum(column.width for column in coding.choices)
        owners = [*range(self.numbers), *np.repeat(np.arange(self.numbers, count), [c.width for c in coding.choices])]
        self.register_buffer("owners", torch.tensor(owners, dtype=torch.long))
        self.register_buffer("centre", torch.zeros(wide))
        self.register_buffer("spread", torch.ones(wide))
        self.register_buffer("loadings", torch.zeros(members, wide, rank))
        self.register_buffer("noise", torch.ones(members, wide))
        inputs, outputs = self.numbers * HATS + wide + count + rank, self.numbers + int(offsets[-1])
        self.enter = Dense(members, inputs, width, rng)
        self.blocks = nn.ModuleList(Block(members, width, rng) for _ in range(blocks))
        self.leave = Dense(members, width, outputs, None)
        self.shortcut = Dense(members, inputs, outputs, None)
        self._start_linear(coding)

    @torch.no_grad()
    def _start_linear(self, coding: Coding) -> None:
        """Let the shortcut read the mean of a number off its filled-in rank, and give the logits the frequencies."""
        for place, column in enumerate(coding.numbers):
            curve = torch.from_numpy(knots(column, HATS).astype(np.float32))
            self.shortcut.weight[:, place * HATS : (place + 1) * HATS, place] = curve
        start = np.concatenate([np.diff(c.shares) for c in coding.numbers] + [c.frequencies for c in coding.choices])
        self.shortcut.bias[:, 0, self.numbers :] = torch.from_numpy(np.log(start + 1e-4).astype(np.float32))

    def take(self, factors: Factors, centre: Tensor, spread: Tensor) -> None:
        """Keep the linear answer; its cells are (y - centre) / spread."""
        self.loadings.copy_(factors.weights), self.noise.copy_(factors.noise)
        self.centre.copy_(centre), self.spread.copy_(spread)

    def linear(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return the factors (K, B, r), and the standardised cells with every gap as the linear answer fills it."""
        observed = inputs.observed[..., self.owners]
        return expect(Factors(self.loadings, self.noise), inputs.y, observed)

    def forward(
        self, inputs: Inputs, keep: float = 1.0, rng: torch.Generator | None = None, only: slice | None = None
    ) -> Answer:
        """Answer for every column, or with the logits ``only`` of some classes, and no means."""
        z, filled = self.linear(inputs)
        n = self.numbers
        rank = torch.special.ndtr(filled[..., :n] * self.spread[:n] + self.centre[:n])
        places = torch.arange(HATS, dtype=rank.dtype)
        hats = (1 - (rank[..., None] * (HATS - 1) - places).abs()).clamp_min(0).flatten(-2)
        x = torch.cat([hats, filled, inputs.observed, z], -1)
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, keep, rng)
        last = F.silu(F.layer_norm(h, h.shape[-1:]))
        if only is not None:
            own = slice(n + only.start, n + only.stop)
            return Answer(x.new_zeros(0), self.leave(last, own) + self.shortcut(x, own))
        out = self.leave(last) + self.shortcut(x)
        return Answer(out[..., :n], out[..., n:])


class Dense(nn.Module):
    """A dense layer for each member; zero where there is no generator."""

    def __init__(self, members: int, inputs: int, outputs: int, rng: torch.Generator | None) -> None:
        super().__init__()
        weight = torch.zeros(members, inputs, outputs)
        if rng is not None:
            weight.uniform_(-1, 1, generator=rng).mul_(inputs**-0.5)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor, only: slice = slice(None)) -> Tensor:
        return torch.baddbmm(self.bias[..., only], x, self.weight[..., only])


class Block(nn.Module):
    """h + B silu(A norm(h)), with dropout between."""

    def __init__(self, members: int, width: int, rng: torch.Generator) -> None:
        super().__init__()
        self.widen, self.narrow = Dense(members, width, 2 * width, rng), Dense(members, 2 * width, width, rng)

    def forward(self, h: Tensor, keep: float, rng: torch.Generator | None) -> Tensor:
        u = F.silu(self.widen(F.layer_norm(h, h.shape[-1:])))
        if keep < 1:
            u = u * ((torch.rand(u.shape, generator=rng) < keep) / keep)
        return h + self.narrow(u)
