"""One picture alone: patches that look alike form a group, and every group has a linear autoencoder of its own.

picture --cosine transform of every patch, small coefficients dropped--> guide, in which patches are compared
patch --the 64 most alike around it--> mean, principal components, shrinkage --> 64 restored patches --> weighted average
"""

# Non-local Bayes (Lebrun, Buades & Morel 2013), with the eigenvalues of a group judged by what noise alone would show, and
# the guide of DCT image denoising (Yu & Sapiro 2011): as good to compare patches in as what groups of noisy ones give, for a
# twentieth of their time.

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from isthmus.apps.denoising.linear import unspiked

PATCH = 6
"""The side of a patch in pixels."""
_STRIDE = 5
"""A group is formed around every so many pixels."""
_REACH = 10
"""How far from a patch those like it are looked for."""
_ALIKE = 64
_WIDE, _STEP = 16, 4
"""The side of the guide's patches, and how far apart they are."""
_LARGE = 2.5
"""Coefficients of the guide that are kept, in standard deviations of the noise."""
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

    Patches are compared in a first answer, the guide, where noise misleads less.
    """
    if sigma <= 0:
        return y.clone()
    turn = decorrelation(len(y))
    planes = torch.einsum("ij,jhw->ihw", turn, y)  # the noise stays white
    guide = torch.stack([_guide(plane, sigma) for plane in planes])
    return torch.einsum("ji,jhw->ihw", turn, _restored(planes, guide, sigma))


def decorrelation(channels: int) -> Tensor:
    """Return the orthonormal cosine transform over channels: of colours, brightness and two contrasts."""
    return cosines(channels)


def cosines(size: int) -> Tensor:
    """Return the orthonormal cosine transform (DCT-II) of so many numbers, a row for each frequency."""
    places = torch.arange(size) + 0.5
    turn = torch.cos(math.pi / size * torch.arange(size)[:, None] * places) * math.sqrt(2 / size)
    turn[0] /= math.sqrt(2)
    return turn


def _guide(plane: Tensor, sigma: float) -> Tensor:
    """Return a plane (h, w) less the coefficients of its patches that noise could be; sparse patches count more."""
    height, width = plane.shape
    side = min(_WIDE, height, width)
    whole = F.pad(plane[None, None], (0, (side - width) % _STEP, 0, (side - height) % _STEP), mode="replicate")
    basis = torch.kron(cosines(side), cosines(side))
    coefficients = F.unfold(whole, side, stride=_STEP)[0].T @ basis.T
    kept = coefficients.abs() > _LARGE * sigma
    kept[:, 0] = True  # the mean
    weights = 1 / (1 + kept.sum(1, keepdim=True))
    smooth = (coefficients * kept * weights) @ basis
    both = torch.stack([smooth, weights.expand_as(smooth)])
    total, weight = F.fold(both.transpose(1, 2), whole.shape[2:], side, stride=_STEP)[:, 0, :height, :width]
    return total / weight


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
        bands = squared[rows]
        for below in range(1, PATCH):
            bands += squared[rows + below]
        sums = F.pad(bands.cumsum(1), (1, 0))
        inside = _inside(rows + down, field.corners[0])[:, None] & _inside(columns + right, field.corners[1])
        found = torch.where(inside, sums[:, columns + PATCH] - sums[:, columns], torch.inf)
        distance[place] = found.flatten()
    distance[len(steps) // 2] = -1.0  # its own patch, though many be as like: every pixel is in a group
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
    around = F.pad(weights.view(1, 1, *field.corners), (PATCH - 1,) * 4)
    # each pixel is in the patches of the 36 corners above and to the left of it
    return total / (F.avg_pool2d(around, PATCH, 1)[0, 0] * PATCH**2)


def autoencoded(groups: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """Return groups of patches (g, n, d) after the linear autoencoder of each, and (g,) how much each is to be trusted.

    Components whose variance noise alone could show are dropped; the others are shrunk as their noise demands. A group counts
    by one over the share of the noise that it lets through.
    """
    n, width = groups.shape[1:]
    mean = groups.mean(1, keepdim=True)
    away = groups - mean
    covariance = away.transpose(1, 2) @ away / max(n - 1, 1)
    variance, basis = torch.linalg.eigh(covariance)
    lost = ~variance.isfinite().all(1)  # of groups without noise, in half the digits
    if lost.any():
        variance[lost], basis[lost] = (found.float() for found in torch.linalg.eigh(covariance[lost].double()))
    is_signal = unspiked(variance / sigma**2, width / n) > 0
    keep = torch.where(is_signal, 1 - sigma**2 / variance.clamp_min(1e-12), torch.zeros(()))  # (g, d)
    restored = mean + away @ ((basis * keep[:, None]) @ basis.transpose(1, 2))
    return restored, 1 / (1 + keep.square().sum(1))


def _places(corners: int) -> Tensor:
    return torch.unique(torch.cat([torch.arange(0, corners, _STRIDE), torch.tensor([corners - 1])]))


def _inside(places: Tensor, corners: int) -> Tensor:
    return (places >= 0) & (places < corners)
