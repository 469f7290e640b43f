"""What a compiled kernel reads: a model as records of numbers, and the flat arrays that they point into."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np

Floats: TypeAlias = np.ndarray
"""Numbers in float32, flat."""
Record: TypeAlias = Any
"""One element of LAYER or MODEL."""

IDENTITY, RELU, LEAKY_RELU, ELU, SILU, GELU, TANH, SIGMOID = range(8)
SQUARES, HUBER, LOG_LOSS, NORMAL = range(4)

LAYER = np.dtype(
    [
        *[(name, np.int64) for name in ("inside", "outside", "activation")],
        *[(name, np.int64) for name in ("group", "weight", "bias_group", "bias", "kept")],
        *[(name, np.int64) for name in ("input", "output", "slope", "d_input", "d_output")],
    ]
)
"""One dense layer: its widths; its weight and bias, as group of Adam and place in it; how many numbers a row the masks of
dropout hold before its own; where, in the work space, input, output and slope lie, and the gradients of input and output. -1
stands for what it has not, and for the input of the first layer, which is data."""

MODEL = np.dtype(
    [
        *[(name, np.int64) for name in ("encoder", "is_gaussian", "has_shortcut", "loss", "log_var_group", "log_var")],
        *[(name, np.int64) for name in ("zeros", "one", "panel", "spread", "code", "is_inside", "x_hat", "d_code")],
        *[(name, np.float32) for name in ("delta", "reach", "l1")],
    ]
)
"""A model: how many layers stand before the code; what code and loss are; where in the work space lies what is no layer's, or
shared with one; its constants."""


class Rows(NamedTuple):
    """What a block reads, each array flat, row by row; of size 0 where the model does not ask for it."""

    x: Floats
    """What the layers of the encoder see, (n * d)."""
    straight: Floats
    """What its linear shortcut sees, (n * d)."""
    target: Floats
    """What the output of the decoder is compared with, (n * d)."""
    known: Floats
    """The weight of each number of the target, 0 at gaps, (n * d); of size 0 when all weigh 1."""
    weight: Floats
    """The weight of each row, (n)."""
    noise: Floats
    """The noise of a Gaussian code, (n * k)."""
    kept: Floats
    """The masks of dropout, those of one layer behind those of the other."""


class Moving(NamedTuple):
    """What Adam moves and remembers: two groups, each flat."""

    parameters: tuple[Floats, Floats]
    gradients: tuple[Floats, Floats]
    mean: tuple[Floats, Floats]
    square: tuple[Floats, Floats]
