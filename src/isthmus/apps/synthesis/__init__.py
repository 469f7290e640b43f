"""Synthetic tables: rows that could have stood in a table, drawn column by column, and how good they are."""

from __future__ import annotations

from isthmus.apps.synthesis.quality import Fidelity, SyntheticQuality, synthetic_quality
from isthmus.apps.synthesis.synthesizer import Synthesizer

__all__ = ["Fidelity", "Synthesizer", "SyntheticQuality", "synthetic_quality"]
