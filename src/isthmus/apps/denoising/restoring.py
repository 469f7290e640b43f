"""What has learned to remove noise from rows: a linear answer, a network that corrects it, and which of them is trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isthmus.apps.denoising.linear import Gaps, Linear, Prior
from isthmus.apps.denoising.networks import Maps
from isthmus.chunks import chunk_rows, chunks

ANSWERS = ("input", "linear", "network")


@dataclass(frozen=True, eq=False)
class Restorer:
    """Restores rows (n, d) of encoded samples."""

    linear: Linear
    network: nn.Module | None
    answer: str
    """One of ``ANSWERS``: what was best on held-out rows. "input" leaves rows as they are."""
    low: float
    high: float
    """Between which noise levels the network has learned; both 0 where noise has no level."""
    is_mirrored: bool = False
    """Did the network learn from mirrored pictures too? Then it answers twice, and the mean is its answer."""

    def restore(self, y: Tensor, level: Tensor, observed: Tensor | None = None, answer: str | None = None) -> Tensor:
        """Return clean rows (n, d); ``level`` (n, 1) is the standard deviation of Gaussian noise.

        Rows are computed in chunks of one shape, so that none depends on its neighbours.
        """
        answer = self.answer if answer is None else answer
        if answer == "input":
            return y.clone()
        size = min(256, chunk_rows(y.shape[1]))
        parts = []
        with torch.inference_mode():
            for rows in chunks(len(y), size):
                count = len(y[rows])
                padding = (0, 0, 0, size - count)
                seen = None if observed is None else F.pad(observed[rows], padding)
                parts.append(self._restored(F.pad(y[rows], padding), F.pad(level[rows], padding), seen, answer)[:count])
        return torch.cat(parts).clone()

    def _restored(self, y: Tensor, level: Tensor, observed: Tensor | None, answer: str) -> Tensor:
        linear = start(self.linear, y, level, observed)
        if answer == "linear" or self.network is None:
            return linear
        if not self.high:
            return self._corrected(self.network, y, level, observed)
        seen = level.clamp(self.low, self.high)
        corrections = self._corrected(self.network, y, seen, observed)
        # far from the levels the network knows, the linear answer knows better
        trust = torch.minimum(2 * level / self.low, 2 * self.high / level.clamp_min(1e-12)).square().clamp_max(1)
        return linear + trust * (corrections - linear)

    def _corrected(self, network: nn.Module, y: Tensor, level: Tensor, observed: Tensor | None) -> Tensor:
        answer = corrected(network, start(self.linear, y, level, observed), y, level, observed)
        if not self.is_mirrored or not isinstance(network, Maps):
            return answer
        y = mirrored(y, network.shape)
        observed = None if observed is None else mirrored(observed, network.shape)
        other = corrected(network, start(self.linear, y, level, observed), y, level, observed)
        return (answer + mirrored(other, network.shape)) / 2


def mirrored(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return pictures (n, d) with left and right exchanged."""
    return x.view(-1, *shape).flip(-1).flatten(1)


def start(linear: Linear, y: Tensor, level: Tensor, observed: Tensor | None) -> Tensor:
    """Return the linear answer, (n, d)."""
    if isinstance(linear, Prior):
        return linear.restore(y, level)
    if isinstance(linear, Gaps):
        return linear.restore(y, torch.ones_like(y, dtype=torch.bool) if observed is None else observed)
    return linear.restore(y, observed)


def corrected(network: nn.Module, w: Tensor, y: Tensor, level: Tensor, observed: Tensor | None) -> Tensor:
    """Return the linear answer w plus the network's correction, which sees w, what w has taken away, and what is
    observed: that stays as it is."""
    if observed is None:
        return w + network([y - w, w], level)
    mask = observed.to(w.dtype)
    return torch.where(observed, y, w + network([(y - w) * mask, w, mask], level))
