"""Perceptual distance: images are alike when a network that looks at them is reminded of the same things."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.penalties.features import FeatureNetwork, feature_maps, random_weights
from isthmus.parts.penalties.penalty import Onlooker
from isthmus.parts.step import Step

GIVEN = "given"
"""What stands in a saved model for a module of the user's own."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet, which networks trained on it expect to be taken out."""


@dataclass
class Perceptual(Onlooker):
    """Penalise what a frozen network sees between original and reconstruction (Johnson 2016, Zhang 2018).

    weight * numbers of an image * mean over feature maps of mean (phi(x) - phi(x_hat))^2, so that a weight of 1 is of the
    size of the squared error. ``features`` is phi: "trained", a small convolutional network that learns from the training
    images in the seconds before the training (Dosovitskiy 2014, Chen 2020) and is saved with the model; "random", the same
    with fixed random weights (Saxe 2011); the name of a pretrained network of timm, which downloads its weights; or your own
    module, which maps images (B, c, h, w) to a feature map or several. Your module is not saved with the model: a loaded
    model encodes and rebuilds without it, and asks for it when it is to be trained again.
    """

    weight: float = 1.0
    features: str | nn.Module = field(default="trained", repr=False)

    def network(self, layout: Layout) -> FeatureNetwork | None:
        _require_images(layout.shape)
        return FeatureNetwork(layout.shape[0]) if self.features == "trained" else None

    def __call__(self, step: Step) -> Tensor:
        x = step.batch.x
        _require_images(x.shape[1:])
        x_hat = step.mean(step.x_hat)
        if step.batch.observed is not None:  # nobody knows what a gap looked like: there, both look as rebuilt
            x = torch.where(step.batch.observed, x, x_hat)
        network = self._seeing(step)
        distances = [(a - b).square().flatten(1).mean(1) for a, b in zip(network(x), network(x_hat), strict=True)]
        return self.weight * math.prod(x.shape[1:]) * torch.stack(distances).mean(0)

    def to_json(self) -> dict[str, Any]:
        features = self.features if isinstance(self.features, str) else GIVEN
        return {"part": "Perceptual", "weight": self.weight, "features": features}

    def _seeing(self, step: Step) -> Callable[[Tensor], Sequence[Tensor]]:
        x = step.batch.x
        if isinstance(self.features, nn.Module):
            return frozen_features(self.features, x)
        if self.features == "trained":
            assert step.features is not None, "an onlooker needs its network"
            return step.features
        if self.features == "random":
            weights = [weight.to(x) for weight in random_weights(x.shape[1])]
            return lambda images: feature_maps(images, weights)
        if self.features == GIVEN:
            raise SettingError(
                "The model was trained with a network of your own for Perceptual, which was not saved with it; fit again with "
                "penalties=Perceptual(features=your_module)."
            )
        network = frozen_features(pretrained(self.features), x)
        return lambda images: network(_as_photographs(images))


def _require_images(shape: tuple[int, ...]) -> None:
    if len(shape) != 3:
        raise SettingError(
            f"Perceptual compares images, but a sample has the shape {tuple(shape)}; give images (n, h, w) or (n, c, h, w), "
            f"or leave the penalty out."
        )


def frozen_features(module: nn.Module, like: Tensor) -> Callable[[Tensor], Sequence[Tensor]]:
    """Return ``module`` as a function that nothing can train, on the device and in the type of ``like``."""
    state = [*module.named_parameters(), *module.named_buffers()]
    still = {name: v.detach().to(like if v.is_floating_point() else like.device) for name, v in state}

    def features(images: Tensor) -> Sequence[Tensor]:
        with _judging(module):
            maps = functional_call(module, still, images)
        return [maps] if isinstance(maps, Tensor) else list(maps)

    return features


@contextmanager
def _judging(module: nn.Module) -> Iterator[None]:
    """Without dropout, and without batch statistics that would change under way."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training


@lru_cache(maxsize=2)
def pretrained(name: str) -> nn.Module:
    """Return a pretrained network of timm that gives all its feature maps."""
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise SettingError(
            f"Perceptual(features={name!r}) is a network of timm, which is not installed: pip install timm; or use 'trained'."
        ) from error
    try:
        return timm.create_model(name, pretrained=True, features_only=True)
    except RuntimeError as error:
        raise SettingError(f"timm cannot give the network {name!r} ({error}); see timm.list_pretrained().") from error


def _as_photographs(images: Tensor) -> Tensor:
    """Return images of [0, 1] in three channels, scaled as photographs are."""
    if images.shape[1] == 1:
        images = images.expand(-1, 3, -1, -1)
    if images.shape[1] != 3:
        raise SettingError(
            f"A pretrained network sees red, green and blue, but the images have {images.shape[1]} channels; use 'trained'."
        )
    mean, spread = images.new_tensor(MEAN), images.new_tensor(SPREAD)
    return (images - mean[:, None, None]) / spread[:, None, None]
