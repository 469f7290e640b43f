"""One chunk of a store <-> bytes: what the codecs of all stores have in common, and the settings that a store keeps of it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from isthmus.apps.compression import fleet
from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.bounds import Bound
from isthmus.errors import SettingError

NAME = "isthmus"
"""The name under which stores find the codec."""
_BOUNDS = ("abs", "pointwise_rel")


class ChunkCoder:
    """Write every chunk by classical engines under a bound, or by a fitted compressor whose models the store only names.

    Parameters
    ----------
    abs, pointwise_rel : the bound, lossless if neither is given. A share of the range would differ from chunk to chunk: for
        that, fit a compressor.
    effort : "quick", "default" or "thorough".
    compressor : fitted, to arrays of the shape of a chunk but for its first axis.
    models : hashes of the models of a compressor, as a store keeps them; readers and writers find them in the folders given to
        ``fleet.register_models`` or listed in the environment variable ISTHMUS_MODELS.
    """

    def __init__(
        self,
        abs: float | None = None,
        pointwise_rel: float | None = None,
        effort: str = "default",
        compressor: Any = None,
        models: tuple[str, ...] = (),
    ) -> None:
        given = {"abs": abs, "pointwise_rel": pointwise_rel}
        self.bound: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        for name, value in self.bound.items():
            Bound(name, value)  # pyright: ignore[reportArgumentType] - to say at once what is wrong with it
        if len(self.bound) + (compressor is not None) > 1:
            raise SettingError("abs, pointwise_rel and a compressor, which has its own bound, exclude each other.")
        self.effort, self.compressor = effort, compressor
        self.models = tuple(models) if compressor is None else tuple(sorted(compressor.models_))

    def encode(self, array: np.ndarray) -> bytes:
        """Return a chunk as bytes."""
        data = self._writer(array).compress(array)
        assert isinstance(data, bytes)
        return data

    def decode(self, data: bytes) -> np.ndarray:
        """Return the chunk; damage is a DataError."""
        given = fleet.known_models() if self.compressor is None else self.compressor.models_
        with Archive(data, given) as archive:
            return archive.read()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data; what is as usual is left out."""
        effort = {"effort": self.effort} if self.effort != "default" else {}
        return self.bound | effort | ({"models": list(self.models)} if self.models else {})

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Self:
        """Rebuild what ``to_dict`` described."""
        stray = sorted(set(settings) - {*_BOUNDS, "effort", "models"})
        if stray:
            raise SettingError(f"the codec {NAME!r} knows no {', '.join(stray)}; update isthmus.")
        return cls(**settings)

    def _writer(self, array: np.ndarray) -> Any:
        from isthmus.apps.compression.compressor import Compressor  # readers need neither it nor torch

        if self.compressor is None and self.models:
            self.compressor = fleet.compressor_of(self.models)
        if self.compressor is None:
            return Compressor(**self.bound, engines="classical", effort=self.effort).fit(array)
        writer = Compressor(embed=False)  # each chunk has its own account: stores write from many threads
        writer.form_, writer.engines_ = self.compressor.form_, self.compressor.engines_
        return writer
