"""A short name for some rows, to recognise the data a model was fitted on."""

from __future__ import annotations

import hashlib
import math

import torch

from .rows import Rows

_MOST_ROWS = 1024
"""Hashing a spread of rows is enough to tell data sets apart, and costs the same for any number of them."""


def fingerprint(rows: Rows) -> str:
    """Return a hash of how many rows there are and of up to 1,024 of them, evenly spread; fewer when they are wide."""
    digest = hashlib.sha256(repr((len(rows), rows.shape)).encode())
    index = (
        torch.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS, max(16, 2**20 // math.prod(rows.shape))))
        .round()
        .long()
    )
    for values in rows.take(index):
        if values is not None:
            digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()
