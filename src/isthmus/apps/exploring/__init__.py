"""A fitted autoencoder and some rows, laid open: map, decoding, walks, samples, odd rows, neighbours, health."""

from __future__ import annotations

from isthmus.apps.exploring.exploration import Exploration
from isthmus.apps.exploring.oddities import Oddities
from isthmus.apps.exploring.previews import Preview

__all__ = ["Exploration", "Oddities", "Preview"]
