"""Reconstructions with their gradient: closed forms of the common ones, autograd of the part itself for every other.

``record(tape, loss, x_hat, target) -> d`` records the total of a batch into ``target.total`` and returns the buffer of the
gradient of its mean by x_hat, (B, d); x_hat is overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from isthmus.engine.eager import average
from isthmus.engine.tape import Tape
from isthmus.engine.weights import Weights
from isthmus.layout import Layout
from isthmus.parts.reconstructions import (
    Bernoulli,
    GradientNormal,
    Huber,
    Mixed,
    Normal,
    Reconstruction,
    SquaredError,
)
from isthmus.parts.reconstructions.likelihoods import LogVariance, TwoVariances
from isthmus.parts.reconstructions.tables import runs
from isthmus.parts.step import Batch


class Target(NamedTuple):
    """What x_hat is compared with, in buffers, and where the outcome goes."""

    batch: Batch
    """The clean samples, which gaps and weights they have."""
    x: Tensor
    """(B, d) the same samples, flat."""
    gaps: Tensor | None
    """(B, d) bool: which numbers are not known."""
    weight: Tensor | None
    """(B, 1)"""
    total: Tensor
    """() the sum over the batch of weight * error."""


Record: TypeAlias = Callable[[Tape, Tensor, Target], Tensor]


def squares(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
    """Record sum (x_hat - x)^2; its gradient is 2 (x_hat - x)."""
    r, weighted = _residual(tape, x_hat, target)
    tape.dot(r, weighted, target.total)
    tape(weighted.mul_, 2 / tape.rows)
    return weighted


def huber(delta: float) -> Record:
    """With c = clip(r, -delta, delta) for r = x_hat - x, the error is c (r - c / 2) and its gradient is c (Huber 1964)."""

    def record(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
        tape(x_hat.sub_, target.x)
        _fill_gaps(tape, x_hat, target)
        c = torch.empty_like(x_hat)
        tape(torch.clamp, x_hat, -delta, delta, out=c)
        tape(x_hat.sub_, c, alpha=0.5)
        _weigh(tape, c, target)
        tape.dot(x_hat, c, target.total)
        tape(c.mul_, 1 / tape.rows)
        return c

    return record


def log_loss(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
    """-log p(x) of x in [0, 1] under s = sigmoid(x_hat): log(1 + e^x_hat) - x x_hat, with the gradient s - x."""
    inside, cells, over = (torch.empty_like(x_hat) for _ in range(3))
    tape(torch.clamp, target.x, 0.0, 1.0, out=inside)
    tape(torch.ops.aten.softplus.out, x_hat, out=cells)
    tape(cells.addcmul_, inside, x_hat, value=-1.0)
    tape(torch.sub, target.x, inside, out=over)  # what lies outside counts as an error of its own
    tape(cells.addcmul_, over, over)
    _fill_gaps(tape, cells, target)
    _weigh(tape, cells, target)
    tape.sum(cells, target.total)
    tape(torch.sigmoid_, x_hat)
    tape(x_hat.sub_, inside)
    _fill_gaps(tape, x_hat, target)
    _weigh(tape, x_hat, target)
    tape(x_hat.mul_, 1 / tape.rows)
    return x_hat


def normal(scale: LogVariance, gradient: Tensor) -> Record:
    """-log N(x; x_hat, v) with one learned log v: half of r^2 / v + log v + log 2 pi (Rybkin 2021)."""

    def record(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
        r, weighted = _residual(tape, x_hat, target)
        squared = tape.number()

        def conclude() -> None:
            log_var = scale().detach()  # (1,)
            count, precision = _count(r, target), torch.exp(-log_var)
            total = squared[..., None] * precision
            # the clamp of the log variance lets no gradient through below its floor
            gradient.copy_((count - total) * (0.5 / tape.rows) * (scale.log_var >= log_var))
            target.total.copy_(((log_var + math.log(2 * math.pi)) * count + total)[..., 0] * 0.5)
            weighted.mul_(precision[..., None] / tape.rows)

        tape.dot(r, weighted, squared)
        tape(conclude)
        return weighted

    return record


def gradient_normal(scale: TwoVariances, gradient: Tensor, layout: Layout) -> Record:
    """``normal`` of r = y - x, where y = sigmoid(x_hat), and of the differences Dr of neighbours, each with its own log v.

    The gradient is (r / v_0 + D'Dr / v_1) y (1 - y), where D' gives a difference to the second of its pixels and takes it
    from the first.
    """

    def record(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
        r, d = torch.empty_like(x_hat), torch.empty_like(x_hat)
        axes = [axis for axis in (-2, -1) if layout.shape[axis] > 1]
        places = [(_neighbours(r, layout, axis), _neighbours(d, layout, axis)) for axis in axes]
        hidden = [None if target.gaps is None else _neighbours(target.gaps, layout, axis) for axis in axes]
        steps = [torch.empty_like(first, memory_format=torch.contiguous_format) for (first, _), _ in places]
        tape(torch.sigmoid_, x_hat)
        tape(torch.sub, x_hat, target.x, out=r)
        _fill_gaps(tape, r, target)

        def conclude() -> None:
            log_var = scale().detach()  # (.., 2)
            precision = torch.exp(-log_var)
            torch.mul(r, precision[..., :1, None], out=d)
            total, count = torch.zeros_like(precision), torch.zeros_like(precision)
            total[..., :1], count[..., :1] = _squares(r, target), _count(r, target)
            for ((first, second), (before, after)), gaps, step in zip(places, hidden, steps, strict=True):
                torch.sub(second, first, out=step)
                seen = target
                if gaps is not None:
                    step.masked_fill_(gaps[0] | gaps[1], 0.0)
                    seen = target._replace(gaps=gaps[0].flatten(-3))  # a difference belongs to the first of its pixels
                total[..., 1:] += _squares(step.flatten(-3), seen)
                count[..., 1:] += _count(step.flatten(-3), seen)
                step.mul_(precision[..., 1:, None, None, None])
                after.add_(step)
                before.sub_(step)
            total *= precision
            gradient.copy_((count - total) * (0.5 / tape.rows) * (scale.log_var >= log_var))
            target.total.copy_(((log_var + math.log(2 * math.pi)) * count + total).sum(-1) * 0.5)

        tape(conclude)
        tape(x_hat.addcmul_, x_hat, x_hat, value=-1.0)
        tape(d.mul_, x_hat)
        _weigh(tape, d, target)
        tape(d.mul_, 1 / tape.rows)
        return d

    return record


def _neighbours(values: Tensor, layout: Layout, axis: int) -> tuple[Tensor, Tensor]:
    """Return the pixels (.., B, c, h, w) of (.., B, d) that have a next one along an axis, and those next to them."""
    images = values.view(*values.shape[:-1], *layout.shape)
    many = images.shape[axis] - 1
    return images.narrow(axis, 0, many), images.narrow(axis, 1, many)


def _squares(values: Tensor, target: Target) -> Tensor:
    """Return the sum of the squares of (.., B, d), each times the weight of its sample, (.., 1)."""
    rows = torch.linalg.vecdot(values, values)[..., None]
    return (rows if target.weight is None else rows * target.weight).sum(-2)


def mixed(part: Mixed, layout: Layout, scale: LogVariance | None, gradient: Tensor | None) -> Record:
    """Each column by its own likelihood, in terms of its numbers: weight r^2, log(1 + e^x_hat) - x x_hat, or -x log p.

    The gradients are 2 weight r, s - x and p sum(x) - x, for r = x_hat - x, s = sigmoid(x_hat), p = softmax(x_hat). Numbers
    with a learned variance are ``normal``, each column with its own, of which ``gradient`` takes that of the logarithm.
    """

    def record(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
        terms, d = torch.empty_like(x_hat), torch.empty_like(x_hat)
        if gradient is not None:
            tape(gradient.zero_)
        for kind, features, blocks in runs(layout):
            out, x, term, slope = (values[..., features] for values in (x_hat, target.x, terms, d))
            if kind == "numeric" and scale is not None and gradient is not None:
                gaps = None if target.gaps is None else target.gaps[..., features]
                mine = target._replace(x=x, gaps=gaps)
                tape(_by_variance, out, mine, term, slope, scale, gradient, blocks)
            elif kind == "numeric":
                tape(torch.sub, out, x, out=slope)
                tape(torch.mul, slope, slope, out=term)
                tape(term.mul_, part.weight)
                tape(slope.mul_, 2 * part.weight)
            elif kind == "boolean":
                tape(torch.ops.aten.softplus.out, out, out=term)
                tape(term.addcmul_, x, out, value=-1.0)
                tape(torch.sigmoid, out, out=slope)
                tape(slope.sub_, x)
            else:
                log_p, certain = (torch.empty(shape, dtype=out.dtype) for shape in (out.shape, out[..., :1].shape))
                tape(torch.ops.aten._log_softmax.out, out, -1, False, out=log_p)
                tape(torch.mul, log_p, x, out=term)
                tape(term.neg_)
                tape(log_p.exp_)
                tape(torch.sum, x, -1, True, out=certain)
                tape(log_p.mul_, certain)
                tape(torch.sub, log_p, x, out=slope)
        for values in (terms, d):
            _fill_gaps(tape, values, target)
            _weigh(tape, values, target)
        tape.sum(terms, target.total)
        tape(d.mul_, 1 / tape.rows)
        return d

    return record


def _by_variance(
    out: Tensor, target: Target, term: Tensor, slope: Tensor, scale: LogVariance, gradient: Tensor, blocks: slice
) -> None:
    """Compute terms and slopes of some columns of numbers under N(x_hat, v), one learned log v a column, and its gradient."""
    log_var = scale().detach()[..., blocks]
    precision, rows = torch.exp(-log_var)[..., None, :], out.shape[-2]
    torch.sub(out, target.x, out=slope)
    if target.gaps is not None:
        slope.masked_fill_(target.gaps, 0.0)
    squared = slope.square().mul_(precision)
    torch.add(squared, log_var[..., None, :] + math.log(2 * math.pi), out=term)
    term.mul_(0.5)
    slope.mul_(precision)
    share = torch.rsub(squared, 1.0)
    if target.gaps is not None:
        share.masked_fill_(target.gaps, 0.0)
    if target.weight is not None:
        share.mul_(target.weight)
    # the clamp of the log variance lets no gradient through below its floor
    gradient[..., blocks] = share.sum(-2) * (0.5 / rows) * (scale.log_var[..., blocks] >= log_var)


def any_loss(part: Reconstruction, layout: Layout, scale: nn.Module | None, weights: Weights) -> Record:
    """Whatever the part computes, by its own autograd."""
    parameters = [] if scale is None else list(scale.parameters())

    def record(tape: Tape, x_hat: Tensor, target: Target) -> Tensor:
        d = torch.empty_like(x_hat)

        def judge() -> None:
            with torch.inference_mode(False), torch.enable_grad():
                leaf = x_hat.detach().clone().requires_grad_()
                error = part(leaf.view_as(target.batch.x), target.batch, layout, scale)
                mean = average({"loss": error}, target.batch.weight)["loss"]
                found = torch.autograd.grad(mean, [leaf, *parameters], allow_unused=True)
            target.total.copy_(mean.detach() * tape.rows)
            for place, gradient in zip([d, *(weights.gradient[p] for p in parameters)], found, strict=True):
                place.zero_() if gradient is None else place.copy_(gradient)

        tape(judge)
        return d

    return record


def has_closed_form(part: Reconstruction) -> bool:
    """Say whether the gradient of a reconstruction is known without autograd."""
    if type(part) is Mixed:
        return part.focal == 0 and part.class_weight is None
    return type(part) in (SquaredError, Huber, Bernoulli, Normal, GradientNormal)


def record_of(part: Reconstruction, layout: Layout, scale: nn.Module | None, weights: Weights) -> Record:
    """Return the closed form of a reconstruction, or its own autograd."""
    if type(part) is SquaredError:
        return squares
    if type(part) is Huber:
        return huber(part.delta)
    if type(part) is Bernoulli:
        return log_loss
    if type(part) is Normal and isinstance(scale, LogVariance):
        return normal(scale, weights.gradient[scale.log_var])
    if type(part) is GradientNormal and isinstance(scale, TwoVariances):
        return gradient_normal(scale, weights.gradient[scale.log_var], layout)
    if type(part) is Mixed and has_closed_form(part):
        learned = scale if isinstance(scale, LogVariance) else None
        return mixed(part, layout, learned, None if learned is None else weights.gradient[learned.log_var])
    return any_loss(part, layout, scale, weights)


def _residual(tape: Tape, x_hat: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Record r = x_hat - x at what is known, and weight * r; return both buffers, (B, d)."""
    tape(x_hat.sub_, target.x)
    _fill_gaps(tape, x_hat, target)
    if target.weight is None:
        return x_hat, x_hat
    weighted = torch.empty_like(x_hat)
    tape(torch.mul, x_hat, target.weight, out=weighted)
    return x_hat, weighted


def _fill_gaps(tape: Tape, values: Tensor, target: Target) -> None:
    # filled, not multiplied: a gap may hold anything, and 0 * nan is nan
    if target.gaps is not None:
        tape(values.masked_fill_, target.gaps, 0.0)


def _weigh(tape: Tape, values: Tensor, target: Target) -> None:
    if target.weight is not None:
        tape(values.mul_, target.weight)


def _count(r: Tensor, target: Target) -> Tensor | float:
    """Return how many numbers are known, each times the weight of its sample, (1,)."""
    if target.gaps is None:
        return math.prod(r.shape[-2:]) if target.weight is None else target.weight.sum(-2) * r.shape[-1]
    known = (~target.gaps).sum(-1, keepdim=True)
    return (known if target.weight is None else known * target.weight).sum(-2)
