"""How a variant is made: its own parts, and before them whatever the caller sets."""

from __future__ import annotations

from typing import Any

from isthmus.estimator import Autoencoder


def compose(latent_dim: int | str, own: dict[str, Any], settings: dict[str, Any]) -> Autoencoder:
    """Return the autoencoder of a variant's own parts; what the caller sets goes before them."""
    return Autoencoder(latent_dim=latent_dim, **(own | settings))
