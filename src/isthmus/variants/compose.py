"""How a variant is made: its own parts, and before them whatever the caller sets."""

from __future__ import annotations

import inspect
from typing import Any

from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder


def compose(latent_dim: int | str, own: dict[str, Any], settings: dict[str, Any]) -> Autoencoder:
    """Return the autoencoder of a variant's own parts; what the caller sets goes before them."""
    known = set(inspect.signature(Autoencoder).parameters)
    if unknown := sorted(set(settings) - known):
        raise SettingError(
            f"There is no setting {unknown[0]!r}: neither this variant has it (docs/catalogue.md) nor Autoencoder, "
            f"which has {', '.join(sorted(known))}."
        )
    return Autoencoder(latent_dim=latent_dim, **(own | settings))
