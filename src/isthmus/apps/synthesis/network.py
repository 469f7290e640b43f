"""The networks of a chain: one for each column, which sees those before it; members of all columns are one product.

features of earlier columns -> residual block -> logits of bins, how far to move from the linear answer, how wide
                            \\-------- linear shortcut -------/
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.apps.columns.network import Block, Dense
from isthmus.apps.synthesis.coding import Coding, Column
from isthmus.apps.synthesis.linear import LEAST_SCALE, NU, Linear

WIDEST = 6.0
"""Of the logarithm by which a network widens or narrows the scale of the linear answer."""


class Chain(nn.Module):
    """p(column | columns before it) for every column; parameters have a leading axis of members times columns."""

    mask: Tensor
    """(k, p, 1): which features belong to earlier columns."""

    def __init__(
        self, coding: Coding, linear: tuple[Linear | None, ...], members: int, width: int, rng: torch.Generator
    ) -> None:
        super().__init__()
        self.count, self.members = len(coding.columns), members
        self.heads = [Head(column, answer) for column, answer in zip(coding.columns, linear, strict=True)]
        offsets = torch.from_numpy(coding.offsets)
        inputs, outputs = int(offsets[-1]), max(column.width for column in coding.columns) + 2
        each = members * self.count
        self.register_buffer("mask", (torch.arange(inputs) < offsets[:-1, None])[..., None].float(), persistent=False)
        self.enter, self.block = Dense(each, inputs, width, rng), Block(each, width, rng)
        self.leave, self.shortcut = Dense(each, width, outputs, None), Dense(each, inputs, outputs, None)

    def forward(self, x: Tensor, keep: float = 1.0, rng: torch.Generator | None = None) -> Tensor:
        """Return the outputs of all columns (members, k, B, out) for features (members, B, p)."""
        mask = self.mask.repeat(self.members, 1, 1)
        h, straight = (_seen(layer, x, mask) for layer in (self.enter, self.shortcut))
        h = self.block(h, keep, rng)
        out = self.leave(F.silu(F.layer_norm(h, h.shape[-1:]))) + straight
        return out.view(self.members, self.count, *out.shape[1:])

    def outputs(self, place: int, x: Tensor) -> Tensor:
        """Return the outputs of one column (members, B, out) for features (B, p)."""
        rows = torch.arange(self.members) * self.count + place
        mask = self.mask[place]

        def dense(layer: Dense, h: Tensor, seen: Tensor | float = 1.0) -> Tensor:
            return torch.baddbmm(layer.bias[rows], h, layer.weight[rows] * seen)

        x = x.expand(self.members, -1, -1)
        h, straight = dense(self.enter, x, mask), dense(self.shortcut, x, mask)
        u = F.silu(dense(self.block.widen, F.layer_norm(h, h.shape[-1:])))
        h = h + dense(self.block.narrow, u)
        return dense(self.leave, F.silu(F.layer_norm(h, h.shape[-1:]))) + straight

    def chances(self, place: int, x: Tensor, answer: Tensor) -> np.ndarray:
        """Return the probability of every value of a column, (B, s) float64, the mean of the members.

        ``x`` (B, p) are features, of which those of earlier columns count; ``answer`` (B,) is the linear one.
        """
        logits = self.heads[place].logits(self.outputs(place, x), answer)
        return logits.double().softmax(-1).mean(0).numpy()


def _seen(layer: Dense, x: Tensor, mask: Tensor) -> Tensor:
    """Apply a layer to features (members, B, p) that all columns share, each seeing those before it."""
    members, count = len(x), len(mask) // len(x)
    weight = (layer.weight * mask).view(members, count, *layer.weight.shape[1:])
    bias = layer.bias.view(members, count, 1, -1)
    each = [torch.baddbmm(b, rows.expand(count, -1, -1), w) for rows, w, b in zip(x, weight, bias, strict=True)]
    return torch.cat(each)


class Head:
    """From outputs to logits of the values of a column: log base + logit of the bin + log kernel.

    The base is how often a value was seen; the kernel of a number is Student's around the linear answer, moved and
    widened by the network. So values that occur often stay what they are, and neighbours are told apart. A gap of a
    number has no kernel: whether there is one is decided first, against all values together.
    """

    def __init__(self, column: Column, linear: Linear | None) -> None:
        self.width, self.bins = column.width, torch.from_numpy(column.bins)
        self.base = torch.from_numpy(np.log(column.counts / column.counts.sum())).float()
        self.scale = None if linear is None else linear.scale
        self.known = len(column.known)
        mean, deviation = column.moments if column.number else (0.0, 1.0)
        self.standard = torch.from_numpy((column.known - mean) / deviation).float()

    def logits(self, out: Tensor, answer: Tensor) -> Tensor:
        """Return logits (.., B, s) for outputs (.., B, out) and linear answers (.., B)."""
        logits = out[..., self.bins] + self.base
        if self.scale is None:
            return logits
        centre = answer + self.scale * out[..., self.width]
        widened = out[..., self.width + 1].clamp(-WIDEST, WIDEST)
        scale = (widened + math.log(self.scale)).exp().clamp_min(LEAST_SCALE)
        off = (self.standard - centre[..., None]) / scale[..., None]
        kernel = -(NU + 1) / 2 * torch.log1p(off * off / NU)
        if len(self.bins) == self.known:
            return logits + kernel
        known = (logits[..., :-1] + kernel).log_softmax(-1) + torch.log1p(-self.base[-1].exp())
        return torch.cat([known, logits[..., -1:]], -1)
