"""Train a small network in floats that ends as an IntegerNet: weights and activations are rounded as they will be.

The gradient passes through the rounding as if it were not there (Bengio et al. 2013).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from isthmus.apps.compression.engines.integers import FRACTION, HIGHEST, OUTPUT_FRACTION, Layer

_HIDDEN_STEP, _OUTPUT_STEP = 6, OUTPUT_FRACTION - FRACTION
_BIAS_STEP = 10


class Rounded(torch.nn.Module):
    """Two hidden layers. Weights go in steps of 2^-6, those of the last layer of 2^-8, inputs in steps of 2^-input_bits."""

    def __init__(self, features: int, width: int, outputs: int, input_bits: int) -> None:
        super().__init__()
        self.input_bits = input_bits
        sizes = [features, width, width, outputs]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(sizes))

    @property
    def last(self) -> Any:
        """Return the last layer."""
        return self.layers[-1]

    def forward(self, x: torch.Tensor, rounded: bool) -> torch.Tensor:
        """Return outputs (B, outputs) for x (B, features)."""
        for layer, step in zip(self.layers, [_HIDDEN_STEP, _HIDDEN_STEP, _OUTPUT_STEP], strict=True):
            linear: Any = layer
            x = functional.linear(x, to_steps(linear.weight, step) if rounded else linear.weight, linear.bias)
            if linear is not self.last:
                x = _Activation.apply(x, rounded)  # pyright: ignore[reportAssignmentType]
        return x

    def whole(self) -> list[Layer]:
        """Return the layers in whole numbers."""
        layers, unit = [], self.input_bits
        for layer, step in zip(self.layers, [_HIDDEN_STEP, _HIDDEN_STEP, _OUTPUT_STEP], strict=True):
            linear: Any = layer
            weight, bias = (parameter.detach().double().numpy() for parameter in (linear.weight, linear.bias))
            shift = 0 if linear is self.last else unit + step - FRACTION
            fine = max(0, unit + step - _BIAS_STEP)
            offset = np.round(bias * 2.0 ** (unit + step - fine)).astype(np.int64) << fine
            layers.append(Layer(np.round(weight * 2.0**step).astype(np.int64), offset + (1 << shift >> 1), shift))
            unit = FRACTION
        return layers


class _Activation(torch.autograd.Function):
    """Cut to what an activation can hold, and round to its steps."""

    @staticmethod
    def forward(ctx: Any, h: torch.Tensor, rounded: bool) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        h = h.detach().mul_(1 << FRACTION)
        h = (h.round_() if rounded else h).clamp_(0, HIGHEST).mul_(2.0**-FRACTION)
        ctx.save_for_backward(h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (h,) = ctx.saved_tensors
        return torch.where((h > 0) & (h < HIGHEST * 2.0**-FRACTION), grads[0], 0.0), None


def to_steps(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Return values rounded to 2^-bits."""
    return values + (torch.round(values.detach() * 2.0**bits) * 2.0**-bits - values.detach())
