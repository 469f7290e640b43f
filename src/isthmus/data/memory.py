"""How much memory this machine has, and a plain refusal before more than half of it is asked for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import DataError

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_memory() -> int:
    """Return the bytes of memory this process may use: the machine's, or a smaller limit of its container."""
    limits = [_container_limit(path) for path in _CGROUP_LIMITS if path.is_file()]
    if hasattr(os, "sysconf"):  # absent on Windows, where no limit is checked
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(limits, default=sys.maxsize)


def require(rows: int, numbers: int, what: str = "the encoded data") -> None:
    """Raise DataError when a float32 array (rows, numbers) would take more than half of the memory."""
    needed, limit = 4 * rows * numbers, machine_memory() // 2
    if needed > limit:
        raise DataError(
            f"{what} would take {_gigabytes(needed)} ({rows} rows of {numbers} numbers in float32), more than half of "
            f"this machine's memory ({_gigabytes(limit)}); use at most {max(limit // (4 * max(numbers, 1)), 1)} rows."
        )


def _container_limit(path: Path) -> int:
    text = path.read_text().strip()
    return int(text) if text.isdigit() else sys.maxsize  # "max" means no limit


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"
