"""How strong Gaussian noise is, found in the noisy data themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FEWEST_NUMBERS = 12
"""Of fewer numbers a row, noise cannot be told from what rows are like."""
_PATCH = 8
_MOST_PATCHES = 200_000


def level_of_rows(x: Tensor) -> float:
    """Return the standard deviation of the noise of rows (n, d): what the directions that hold nothing else show.

    Of the sorted eigenvalues of the covariance the largest are left out until the mean of the rest is their median
    (Chen, Zhu & Heng 2015): noise alone is spread evenly about its variance.
    """
    values = torch.linalg.eigvalsh(torch.cov(x.T.double(), correction=0)).clamp_min(0)  # smallest first
    for count in range(len(values), 1, -1):
        rest = values[:count]
        if int((rest > rest.mean()).sum()) >= int((rest < rest.mean()).sum()):
            return float(rest.mean().sqrt())
    return float(values[0].sqrt())


def level_of_pictures(x: Tensor) -> float:
    """Return it for pictures (n, c, h, w) with the noise of one level, from patches of 8 x 8 pixels of every channel."""
    n, channels, height, width = x.shape
    side = min(_PATCH, height, width)
    per_picture = (height - side + 1) * (width - side + 1)
    some = torch.linspace(0, n - 1, min(n, max(1, _MOST_PATCHES // (per_picture * channels)))).round().long()
    patches = F.unfold(x[some].reshape(-1, 1, height, width), side).transpose(1, 2).flatten(0, 1)
    return level_of_rows(patches[:: -(-len(patches) // _MOST_PATCHES)])
