"""The contract of every codec: containers the user knows <-> float32 samples a network can learn from."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..layout import Layout
from .rows import Rows


class Codec(Protocol):
    """What was learned about one data set, so that new data is encoded alike and every result finds its way back."""

    @property
    def kind(self) -> str:
        """ "table", "array", "images", "volumes" or "series"."""
        ...

    @property
    def layout(self) -> Layout:
        """Shape, and for tables the meaning, of one encoded sample."""
        ...

    @property
    def feature_names(self) -> list[str] | None:
        """Column names of a table; None for everything else."""
        ...

    @property
    def notes(self) -> list[str]:
        """One plain sentence for each stated rule that was applied to the data."""
        ...

    @property
    def leaks(self) -> list[str]:
        """Columns that look like identifiers and were kept out."""
        ...

    def encode(self, X: Any) -> Rows:
        """Return the samples of X, held encoded: for many passes."""
        ...

    def view(self, X: Any) -> Rows:
        """Return the samples of X, encoded when they are taken where that can be: for one pass."""
        ...

    def decode(self, x: np.ndarray) -> Any: ...
    def decode_as(self, x: np.ndarray, template: Any) -> Any: ...
    def to_json(self) -> dict[str, Any]: ...
    def arrays(self) -> dict[str, np.ndarray]: ...
