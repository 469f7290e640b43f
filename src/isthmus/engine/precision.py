"""How exactly a GPU computes while a model trains. What is kept - weights, moments, losses - is float32 whatever is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


@contextmanager
def multiplying(precision: str, device: torch.device) -> Iterator[None]:
    """Say how a GPU multiplies float32 matrices within, and set it back afterwards.

    "float32" multiplies in full; everything else in TF32, whose products have 10 bits of mantissa and sums 23. Left alone,
    torch would multiply in full but convolve in TF32.
    """
    if device.type != "cuda":
        yield
        return
    before = [(switch, name, getattr(switch, name)) for switch, name in _switches()]
    is_full = precision == "float32"
    try:
        for switch, name, _ in before:
            setattr(switch, name, not is_full if name == "allow_tf32" else "ieee" if is_full else "tf32")
        yield
    finally:
        for switch, name, value in before:
            setattr(switch, name, value)


def rounding(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context for the terms of a model: under "bfloat16" a GPU multiplies in that type, and sums in float32."""
    if precision != "bfloat16" or device.type != "cuda":
        return nullcontext()
    return torch.autocast(
        device.type, torch.bfloat16, cache_enabled=False
    )  # a graph must not find weights cast before it


def _switches() -> list[tuple[Any, str]]:
    backends: Any = torch.backends
    if hasattr(backends.cuda.matmul, "fp32_precision"):
        return [(place, "fp32_precision") for place in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]
    return [(backends.cuda.matmul, "allow_tf32"), (backends.cudnn, "allow_tf32")]  # torch before 2.9
