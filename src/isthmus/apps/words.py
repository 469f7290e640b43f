"""How facts are written: shares in words, values as strict JSON."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np


def percent(value: float | None) -> str:
    """Write a share so that 99.98 % does not read as 100 %."""
    if value is None:
        return "–"
    if value in (0, 1):
        return f"{value:.0%}"
    return f"{value:.2%}" if abs(value) >= 0.995 else f"{value:.1%}"


def plain(value: Any) -> Any:
    """Return ``value`` as strict JSON data: no numpy, no NaN, dates as text."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return str(value).removesuffix(" 00:00:00")
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
