"""Convolutions of images by the shape that is fastest on a CPU, and the chains of layers around them.

oneDNN convolves maps of many channels at the speed of a matrix product when the channels lie side by side in memory
(channels_last), but leaves it where one side has a channel or a few. There the product is taken by itself, with the kernel's
taps as rows: ``gather`` writes each tap's view of an image, ``scatter`` adds them up again, its adjoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from isthmus.parts.networks.places import Crop, Pad, PixelShuffle, Residual

aten = torch.ops.aten

FEW = 36
"""Up to so many taps times channels on the narrow side, gathering beats oneDNN (``python benchmarks/convolutions.py --layers``)."""
_POINTWISE = (Crop, Pad, nn.Upsample, nn.MaxPool2d, nn.ReLU, nn.SiLU, nn.GELU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid)
"""Layers that compute alike in every type and in every order of memory."""

Layer: TypeAlias = Callable[[Tensor], Tensor]


class Window(NamedTuple):
    """How a square kernel moves over an image."""

    kernel: int
    stride: int
    padding: int
    spare: int = 0
    """How many pixels a transposed convolution adds at the far end (``output_padding``)."""

    def places(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Return at how many places along each side it stands."""
        return tuple((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in sides)

    def reached(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sides of the image that a transposed convolution makes of so many places."""
        return tuple((n - 1) * self.stride + self.kernel - 2 * self.padding + self.spare for n in places)

    def margins(self, sides: tuple[int, ...], places: tuple[int, ...]) -> list[int]:
        """Return what ``F.pad`` adds to an image so that the taps of all places lie in it and end with it."""
        over = [(n - 1) * self.stride + self.kernel - self.padding - side for side, n in zip(sides, places, strict=True)]
        return [self.padding, over[1], self.padding, over[0]]


def gather(x: Tensor, window: Window, places: tuple[int, ...]) -> Tensor:
    """Return what each tap sees of an image: (B, c, *sides) -> (kernel^2 c, B places)."""
    x = F.pad(x, window.margins(tuple(x.shape[2:]), places)).contiguous()
    (rows, channels), (b, c, h, w) = x.shape[:2], x.stride()
    k, s = window.kernel, window.stride
    return x.as_strided((k, k, channels, rows, *places), (h, w, c, b, s * h, s * w)).reshape(k * k * channels, -1)


def scatter(taps: Tensor, window: Window, places: tuple[int, ...], sides: tuple[int, ...], rows: int) -> Tensor:
    """Add up what each tap gives an image: (kernel^2 c, B places) -> (B, c, *sides), the adjoint of :func:`gather`."""
    k, s = window.kernel, window.stride
    taps = taps.view(k, k, -1, rows, *places)
    wide = [(n - 1) * s + k for n in places]
    # sums of many rounded products want the digits of float32
    x = torch.zeros(taps.shape[2], rows, *wide, dtype=torch.promote_types(taps.dtype, torch.float32))
    for i in range(k):
        for j in range(k):
            x[:, :, i : i + s * places[0] : s, j : j + s * places[1] : s] += taps[i, j]
    return F.pad(x, [-margin for margin in window.margins(sides, places)]).transpose(0, 1)


def rows_of(x: Tensor) -> Tensor:
    """Return a map as the rows of a matrix, one for each place: (B, c, *sides) -> (B sides, c)."""
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def map_of(rows: Tensor, count: int, sides: tuple[int, ...]) -> Tensor:
    """Return those rows as a map again, channels_last."""
    return rows.view(count, *sides, -1).movedim(-1, 1)


class Gathered(torch.autograd.Function):
    """A convolution from few channels to many."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, window: Window) -> Tensor:
        places = window.places(tuple(x.shape[2:]))
        matrix = weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).to(x.dtype)  # (k k c, outside)
        taps = gather(x, window, places)
        ctx.save_for_backward(taps, matrix)
        ctx.window, ctx.places, ctx.shapes = window, places, (x.shape, weight.shape)
        return map_of(torch.addmm(bias.to(x.dtype), taps.t(), matrix), len(x), places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        (taps, matrix), (x, weight) = ctx.saved_tensors, ctx.shapes
        d = rows_of(d)
        d_weight = (taps @ d).view(*weight[2:], weight[1], weight[0]).permute(3, 2, 0, 1)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = scatter(matrix @ d.t(), ctx.window, ctx.places, tuple(x[2:]), x[0]).to(d.dtype)
        return d_x, d_weight.float() if d.dtype == torch.bfloat16 else d_weight, d.sum(0), None


class Scattered(torch.autograd.Function):
    """A transposed convolution from many channels to few. What it gives is never less precise than float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, window: Window) -> Tensor:
        places = tuple(x.shape[2:])
        matrix = weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).to(x.dtype)  # (k k outside, c)
        rows = rows_of(x)
        ctx.save_for_backward(rows, matrix)
        ctx.window, ctx.places, ctx.shapes = window, places, (x.shape, weight.shape)
        x_hat = scatter(matrix @ rows.t(), window, places, window.reached(places), len(x))
        return x_hat.add_(bias.view(-1, 1, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        (rows, matrix), (x, weight) = ctx.saved_tensors, ctx.shapes
        taps = gather(d.to(rows.dtype), ctx.window, ctx.places)
        d_weight = (taps @ rows).view(*weight[2:], weight[1], weight[0]).permute(3, 2, 0, 1)
        d_x = map_of(taps.t() @ matrix, x[0], ctx.places) if ctx.needs_input_grad[0] else None
        return d_x, d_weight.float() if rows.dtype == torch.bfloat16 else d_weight, d.sum((0, 2, 3)), None


class Wide(torch.autograd.Function):
    """A convolution, transposed or not, from many channels to many: oneDNN's, channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, window: Window, transposed: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        filters = weight.to(x.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, filters)
        ctx.form = _form(window, transposed)
        return aten.convolution(x, filters, bias.to(x.dtype), *ctx.form)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:
        x, filters = ctx.saved_tensors
        d = d.to(x.dtype, memory_format=torch.channels_last)
        asked = [ctx.needs_input_grad[0], True, False]
        d_x, d_weight, _ = aten.convolution_backward(d, x, filters, None, *ctx.form, asked)
        # the library's gradient of a transposed convolution's bias costs as much as that of its weight
        return d_x, d_weight.float() if d.dtype == torch.bfloat16 else d_weight, d.sum((0, 2, 3)), None, None


def _form(window: Window, transposed: bool) -> tuple[Any, ...]:
    kernel, stride, padding, spare = window
    return [stride] * 2, [padding] * 2, [1, 1], transposed, [spare] * 2, 1


def convolve(layer: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype, x: Tensor) -> Tensor:
    """Compute a convolution with products in ``dtype``."""
    assert layer.bias is not None, "is_plain was asked"
    x, transposed = x.to(dtype), isinstance(layer, nn.ConvTranspose2d)
    spare = int(layer.output_padding[0]) if transposed else 0
    window = Window(layer.kernel_size[0], layer.stride[0], int(layer.padding[0]), spare)
    narrow = FEW // window.kernel**2
    if not transposed and layer.in_channels <= narrow:
        return Gathered.apply(x, layer.weight, layer.bias, window)  # pyright: ignore[reportReturnType]
    if transposed and layer.out_channels <= narrow:
        return Scattered.apply(x, layer.weight, layer.bias, window)  # pyright: ignore[reportReturnType]
    if layer.out_channels <= narrow and window.stride == 1 and window.padding < window.kernel:
        # a convolution that does not stride is the transposed one of its kernel turned round
        turned = layer.weight.flip(2, 3).transpose(0, 1)
        window = window._replace(padding=window.kernel - 1 - window.padding)
        return Scattered.apply(x, turned, layer.bias, window)  # pyright: ignore[reportReturnType]
    return Wide.apply(x, layer.weight, layer.bias, window, transposed)  # pyright: ignore[reportReturnType]


def is_plain(layer: nn.Module) -> bool:
    """Is it a convolution of images as :func:`convolve` knows them: a square kernel, a bias, no groups, no dilation?"""
    if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) or isinstance(layer.padding, str):
        return False
    forms = [layer.kernel_size, layer.stride, layer.padding, layer.output_padding]
    return (
        all(len(set(form)) == 1 for form in forms)
        and layer.bias is not None
        and layer.groups == 1
        and set(layer.dilation) == {1}
        and layer.padding_mode == "zeros"
    )


def chain(module: nn.Module, dtype: torch.dtype) -> Layer:
    """Return what ``module`` computes, with the products of its convolutions in ``dtype``, channels_last between them.

    What is not known here gets the type and the order of memory it would have had.
    """
    if isinstance(module, nn.Sequential):
        layers = [chain(layer, dtype) for layer in module]
        return partial(_one_after_the_other, layers)
    if is_plain(module):
        return partial(convolve, module, dtype)  # pyright: ignore[reportArgumentType]
    if isinstance(module, PixelShuffle):
        return partial(shuffle, module.stride)
    if isinstance(module, Residual):
        branch = chain(module.branch, dtype)
        return lambda x: x + branch(x)
    if isinstance(module, _POINTWISE):
        return module
    return partial(_as_it_stands, module)


def _one_after_the_other(layers: list[Layer], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _as_it_stands(module: nn.Module, x: Tensor) -> Tensor:
    return module((x.float() if x.dtype == torch.bfloat16 else x).contiguous())


def shuffle(stride: int, x: Tensor) -> Tensor:
    """Turn channels into places, as :class:`PixelShuffle` does, channels_last."""
    (rows, channels, *sides), n = x.shape, x.dim() - 2
    x = x.reshape(rows, channels // stride**n, *[stride] * n, *sides)
    order = [place for side in range(n) for place in (2 + n + side, 2 + side)]
    x = x.permute(0, *order, 1).reshape(rows, *(stride * side for side in sides), channels // stride**n)
    return x.movedim(-1, 1)
