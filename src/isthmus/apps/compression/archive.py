"""Reading .isth files: whole, by rows, chunk by chunk, as a stream; and saying what is damaged, by name.

Needs numpy, constriction and zstandard (pyarrow for tables); neither torch nor scikit-learn.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from isthmus.apps.compression import container
from isthmus.apps.compression.container import Head, Place
from isthmus.apps.compression.engines.engine import Engine
from isthmus.apps.compression.forms import ArrayForm, Form
from isthmus.apps.compression.preamble import Preamble
from isthmus.atomic import written_whole
from isthmus.errors import DataError

Source = str | Path | bytes | BinaryIO


class Archive:
    """An .isth file, open for reading: ``archive[100:200]`` decodes the chunks that hold those rows, and no others.

    Parameters
    ----------
    source : a path, bytes, or an open binary file.
    models : for files that name their model by its hash only: {hash: bytes}, as `models_in(folder)` returns.

    >>> with Archive("x.isth") as archive:  # doctest: +SKIP
    ...     archive[100:200]
    """

    def __init__(self, source: Source, models: Mapping[str, bytes] | None = None) -> None:
        self._opened = isinstance(source, (str, Path))
        if isinstance(source, (str, Path)):
            if not Path(source).is_file():
                raise DataError(f"there is no file {str(source)!r}; check the path.")
            self._stream: BinaryIO = open(source, "rb")  # noqa: SIM115 - closed by close
        else:
            self._stream = io.BytesIO(source) if isinstance(source, bytes) else source
        try:
            self._open(dict(models or {}))
        except BaseException:
            self.close()
            raise

    def _open(self, models: dict[str, bytes]) -> None:
        self.size = self._stream.seek(0, 2)
        self._stream.seek(0)
        self.header, self._identity = container.read_start(self._stream)
        preamble = Preamble(self.header, models)
        for named in preamble.expected:
            left = self.size - self._stream.tell()
            head = container.read_head(self._stream, self._identity, left, named)
            preamble.take(head, container.read_payload(self._stream, head))
        offset = self._stream.tell()
        self._first, self._preamble = offset, preamble
        self.form = preamble.form()
        self.index_problem: str | None = None
        try:
            self.places = self._read_index()
        except DataError as error:
            self.index_problem = str(error)
            self.places = self._walk()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._opened and hasattr(self, "_stream"):
            self._stream.close()

    def __len__(self) -> int:
        """Return how many rows there are."""
        return self.places[-1].first + self.places[-1].rows if self.places else 0

    def __getitem__(self, rows: int | slice) -> Any:
        """Return some rows as the user's kind of data; a number gives that row of an array."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step != 1:
                raise DataError(f"rows are read in steps of 1, not {step}; take every {step}th of what comes back.")
            return self.read(start, stop)
        place = rows + len(self) if rows < 0 else rows
        if not 0 <= place < len(self):
            raise IndexError(f"row {rows} of {len(self)}")
        found = self.read(place, place + 1)
        return found[0] if isinstance(found, np.ndarray) else found

    def read(self, start: int = 0, stop: int | None = None) -> Any:
        """Return rows ``start`` to ``stop``; an index that is damaged is an error here, for rows might be missing."""
        if self.index_problem is not None:
            raise DataError(f"{self.index_problem} `salvage` reads the chunks that are whole.")
        stop = len(self) if stop is None else min(stop, len(self))
        parts = [
            cut_part(part, max(start - place.first, 0), stop - place.first)
            for number, place in enumerate(self.places)
            if place.first < stop and place.first + place.rows > start
            for part in [self._part(number)]
        ]
        return self.form.join(parts)

    def chunks(self) -> Iterator[Any]:
        """Yield the user's data chunk by chunk."""
        for number in range(len(self.places)):
            yield self.form.join([self._part(number)])

    def to_npy(self, path: str | Path) -> bool:
        """Write the rows of an array to a .npy file chunk by chunk; False, and nothing written, if they are no plain array."""
        form = self.form
        if not isinstance(form, ArrayForm) or form.container != "array" or np.dtype(form.dtype).kind == "c":
            return False
        if self.index_problem is not None:
            raise DataError(f"{self.index_problem} `salvage` reads the chunks that are whole.")
        with written_whole(Path(path)) as temporary, open(temporary, "wb") as out:
            shape = (len(self), *form.shape)
            descr = np.lib.format.dtype_to_descr(np.dtype(form.dtype))
            np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
            for number in range(len(self.places)):
                out.write(np.ascontiguousarray(self._part(number)[0]).tobytes())
        return True

    def verify(self) -> list[str]:
        """Return what is wrong with the file, a sentence each, after decoding every chunk; an empty list if nothing is."""
        problems = [] if self.index_problem is None else [self.index_problem]
        for number in range(len(self.places)):
            try:
                self._part(number)
            except DataError as error:
                problems.append(str(error))
        return problems

    def salvage(self) -> tuple[Any, list[str]]:
        """Return the rows of all chunks that are whole, and what is wrong with the others."""
        problems = [] if self.index_problem is None else [self.index_problem]
        parts = []
        for number in range(len(self.places)):
            try:
                parts.append(self._part(number))
            except DataError as error:
                problems.append(str(error))
        return self.form.join(parts), problems

    def describe(self) -> dict[str, Any]:
        """Return the facts about the file as plain data; nothing is decoded."""
        engines: Counter[str] = Counter()
        for number in range(len(self.places)):
            try:
                head, packed = self._packed(number)
                values = head.rows * int(np.prod(self.form.shape))
                engines[container.unpack_chunk(packed, values).engine or "nothing"] += 1
            except DataError:
                engines["damaged"] += 1
        return {
            "bytes": self.size,
            "version": container.VERSION,
            "rows": len(self),
            "chunks": len(self.places),
            "engines": dict(engines),
            "models": self.header.get("models", {}),
            "form": self.form.to_json(),
            "index": self.index_problem or "whole",
        }

    def engines(self) -> dict[str, Engine]:
        """Return the learned engines that the file carries or was given."""
        return {name: self._preamble.engine(name, self.form) for name in self.header.get("models", {})}

    @property
    def identity(self) -> int:
        """What marks the records of this file."""
        return self._identity

    def _part(self, number: int) -> Any:
        head, packed = self._packed(number)
        return self._preamble.part(self.form, head, packed)

    def _packed(self, number: int) -> tuple[Head, bytes]:
        place = self.places[number]
        named = f"chunk {number} (rows {place.first:,} to {place.first + place.rows:,})"
        self._stream.seek(place.offset)
        head = container.read_head(self._stream, self._identity, self.size - place.offset, named)
        if (head.kind, head.number, head.first, head.rows) != (b"CHNK", number, place.first, place.rows):
            raise DataError(f"{named} is not where the index says: {head.named} stands there.")
        return head, container.read_payload(self._stream, head)

    def _read_index(self) -> list[Place]:
        self._stream.seek(max(0, self.size - container.END_SIZE))
        offset = container.index_offset(self._stream.read(container.END_SIZE), self._identity)
        if offset + container.HEAD_SIZE > self.size:
            raise DataError("the index is damaged: it is said to begin beyond the end.")
        self._stream.seek(offset)
        head = container.read_head(self._stream, self._identity, self.size - offset, "the index")
        if head.kind != b"INDX":
            raise DataError("the index is damaged: another record stands in its place.")
        return container.unpack_index(container.read_payload(self._stream, head))

    def _walk(self) -> list[Place]:
        """Return the chunks up to the first place where records no longer follow one another."""
        places: list[Place] = []
        offset = self._first
        while offset < self.size:
            self._stream.seek(offset)
            try:
                head = container.read_head(self._stream, self._identity, self.size - offset, f"chunk {len(places)}")
            except DataError as error:
                self.index_problem = f"{self.index_problem} Besides, {error}"
                break
            if head.kind == b"CHNK" and head.number == len(places):
                places.append(Place(offset, head.first, head.rows))
            offset += container.HEAD_SIZE + head.length
        return places


