"""Convolutions of images, each by the way that is fastest on a CPU. All keep the channels of a place side by side in memory.

Patches that do not overlap are a matrix product. oneDNN convolves maps of many channels near the speed of one, but not where
one side has a channel or a few. There the product is taken with the kernel's taps as rows: ``gather`` writes what each tap
sees of an image, ``scatter``, its adjoint, adds up what each tap gives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

aten = torch.ops.aten

FEW = 27
"""Up to so many taps times channels that come out, scattering beats oneDNN."""
RUN = 16
"""From so many channels on, patches are copied in runs long enough to pay."""


class Window(NamedTuple):
    """How a square kernel moves over an image."""

    kernel: int
    stride: int
    padding: int
    spare: int = 0
    """How many pixels a transposed convolution adds at the far end (``output_padding``)."""

    def reached(self, places: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sides of the image that a transposed convolution makes of so many places."""
        return tuple((n - 1) * self.stride + self.kernel - 2 * self.padding + self.spare for n in places)

    def margins(self, sides: tuple[int, ...], places: tuple[int, ...]) -> list[int]:
        """Return what ``F.pad`` adds to an image so that the taps of all places lie in it and end with it."""
        over = [
            (n - 1) * self.stride + self.kernel - self.padding - side for side, n in zip(sides, places, strict=True)
        ]
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


class Scattered(torch.autograd.Function):
    """A transposed convolution from many channels to few. What it gives is never less precise than float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, window: Window) -> Tensor:
        places = tuple(x.shape[2:])
        matrix = weight.permute(2, 3, 1, 0).reshape(-1, len(weight)).to(x.dtype)  # (k k outside, c)
        rows = rows_of(x)
        ctx.save_for_backward(rows, matrix)
        ctx.window, ctx.places, ctx.shapes, ctx.own = window, places, (x.shape, weight.shape), weight.dtype
        x_hat = scatter(matrix @ rows.t(), window, places, window.reached(places), len(x))
        return x_hat.add_(bias.view(-1, 1, 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (rows, matrix), (x, weight) = ctx.saved_tensors, ctx.shapes
        taps = gather(d.to(rows.dtype), ctx.window, ctx.places)
        d_weight = (taps @ rows).view(*weight[2:], weight[1], weight[0]).permute(3, 2, 0, 1)
        d_x = map_of(taps.t() @ matrix, x[0], ctx.places) if ctx.needs_input_grad[0] else None
        return d_x, d_weight.to(ctx.own), d.sum((0, 2, 3), dtype=ctx.own), None


class Wide(torch.autograd.Function):
    """A convolution, transposed or not, from many channels to many: oneDNN's, channels_last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, window: Window, transposed: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        filters = weight.to(x.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, filters)
        ctx.form, ctx.own = _form(window, transposed), weight.dtype
        return aten.convolution(x, filters, bias.to(x.dtype), *ctx.form)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, filters = ctx.saved_tensors
        d = d.to(x.dtype, memory_format=torch.channels_last)
        asked = [ctx.needs_input_grad[0], True, False]
        d_x, d_weight, _ = aten.convolution_backward(d, x, filters, None, *ctx.form, asked)
        # the library's gradient of a transposed convolution's bias costs as much as that of its weight
        return d_x, d_weight.to(ctx.own), d.sum((0, 2, 3), dtype=ctx.own), None, None


def _form(window: Window, transposed: bool) -> tuple[Any, ...]:
    return [window.stride] * 2, [window.padding] * 2, [1, 1], transposed, [window.spare] * 2, 1


class Kernel(NamedTuple):
    """A convolution as numbers: its weight (outside, inside, k, k), transposed (inside, outside, k, k), and how it moves."""

    weight: Tensor
    bias: Tensor
    window: Window
    transposed: bool

    @classmethod
    def of(cls, layer: nn.Conv2d | nn.ConvTranspose2d) -> Kernel:
        assert layer.bias is not None, "is_plain was asked"
        transposed = isinstance(layer, nn.ConvTranspose2d)
        spare = int(layer.output_padding[0]) if transposed else 0
        window = Window(layer.kernel_size[0], layer.stride[0], int(layer.padding[0]), spare)
        return cls(layer.weight, layer.bias, window, transposed)

    def by_place(self, stride: int) -> Kernel:
        """Return the convolution that gives (stride, stride, c) channels where this one gives (c, stride, stride)."""
        weight = self.weight.unflatten(0, (-1, stride * stride)).transpose(0, 1).flatten(0, 1)
        return self._replace(weight=weight, bias=self.bias.view(-1, stride * stride).t().reshape(-1))


def convolve(x: Tensor, kernel: Kernel) -> Tensor:
    """Return the convolution of x (B, c, *sides), with products in the type of x; the weights keep theirs."""
    weight, bias, window, transposed = kernel
    inside, outside = weight.shape[:2] if transposed else weight.shape[1::-1]
    narrow = FEW // window.kernel**2
    if window.kernel == window.stride and not (window.padding or window.spare):
        if transposed:
            return unpatched(x, kernel)
        if inside >= RUN:
            return patched(x, kernel)
    if transposed and outside <= narrow:
        return Scattered.apply(x, weight, bias, window)  # pyright: ignore[reportReturnType]
    if outside <= narrow and window.stride == 1 and window.padding < window.kernel:
        # a convolution that does not stride is the transposed one of its kernel turned round
        window = window._replace(padding=window.kernel - 1 - window.padding)
        return Scattered.apply(x, weight.flip(2, 3).transpose(0, 1), bias, window)  # pyright: ignore[reportReturnType]
    return Wide.apply(x, weight, bias, window, transposed)  # pyright: ignore[reportReturnType]


def patched(x: Tensor, kernel: Kernel) -> Tensor:
    """Convolve patches that do not overlap; what is left over at the far end is not seen."""
    s = kernel.window.stride
    places = [side // s for side in x.shape[2:]]
    x = x[:, :, : s * places[0], : s * places[1]].movedim(1, -1)
    x = x.reshape(len(x), places[0], s, places[1], s, -1).transpose(2, 3).reshape(len(x) * places[0] * places[1], -1)
    matrix = kernel.weight.movedim(1, -1).flatten(1).to(x.dtype)  # (outside, s s inside)
    return map_of(F.linear(x, matrix, kernel.bias.to(x.dtype)), len(x) // (places[0] * places[1]), tuple(places))


def unpatched(x: Tensor, kernel: Kernel) -> Tensor:
    """Give each place a patch of its own."""
    s, sides = kernel.window.stride, tuple(x.shape[2:])
    matrix = kernel.weight.permute(2, 3, 1, 0).flatten(0, 2).to(x.dtype)  # (s s outside, inside)
    patches = F.linear(rows_of(x), matrix, kernel.bias.to(x.dtype).repeat(s * s))
    return spread(map_of(patches, len(x), sides), s)


def spread(x: Tensor, stride: int) -> Tensor:
    """Turn channels (stride, stride, c) into places: (B, stride^2 c, h, w) -> (B, c, stride h, stride w)."""
    rows, _, height, width = x.shape
    x = x.movedim(1, -1).reshape(rows, height, width, stride, stride, -1).transpose(2, 3)
    return x.reshape(rows, stride * height, stride * width, -1).movedim(-1, 1)


def is_plain(layer: nn.Module) -> bool:
    """Is it a convolution of images as :class:`Kernel` knows them: square, with a bias, no groups, no dilation?"""
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
