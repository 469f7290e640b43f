"""Constants of a formula, put on a device once: a copy at every step would make a GPU wait for the host."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return ``values`` as a tensor (n,) of the type and on the device of ``like``; nobody may write to it."""
    return _placed(values, like.dtype, like.device)


@cache
def _placed(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it may be wanted first in inference, and then by autograd
        return torch.tensor(values, dtype=dtype, device=device)
