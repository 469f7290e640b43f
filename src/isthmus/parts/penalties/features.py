"""A small network that learns to look: its feature maps, and the task by which it learns them from images alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.parts.step import Batch, Pretrained, normal

WIDTHS = (16, 32, 64)
"""The feature maps of the layers."""
SIDE = 36
"""It learns on windows of images of at most so many pixels a side: more than a unit of the last layer sees."""
PROJECTION, TEMPERATURE = 32, 0.2
"""Numbers that two views are compared in, and the unit of their cosine (Chen 2020)."""


class FeatureNetwork(Pretrained):
    """Images (B, c, h, w) -> the feature maps of three convolutional layers, each halved before the next.

    It learns to tell which image of a batch an altered one comes from (:class:`Discrimination`). Distances between features
    that were learned without labels agree with what people find alike nearly as well as those of classifiers (Zhang 2018).
    Each map is scaled to the root mean square that centred pixels have, as He's random weights would keep it; before it has
    learned, its weights are those, always the same.
    """

    steps = 300
    batch_size = 64
    learning_rate = 3e-3

    def __init__(self, channels: int) -> None:
        super().__init__()
        for place, weight in enumerate(random_weights(channels)):
            self.register_buffer(f"weight_{place}", weight.clone())
            self.register_buffer(f"bias_{place}", torch.zeros(len(weight)))
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("gains", torch.ones(len(WIDTHS)))
        self.mean: Tensor
        self.spread: Tensor
        self.gains: Tensor

    def forward(self, images: Tensor) -> list[Tensor]:
        weights, biases = ([value.to(images) for value in values] for values in (self.weights, self.biases))
        maps = feature_maps((images - self.mean.to(images)) / self.spread.to(images), weights, biases)
        return [gain * values for gain, values in zip(self.gains.to(images), maps, strict=True)]

    @property
    def weights(self) -> list[Tensor]:
        return [getattr(self, f"weight_{place}") for place in range(len(WIDTHS))]

    @property
    def biases(self) -> list[Tensor]:
        return [getattr(self, f"bias_{place}") for place in range(len(WIDTHS))]

    def task(self, batch: Batch, rng: torch.Generator) -> Discrimination:
        images = _filled(batch)
        self.mean.copy_(images.mean((0, 2, 3))[:, None, None])
        self.spread.copy_(_positive((images - self.mean).square().mean().sqrt()))
        return Discrimination(self, rng)

    @torch.no_grad()
    def take_over(self, task: nn.Module, batch: Batch, rng: torch.Generator) -> str:
        assert isinstance(task, Discrimination), "a network takes over its own task"
        for place in range(len(WIDTHS)):
            self.weights[place].copy_(task.weights[place])
            self.biases[place].copy_(task.biases[place])
        images = _window(_filled(batch), SIDE, SIDE, rng)
        self.gains.fill_(1)
        for place, values in enumerate(self(images)):
            self.gains[place] = self.spread / _positive(values.square().mean().sqrt())
        share = task.share_found(batch, rng)
        return (
            f"The network that Perceptual looks through was trained first: it finds which of {len(images)} images an altered "
            f"one comes from in {100 * share:.0f} % of cases."
        )


class Discrimination(nn.Module):
    """Tell which image of a batch an altered one comes from (instance discrimination; Dosovitskiy 2014).

    Two views are made of each image; the features of all layers, averaged over the positions and projected to unit vectors u
    and v, shall be near where they come from one image: the loss is the mean of -log softmax_j(u_i v_j / TEMPERATURE) at
    j = i, and of the same from v to u (Chen 2020). It needs neither labels, nor square images, nor a right way up.
    """

    def __init__(self, network: FeatureNetwork, rng: torch.Generator) -> None:
        super().__init__()
        self.weights = nn.ParameterList([weight.clone() for weight in network.weights])
        self.biases = nn.ParameterList([bias.clone() for bias in network.biases])
        projection = normal(network.mean.new_empty(PROJECTION, sum(WIDTHS)), rng) / math.sqrt(sum(WIDTHS))
        self.projection = nn.Parameter(projection)
        self.mean, self.spread = network.mean, network.spread  # buffers of the network's, not trained

    def forward(self, batch: Batch, rng: torch.Generator) -> Tensor:
        logits = self.logits(batch, rng)
        own = -(logits.log_softmax(0) + logits.log_softmax(1)).diagonal() / 2  # (B,)
        return (own if batch.weight is None else own * batch.weight).mean()

    def logits(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return how alike each first view is to each second one, (B, B)."""
        images = _window((_filled(batch) - self.mean) / self.spread, SIDE, SIDE, rng)
        views = torch.cat([view(images, rng), view(images, rng)])
        maps = feature_maps(views, [*self.weights], [*self.biases])
        seen = torch.cat([values.mean((2, 3)) for values in maps], dim=1)  # (2 B, sum of the widths)
        u, v = F.normalize(seen @ self.projection.T, dim=1).chunk(2)
        return u @ v.T / TEMPERATURE

    @torch.no_grad()
    def share_found(self, batch: Batch, rng: torch.Generator) -> float:
        """Return the share of first views whose nearest second view is of the same image."""
        found = self.logits(batch, rng).argmax(1)
        return float((found == torch.arange(len(found), device=found.device)).float().mean())


