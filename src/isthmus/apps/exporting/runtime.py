"""An exported graph at work: the verbs of the autoencoder, computed by onnxruntime."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus.apps.exporting.onnx import INSTALL, session
from isthmus.apps.retrieval.index import model_fingerprint
from isthmus.chunks import chunks
from isthmus.data.scaling import as_dtype
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.inference import FEW
from isthmus.inputs import check_input

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

BESIDE = "model.onnx"
"""What the graph is called in the folder of its model."""


class OnnxModel:
    """What ``export_onnx`` wrote of ``ae``, with the same verbs: arrays, images, volumes and windows in and out.

    Rows are computed ``few`` at a time, padded, so that no row's answer depends on the others. The input is checked by the
    model. Tables are left to it altogether: there the codec takes longer than the network.

    >>> OnnxModel("model/model.onnx", ist.load("model")).transform(X)  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], ae: Autoencoder, few: int = FEW, threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise SettingError(f"Running a graph needs onnxruntime; install it with: {INSTALL}") from error
        if ae.codec_.kind == "table":
            raise SettingError("A graph of a table takes its numbers as an array; load the model itself for tables.")
        if not Path(path).is_file():
            raise ModelFileError(f"There is no graph at {path}; write one with isthmus export MODEL --onnx.")
        try:
            self._session = session(os.fspath(path), threads)
        except Exception as error:  # onnxruntime raises kinds of its own
            raise ModelFileError(
                f"{path} is no ONNX graph that onnxruntime can read; export the model again."
            ) from error
        about = self._session.get_modelmeta().custom_metadata_map.get("isthmus")
        if about is None or json.loads(about)["model"] != model_fingerprint(ae):
            raise ModelFileError(f"{path} was not exported from this model as it is now; export it again.")
        self.ae, self.few = ae, few
        self._one = np.zeros((1, *json.loads(about)["sample"]), self._type())
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes of X, (n, latent)."""
        return self._of_rows("codes", X)

    def score_samples(self, X: Any) -> np.ndarray:
        """Return how normal each row is, (n,); higher is more normal."""
        return self._of_rows("score", X)

    def reconstruct(self, X: Any) -> np.ndarray:
        """Return X after its passage through the code."""
        return as_dtype(self._of_rows("reconstruction", X), self._dtype)

    def inverse_transform(self, Z: Any) -> np.ndarray:
        """Return the samples that codes (n, latent) stand for."""
        Z = np.asarray(Z, np.float32)
        width = self.ae.code_size_
        if Z.ndim != 2 or Z.shape[1] != width:
            raise SettingError(f"Codes of this model are (n, {width}), but these are {Z.shape}.")
        if not np.isfinite(Z).all():
            raise SettingError("The codes hold NaN or infinite values, which stand for no sample; remove those rows.")
        return as_dtype(self._run("decoded", "z", Z), self._dtype)

    @property
    def _dtype(self) -> np.dtype:
        codec: Any = self.ae.codec_
        return codec.dtype

    def _type(self) -> np.dtype:
        given = next(each for each in self._session.get_inputs() if each.name == "x")
        return np.dtype(np.float64 if given.type == "tensor(double)" else np.float32)

    def _of_rows(self, output: str, X: Any) -> np.ndarray:
        rows = np.asarray(check_input(self.ae, X, reset=False))
        if rows.shape[1:] != self._one.shape[1:]:
            raise DataError(f"The graph takes rows of the shape {self._one.shape[1:]}, but these are {rows.shape[1:]}.")
        if rows.dtype.kind == "f" and np.isinf(rows).any():
            raise DataError("X holds infinity; replace it by a number, or by NaN to call it a gap.")
        return self._run(output, "x", rows.astype(self._one.dtype, copy=False))

    def _run(self, output: str, name: str, given: np.ndarray) -> np.ndarray:
        found, feed = [], {"x": self._one}
        for place in chunks(len(given), self.few):
            rows = given[place]
            padded = np.zeros((self.few, *given.shape[1:]), given.dtype)
            padded[: len(rows)] = rows
            (answer,) = self._session.run([output], feed | {name: padded}, self._options)
            found.append(answer[: len(rows)])
        return np.concatenate(found)
