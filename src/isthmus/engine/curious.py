"""Which parts look beyond the code, at networks and reconstructions that only autograd can follow."""

from __future__ import annotations

from isthmus.model import Parts
from isthmus.parts.bottlenecks import Auxiliary


def looks_beyond(parts: Parts) -> str:
    """Say which part asks for more than the code; "" when none does."""
    askers = [parts.bottleneck] if isinstance(parts.bottleneck, Auxiliary) else []
    askers += [penalty for penalty in parts.penalties if not penalty.of_code_only]
    return f"{type(askers[0]).__name__} asks for more than the code" if askers else ""