@lru_cache(maxsize=8)
def random_weights(channels: int) -> tuple[Tensor, ...]:
    """Return random weights, always the same: He's, so that features vary as much as pixels do."""
    rng = torch.Generator().manual_seed(0)
    inside = (channels, *WIDTHS[:-1])
    return tuple(
        torch.randn(out, into, 3, 3, generator=rng) * math.sqrt(2 / (9 * into))
        for into, out in zip(inside, WIDTHS, strict=True)
    )


def feature_maps(images: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Return the feature maps of each layer: convolve, rectify; halve before the next where there is something to halve."""
    maps: list[Tensor] = []
    for weight, bias in zip(weights, [None] * len(weights) if biases is None else biases, strict=True):
        if maps and min(images.shape[2:]) >= 2:
            images = F.avg_pool2d(images, 2)
        images = F.relu(F.conv2d(images, weight, bias, padding=1))
        maps.append(images)
    return maps


def view(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images (B, c, h, w), standardised, altered at random: an eighth is cropped, the rest blurred, dimmed and noisy."""
    height, width = images.shape[2:]
    images = _window(images, height - height // 8, width - width // 8, rng)
    sharp, contrast, noise = torch.rand(3, len(images), 1, 1, 1, generator=rng, device=images.device).to(images)
    images = sharp * images + (1 - sharp) * _blurred(_blurred(images))
    return (0.8 + 0.4 * contrast) * images + 0.2 * noise * normal(images, rng)


def _blurred(images: Tensor) -> Tensor:
    """Average each pixel with its neighbours, weights 1 2 1 in both directions, the border continued."""
    flat = F.pad(images.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    kernel = images.new_tensor([0.25, 0.5, 0.25])
    return F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, 3)), kernel.view(1, 1, 3, 1)).view(images.shape)


def _window(images: Tensor, height: int, width: int, rng: torch.Generator) -> Tensor:
    """Return one window of at most that size of all images, at a random place."""
    spare = [max(0, side - most) for side, most in zip(images.shape[2:], (height, width), strict=True)]
    top, left = (int(torch.randint(s + 1, (), generator=rng, device=rng.device)) for s in spare)
    return images[:, :, top : top + height, left : left + width]


def _filled(batch: Batch) -> Tensor:
    """Return the images, their gaps filled with the mean of what was observed in that channel."""
    if batch.observed is None:
        return batch.x
    mean = batch.x.sum((0, 2, 3)) / batch.observed.sum((0, 2, 3)).clamp(min=1)
    return torch.where(batch.observed, batch.x, mean[:, None, None])


def _positive(value: Tensor) -> Tensor:
    """Return what may be divided by: 1 where there is nothing."""
    return torch.where(value > 0, value, 1.0)
