"""One picture alone: patches that look alike form a group, and every group has a linear autoencoder of its own.

patch --the 64 most alike around it--> mean, principal components, shrinkage --> 64 restored patches --> weighted average
"""

# Non-local Bayes (Lebrun, Buades & Morel 2013), with the eigenvalues of a group judged by what noise alone would show.

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.apps.denoising.linear import unspiked

PATCH = 6
"""The side of a patch in pixels."""
_STRIDE = 4
"""A group is formed around every so many pixels."""
_REACH = 10
"""How far from a patch those like it are looked for."""
_ALIKE = 64
FEWEST_PIXELS = 2 * PATCH
_AT_ONCE = 1024


class Field(NamedTuple):
    """A picture as patches: those of its top left corners (h - 5) x (w - 5), row by row."""

    shape: tuple[int, int]
    """Of the picture."""

    @property
    def corners(self) -> tuple[int, int]:
        return self.shape[0] - PATCH + 1, self.shape[1] - PATCH + 1


def restore_picture(y: Tensor, sigma: float) -> Tensor:
    """Return the picture (c, h, w) without Gaussian noise of the standard deviation ``sigma``.

    Twice: the second time, patches are compared in the first answer, where noise misleads no longer.
    """
    if sigma <= 0:
        return y.clone()
    turn = decorrelation(len(y))
    planes = torch.einsum("ij,jhw->ihw", turn, y)  # the noise stays white
    first = _restored(planes, planes, sigma)
    return torch.einsum("ji,jhw->ihw", turn, _restored(planes, first, sigma))


def decorrelation(channels: int) -> Tensor:
    """Return the orthonormal cosine transform over channels: of colours, brightness and two contrasts."""
    places = torch.arange(channels) + 0.5
    turn = torch.cos(math.pi / channels * torch.arange(channels)[:, None] * places) * math.sqrt(2 / channels)
    turn[0] /= math.sqrt(2)
    return turn


def _restored(noisy: Tensor, guide: Tensor, sigma: float) -> Tensor:
    """Restore every plane of (c, h, w); patches are alike where they are in all planes of ``guide``."""
    field = Field((noisy.shape[1], noisy.shape[2]))
    alike = _alike(guide, field)  # (groups, members)
    return torch.stack([_of_plane(plane, alike, field, sigma) for plane in noisy])


def _alike(guide: Tensor, field: Field) -> Tensor:
    """Return (groups, members) the patches most like every ``_STRIDE``-th one, by squared distance."""
    height, width = field.shape
    rows, columns = (_places(side) for side in field.corners)
    wide = F.pad(guide[None], (_REACH,) * 4, value=0.0)[0]
    steps = [(down, right) for down in range(-_REACH, _REACH + 1) for right in range(-_REACH, _REACH + 1)]
    distance = guide.new_empty(len(steps), len(rows) * len(columns))
    for place, (down, right) in enumerate(steps):
        other = wide[:, _REACH + down : _REACH + down + height, _REACH + right : _REACH + right + width]
        squared = (guide - other).square().sum(0)
        sums = F.pad(squared.cumsum(0), (0, 0, 1, 0))
        sums = F.pad((sums[rows + PATCH] - sums[rows]).cumsum(1), (1, 0))
        inside = _inside(rows + down, field.corners[0])[:, None] & _inside(columns + right, field.corners[1])
        found = torch.where(inside, sums[:, columns + PATCH] - sums[:, columns], torch.inf)
        distance[place] = found.flatten()
    own = (rows[:, None] * field.corners[1] + columns).flatten()
    steps_flat = torch.tensor([down * field.corners[1] + right for down, right in steps])
    fewest = int(distance.isfinite().sum(0).min())
    nearest = distance.topk(min(_ALIKE, fewest), dim=0, largest=False).indices
    return (own + steps_flat[nearest]).T


def _of_plane(plane: Tensor, alike: Tensor, field: Field, sigma: float) -> Tensor:
    patches = F.unfold(plane[None, None], PATCH)[0].T.contiguous()  # (patches, 36)
    sums, weights = torch.zeros_like(patches), torch.zeros(len(patches), 1)
    for members in alike.split(_AT_ONCE):
        restored, weight = autoencoded(patches[members], sigma)
        sums.index_add_(0, members.flatten(), (restored * weight[:, None, None]).flatten(0, 1))
        weights.index_add_(0, members.flatten(), weight[:, None].expand(members.shape).reshape(-1, 1))
    total = F.fold(sums.T[None], field.shape, PATCH)[0, 0]
    return total / F.fold(weights.expand_as(sums).T[None], field.shape, PATCH)[0, 0]


def autoencoded(groups: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Return groups of patches (g, n, d) after the linear autoencoder of each, and (g,) how much each is to be trusted.

    Components whose variance noise alone could show are dropped; the others are shrunk as their noise demands. A group counts
    by one over the share of the noise that it lets through.
    """
    n, width = groups.shape[1:]
    mean = groups.mean(1, keepdim=True)
    away = groups - mean
    variance, basis = torch.linalg.eigh(away.transpose(1, 2) @ away / max(n - 1, 1))
    is_signal = unspiked(variance / sigma**2, width / n) > 0
    keep = torch.where(is_signal, 1 - sigma**2 / variance.clamp_min(1e-12), torch.zeros(()))  # (g, d)
    restored = mean + ((away @ basis) * keep[:, None]) @ basis.transpose(1, 2)
    return restored, 1 / (1 + keep.square().sum(1))


def _places(corners: int) -> Tensor:
    return torch.unique(torch.cat([torch.arange(0, corners, _STRIDE), torch.tensor([corners - 1])]))


def _inside(places: Tensor, corners: int) -> Tensor:
    return (places >= 0) & (places < corners)
