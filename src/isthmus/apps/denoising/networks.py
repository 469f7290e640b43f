"""The networks that correct the linear answer: an encoder and a decoder with skips, whose last layer starts at zero.

No narrow code stands between them: what denoising keeps is the detail a bottleneck would lose. The code is that of the
linear answer, which they are given.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FACTOR = 4
"""Sides are padded to a multiple: pixels are gathered two by two, twice."""


class Maps(nn.Module):
    """A U of two scales for pictures (c, h, w), over pixels gathered two by two: ``pixel_unshuffle``.

    y - w, w [, observed] (k c, h, w) -> (4 k c + 1, h/2, w/2) -> width --------------> + -> (4 c, h/2, w/2) -> (c, h, w)
                                                                    \\-> (deep, h/4, w/4) -/
    """

    def __init__(self, shape: tuple[int, int, int], planes: int, width: int = 32, deep: int = 80) -> None:
        super().__init__()
        self.shape, channels = shape, shape[0]
        self.enter = _conv(4 * planes * channels + 1, width)
        self.encode = _conv(width, width)
        self.down = nn.Conv2d(4 * width, deep, 1)
        self.middle = nn.ModuleList([_conv(deep, deep) for _ in range(2)])
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.decode = _conv(width, width)
        self.leave = _conv(width, 4 * channels)

    def forward(self, planes: list[Tensor], level: Tensor) -> Tensor:
        """Return the correction (n, d) from planes of (n, d) numbers and the level (n, 1)."""
        channels, height, width = self.shape
        x = torch.cat([plane.view(-1, channels, height, width) for plane in planes], 1)
        x = F.pad(x, (0, -width % _FACTOR, 0, -height % _FACTOR), mode="replicate")
        x = F.pixel_unshuffle(x, 2)
        x = torch.cat([x, level[:, :, None, None].expand(-1, 1, *x.shape[2:])], 1)
        h = self.enter(x.contiguous(memory_format=torch.channels_last))
        h = h + self.encode(F.relu(h))
        deep = self.down(F.pixel_unshuffle(F.relu(h), 2))
        for layer in self.middle:
            deep = deep + layer(F.relu(deep))
        h = h + F.pixel_shuffle(self.up(F.relu(deep)), 2)
        h = h + self.decode(F.relu(h))
        correction = F.pixel_shuffle(self.leave(F.relu(h)), 2)
        return correction[:, :, :height, :width].flatten(1).float()


class Rows(nn.Module):
    """Two hidden layers for rows and windows (d,): y - w, w [, observed], level -> correction."""

    def __init__(self, size: int, planes: int, width: int = 256) -> None:
        super().__init__()
        self.enter = nn.Linear(planes * size + 1, width)
        self.middle = nn.Linear(width, width)
        self.leave = nn.Linear(width, size)

    def forward(self, planes: list[Tensor], level: Tensor) -> Tensor:
        h = self.enter(torch.cat([*planes, level], 1))
        h = h + self.middle(F.silu(h))
        return self.leave(F.silu(h)).float()


def correction(shape: tuple[int, ...], planes: int, rng: torch.Generator) -> nn.Module:
    """Return the network for samples of a shape, its weights drawn from ``rng``; the last layer is zero."""
    size = math.prod(shape)
    with torch.no_grad(), torch.random.fork_rng([]):  # torch draws first weights from its own generator
        network = Maps((shape[0], shape[1], shape[2]), planes) if is_picture(shape) else Rows(size, planes)
        for name, parameter in network.named_parameters():
            if parameter.dim() == 1 or name.startswith("leave"):
                parameter.zero_()
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=rng) * (1 / (3 * fan_in)) ** 0.5)
    if is_picture(shape):
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - an overload torch does not list
    return network


def is_picture(shape: tuple[int, ...]) -> bool:
    """Is a sample of this shape a picture, large enough for two scales?"""
    return len(shape) == 3 and min(shape[1:]) >= _FACTOR


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)
