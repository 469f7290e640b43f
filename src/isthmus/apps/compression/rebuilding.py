"""A saved compressor back from its folder; apart from it, so that compressing imports no torch."""

from __future__ import annotations

from isthmus import persistence
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.saving import restore


def _rebuild(saved: persistence.Saved) -> Compressor:
    compressor = Compressor(**saved.config["params"])
    restore(compressor, saved)
    return compressor


persistence.register("compressor", _rebuild)
