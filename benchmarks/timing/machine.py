"""The machine: what it is, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import torch

from timing.clock import spent

SIDE = 1024
PACKAGES = ("torch", "numpy", "scikit-learn", "numba", "pyod", "pythae", "keras", "jax", "onnxruntime")


def facts() -> dict[str, str]:
    """Return processor, vector units, threads and versions."""
    versions = [f"{name} {_version(name)}" for name in PACKAGES if _version(name)]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores, torch uses {torch.backends.cpu.get_cpu_capability()}",
        "bfloat16": "in hardware" if _flags() & {"avx512_bf16", "amx_bf16", "bf16"} else "not in hardware",
        "threads": f"{torch.get_num_threads()} (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', '-')})",
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()) + " (1, 5, 15 minutes)",
        "python": f"{platform.python_version()} on {platform.system()}",
        "versions": ", ".join(versions),
    }


def peak_flops(dtype: torch.dtype = torch.float32) -> float:
    """Return the operations a second of one large matrix product by oneDNN: the best of ten, each about 10 ms."""
    a, b = torch.ones(SIDE, SIDE, dtype=dtype), torch.ones(SIDE, SIDE, dtype=dtype)
    with torch.inference_mode():
        seconds = [
            spent(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))[1].cpu for _ in range(10)
        ]
    return 2 * SIDE**3 / min(seconds)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo(key: str) -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")
    except OSError:
        return ""


def _processor() -> str:
    family = f"family {_cpuinfo('cpu family')} model {_cpuinfo('model	')}" if _cpuinfo("cpu family") else ""
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()} {family}".strip()


def _flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())
