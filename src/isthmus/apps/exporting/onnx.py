"""`export_onnx`: a fitted autoencoder as one ONNX file, checked against torch before it is kept."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from isthmus import persistence
from isthmus.apps.exporting.graph import INPUTS, OPSET, OUTPUTS, Graph
from isthmus.apps.retrieval.index import model_fingerprint
from isthmus.atomic import written_whole
from isthmus.errors import SettingError

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

CHECKED = (1, 7, 256)
"""The batches at which the graph must agree with torch."""
TOLERANCE = 1e-5
"""How far an answer may be from that of torch: rows in scaled units, codes in their spread, larger numbers relatively."""
_MISSING = 0.05
"""The share of numbers that are gaps in the rows it is checked on."""
INSTALL = 'pip install "isthmus[onnx]"'


@dataclass(frozen=True)
class Exported:
    """Where the graph is, and how well it agrees."""

    path: Path
    opset: int
    sample: tuple[int, ...]
    """The shape of one row of ``x``."""
    latent: int
    differences: dict[str, float]
    """The largest difference from torch of each output, in scaled units, relative to numbers larger than 1."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "path": str(self.path),
            "opset": self.opset,
            "sample": list(self.sample),
            "latent": self.latent,
            "differences": self.differences,
        }


def export_onnx(ae: Autoencoder, path: str | os.PathLike[str]) -> Exported:
    """Write ``ae`` as one ONNX graph with a free batch size, and return how well it agrees with torch.

    Inputs: ``x`` (rows, \\*sample) in the units of the training data, NaN at gaps; ``z`` (codes, latent), one code of zeros
    unless given. Outputs: ``codes``, ``reconstruction``, ``score`` of x and ``decoded`` of z. onnxruntime computes what is
    asked for alone with the run option ``only_execute_path_to_fetches``.

    >>> ist.export_onnx(ae, "model.onnx")  # doctest: +SKIP
    """
    check_is_fitted(ae)
    _require_packages()
    graph, path = copy.deepcopy(Graph(ae)).cpu().eval(), Path(path)
    content = _written(graph, {"isthmus": json.dumps(_about(ae, graph))})
    differences = _checked(content, ae, graph)
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return Exported(path, OPSET, graph.numbers.sample, graph.latent, differences)


def _require_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SettingError(f"Exporting needs {error.name}; install it with: {INSTALL}") from error


def _about(ae: Autoencoder, graph: Graph) -> dict[str, Any]:
    """Return what a graph says of itself: the model it is of, and what its numbers are."""
    return {
        "model": model_fingerprint(ae),
        "kind": ae.codec_.kind,
        "sample": list(graph.numbers.sample),
        "latent": graph.latent,
        "columns": ae.codec_.feature_names,
        "versions": persistence.versions(),
    }


def _written(graph: Graph, about: dict[str, str]) -> bytes:
    """Return the graph as ONNX; whatever it cannot say becomes one sentence."""
    from onnx import numpy_helper

    kind = graph.numbers.precision
    given = (torch.zeros(3, *graph.numbers.sample, dtype=kind), torch.zeros(2, graph.latent))
    free = ({0: torch.export.Dim("rows")}, {0: torch.export.Dim("codes")})
    try:
        with _quiet():
            traced = torch.export.export(graph, given, dynamic_shapes=free, strict=True)
            program = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises its own kinds, and those of whatever it came across
        raise SettingError(
            f"this model cannot be written as an ONNX graph ({_cause(error)}); use the model folder itself (isthmus serve)."
        ) from error
    assert program is not None, "with dynamo=True a program is returned"
    made = program.model_proto
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((1, graph.latent), np.float32), "z"))
    for name, text in about.items():
        made.metadata_props.add(key=name, value=text)
    return made.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter tells its programmers from the user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _cause(error: BaseException) -> str:
    """Return what was at the bottom of an error, in a line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:200]


def session(content: bytes | str, threads: int = 1) -> Any:
    """Return an onnxruntime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _checked(content: bytes, ae: Autoencoder, graph: Graph) -> dict[str, float]:
    """Return by how much the graph differs from torch, at most; refuse it where that is too much."""
    running, rng = session(content), np.random.default_rng(0)
    worst: dict[str, float] = dict.fromkeys(OUTPUTS, 0.0)
    for rows in CHECKED:
        z = _plausible_codes(ae, rows, rng)
        x = _plausible_rows(ae, graph, z, rng)
        with torch.no_grad():
            right = [values.numpy() for values in graph(torch.from_numpy(x), torch.from_numpy(z))]
        right[OUTPUTS.index("codes")], right[OUTPUTS.index("score")] = _of_the_library(ae, x)
        units = graph.numbers.units.numpy()
        scales = {"codes": _spread(ae), "reconstruction": units, "decoded": units, "score": np.ones(1)}
        for name, a, b in zip(OUTPUTS, running.run(list(OUTPUTS), {"x": x, "z": z}), right, strict=True):
            worst[name] = max(worst[name], difference(a, b, scales[name]))
    far = max(worst, key=lambda name: worst[name])
    if not worst[far] <= TOLERANCE:
        raise SettingError(
            f"the ONNX graph does not compute what the model does: {far!r} differs by {worst[far]:.2g}, more than {TOLERANCE}; "
            "nothing was written. Use the model folder itself (isthmus serve)."
        )
    return worst


def _plausible_rows(ae: Autoencoder, graph: Graph, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return rows (n, *sample) as far from their reconstructions as those of the data, with gaps."""
    with torch.no_grad():
        x = graph.model.decoder(torch.from_numpy(z).unflatten(1, graph.z_shape))
        spread = (ae.scores_["model"]["squared_error"] / ae.codec_.layout.size) ** 0.5
        x = x + spread * torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
        needs = ae.model_.parts.reconstruction
        rows = graph.numbers.decode(x.clamp(min=0) if needs.needs_counts or needs.needs_unit_range else x).numpy()
    rows[rng.random(rows.shape) < _MISSING] = np.nan
    return rows


def _of_the_library(ae: Autoencoder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes and scores of x (n, *sample) as ``transform`` and ``score_samples`` compute them."""
    rows: Any = x
    if ae.codec_.kind == "table":
        import pyarrow as pa

        rows = pa.table(dict(zip(ae.codec_.feature_names or (), map(pa.array, x.T), strict=True)))
    return ae.transform(rows), ae.score_samples(rows)


def _plausible_codes(ae: Autoencoder, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return codes (n, latent) such as rows have: those of training rows, where the model kept them."""
    known = ae.codes_.flatten(1).numpy()
    if not len(known):
        return rng.normal(size=(n, ae.code_size_)).astype(np.float32)
    return np.ascontiguousarray(known[rng.integers(len(known), size=n)], np.float32)


def _spread(ae: Autoencoder) -> np.ndarray:
    """Return how large each number of a code is, (latent,), at least 1."""
    known = ae.codes_.flatten(1).double().numpy()
    return np.maximum(1.0, np.sqrt(np.square(known).mean(0))) if len(known) else np.ones(ae.code_size_)


def difference(a: np.ndarray, b: np.ndarray, scale: np.ndarray) -> float:
    """Return the largest |a - b| / max(scale, |b|); infinite where one is a gap or not finite, and the other not."""
    if a.shape != b.shape or (np.isfinite(a) != np.isfinite(b)).any():
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.maximum(scale, np.abs(b))
    return float(np.nanmax(np.abs(a - b) / size, initial=0.0))
