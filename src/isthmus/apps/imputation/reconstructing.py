"""Filling gaps by a given autoencoder: reconstruct, put what came back into the gaps, and again, until nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus.data.codec import Codec
from isthmus.data.rows import DenseRows
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows

ROUNDS = 50
CLOSE = 1e-3
"""A round that moves no cell by more than this, in scaled units, is the last."""


@dataclass(frozen=True, eq=False)
class Reconstructing:
    """A fitted autoencoder, used to fill gaps."""

    autoencoder: Autoencoder

    @classmethod
    def of(cls, autoencoder: Any, X: Any) -> Reconstructing:
        """Check that the autoencoder can fill tables like ``X``."""
        if not isinstance(autoencoder, Autoencoder):
            raise SettingError(f"autoencoder={autoencoder!r} must be a fitted isthmus.Autoencoder, or None.")
        check_is_fitted(autoencoder)
        if autoencoder.codec_.kind not in ("table", "array"):
            raise SettingError(f"the autoencoder was fitted on {autoencoder.codec_.kind}; give one fitted on a table.")
        if autoencoder.condition_ is not None:
            raise SettingError("a conditional autoencoder cannot fill gaps; give one without a condition.")
        autoencoder.codec_.encode(X)  # other columns are refused here
        return cls(autoencoder)

    @property
    def codec(self) -> Codec:
        return self.autoencoder.codec_

    def fill(self, X: Any) -> Any:
        """Return ``X`` with every gap as reconstructed: a fixed point x = decoder(encoder(x)) on the gaps."""
        codec, model = self.codec, self.autoencoder.model_
        given, observed = codec.encode(X).take(slice(None))
        if observed is None:
            raise DataError(
                "none of the gaps lies in a column that the autoencoder has learned; nothing can be filled."
            )
        x = given.numpy().copy()
        flags = [block.start for block in codec.layout.blocks if block.gap]
        hidden = ~observed.numpy()
        hidden[:, flags] = False
        for _ in range(ROUNDS):
            again = map_rows(lambda batch: model.decoder(model.encoder(batch.x)), DenseRows(x), model)
            moved = float(np.abs(again - x)[hidden].max(initial=0))
            x = np.where(hidden, again, x)
            x[:, flags] = 0  # what is filled is no gap any more
            if moved < CLOSE:
                break
        return codec.decode_as(x, X)
