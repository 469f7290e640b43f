"""Train the network of the context engine: floats, with weights and activations rounded as they will be.

The gradient of the mixture is written out, for most of the time would go into its tape.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from isthmus.apps.compression.engines import mixture
from isthmus.apps.compression.engines.descent import descend
from isthmus.apps.compression.engines.integers import Layer
from isthmus.apps.compression.engines.mixture import COMPONENTS
from isthmus.apps.compression.engines.neighbours import Neighbourhood
from isthmus.apps.compression.engines.rounding import Rounded, to_steps

_BATCH = 4096
_PASSES = {"quick": (10, 3_000), "default": (60, 12_000), "thorough": (120, 48_000)}
_FEWEST = {"quick": 150, "default": 400, "thorough": 800}
_RATE = 2.4e-2
_PLACE_NUMBERS = 16
_LARGEST_NUMBER = 0.99
_MOST_VALUES = 1 << 27


def train(
    symbols: np.ndarray,
    count: int,
    near: Neighbourhood,
    seed: int,
    effort: str,
    width: int | None = None,
    share: float = 1.0,
) -> tuple[list[Layer], np.ndarray]:
    """Return layers and place numbers for ``symbols`` (places, rows) of 0 .. count.

    ``width`` of the network, by default what the data can pay for; ``share`` of the usual number of steps.
    """
    depth = max(4, count.bit_length())
    data = Pixels(symbols, near, depth, seed)
    passes, most = _PASSES[effort]
    steps = int(share * min(max(passes * symbols.size / _BATCH, _FEWEST[effort]), most))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(near.around.shape, width or _width(symbols.size), depth)

    def loss(rounded: bool) -> torch.Tensor:
        batch = data.batch()
        outputs = net(batch.known, batch.place, rounded)
        return (batch.weight * nats(outputs, batch.guess, batch.value, count, depth)).sum() / batch.weight.sum()

    descend(net.parameters(), loss, steps, _RATE)
    return net.whole()


def _width(size: int) -> int:
    """Return the width of the network: what the data can pay for."""
    return 16 if size < 1 << 19 else 32 if size < 1 << 23 else 128


class Batch(NamedTuple):
    """Random values of random samples."""

    row: torch.Tensor
    place: torch.Tensor
    known: torch.Tensor
    """(B, features) in 0 .. 1."""
    guess: torch.Tensor
    value: torch.Tensor
    weight: torch.Tensor


class Pixels:
    """Random values of random samples, with what is known before them."""

    def __init__(self, symbols: np.ndarray, near: Neighbourhood, depth: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        places, rows = symbols.shape
        kept = min(rows, max(1, _MOST_VALUES // places))
        chosen = symbols if kept == rows else symbols[:, np.sort(self.rng.choice(rows, kept, replace=False))]
        dtype = np.uint8 if depth <= 8 else np.int16
        self.canvas = np.zeros((kept, places + 1), dtype)
        self.canvas[:, :places] = chosen.T
        self.near, self.depth = near, depth

    def batch(self) -> Batch:
        """Draw a batch. Values that are 0 among zeros say little: a quarter of them is taken, and counts four times."""
        rows, across = self.canvas.shape
        row = self.rng.integers(0, rows, _BATCH * 3 // 2)
        place = self.rng.integers(0, across - 1, len(row))
        flat, start = self.canvas.reshape(-1), row * across
        corner = flat.take(start[:, None] + self.near.west_north_both[place])
        value = flat.take(start + place)
        dull = ~(corner.any(1) | (value > 0))
        kept = np.flatnonzero(~dull | (self.rng.random(len(row)) < 0.25))[:_BATCH]
        row, place, start, dull = row[kept], place[kept], start[kept], dull[kept]
        known = flat.take(start[:, None] + self.near.around[place]) >> max(0, self.depth - 8)
        west, north, both = corner[kept].astype(np.float32).T
        guess = np.clip(west + north - both, np.minimum(west, north), np.maximum(west, north))
        return Batch(
            torch.from_numpy(row),
            torch.from_numpy(place),
            torch.from_numpy(known.astype(np.float32) * np.float32(2.0 ** -min(self.depth, 8))),
            torch.from_numpy(guess),
            torch.from_numpy(value[kept].astype(np.float32)),
            torch.from_numpy(np.where(dull, np.float32(4), np.float32(1))),
        )


class Net(torch.nn.Module):
    """Neighbours and place -> the outputs of the mixture."""

    def __init__(self, around: tuple[int, ...], width: int, depth: int) -> None:
        super().__init__()
        places, features = around
        self.places = torch.nn.Parameter(0.1 * torch.randn(places, _PLACE_NUMBERS))
        self.net = Rounded(features + _PLACE_NUMBERS, width, mixture.OUTPUTS, min(depth, 8))
        with torch.no_grad():
            last = self.net.last
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[COMPONENTS : 2 * COMPONENTS] = torch.linspace(-2, 2, COMPONENTS)
            last.bias[2 * COMPONENTS : 3 * COMPONENTS] = torch.linspace(0.2, 0.7, COMPONENTS) * depth
            last.bias[-1] = -2

    def forward(self, known: torch.Tensor, place: torch.Tensor, rounded: bool) -> torch.Tensor:
        """Return outputs (B, OUTPUTS)."""
        table = self.places.clamp(-_LARGEST_NUMBER, _LARGEST_NUMBER)
        table = to_steps(table, self.net.input_bits) if rounded else table
        return self.net(torch.cat([known, table[place]], 1), rounded)

    def whole(self) -> tuple[list[Layer], np.ndarray]:
        """Return layers and place numbers, in whole numbers."""
        table = self.places.detach().clamp(-_LARGEST_NUMBER, _LARGEST_NUMBER).double().numpy()
        return self.net.whole(), np.round(table * 2.0**self.net.input_bits).astype(np.int64)


def nats(outputs: torch.Tensor, guess: torch.Tensor, value: torch.Tensor, count: int, depth: int) -> torch.Tensor:
    """Return -log p(value) (B,): a hurdle at 0, a mixture of logistics over 1 .. count."""
    K = COMPONENTS
    hurdle = functional.softplus(torch.where(value == 0, -outputs[:, -1], outputs[:, -1]))
    place = torch.nonzero(value > 0)[:, 0]
    inner, v = outputs[place], value[place]
    mean = guess[place, None] + inner[:, K : 2 * K] * 2.0 ** (depth - 3)
    rest = _Logistics.apply(inner[:, :K], mean, inner[:, 2 * K : 3 * K].clamp(-3, depth - 1), v, count)
    return hurdle.index_add(0, place, rest)


class _Logistics(torch.autograd.Function):
    """-log sum_k softmax(logit)_k (F_k(v + 1/2) - F_k(v - 1/2)), both tails folded in; scales are powers of 2."""

    @staticmethod
    def forward(ctx: Any, logit: Any, mean: Any, octave: Any, v: Any, count: int) -> torch.Tensor:
        inverse = torch.exp2(-octave)
        centred = (v[:, None] - mean) * inverse
        above, below = centred + 0.5 * inverse, centred - 0.5 * inverse
        last, first = (v == count)[:, None], (v == 1)[:, None]
        upper, lower = torch.sigmoid(above), torch.sigmoid(below)
        slope_up, slope_low = upper * (1 - upper), lower * (1 - lower)
        upper, lower = upper.masked_fill(last, 1), lower.masked_fill(first, 0)
        slope_up, slope_low = slope_up.masked_fill(last, 0), slope_low.masked_fill(first, 0)
        share = torch.softmax(logit, 1)
        part = share * (upper - lower)
        p = part.sum(1, keepdim=True) + 2.0**-10 / count
        ctx.save_for_backward(share, part, p, inverse, above, below, slope_up, slope_low)
        return -torch.log(p)[:, 0]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        share, part, p, inverse, above, below, slope_up, slope_low = ctx.saved_tensors
        g = grads[0][:, None] / p
        logit = -g * (part - share * part.sum(1, keepdim=True))
        weighted = g * share
        mean = weighted * inverse * (slope_up - slope_low)
        octave = weighted * math.log(2) * (above * slope_up - below * slope_low)
        return logit, mean, octave, None, None
