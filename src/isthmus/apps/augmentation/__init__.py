"""Augmentation: variations of given samples, and whether a classifier gains by them."""

from __future__ import annotations

from isthmus.apps.augmentation.gain import AugmentationGain, augmentation_gain
from isthmus.apps.augmentation.variations import Augmented, augment

__all__ = ["AugmentationGain", "Augmented", "augment", "augmentation_gain"]
