"""Rows to chunks to a file: every engine bids for every chunk, models enter where they pay, and what is written is proved.

data -- cut --> parts -- bids of all engines --> spool on disk -- admit models --> decode, compare --> .isth
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from isthmus.apps.compression import container, squeezing
from isthmus.apps.compression.accounting import Account
from isthmus.apps.compression.chunks import Model, decoded
from isthmus.apps.compression.container import Chunk, Place
from isthmus.apps.compression.engines.engine import CLASSICAL, LEARNED, Engine, UnsuitedError
from isthmus.apps.compression.forms import MOST_VALUES, Distance, Form
from isthmus.errors import DataError, DataWarning, SettingError

CHUNK_VALUES = 1 << 22
"""The most values of a chunk, by default: 4 MB of pixels, 16 MB of float32."""
_IN_MEMORY = 1 << 22


@dataclass(frozen=True)
class Bid:
    """What one engine makes of a chunk: where its bytes wait, and how many they are."""

    engine: str
    offset: int
    size: int
    distance: Distance | None = None


class _Offer(NamedTuple):
    """What an engine made of a chunk, before it is put by."""

    engine: str
    packed: bytes
    distance: Distance | None


@dataclass
class Lot:
    """A chunk before it is decided who codes it."""

    first: int
    rows: int
    raw: int
    values: int
    bids: list[Bid] = field(default_factory=list)


def chunk_rows(form: Form, chunk_values: int) -> int:
    """Return how many rows make a chunk; a row must fit into one."""
    size = max(1, int(np.prod(form.shape)))
    if not 0 < chunk_values <= MOST_VALUES:
        raise SettingError(f"chunk_values={chunk_values} must lie between 1 and {MOST_VALUES:,}; try {CHUNK_VALUES:,}.")
    if size > MOST_VALUES:
        raise DataError(
            f"a row holds {size:,} values, more than a chunk may ({MOST_VALUES:,}); reshape it to more rows."
        )
    return max(1, chunk_values // size)


def cut(form: Form, data: Any, rows: int) -> Iterator[tuple[int, Any]]:
    """Yield the parts of data that lie in memory (or behind a memory map), with how many rows each has."""
    total = form.length(data)
    for start in range(0, total, rows):
        stop = min(start + rows, total)
        yield stop - start, form.part(data, start, stop)


class Writer:
    """Collect the bids of engines for chunks in bounded memory, then write the file."""

    def __init__(
        self, form: Form, engines: Mapping[str, Engine], embed: bool = True, first: int = 0, known: Iterable[str] = ()
    ):
        self.form, self.engines, self.embed, self._next = form, engines, embed, first
        self.known = frozenset(known)
        """Learned engines whose model the file has already."""
        self.lots: list[Lot] = []
        self._spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by close

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, rows: int, part: Any) -> None:
        """Let every engine bid for a chunk; the best classical one stays in, for all learned ones may fail."""
        X, extras = self.form.whole(part)
        lot = Lot(self._next, rows, self.form.size(part), X.size)
        self._next += rows
        best: _Offer | None = None
        for name, engine in self.engines.items() if X.size else ():
            try:
                payload, again = engine.encode(X, self.form.stride)
            except UnsuitedError:
                continue
            offer = self._offer(part, X, name, payload, again, extras)
            if name in LEARNED:
                lot.bids.append(self._spooled(offer))
            elif best is None or len(offer.packed) < len(best.packed):
                best = offer
        if best is None and not lot.bids:
            best = self._offer(part, X, "", b"", X, extras)
        lot.bids += [self._spooled(best)] if best else []
        self.lots.append(lot)

    def _offer(self, part: Any, X: np.ndarray, name: str, payload: bytes, again: np.ndarray, extras: Any) -> _Offer:
        settled = self.form.settle(part, X, again, extras)
        values = self.form.values(again, settled)
        chunk = Chunk(name, payload, container.pack_extras(settled), self.form.digest(values))
        return _Offer(name, container.pack_chunk(chunk, X.size), self.form.distance(part, values))

    def _spooled(self, offer: _Offer) -> Bid:
        offset = self._spool.seek(0, 2)
        self._spool.write(offer.packed)
        return Bid(offer.engine, offset, len(offer.packed), offer.distance)

    def admitted(self, models: Mapping[str, Model]) -> frozenset[str]:
        """Return the learned engines that together, their models included, make the file smallest."""
        names = [name for name in models if any(bid.engine == name for lot in self.lots for bid in lot.bids)]
        free = {name for name in names if name in self.known or not self.embed}

        def total(chosen: frozenset[str]) -> int:
            sizes = (min((bid.size for bid in lot.bids if _allowed(bid, chosen)), default=1 << 60) for lot in self.lots)
            carried = sum(len(models[name].record) + container.HEAD_SIZE for name in chosen - free)
            return sum(sizes) + carried

        subsets = chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
        return min(map(frozenset, subsets), key=total)

    def write(self, stream: BinaryIO) -> Account:
        """Write a whole file."""
        models = {name: Model(name, engine.to_bytes()) for name, engine in self.engines.items() if name in LEARNED}
        chosen = self.admitted(models)
        state = self.form.to_json()
        schema = squeezing.with_size(container.canonical(state)) if state["form"] == "table" else b""
        header = {
            "format": "isth",
            "form": {"form": "table"} if schema else state,
            "models": {
                name: {"sha256": models[name].hash, "bytes": len(models[name].data), "embedded": self.embed}
                for name in sorted(chosen)
            },
        }
        begin, identity = container.start(header)
        account = Account(header=len(begin))
        stream.write(begin)
        records = [container.record(b"SCHM", 0, schema, identity)] if schema else []
        records += [
            container.record(b"MODL", number, models[name].record, identity)
            for number, name in enumerate(sorted(chosen) if self.embed else ())
        ]
        for each in records:
            stream.write(each)
        account.schema = len(records[0]) if schema else 0
        account.model = sum(map(len, records)) - account.schema
        account.model_not_embedded = 0 if self.embed else sum(len(models[name].data) for name in chosen)
        offset = len(begin) + sum(map(len, records))
        self.write_chunks(stream, offset, identity, chosen, [], account)
        return account

    def write_chunks(
        self,
        stream: BinaryIO,
        offset: int,
        identity: int,
        chosen: frozenset[str],
        places: list[Place],
        account: Account,
    ) -> None:
        """Write the chunks and the index of ``places`` that are there already and those, each proved before."""
        places = list(places)
        for lot in self.lots:
            bid, packed = self._proved(lot, chosen)
            written = container.record(b"CHNK", len(places), packed, identity, lot.first, lot.rows)
            stream.write(written)
            places.append(Place(offset, lot.first, lot.rows))
            offset += len(written)
            account.add(lot, bid, packed, container.unpack_chunk(packed, lot.values))
        index = container.pack_index(places, offset, identity)
        stream.write(index)
        account.index += len(index)
        account.rows = sum(lot.rows for lot in self.lots)

    def _proved(self, lot: Lot, chosen: frozenset[str]) -> tuple[Bid, bytes]:
        """Return the smallest bid of a chunk that decodes to what it promised."""
        for bid in sorted((bid for bid in lot.bids if _allowed(bid, chosen)), key=lambda bid: bid.size):
            self._spool.seek(bid.offset)
            packed = self._spool.read(bid.size)
            try:
                values = decoded(self.form, self.engines.get(bid.engine), lot.rows, packed)
                if self.form.digest(values) == container.unpack_chunk(packed, lot.values).digest:
                    return bid, packed
            except DataError:
                pass
            warnings.warn(
                f"the engine {bid.engine!r} did not give back rows {lot.first:,} to {lot.first + lot.rows:,}; another coded "
                "them. Please report this.",
                DataWarning,
                stacklevel=4,
            )
        raise DataError(f"no engine gave back rows {lot.first:,} to {lot.first + lot.rows:,}; nothing was written.")


def _allowed(bid: Bid, chosen: frozenset[str]) -> bool:
    return bid.engine in chosen or bid.engine in CLASSICAL or bid.engine == ""
