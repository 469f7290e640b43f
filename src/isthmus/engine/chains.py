"""The layers of a convolutional network, with the channels of a place side by side in memory from the first to the last."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.engine.maps import Kernel, convolve, is_plain, map_of, spread
from isthmus.parts.networks.linear import Linear
from isthmus.parts.networks.places import Crop, Pad, PixelShuffle, Residual

_ALIKE = (Crop, Pad, nn.Upsample, nn.MaxPool2d, nn.ReLU, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid)
"""Layers that compute alike in every type and in every order of memory."""

Layer: TypeAlias = Callable[[Tensor], Tensor]


class Chain:
    """A network's layers; convolutions multiply and pass on ``dtype``, and what comes out has the model's ``own`` type."""

    def __init__(self, body: nn.Sequential, dtype: torch.dtype, own: torch.dtype) -> None:
        self.layers, self.own = layers_of(body, dtype, own), own

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return Settled.apply(x, self.own)  # pyright: ignore[reportReturnType]


class Settled(torch.autograd.Function):
    """The same numbers in a type, in the usual order of memory; the gradient goes back as x was."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.dtype, ctx.is_last = x.dtype, x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        return x.contiguous().to(dtype)  # in this order: memory is turned round within one type much faster

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        d = d.to(ctx.dtype)
        return d.contiguous(memory_format=torch.channels_last) if ctx.is_last else d, None


def layers_of(body: nn.Sequential, dtype: torch.dtype, own: torch.dtype) -> list[Layer]:
    """Return what the layers of ``body`` compute, two at once where one ends in the order that the next one wants."""
    layers: list[Layer] = []
    before: nn.Module | None = None
    for module in body:
        if isinstance(module, PixelShuffle) and before is not None and is_plain(before):
            layers[-1] = partial(_shuffled, before, module.stride, dtype)
        elif type(module) is nn.Unflatten and type(before) is Linear and len(module.unflattened_size) == 3:
            layers[-1] = partial(_unfolded, before, tuple(module.unflattened_size), own)
        else:
            layers.append(_layer_of(module, dtype, own))
        before = module
    return layers


def _layer_of(module: nn.Module, dtype: torch.dtype, own: torch.dtype) -> Layer:
    if is_plain(module):
        return partial(_convolved, module, dtype)
    if isinstance(module, Residual):
        return partial(_added, layers_of(module.branch, dtype, own))
    return module if isinstance(module, _ALIKE) else partial(_as_it_stands, module, own)


def _convolved(layer: Any, dtype: torch.dtype, x: Tensor) -> Tensor:
    return convolve(x.to(dtype), Kernel.of(layer))


def _shuffled(layer: Any, stride: int, dtype: torch.dtype, x: Tensor) -> Tensor:
    return spread(convolve(x.to(dtype), Kernel.of(layer).by_place(stride)), stride)


def _unfolded(layer: Linear, shape: tuple[int, ...], own: torch.dtype, x: Tensor) -> Tensor:
    """Compute a dense layer whose numbers are a map (c, *sides), with its rows in the order (*sides, c)."""
    weight = layer.weight.unflatten(0, (shape[0], -1)).transpose(0, 1).flatten(0, 1)
    bias = layer.bias.view(shape[0], -1).t().reshape(-1)
    return map_of(F.linear(x.to(own), weight, bias), len(x), shape[1:])


def _added(branch: list[Layer], x: Tensor) -> Tensor:
    y = x
    for layer in branch:
        y = layer(y)
    return x + y


def _as_it_stands(module: nn.Module, own: torch.dtype, x: Tensor) -> Tensor:
    return module(x.contiguous().to(own))
