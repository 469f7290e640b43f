"""Transformers: a sample cut into patches, each of which may look at all others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import refuse_dropout
from isthmus.parts.networks.dropout import Dropout
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network
from isthmus.parts.networks.patches import Grid, grid

WIDER = 2
"""How many times wider than the tokens the hidden layer of a block is."""
SPREAD = 0.02
"""Standard deviation of fresh positions and mask tokens."""


@dataclass
class Transformer(Network):
    """Patches become tokens, tokens attend to each other, tokens become a code, and back (Vaswani 2017; Dosovitskiy 2021).

    Images are cut into squares of ``patch`` pixels a side, series into spans of ``patch`` steps, rows of features into groups
    of ``patch`` neighbours, each group with a linear map of its own; "auto" derives the size
    (:func:`~isthmus.parts.networks.patches.default_patch`). A patch of which nothing is observed is replaced by a learned
    token (Devlin 2019). ``code`` says what becomes one: "vector" lays all tokens side by side, hidden ones as 0, "mean" takes
    the mean of those observed, and "map" gives every position a code of its own.
    """

    width: int = 64
    depth: int = 1
    heads: int = 4
    patch: int | str = "auto"
    code: Literal["vector", "mean", "map"] = "vector"
    dropout: float = 0.0

    sees_gaps: ClassVar[bool] = True

    @property
    def keeps_place(self) -> bool:
        return self.code == "map"

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        cut = grid(shape, self.patch, "Transformer")
        body = TokenEncoder(cut, self.width, self._blocks(), self.code)
        if self.code == "map":
            return body, (self.width, *cut.positions)
        return body, (self.width if self.code == "mean" else self.width * cut.count,)

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        return TokenDecoder(grid(shape, self.patch, "Transformer"), z_shape, self.width, self._blocks())

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if self.code not in ("vector", "mean", "map"):
            raise SettingError(f"Transformer(code={self.code!r}) must be 'vector', 'mean' or 'map'.")
        refuse_dropout("Transformer", self.dropout)
        if self.depth < 0:
            raise SettingError(f"Transformer(depth={self.depth}) must be at least 0; try 1.")
        if self.heads < 1 or self.width < 1 or self.width % self.heads:
            near = max(1, self.width // max(1, self.heads)) * max(1, self.heads)
            raise SettingError(
                f"Transformer(width={self.width}, heads={self.heads}): the heads share the width, which must be a multiple of "
                f"their number; try width={near}."
            )
        return replace(self, patch=grid(shape, self.patch, "Transformer").patch)

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return True

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _blocks(self) -> nn.Sequential:
        return nn.Sequential(*(Block(self.width, self.heads, self.dropout) for _ in range(self.depth)))


class TokenEncoder(nn.Module):
    """(B, *shape), observed -> (B, count * width), (B, width) or a map (B, width, *positions)."""

    def __init__(self, cut: Grid, width: int, blocks: nn.Sequential, code: str) -> None:
        super().__init__()
        self.cut, self.code = cut, code
        self.embed, self.gaps = _each(cut, cut.width, width), _each(cut, cut.width, width, bias=False)
        self.position = nn.Parameter(SPREAD * torch.randn(cut.count, width))
        self.hidden = nn.Parameter(SPREAD * torch.randn(width))
        self.blocks = blocks
        self.norm = nn.LayerNorm(width)
        nn.init.zeros_(self.gaps.weight)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        shown = None
        if observed is None:
            tokens = self.embed(self.cut.split(x))  # (B, count, width)
        else:
            tokens = self.embed(self.cut.split(torch.where(observed, x, torch.zeros_like(x))))
            tokens = tokens + self.gaps(self.cut.split(~observed).to(x.dtype))
            shown = self.cut.split(observed).any(-1, keepdim=True)  # (B, count, 1)
            tokens = torch.where(shown, tokens, self.hidden)
        tokens = self.norm(self.blocks(tokens + self.position))
        if self.code == "map":
            return tokens.movedim(-1, 1).reshape(len(x), -1, *self.cut.positions)
        if shown is not None:
            tokens = torch.where(shown, tokens, torch.zeros_like(tokens))
        if self.code == "vector":
            return tokens.flatten(1)
        count = self.cut.count if shown is None else shown.sum(1).clamp(min=1)
        return tokens.sum(1) / count


class TokenDecoder(nn.Module):
    """A vector (B, k), or a map (B, k, *positions), -> (B, *shape)."""

    def __init__(self, cut: Grid, z_shape: tuple[int, ...], width: int, blocks: nn.Sequential) -> None:
        super().__init__()
        self.cut, self.width, self.is_map = cut, width, len(z_shape) > 1
        # Each position reads a vector in its own way; its bias is what tells it where it is.
        self.spread = Linear(z_shape[0], width if self.is_map else cut.count * width)
        self.position = nn.Parameter(SPREAD * torch.randn(cut.count, width)) if self.is_map else None
        self.blocks = blocks
        self.norm = nn.LayerNorm(width)
        self.patches = _each(cut, width, cut.width)

    def forward(self, z: Tensor) -> Tensor:
        if self.position is None:
            tokens = self.spread(z).view(len(z), self.cut.count, self.width)
        else:
            tokens = self.spread(z.flatten(2).movedim(1, -1)) + self.position
        return self.cut.join(self.patches(self.norm(self.blocks(tokens))))


class Block(nn.Module):
    """Tokens look at each other, then each thinks for itself: t + attention(norm(t)), t + mlp(norm(t)) (Xiong 2020)."""

    def __init__(self, width: int, heads: int, rate: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asked, self.told = Linear(width, 3 * width), Linear(width, width)
        self.mlp = nn.Sequential(Linear(width, WIDER * width), nn.GELU(), Linear(WIDER * width, width))
        self.drop = Dropout(rate)

    def forward(self, tokens: Tensor) -> Tensor:
        count, number, width = tokens.shape
        asked = self.asked(self.first(tokens)).view(count, number, 3, self.heads, width // self.heads)
        query, key, value = asked.permute(2, 0, 3, 1, 4)  # each (B, heads, count, width / heads)
        told = attention(query, key, value).transpose(1, 2).reshape(count, number, width)
        tokens = tokens + self.drop(self.told(told))
        return tokens + self.drop(self.mlp(self.second(tokens)))


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, for (.., tokens, d).

    torch's fused kernel can be differentiated once only; penalties on the encoder's derivative ask for more.
    """
    weight = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(-1)  # (.., tokens, tokens)
    return weight @ value


class Grouped(nn.Module):
    """A linear map for each position: (B, count, inside) -> (B, count, outside)."""

    def __init__(self, count: int, inside: int, outside: int, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inside)
        self.weight = nn.Parameter(torch.empty(count, inside, outside).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, outside).uniform_(-bound, bound)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        weight, spare = self.weight, -x.shape[-1] % 4
        if spare and not torch.is_grad_enabled():  # as in Linear: rows must start on 16-byte boundaries
            x, weight = F.pad(x, (0, spare)), F.pad(weight, (0, 0, 0, spare))
        y = torch.bmm(x.transpose(0, 1), weight).transpose(0, 1)
        return y if self.bias is None else y + self.bias


def _each(cut: Grid, inside: int, outside: int, bias: bool = True) -> Linear | Grouped:
    """Patches of images and series are alike; features are not, and each group gets weights of its own."""
    return Grouped(cut.count, inside, outside, bias) if len(cut.shape) == 1 else Linear(inside, outside, bias)
