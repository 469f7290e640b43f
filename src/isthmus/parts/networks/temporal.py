"""Dilated convolutions over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.networks.activations import Activated, activation, dropout, refuse_dropout
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.network import Network

MOST_SPANS = 8
"""How many spans ``pool="auto"`` leaves of a window, at most."""


@dataclass
class Temporal(Activated, Network):
    """Residual convolutions over time whose reach doubles from one to the next: dilations 1, 2, 4, .. (Bai 2018).

        (length, channels) --blocks--> (c, length) --spans of `pool` steps--> (c, ceil(length / pool)) = h, and back

    ``channels`` gives one block each. ``causal=True`` lets a step see itself and the past alone; otherwise a block looks as
    far ahead as back. Every channel comes with a number that is 1 where it has a gap. ``pool`` says how many steps become one
    span of h; "auto" leaves at most 8 spans.
    """

    channels: tuple[int, ...] = (32, 32, 32)
    kernel: int = 3
    causal: bool = False
    pool: int | str = "auto"
    activation: str = "silu"
    dropout: float = 0.0

    sees_gaps: ClassVar[bool] = True

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        widths, pool = [2 * shape[1], *self.channels], self._pool(shape)
        return Listener(self._blocks(widths), widths[-1], pool), (widths[-1], -(-shape[0] // pool))

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        widths, pool = [*reversed(self.channels)], self._pool(shape)
        spans = -(-shape[0] // pool)
        return nn.Sequential(
            nn.Flatten(),
            Linear(math.prod(z_shape), widths[0] * spans),
            nn.Unflatten(1, (widths[0], spans)),
            activation(self.activation),
            nn.ConvTranspose1d(widths[0], widths[0], pool, stride=pool),  # (B, c, spans * pool)
            self._blocks([widths[0], *widths], backwards=True),
            Speaker(widths[-1], shape),
        )

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        if len(shape) != 2:
            raise SettingError(
                f"A temporal network needs series (windows of steps and channels), but one sample has the shape {shape}; pass "
                f"Series(X, length=..), or use network='mlp'."
            )
        refuse_dropout("Temporal", self.dropout)
        if not self.channels or any(width < 1 for width in self.channels) or self.kernel < 1:
            raise SettingError(
                f"Temporal(channels={tuple(self.channels)}, kernel={self.kernel}) needs at least one block, and everything at "
                f"least 1."
            )
        if self.pool != "auto" and (isinstance(self.pool, str) or self.pool < 1):
            raise SettingError(f'Temporal(pool={self.pool!r}) must be a whole number of at least 1, or "auto".')
        return replace(self, pool=self._pool(shape))

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return True

    @property
    def holds_back(self) -> bool:
        return self.dropout > 0

    def _after(self) -> nn.Module:
        return nn.Sequential(activation(self.activation), *dropout(self.dropout))

    def _pool(self, shape: tuple[int, ...]) -> int:
        return -(-shape[0] // MOST_SPANS) if isinstance(self.pool, str) else min(self.pool, shape[0])

    def _blocks(self, widths: list[int], backwards: bool = False) -> nn.Sequential:
        reaches = [2**place for place in range(len(widths) - 1)]
        return nn.Sequential(
            *(
                Dilated(inside, outside, self.kernel, reach, self.causal, self._after())
                for (inside, outside), reach in zip(
                    pairwise(widths), reversed(reaches) if backwards else reaches, strict=True
                )
            )
        )


class Listener(nn.Module):
    """(B, length, channels), observed -> (B, c, spans)."""

    def __init__(self, blocks: nn.Sequential, width: int, pool: int) -> None:
        super().__init__()
        self.blocks, self.pool = blocks, pool
        self.gather = nn.Conv1d(width, width, pool, stride=pool)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        if observed is None:
            gaps = torch.zeros_like(x)
        else:
            x, gaps = torch.where(observed, x, torch.zeros_like(x)), (~observed).to(x.dtype)
        h = self.blocks(torch.cat([x, gaps], -1).transpose(1, 2))  # (B, c, length)
        return self.gather(F.pad(h, (0, -x.shape[1] % self.pool)))


class Speaker(nn.Module):
    """(B, c, at least length) -> (B, length, channels): one linear map, the same at every step."""

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.length = shape[0]
        self.output = Linear(width, shape[1])

    def forward(self, h: Tensor) -> Tensor:
        return self.output(h[..., : self.length].transpose(1, 2))


class Dilated(nn.Module):
    """A residual block of one dilated convolution: s(conv(x)) + x, (B, inside, length) -> (B, outside, length)."""

    def __init__(self, inside: int, outside: int, kernel: int, reach: int, causal: bool, after: nn.Module) -> None:
        super().__init__()
        span = (kernel - 1) * reach
        self.edges = (span, 0) if causal else (span - span // 2, span // 2)
        self.conv = nn.Conv1d(inside, outside, kernel, dilation=reach)
        self.activation = after
        self.around = nn.Identity() if inside == outside else nn.Conv1d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.conv(F.pad(x, self.edges))) + self.around(x)
