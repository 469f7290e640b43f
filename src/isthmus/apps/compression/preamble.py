"""What stands before the chunks of a file: the form of its data, and its models; with these a chunk becomes values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from isthmus.apps.compression import container, squeezing
from isthmus.apps.compression.chunks import Model, decoded
from isthmus.apps.compression.container import Head
from isthmus.apps.compression.engines.engine import CLASSICAL, Engine, engine_class
from isthmus.apps.compression.forms import Form, form_from
from isthmus.errors import DataError

_MOST_SCHEMA = 1 << 28


class Preamble:
    """What stands before the chunks: the form of the data, and the models."""

    def __init__(self, header: dict[str, Any], given: Mapping[str, bytes]) -> None:
        self.header, self._state = header, header.get("form")
        self._models = {}
        self._engines: dict[str, Engine] = {}
        for name, model in self._listed().items():
            if model.get("sha256") in given:
                self._models[name] = given[model["sha256"]]

    def _listed(self) -> dict[str, Any]:
        models = self.header.get("models", {})
        if not isinstance(models, dict) or not all(isinstance(model, dict) for model in models.values()):
            raise DataError("the header describes its models in no known way.")
        return models

    @property
    def expected(self) -> list[str]:
        """The records that stand before the first chunk, as errors call them."""
        schema = ["the schema"] if isinstance(self._state, dict) and self._state.get("form") == "table" else []
        carried = sum(bool(model.get("embedded")) for model in self._listed().values())
        return schema + [f"model {number}" for number in range(carried)]

    def take(self, head: Head, payload: bytes) -> None:
        """Take up a record that is no chunk."""
        if head.kind == b"SCHM":
            try:
                self._state = json.loads(squeezing.sized(payload, _MOST_SCHEMA))
            except ValueError as error:
                raise DataError(f"the schema cannot be read: {error}") from error
        elif head.kind == b"MODL":
            name = payload[1 : 1 + payload[0]].decode("ascii", "replace") if payload else ""
            model = Model(name, payload[1 + len(name) :])
            if self._listed().get(name, {}).get("sha256") != model.hash:
                raise DataError(f"{head.named} is not the one that the header names.")
            self._models[name] = model.data
        else:
            raise DataError(f"{head.named} stands where the schema or a model should.")

    def form(self) -> Form:
        """Return the form of the data."""
        if not isinstance(self._state, dict):
            raise DataError("the header does not say what the data are.")
        return form_from(self._state)

    def engine(self, name: str, form: Form) -> Engine:
        """Return an engine by its name, made when it is first asked for."""
        if name not in self._engines:
            kind = engine_class(name)
            if name in CLASSICAL:
                self._engines[name] = kind(form.shape)
            elif name in self._models:
                self._engines[name] = kind.from_bytes(self._models[name])
            else:
                sign = self._listed().get(name, {}).get("sha256", "")
                raise DataError(
                    f"its model {name!r} ({sign[:12]}) is not in the file; give the model it was written with (-m)."
                )
        return self._engines[name]

    def part(self, form: Form, head: Head, packed: bytes) -> Any:
        """Return the values of a chunk; whatever is wrong with it is said under its name."""
        try:
            chunk = container.unpack_chunk(packed, head.rows * int(np.prod(form.shape)))
            engine = self.engine(chunk.engine, form) if chunk.engine else None
            values = decoded(form, engine, head.rows, packed)
            digest = form.digest(values)
        except (DataError, ValueError, IndexError, KeyError, OverflowError) as error:
            raise DataError(f"{head.named} cannot be decoded: {error}") from error
        if digest != chunk.digest:
            raise DataError(f"{head.named} was decoded to other values than were written: their checksum does not fit.")
        return values
