"""What the codes of a model look like: how many of their numbers are at work."""

from __future__ import annotations

from torch import Tensor

ACTIVE = 0.01
"""A number of the code is active when its variance is more than this share of the largest."""


def code_statistics(codes: Tensor) -> dict[str, float]:
    """Return what there is to say of codes (n, k, *positions), position by position.

    "active" is how many of the k numbers vary, by more than a hundredth of the largest variance. Where codes hold exact
    zeros, "l0" is how many numbers of a code are not zero, on average, and "dead" the share of numbers that always are.
    """
    flat = codes.movedim(1, -1).flatten(0, -2).double()  # (n * positions, k)
    variance = flat.var(0, correction=0)
    statistics = {"active": float((variance > ACTIVE * variance.max()).sum())}
    is_used = flat != 0
    if not is_used.all():
        statistics["l0"] = float(is_used.sum(1).double().mean())
        statistics["dead"] = float((~is_used.any(0)).double().mean())
    return statistics
