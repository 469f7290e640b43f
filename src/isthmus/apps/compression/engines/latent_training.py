"""Train the network that draws a picture of its symbols: the expected value at a place, given the levels on all its sides."""

from __future__ import annotations

import numpy as np
import torch

from isthmus.apps.compression.engines.descent import descend
from isthmus.apps.compression.engines.integers import Layer
from isthmus.apps.compression.engines.rounding import Rounded

_BATCH = 4096
_PASSES = {"quick": (10, 1_000), "default": (40, 6_000), "thorough": (80, 20_000)}
_FEWEST = {"quick": 150, "default": 400, "thorough": 800}
_RATE = 2.4e-2
_WIDTH = 48
_LEVEL = 6
_MOST_VALUES = 1 << 27


def train(
    symbols: np.ndarray, targets: np.ndarray, count: int, window: np.ndarray, seed: int, effort: str
) -> tuple[np.ndarray, list[Layer]]:
    """Return levels (count + 1,) and layers for ``symbols`` and ``targets`` (places, rows), targets 0 .. 255."""
    rng, (places, rows) = np.random.default_rng(seed), symbols.shape
    many = np.bincount(symbols.ravel(), minlength=count + 1)
    mean = np.bincount(symbols.ravel(), targets.ravel(), count + 1) / np.maximum(many, 1)
    levels = np.round(mean * (1 << _LEVEL)).astype(np.int64)
    kept = min(rows, max(1, _MOST_VALUES // places))
    canvas = np.zeros((kept, places + 1), np.uint8)
    canvas[:, :places] = (levels >> _LEVEL)[symbols[:, :kept]].T
    rest = (targets - (levels / (1 << _LEVEL))[symbols])[:, :kept].T.astype(np.float32) / 256
    rest = np.ascontiguousarray(rest).reshape(-1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Rounded(window.shape[1], _WIDTH, 1, 8)
    with torch.no_grad():  # at first every symbol is drawn at its level
        net.last.weight.zero_()
        net.last.bias.zero_()

    def loss(rounded: bool) -> torch.Tensor:
        row, place = rng.integers(0, kept, _BATCH), rng.integers(0, places, _BATCH)
        around = canvas.reshape(-1).take((row * (places + 1))[:, None] + window[place])
        wanted = torch.from_numpy(rest.take(row * places + place))
        drawn = net(torch.from_numpy(around.astype(np.float32) * np.float32(1 / 256)), rounded)[:, 0]
        return (drawn - wanted).square().mean() * 256

    passes, most = _PASSES[effort]
    descend(net.parameters(), loss, int(min(max(passes * symbols.size / _BATCH, _FEWEST[effort]), most)), _RATE)
    return levels, net.whole()
