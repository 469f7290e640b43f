"""How fast rows become codes: ``transform`` beside torch's own module and onnxruntime, each in chunks of several sizes.

    python benchmarks/inference.py        # onnxruntime takes part where it and onnx are installed

Milliseconds of processor time for a million numbers' worth of rows and more, on one thread: medians of interleaved runs.
The others are given rows that are scaled already; "scaled" is the graph that scales them first, as ``transform`` must.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import isthmus as ist

CASES = [((30, 64, 16), 1_000_000, (1024, 4096, 8192)), ((784, 256, 64), 40_000, (256, 512, 1024))]
REPEATS = 7


def main() -> None:
    """Print a table for each net."""
    torch.set_num_threads(1)
    for (inside, hidden, latent_dim), count, sizes in CASES:
        X = np.random.default_rng(0).normal(size=(count, inside)).astype(np.float32)
        network = ist.MLP(hidden=(hidden,), activation="relu")
        settings = {"latent_dim": latent_dim, "max_epochs": 1, "random_state": 0, "verbose": False}
        ae = ist.Autoencoder(network=network, shortcut=False, **settings).fit(X[:3000])
        layers = [layer for layer in ae.encoder_.modules() if isinstance(layer, nn.Linear)]
        plain = nn.Sequential(nn.Linear(inside, hidden), nn.ReLU(), nn.Linear(hidden, latent_dim))
        ways: dict[str, Callable[[], object]] = {"transform": lambda ae=ae, X=X: ae.transform(X)}
        ways["transform, a call a chunk"] = lambda ae=ae, X=X: [
            ae.transform(X[i : i + 8192]) for i in range(0, len(X), 8192)
        ]
        for size in sizes:
            ways[f"torch {size}"] = chunked(lambda x, m=plain: m(torch.from_numpy(x)).numpy(), X, latent_dim, size)
        for name, scaling in (("onnxruntime", None), ("onnxruntime, scaled", ae.codec_.scaling)):
            session = session_of(layers, scaling)
            for size in (*sizes, count) if session else ():
                ways[f"{name} {size}"] = chunked(lambda x, s=session: s.run(None, {"x": x})[0], X, latent_dim, size)
        print(f"{inside}-{hidden}-{latent_dim}, {count} rows")
        report(ways)


def chunked(encode: Callable, X: np.ndarray, width: int, size: int) -> Callable[[], None]:
    """Return what encodes X chunk by chunk into a preallocated array."""

    def run() -> None:
        out = np.empty((len(X), width), np.float32)
        for start in range(0, len(X), size):
            out[start : start + size] = encode(X[start : start + size])

    return run


def session_of(layers: list[nn.Linear], scaling):
    """Return an onnxruntime session of the layers with ReLU between them, behind (x - offset) / factor if told so."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    nodes, constants, x = [], {}, "x"
    if scaling is not None:
        constants |= {"offset": scaling.offset, "factor": scaling.factor}
        nodes += [helper.make_node("Sub", ["x", "offset"], ["c"]), helper.make_node("Div", ["c", "factor"], ["s"])]
        x = "s"
    for place, layer in enumerate(layers):
        constants |= {f"w{place}": layer.weight.detach().numpy(), f"b{place}": layer.bias.detach().numpy()}
        nodes.append(helper.make_node("Gemm", [x, f"w{place}", f"b{place}"], [f"y{place}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"y{place}"], [x := f"a{place}"]))
    nodes.pop()
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", layers[0].in_features])],
        [helper.make_tensor_value_info(f"y{len(layers) - 1}", TensorProto.FLOAT, ["n", layers[-1].out_features])],
        [numpy_helper.from_array(np.asarray(values, np.float32), name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def report(ways: dict[str, Callable[[], object]]) -> None:
    """Time the ways in turn; print the median of each, and its ratio to ``transform``."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with torch.inference_mode():
        for repeat in range(REPEATS + 1):
            for name, run in ways.items():
                start = time.process_time()
                run()
                if repeat:  # the first one warms up
                    taken[name].append(time.process_time() - start)
    own = statistics.median(taken["transform"])
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        print(f"  {name:32} {middle * 1e3:8.1f} ms   {middle / own:5.2f} of transform")


if __name__ == "__main__":
    main()
