"""Case ``encode``: rows encoded a second, beside onnxruntime on the same weights; and one large call beside its pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn

from timing import ours
from timing.clock import interleave, median, ratios, spent
from timing.job import Job, rows, table_job, wide_job
from timing.report import Report, span

Encode = Callable[[np.ndarray], np.ndarray]
PIECE = 10_000


def encode(quick: bool, rounds: int) -> Iterator[Report]:
    """Both networks against onnxruntime, then a large array in one call and in many."""
    counts = (20_000, 2_000) if quick else (200_000, 20_000)
    jobs = (table_job(2_000, epochs=1), wide_job(2_000, epochs=1))
    for job, count in zip(jobs, counts, strict=True):
        yield _against(job, count, rounds)
    yield _whole(quick, rounds)


def _against(job: Job, count: int, rounds: int) -> Report:
    ae = ours.matched(job).fit(job.X)
    X = rows(count, job.net.width, seed=1)
    encoders: dict[str, Encode] = {
        "torch module, whole array": lambda x: _module(ae.encoder_, x, len(x)),
        "torch module, 1,024 rows a call": lambda x: _module(ae.encoder_, x, 1024),
        "isthmus transform": ae.transform,
    }
    report = Report("encode", f"encode: {job.net}, {count:,} rows, {rounds} rounds, CPU time", [
        "encoder", "ms", "M rows/s", "x onnxruntime", "least..most", "largest difference",
    ])  # fmt: skip
    try:
        session = onnx_session(_linears(ae.encoder_))
        encoders["onnxruntime, 1,024 rows a call"] = lambda x: _pieces(session, x, 1024)
        encoders["onnxruntime, 8,192 rows a call"] = lambda x: _pieces(session, x, 8192)
        encoders["onnxruntime, whole array"] = session
    except ImportError as error:
        report.skipped["onnxruntime"] = str(error)
    codes = {name: run(X) for name, run in encoders.items()}
    times = interleave({name: partial(_time, run, X) for name, run in encoders.items()}, rounds)
    runtimes = [name for name in times if name.startswith("onnx")] or ["isthmus transform"]
    best = min(runtimes, key=lambda name: median(times[name]))
    for name, seconds in times.items():
        faster = ratios(times[best], seconds)
        apart = float(np.abs(codes[name] - codes["isthmus transform"]).max())
        report.rows.append(
            [name, 1e3 * median(seconds), count / median(seconds) / 1e6, median(faster), span(faster), apart]
        )
    report.columns[3] = "x onnxruntime" if best.startswith("onnx") else f"x {best}"
    report.notes = [f"x: times faster than {best}; difference: from isthmus' codes, on the same weights"]
    report.rounds = times
    return report


def _whole(quick: bool, rounds: int) -> Report:
    """A million rows in one call against the same rows in pieces: what one call should not cost."""
    job, count = table_job(2_000, epochs=1), 100_000 if quick else 1_000_000
    ae, X = ours.matched(job).fit(job.X), rows(count, job.net.width, seed=1)
    ways: dict[str, Encode] = {
        "one call": ae.transform,
        f"calls of {PIECE:,} rows": lambda x: _pieces(ae.transform, x, PIECE),
    }
    times = interleave({name: partial(_time, way, X) for name, way in ways.items()}, rounds)
    report = Report(
        "encode",
        f"encode: isthmus transform of {count:,} x {job.net.width}",
        ["way", "CPU s", "over the pieces", "least..most"],
    )
    pieces = times[f"calls of {PIECE:,} rows"]
    for name, seconds in times.items():
        over = ratios(seconds, pieces)
        report.rows.append([name, median(seconds), median(over), span(over)])
    report.notes = ["over the pieces: below 1 one call is the cheaper way"]
    report.rounds = times
    return report


def onnx_session(layers: list[nn.Linear]) -> Encode:
    """Return an encoder of onnxruntime: float32, one thread, linear maps with ReLU between them."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights = [], []
    for place, layer in enumerate(layers):
        before, after = (f"h{place}", f"h{place + 1}")
        is_last = place == len(layers) - 1
        nodes.append(
            helper.make_node("Gemm", [before, f"w{place}", f"b{place}"], [after if is_last else f"a{place}"], transB=1)
        )
        nodes += [] if is_last else [helper.make_node("Relu", [f"a{place}"], [after])]
        weights.append(numpy_helper.from_array(layer.weight.detach().numpy(), f"w{place}"))
        weights.append(numpy_helper.from_array(layer.bias.detach().numpy(), f"b{place}"))
    ends = [(f"h{i}", w) for i, w in ((0, layers[0].in_features), (len(layers), layers[-1].out_features))]
    shapes = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])] for name, width in ends]
    graph = helper.make_graph(nodes, "encoder", *shapes, initializer=weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"h0": x})[0]


def _linears(encoder: nn.Module) -> list[nn.Linear]:
    """Return the linear maps of an encoder that is nothing but those and ReLUs."""
    return [module for module in encoder.modules() if isinstance(module, nn.Linear)]


@torch.inference_mode()
def _module(encoder: nn.Module, x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([encoder(piece).numpy() for piece in torch.from_numpy(x).split(size)])


def _pieces(encoder: Encode, x: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([encoder(x[start : start + size]) for start in range(0, len(x), size)])


def _time(run: Encode, X: np.ndarray, turn: int) -> float:
    return spent(lambda: run(X))[1].cpu
