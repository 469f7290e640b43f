"""Filling gaps by a given autoencoder: reconstruct, put what came back into the gaps, and again, until nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from isthmus.data.codec import Codec
from isthmus.data.rows import DenseRows
from isthmus.errors import DataError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows
from isthmus.parts.reconstructions import cells_of

ROUNDS = 50
CLOSE = 1e-3
"""A round that moves no cell by more than this, in scaled units, is the last."""
HIDDEN, AS_GOOD = 0.1, 1.01
"""The share of known cells that are hidden to see after how many rounds they are filled best, and how near the least error is
as good: an autoencoder whose code is large gives back its own guesses, and round after round they drift."""


@dataclass(frozen=True, eq=False)
class Reconstructing:
    """A fitted autoencoder, used to fill gaps."""

    autoencoder: Autoencoder
    rounds: int = ROUNDS
    """At most so many; 0 fills in the mean, or the most frequent category, of the rows it was trained on."""

    @classmethod
    def of(cls, autoencoder: Any, X: Any) -> Reconstructing:
        """Check that the autoencoder can fill tables like ``X``, and see on hidden cells how many rounds are best."""
        if not isinstance(autoencoder, Autoencoder):
            raise SettingError(f"autoencoder={autoencoder!r} must be a fitted isthmus.Autoencoder, or None.")
        check_is_fitted(autoencoder)
        if autoencoder.codec_.kind not in ("table", "array"):
            raise SettingError(f"the autoencoder was fitted on {autoencoder.codec_.kind}; give one fitted on a table.")
        if autoencoder.condition_ is not None:
            raise SettingError("a conditional autoencoder cannot fill gaps; give one without a condition.")
        given, observed = autoencoder.codec_.encode(X).take(slice(None))  # other columns are refused here
        x = given.numpy()
        known = np.ones(x.shape, bool) if observed is None else observed.numpy()
        return cls(autoencoder, cls(autoencoder)._best_rounds(x, known))

    @property
    def codec(self) -> Codec:
        return self.autoencoder.codec_

    def fill(self, X: Any) -> Any:
        """Return ``X`` with every gap as reconstructed, on the way to a fixed point x = decoder(encoder(x)) on the gaps."""
        codec = self.codec
        given, observed = codec.encode(X).take(slice(None))
        if observed is None:
            raise DataError(
                "none of the gaps lies in a column that the autoencoder has learned; nothing can be filled."
            )
        hidden = self._without_flags(~observed.numpy())
        *_, x = islice(self._guesses(given.numpy(), hidden), self.rounds + 1)
        return codec.decode_as(x, X)

    def _guesses(self, given: np.ndarray, hidden: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the rows with their hidden numbers at the mean, and then round after round, until nothing moves."""
        model, flags = self.autoencoder.model_, self._flags()
        x = np.where(hidden, self.autoencoder.principal_.mean.numpy(), given)
        x[:, flags] = 0  # what is filled is no gap any more
        yield x
        x = np.where(hidden, 0, x)
        for _ in range(ROUNDS):
            again = map_rows(lambda batch: model.decoder(model.encoder(batch.x)), DenseRows(x), model)
            moved = float(np.abs(again - x)[hidden].max(initial=0))
            x = np.where(hidden, again, x)
            x[:, flags] = 0
            yield x
            if moved < CLOSE:
                return

    def _best_rounds(self, x: np.ndarray, known: np.ndarray) -> int:
        """Return after how many rounds hidden cells are filled best: the last that is as good as the best."""
        cells = cells_of(self.codec.layout.blocks)
        owner = np.arange(x.shape[1]) if cells is None else cells.numpy()
        drawn = np.random.default_rng(0).random((len(x), owner.max() + 1)) < HIDDEN
        tested = self._without_flags(drawn[:, owner] & known)
        if not tested.any():
            return ROUNDS
        hidden = self._without_flags(~known) | tested
        errors = [float(np.square(guess - x)[tested].mean()) for guess in self._guesses(np.where(hidden, 0, x), hidden)]
        if len(errors) <= ROUNDS and errors[-1] <= AS_GOOD * min(errors):
            return ROUNDS  # it has come to rest, and rests well
        return max(place for place, error in enumerate(errors) if error <= AS_GOOD * min(errors))

    def _without_flags(self, mask: np.ndarray) -> np.ndarray:
        mask = mask.copy()
        mask[:, self._flags()] = False
        return mask

    def _flags(self) -> list[int]:
        """Return the numbers that say where a gap is."""
        return [block.start for block in self.codec.layout.blocks if block.gap]
