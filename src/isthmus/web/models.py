"""A model that is served: which verbs it has, and which call of the library each of them is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isthmus.apps.anomaly.detector import AnomalyDetector
from isthmus.apps.exporting.runtime import BESIDE, OnnxModel
from isthmus.apps.generation.walks import interpolate
from isthmus.apps.retrieval import Index
from isthmus.errors import ModelFileError, SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import few_at_once, rows_for_few
from isthmus.loading import load
from isthmus.web.answers import Answer, as_container

RUNTIMES = ("auto", "torch", "onnx")
VERBS = ("encode", "decode", "reconstruct", "score", "detect", "sample", "interpolate", "neighbours")
QUEUED = ("encode", "decode", "reconstruct", "score", "detect")
"""The verbs that answer row by row, so that requests can be computed together."""


@dataclass
class Served:
    """A fitted autoencoder or anomaly detector under the name it is served by, with the index of its rows, if any."""

    name: str
    model: Autoencoder | AnomalyDetector
    index: Index | None = None
    graph: OnnxModel | None = None
    """What computes encode, decode, reconstruct and score instead of torch."""
    few: int = 1
    """How many rows are computed at once."""
    example: Any = field(default=None, repr=False)
    """A row such as the model knows, for the documentation and to warm up with."""

    @classmethod
    def load(cls, name: str, path: Path, index: Path | None = None, runtime: str = "auto", threads: int = 1) -> Served:
        """Load a model folder, and the index and graph that belong to it."""
        if runtime not in RUNTIMES:
            raise SettingError(f"runtime={runtime!r} is not known; use one of {', '.join(RUNTIMES)}.")
        model = load(path)
        if not isinstance(model, (Autoencoder, AnomalyDetector)):
            raise ModelFileError(
                f"{path} holds a {type(model).__name__}; autoencoders and anomaly detectors can be served. An index goes "
                "with its model: --index FOLDER."
            )
        if index is not None and not isinstance(model, Autoencoder):
            raise SettingError(f"--index: {path} is a detector, and neighbours are found by an autoencoder.")
        served = cls(name, model, None if index is None else Index.load(index, model))  # pyright: ignore[reportArgumentType] - just checked
        served.graph = served._graph(path, runtime, threads)
        return served.prepared()

    def prepared(self) -> Served:
        """Find out how many rows to compute at once, and answer every verb once, so that no client waits for it."""
        self.example, model = self._some_row(), self.model
        heaviest = model.reconstruct if isinstance(model, Autoencoder) else model.anomaly_score
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.few = rows_for_few(lambda: heaviest(self.example))
        if self.graph is not None:
            self.graph.few = self.few
        for verb in set(self.verbs) & set(QUEUED):
            self.compute(verb, self.example_codes() if verb == "decode" else self.example)
        return self

    @property
    def kind(self) -> str:
        return "autoencoder" if isinstance(self.model, Autoencoder) else "detector"

    @property
    def verbs(self) -> tuple[str, ...]:
        if isinstance(self.model, AnomalyDetector):
            return ("score", "detect")
        return tuple(verb for verb in VERBS if verb != "detect" and (verb != "neighbours" or self.index is not None))

    @property
    def codec(self) -> Any:
        return self.model.codec_

    @property
    def columns(self) -> dict[str, pa.DataType] | None:
        """The columns of a table and their types; None where rows are arrays."""
        if self.codec.kind != "table":
            return None
        return {field.dress.name: field.column.type for field in self.codec.fields}

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a row that is an array, as it was given in training."""
        codec = self.codec
        shape = tuple(codec.layout.shape)
        if codec.kind != "images" or codec.axes == "nchw":
            return shape
        return shape[1:] if codec.axes == "nhw" else (*shape[1:], shape[0])

    @property
    def code_size(self) -> int:
        return self.model.code_size_ if isinstance(self.model, Autoencoder) else 0

    @property
    def is_conditional(self) -> bool:
        return isinstance(self.model, Autoencoder) and self.model.condition_ is not None

    # -- verbs ------------------------------------------------------------------------------------------------------

    def compute(self, verb: str, rows: Any, condition: Any = None) -> Any:
        """Answer a verb row by row: an array or table of as many rows, or a tuple of them."""
        with few_at_once(self.few), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._run_of(verb, condition)(rows)

    def answer(self, verb: str, found: Any) -> Answer:
        """Return what :meth:`compute` gave under the names of the API."""
        if verb == "encode":
            return Answer({"codes": found}, "codes", list(map(str, self.model.get_feature_names_out())))  # pyright: ignore[reportAttributeAccessIssue] - an autoencoder's verb
        if verb in ("decode", "reconstruct"):
            return Answer({"rows": found}, "rows")
        if verb == "score":
            return Answer({"score_samples": found}, "score_samples")
        scores, p_values, flagged = found
        return Answer({"anomaly_score": scores, "p_value": p_values, "flagged": flagged}, None)

    def sample(self, n: int, random_state: int | None, condition: Any) -> Answer:
        """Draw new rows."""
        with few_at_once(self.few):
            return Answer({"rows": as_container(self.model.sample(n, random_state, condition))}, "rows")  # pyright: ignore[reportAttributeAccessIssue]

    def interpolate(self, a: Any, b: Any, steps: int, path: str, condition: Any) -> Answer:
        """Walk from each row of ``a`` to that of ``b``."""
        with few_at_once(self.few):
            walk = interpolate(self.model, a, b, steps, path, condition)  # pyright: ignore[reportArgumentType] - names are checked there
        facts = {"paths": list(walk.paths), "places": walk.places, "codes": walk.codes}
        return Answer({"rows": as_container(walk.samples), **facts}, "rows")

    def neighbours(self, codes: np.ndarray, k: int) -> Answer:
        """Find the rows of the index whose codes are nearest."""
        assert self.index is not None, "without an index there is no such verb"
        found = self.index.query(codes=codes, k=k)
        return Answer(found.to_dict(), None, table=found.to_table())

    def _run_of(self, verb: str, condition: Any = None) -> Callable[[Any], Any]:
        model: Any = self.model
        if verb == "detect":
            return lambda rows: _verdicts(model, rows)
        if verb == "score" and self.kind == "detector":
            return model.score_samples
        by: Any = self.graph or model
        told = {} if condition is None else {"condition": condition}
        if verb == "encode":
            return lambda rows: by.transform(rows, **told)
        if verb == "decode":
            return lambda codes: as_container(by.inverse_transform(codes, **told))
        if verb == "reconstruct":
            return lambda rows: as_container(by.reconstruct(rows, **told))
        return lambda rows: by.score_samples(rows, **told)

    # -- loading ----------------------------------------------------------------------------------------------------

    def _graph(self, path: Path, runtime: str, threads: int) -> OnnxModel | None:
        """Return the graph exported beside the model; "auto" takes one that is there, fits and can be run."""
        if runtime == "torch" or not isinstance(self.model, Autoencoder):
            return None
        try:
            return OnnxModel(path / BESIDE, self.model, threads=threads)
        except (SettingError, ModelFileError):
            if runtime == "onnx":
                raise
            return None

    def _some_row(self) -> Any:
        """Return a row such as the model knows: what the mean of its codes stands for; a detector's has gaps alone."""
        if isinstance(self.model, Autoencoder):
            return as_container(self.model.inverse_transform(self.example_codes()))
        if self.columns is not None:
            return pa.table({name: pa.nulls(1, kind) for name, kind in self.columns.items()})
        return np.zeros((1, *self.sample_shape), self.codec.dtype)

    def example_codes(self) -> np.ndarray:
        """Return a code such as rows have, (1, latent)."""
        known = self.model.codes_.flatten(1).numpy()  # pyright: ignore[reportAttributeAccessIssue] - an autoencoder's
        return known.mean(0, keepdims=True) if len(known) else np.zeros((1, self.code_size), np.float32)


def _verdicts(detector: AnomalyDetector, rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return anomaly score, p-value and flag of each row; what ``predict`` and ``p_values`` say, with one scoring."""
    scores = detector.anomaly_score(rows)
    return scores, detector.calibration_.p_values(scores), scores > detector.threshold_
