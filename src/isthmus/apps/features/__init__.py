"""Codes as features: what they tell beside PCA, how long they should be, and how they look in two dimensions."""

from isthmus.apps.features.maps import CodeMap, code_map
from isthmus.apps.features.quality import CodeQuality, code_quality
from isthmus.apps.features.sizes import LatentDimCurve, LatentDimDisplay, latent_dim_curve

__all__ = [
    "CodeMap",
    "CodeQuality",
    "LatentDimCurve",
    "LatentDimDisplay",
    "code_map",
    "code_quality",
    "latent_dim_curve",
]
