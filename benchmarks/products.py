"""Who multiplies faster, MKL or oneDNN, in float32 and bfloat16, for the products of a dense layer.

Run it as `python benchmarks/products.py`.
One line a layer (rows, inside, outside): microseconds of CPU time (the least of seven) for y = x W^T + b, d^T x and d W, by the
BLAS of torch and by oneDNN with the copy into a buffer that the tape asks for, and by the BLAS in bfloat16. The rule in
engine/products.py (which processors, how many operations) is read off this table, once for each kind of processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from isthmus.engine import products
from isthmus.engine.tape import Tape

LAYERS = [
    (128, 30, 64),
    (128, 64, 16),
    (256, 100, 128),
    (128, 256, 128),
    (256, 256, 64),
    (256, 512, 256),
    (256, 784, 256),
    (1024, 784, 256),
    (4096, 784, 256),
]


def microseconds(function: Callable[[], object], times: int) -> float:
    """Return the CPU time of one call, the least of seven."""
    function()
    found = []
    for _ in range(7):
        started = time.process_time()
        for _ in range(times):
            function()
        found.append((time.process_time() - started) / times)
    return 1e6 * min(found)


@torch.inference_mode()
def layer(rows: int, inside: int, outside: int) -> None:
    """Print the line of one layer."""
    x, d = torch.randn(rows, inside), torch.randn(rows, outside)
    weight, bias = torch.randn(outside, inside), torch.randn(outside)
    operations = 2.0 * rows * inside * outside
    times = max(5, min(1000, int(2e8 / operations)))
    line = f"{rows:5d} {inside:4d} {outside:4d} {operations / 1e6:8.1f}"
    for dtype, large in ((torch.float32, float("inf")), (torch.float32, 0.0), (torch.bfloat16, float("inf"))):
        products.LARGE, products.blas_is_slow = large, lambda: True
        tape = Tape(rows, dtype)
        values = [tensor.to(dtype) for tensor in (x, d, weight, bias)]
        y, g, d_x = torch.empty_like(values[1]), torch.empty_like(values[2]), torch.empty_like(values[0])
        products.forward(tape, values[0], values[2], values[3], y)
        products.weight_gradient(tape, values[1], values[0], g)
        products.input_gradient(tape, values[1], values[2], d_x)
        spent = [microseconds(call, times) for call in tape.calls]
        line += "  " + "".join(f"{value:8.1f}" for value in spent) + f" {3 * operations / sum(spent) / 1e3:5.0f}"
    print(line)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    family = products._amd_family()
    print(f"{torch.backends.cpu.get_cpu_capability()}, {f'AMD family {family}' if family else 'not AMD'}, one thread")
    print(f"{'layer':>14} {'MFLOP':>8}  " + "  ".join(f"{name:>30}" for name in ("MKL", "oneDNN", "bfloat16")))
    print(f"{'':23}  " + "  ".join(f"{'x W^T':>8}{'d^T x':>8}{'d W':>8} {'GF/s':>5}" for _ in range(3)))
    for sizes in LAYERS:
        layer(*sizes)


if __name__ == "__main__":
    main()
