"""The compressor: learn how to code data of one kind, write files that are truly smaller, and say what they cost."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from isthmus.apps.compression.accounting import Account
from isthmus.apps.compression.archive import Archive, Source
from isthmus.apps.compression.bounds import Bound
from isthmus.apps.compression.chunks import Model
from isthmus.apps.compression.engines.engine import CLASSICAL, LEARNED, Engine, engine_class
from isthmus.apps.compression.forms import Form, form_of
from isthmus.apps.compression.peers import Comparison, compare
from isthmus.apps.compression.writing import CHUNK_VALUES, Writer, chunk_rows, cut
from isthmus.atomic import written_whole
from isthmus.errors import DataError, SettingError

_LEARN_FROM = 1 << 26
"""Engines learn from at most so many values: blocks of rows, evenly spread."""
_SAMPLE = 1 << 18
"""Classical engines look at so many, to choose their filters."""
_BLOCKS = 16
_EFFORTS = ("quick", "default", "thorough")


class Compressor(BaseEstimator):
    """Compress arrays, tables, pictures and series, losslessly or within a bound that holds for every value.

    Parameters
    ----------
    lossless : the default, where no bound is given: every bit comes back.
    abs : the largest error of any value; for tables also {column: error}, other columns stay exact.
    rel : the same, as a share of the range of what was fitted (of each column of a table).
    pointwise_rel : the largest error of a float as a share of itself; zeros and whole numbers stay exact.
    latent : codes alone: the smallest file, no bound; ``account_`` and the documentation say what is lost.
    engines : "auto", "classical" (no model is learned), or names of engines.
    effort : "quick", "default" or "thorough": how long to learn and to search.
    embed : whether a file carries its model; otherwise it names it by its hash, and readers need the saved compressor.
    chunk_values : how many values a chunk has at most; memory is in proportion.
    random_state : the seed.

    Attributes
    ----------
    form_ : how the data are whole numbers. engines_ : those that were learned. account_ : what the last file cost.

    >>> compressor = Compressor(engines="classical").fit(np.arange(1000))
    >>> data = compressor.compress(np.arange(1000))
    >>> len(data) < 500, bool((compressor.decompress(data) == np.arange(1000)).all())
    (True, True)
    """

    def __init__(
        self,
        lossless: bool | None = None,
        abs: float | Mapping[str, float] | None = None,
        rel: float | Mapping[str, float] | None = None,
        pointwise_rel: float | None = None,
        latent: bool = False,
        engines: str | Iterable[str] = "auto",
        effort: str = "default",
        embed: bool = True,
        chunk_values: int = CHUNK_VALUES,
        random_state: Any = None,
    ) -> None:
        self.lossless = lossless
        self.abs = abs
        self.rel = rel
        self.pointwise_rel = pointwise_rel
        self.latent = latent
        self.engines = engines
        self.effort = effort
        self.embed = embed
        self.chunk_values = chunk_values
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn how to code data like ``X``: an array, table, Images or Series."""
        form = form_of(X, self._bound())
        names = self._names()
        X_whole = self._integers(form, X)
        seed = self.random_state
        seed = int(np.random.RandomState(seed).randint(2**31)) if not isinstance(seed, Integral) else int(seed)
        self.engines_: dict[str, Engine] = {}
        for name in names if X_whole.size else ():
            engine = engine_class(name).learn(X_whole, form.stride, seed, self.effort)
            if engine is not None:
                self.engines_[name] = engine
        if self.latent and X_whole.size and not self.engines_:
            raise DataError(
                "latent=True is for at least 100 pictures or series, 50,000 values together; these data have no code that "
                "would stand for them. Give a bound instead: abs=, rel= or pointwise_rel=."
            )
        for name in () if self.latent else CLASSICAL:
            self.engines_.setdefault(name, engine_class(name)(form.shape))
        self.form_, self.seed_ = form, seed
        return self

    def compress(self, X: Any, to: str | Path | None = None) -> bytes | Account:
        """Return ``X`` compressed, or write it to the file ``to`` and return what that cost; fits first if need be.

        Every chunk is decoded and compared before it is written.
        """
        if not hasattr(self, "form_"):
            self.fit(X)
        parts = cut(self.form_, X, chunk_rows(self.form_, self.chunk_values))
        return self._write(parts, to)

    def compress_stream(self, pieces: Iterable[Any], to: str | Path) -> Account:
        """Write data that come piece by piece (of the kind that was fitted) to a file; memory holds one chunk at a time."""
        check_is_fitted(self, "form_")
        rows = chunk_rows(self.form_, self.chunk_values)
        account = self._write((part for piece in pieces for part in cut(self.form_, piece, rows)), to)
        assert isinstance(account, Account)
        return account

    def append(self, X: Any, to: str | Path) -> Account:
        """Add rows to a file of the same form; what is there is not touched but by a new index at the end."""
        with Archive(to, self.models_) as archive:
            if archive.index_problem is not None:
                raise DataError(f"{archive.index_problem} Nothing is appended to a damaged file.")
            form, places, identity, size = archive.form, archive.places, archive.identity, archive.size
            first, carried = len(archive), archive.engines()
        engines = carried | {name: engine_class(name)(form.shape) for name in CLASSICAL}
        with Writer(form, engines, first=first, known=carried) as writer:
            for rows, part in cut(form, X, chunk_rows(form, self.chunk_values)):
                writer.add(rows, part)
            self.account_ = Account()
            with open(to, "r+b") as stream:
                stream.seek(size)
                try:
                    writer.write_chunks(stream, size, identity, frozenset(carried), places, self.account_)
                except BaseException:
                    stream.truncate(size)
                    raise
        return self.account_

    def decompress(self, source: Source) -> Any:
        """Return the data of a file or bytes; models that it only names are taken from this compressor."""
        with Archive(source, self.models_) as archive:
            return archive.read()

    def compare(self, X: Any) -> Comparison:
        """Show what other codecs make of ``X`` under the same bound: whichever are installed (extra "compare")."""
        bound = self._bound()
        return compare(X, bound if isinstance(bound, Bound) else Bound(), len(self._bytes(X)))

    def _bytes(self, X: Any) -> bytes:
        data = self.compress(X)
        assert isinstance(data, bytes)
        return data

    @property
    def models_(self) -> dict[str, bytes]:
        """The models of the learned engines, by their hash."""
        learned = {name: engine for name, engine in getattr(self, "engines_", {}).items() if name in LEARNED}
        return {(model := Model(name, engine.to_bytes())).hash: model.data for name, engine in learned.items()}

    def save(self, path: str | Path) -> None:
        """Save what was learned as a model folder; files that name the model by its hash are read with it."""
        check_is_fitted(self, "form_")
        from isthmus import persistence  # it imports torch, which compressing does not need
        from isthmus.apps.compression.saving import to_saved

        persistence.write(to_saved(self), path)

    def _write(self, parts: Iterable[tuple[int, Any]], to: str | Path | None) -> bytes | Account:
        with Writer(self.form_, self.engines_, self.embed) as writer:
            for rows, part in parts:
                writer.add(rows, part)
            if to is None:
                buffer = io.BytesIO()
                self.account_ = writer.write(buffer)
                return buffer.getvalue()
            with written_whole(Path(to)) as temporary, open(temporary, "wb") as stream:
                self.account_ = writer.write(stream)
            return self.account_

    def _bound(self) -> Bound | dict[str, Bound]:
        given = {name: getattr(self, name) for name in ("abs", "rel", "pointwise_rel")}
        given = {name: value for name, value in given.items() if value is not None}
        asked = [*given, *(["latent"] if self.latent else []), *(["lossless"] if self.lossless else [])]
        if len(asked) > 1:
            raise SettingError(f"{' and '.join(asked)} exclude each other; give one of them.")
        if self.lossless is False and not asked:
            raise SettingError("lossless=False says no bound; give abs=, rel=, pointwise_rel= or latent=True.")
        if self.latent:
            return Bound("latent")
        for name, value in given.items():
            if isinstance(value, Mapping):
                return {str(column): Bound(name, each) for column, each in value.items()}  # pyright: ignore[reportArgumentType]
            return Bound(name, value)  # pyright: ignore[reportArgumentType]
        return Bound()

    def _names(self) -> list[str]:
        """Return the engines that are to be learned."""
        if self.effort not in _EFFORTS:
            raise SettingError(f"effort={self.effort!r} must be one of {', '.join(_EFFORTS)}.")
        if self.latent:
            if "latent" not in LEARNED:
                raise SettingError(
                    "latent=True needs the engine 'latent', which this version has not; give a bound instead."
                )
            return ["latent"]
        if self.engines == "auto":
            return [*CLASSICAL, *LEARNED]
        asked = [self.engines] if isinstance(self.engines, str) else list(self.engines)
        for name in asked:
            if name not in CLASSICAL and name not in LEARNED:
                raise SettingError(f"engines: {name!r} is none of {', '.join(['auto', *CLASSICAL, *LEARNED])}.")
        return list(dict.fromkeys([*CLASSICAL, *asked]))

    def _integers(self, form: Form, X: Any) -> np.ndarray:
        """Return what engines learn from: all rows, or blocks of them."""
        total = form.length(X)
        most = _LEARN_FROM if any(name in LEARNED for name in self._names()) else _SAMPLE
        most = max(1, most // max(1, int(np.prod(form.shape))))
        if total <= most:
            return form.whole(form.part(X, 0, total))[0]
        block = max(1, most // _BLOCKS)
        starts = np.linspace(0, total - block, min(_BLOCKS, most)).astype(int)
        return np.concatenate([form.whole(form.part(X, int(start), int(start) + block))[0] for start in starts])
