"""Dense layers with a backward pass by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isthmus.engine import products
from isthmus.engine.tape import Tape
from isthmus.engine.weights import Weights
from isthmus.parts.networks.dropout import Dropout, draw_kept
from isthmus.parts.networks.linear import Linear, Transposed

aten = torch.ops.aten


class Slope(NamedTuple):
    """An activation and its derivative, as kernels."""

    function: Callable[..., object]
    """``function(y)`` in place, or ``function(y, out=a)`` where the derivative asks for y."""
    backward: Callable[[Tape, Tensor, Tensor, Tensor], None]
    """(tape, d, y, a): record the product of d with the derivative, in place."""
    needs_y: bool = False


SLOPES: dict[type[nn.Module], Slope] = {
    nn.ReLU: Slope(torch.relu_, lambda tape, d, y, a: tape(aten.threshold_backward.grad_input, d, a, 0, grad_input=d)),
    nn.LeakyReLU: Slope(
        aten.leaky_relu_.default,
        lambda tape, d, y, a: tape(aten.leaky_relu_backward.grad_input, d, a, 0.01, True, grad_input=d),
    ),
    nn.ELU: Slope(
        aten.elu_.default,
        lambda tape, d, y, a: tape(aten.elu_backward.grad_input, d, 1.0, 1.0, 1.0, True, a, grad_input=d),
    ),
    nn.SiLU: Slope(
        aten.silu.out, lambda tape, d, y, a: tape(aten.silu_backward.grad_input, d, y, grad_input=d), needs_y=True
    ),
    nn.GELU: Slope(
        aten.gelu.out, lambda tape, d, y, a: tape(aten.gelu_backward.grad_input, d, y, grad_input=d), needs_y=True
    ),
    nn.Tanh: Slope(torch.tanh_, lambda tape, d, y, a: tape(aten.tanh_backward.grad_input, d, a, grad_input=d)),
    nn.Sigmoid: Slope(torch.sigmoid_, lambda tape, d, y, a: tape(aten.sigmoid_backward.grad_input, d, a, grad_input=d)),
}
"""The activations whose derivative torch offers as a kernel, by exact type; their settings are the defaults."""
SHAPES = (nn.Flatten, nn.Unflatten, nn.Identity)


class Spec(NamedTuple):
    """One dense layer as a model holds it: dropout(activation(x W^T + b)); a transposed one goes x W + b."""

    linear: nn.Linear | Transposed
    activation: nn.Module | None = None
    dropout: nn.Dropout | Dropout | None = None


def chain(body: nn.Module) -> list[nn.Module]:
    """Return the modules of a body in the order they are passed through."""
    return [part for module in body for part in chain(module)] if isinstance(body, nn.Sequential) else [body]


def specs_of(modules: Iterable[nn.Module]) -> list[Spec] | None:
    """Read dense layers off a chain of modules; None when there is anything else in it."""
    specs: list[Spec] = []
    for module in modules:
        kind = type(module)
        if kind in SHAPES:
            continue
        if kind in (nn.Linear, Linear, Transposed):
            specs.append(Spec(module))  # pyright: ignore[reportArgumentType] - its type was just looked at
        elif not specs:
            return None
        elif (
            kind in SLOPES
            and repr(module) == repr(kind())
            and specs[-1].activation is None
            and specs[-1].dropout is None
        ):
            specs[-1] = specs[-1]._replace(activation=module)
        elif kind in (nn.Dropout, Dropout) and specs[-1].dropout is None:
            specs[-1] = specs[-1]._replace(dropout=module)
        else:
            return None
    return specs


class Layer:
    """One layer on a tape: ``forward`` says where its output will be, ``backward`` where the gradient of its input will."""

    def __init__(self, spec: Spec, weights: Weights) -> None:
        is_transposed = isinstance(spec.linear, Transposed)
        weight, gradient = weights.of_layer(spec.linear.weight)
        self.weight, self.gradient = (weight.mT, gradient.mT) if is_transposed else (weight, gradient)
        bias = None if spec.linear.bias is None else weights.of_layer(spec.linear.bias)
        self.bias, self.bias_gradient = (None, None) if bias is None else bias
        # a decoder that goes back through this weight has written its share of the gradient before
        self.is_shared = not is_transposed and weights.is_shared(spec.linear.weight)
        self.slope = None if spec.activation is None else SLOPES[type(spec.activation)]
        self.dropout = spec.dropout
        self.ends_linearly = spec.activation is None and spec.dropout is None

    def forward(self, tape: Tape, x: Tensor) -> Tensor:
        """Record activation(x W^T + b), dropped out; return its buffer, (B, outside)."""
        self.x, self.y = tape.cast(x, tape.multiplied), tape.empty(self.weight.shape[-2], dtype=tape.multiplied)
        products.forward(tape, self.x, self.weight, self.bias, self.y)
        self.a = self.y
        if self.slope is not None and self.slope.needs_y:
            self.a = torch.empty_like(self.y)
            tape(self.slope.function, self.y, out=self.a)
        elif self.slope is not None:
            tape(self.slope.function, self.y)
        if self.dropout is None:
            return self.a
        self.kept, dropped = torch.empty_like(self.a), torch.empty_like(self.a)
        for kept, rng in tape.each(self.kept):
            tape(draw_kept, self.dropout, kept, rng)
        tape(torch.mul, self.a, self.kept, out=dropped)
        return dropped

    def backward(self, tape: Tape, d: Tensor, *, onwards: bool = True) -> Tensor:
        """Record the gradients, given the buffer d of that of the output, which is overwritten."""
        d = tape.cast(d, tape.multiplied)
        if self.dropout is not None:
            tape(d.mul_, self.kept)
        if self.slope is not None:
            self.slope.backward(tape, d, self.y, self.a)
        if self.is_shared:
            share = torch.empty_like(self.gradient)
            products.weight_gradient(tape, d, self.x, share)
            tape(self.gradient.add_, share)
        else:
            products.weight_gradient(tape, d, self.x, self.gradient)
        if self.bias_gradient is not None:
            tape(torch.sum, d, -2, out=self.bias_gradient)
        if not onwards:
            return d
        d_x = torch.empty_like(self.x)
        products.input_gradient(tape, d, self.weight, d_x)
        return d_x