def stream(source: BinaryIO, models: Mapping[str, bytes] | None = None) -> Iterator[Any]:
    """Yield the user's data chunk by chunk from a file that can only be read forward: a pipe, a download."""
    header, identity = container.read_start(source)
    preamble = Preamble(header, models or {})
    form: Form | None = None
    number = first = 0
    is_whole = False
    while True:
        beginning = source.read(container.HEAD_SIZE)
        if not beginning and is_whole:
            return
        head = container.read_head(io.BytesIO(beginning), identity, None, f"chunk {number}")
        payload = container.read_payload(source, head)
        if head.kind == b"CHNK":
            if (head.number, head.first) != (number, first):
                raise DataError(f"{head.named} stands where chunk {number} should.")
            form = form or preamble.form()
            yield form.join([preamble.part(form, head, payload)])
            number, first = number + 1, first + head.rows
        elif head.kind == b"INDX":
            is_whole = len(container.unpack_index(payload)) == number  # more may have been appended
        else:
            preamble.take(head, payload)


def decompress(source: Source, models: Mapping[str, bytes] | None = None) -> Any:
    """Return the data of an .isth file: the same kind of container, dtypes, columns and names that went in.

    >>> decompress("x.isth")  # doctest: +SKIP
    """
    with Archive(source, models) as archive:
        return archive.read()


def cut_part(part: Any, start: int, stop: int) -> Any:
    """Return some rows of a part: of each column of a table, of the values and names of an array."""
    if isinstance(part, list):
        return [column[start : max(stop, 0)] for column in part]
    values, names = part
    return values[start:stop], names[start:stop]
