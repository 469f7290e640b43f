"""The three matrix products of a linear layer, each by the library that is faster at its shape on this processor.

Weights of several members, (members, outside, inside), are multiplied with as many batches at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from isthmus.engine.tape import Tape

LARGE = 2e7
"""Floating-point operations from which oneDNN's wider vectors are worth what its calls cost
(``python benchmarks/products.py``)."""
ZEN_5 = 26
"""The family of AMD processors from which on 512-bit vectors are computed at full width."""


def forward(tape: Tape, x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Record out = x W^T + b, for x (B, inside), W (outside, inside), out (B, outside)."""
    if wants_onednn(tape.rows, weight):
        tape(_pointwise, x, weight, bias, out)
    elif bias is None:
        tape(_product(weight), x, weight.mT, out=out)
    elif weight.dim() == 2:
        tape(torch.addmm, bias, x, weight.mT, out=out)
    else:
        tape(torch.baddbmm, bias[:, None], x, weight.mT, out=out)


def weight_gradient(tape: Tape, d: Tensor, x: Tensor, out: Tensor) -> None:
    """Record out = d^T x, for the gradient d (B, outside) of what x (B, inside) became."""
    if wants_onednn(tape.rows, out):
        tape(_pointwise, d.t(), x.t(), None, out)
    else:
        tape(_product(out), d.mT, x, out=out)


def input_gradient(tape: Tape, d: Tensor, weight: Tensor, out: Tensor) -> None:
    """Record out = d W, (B, inside)."""
    if wants_onednn(tape.rows, weight):
        tape(_pointwise, d, weight.t(), None, out)
    else:
        tape(_product(weight), d, weight, out=out)


def wants_onednn(rows: int, weight: Tensor) -> bool:
    """Say who multiplies: a function of shape, type and processor. bfloat16 goes to oneDNN whoever is asked."""
    return (
        weight.dim() == 2 and weight.dtype == torch.float32 and 2.0 * rows * weight.numel() >= LARGE and blas_is_slow()
    )


@cache
def blas_is_slow() -> bool:
    """MKL takes its path of 256-bit vectors on processors that are not Intel's: half of what those with full 512 bits can."""
    return blas_is_narrow() and _amd_family() >= ZEN_5


@cache
def blas_is_narrow() -> bool:
    """MKL leaves vectors of 512 bits unused on processors of AMD: up to Zen 4 that costs a tenth, from Zen 5 on half."""
    has_avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return has_avx512 and torch.backends.mkldnn.is_available() and _amd_family() > 0


def _amd_family() -> int:
    """Return the family of an AMD processor; 0 for everybody else's, and where the system does not tell."""
    if sys.platform != "linux":
        import platform

        found = re.search(r"Family (\d+).*AuthenticAMD", platform.processor())
    else:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        found = re.search(r"AuthenticAMD\s+cpu family\s*: (\d+)", told)
    return int(found[1]) if found else 0


def _product(weight: Tensor) -> Callable[..., Tensor]:
    return torch.mm if weight.dim() == 2 else torch.bmm


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    out.copy_(torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], ""))
