"""Bottlenecks with their gradient: closed forms of the common ones, autograd of the part itself for every other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NoReturn, cast

import torch
from torch import Tensor, nn

from isthmus.designs import Composed
from isthmus.designs.composed import names_of
from isthmus.engine.eager import average
from isthmus.engine.layers import specs_of
from isthmus.engine.losses import Target
from isthmus.engine.tape import Tape
from isthmus.engine.weights import Weights
from isthmus.parts.bottlenecks import Bare, Gaussian, Plain
from isthmus.parts.bottlenecks.bottleneck import Head
from isthmus.parts.penalties import L1
from isthmus.parts.step import Batch, Code, Step, ramp


class Waist(ABC):
    """Between encoder and decoder: h (B, width), and what a linear shortcut adds (B, k), become z (B, k)."""

    layers: Sequence[nn.Module] = ()
    """Layers of the head that the encoder's chain ends with."""
    totals: dict[str, Tensor]
    """Where the terms of the code will be, summed over the batch, each ()."""

    def __init__(self) -> None:
        self.totals = {}

    @abstractmethod
    def forward(self, tape: Tape, h: Tensor, straight: Tensor | None, target: Target) -> Tensor:
        """Record the code; return the buffer of z. ``straight`` may be overwritten."""

    @abstractmethod
    def backward(self, tape: Tape, d: Tensor) -> tuple[Tensor, Tensor]:
        """Record what becomes of the gradient d of z; return the buffers of those of h and of what the shortcut added."""


class PlainWaist(Waist):
    """z = h + straight, with L1 penalties: weight * sum |z|."""

    def __init__(self, layers: Sequence[nn.Module], penalties: dict[str, L1]) -> None:
        super().__init__()
        self.layers, self.penalties = layers, penalties

    def forward(self, tape: Tape, h: Tensor, straight: Tensor | None, target: Target) -> Tensor:
        z = h
        if straight is not None:
            tape(straight.add_, h)
            z = straight
        if not self.penalties:
            return z
        size, self.pull, total = torch.empty_like(z), torch.empty_like(z), tape.number()
        self.totals = {name: tape.number() for name in self.penalties}
        tape(torch.abs, z, out=size)
        tape(torch.sign, z, out=self.pull)
        if target.weight is not None:
            tape(size.mul_, target.weight)
            tape(self.pull.mul_, target.weight)
        tape.sum(size, total)
        for name, penalty in self.penalties.items():
            tape(torch.mul, total, penalty.weight, out=self.totals[name])
        tape(self.pull.mul_, sum(penalty.weight for penalty in self.penalties.values()) / tape.rows)
        return z

    def backward(self, tape: Tape, d: Tensor) -> tuple[Tensor, Tensor]:
        if self.penalties:
            tape(d.add_, self.pull)
        return d, d


class GaussianWaist(Waist):
    """z = mu + s e with s^2 = exp(log_var), and beta KL = beta/2 sum (mu^2 + s^2 - 1 - log_var) (Kingma 2014).

    With g the gradient of z: mu gets g + beta mu, log_var gets (g e s + beta (s^2 - 1)) / 2, where it was not cut.
    """

    def __init__(self, part: Gaussian, head: nn.Module) -> None:
        super().__init__()
        self.part, self.layers = part, [cast("Head", head).linear]

    def forward(self, tape: Tape, h: Tensor, straight: Tensor | None, target: Target) -> Tensor:
        width = h.shape[-1] // 2
        self.mu, self.raw = h[..., :width], h[..., width:]
        self.log_var, self.variance, self.moved, spread, each, z = (tape.empty(width) for _ in range(6))
        self.weight = target.weight
        total = self.totals["kl"] = tape.number()
        tape(torch.clamp, self.raw, -20.0, 10.0, out=self.log_var)
        tape(torch.mul, self.log_var, 0.5, out=spread)
        tape(torch.exp_, spread)
        tape(torch.mul, spread, spread, out=self.variance)
        noise = tape.empty(width, dtype=torch.float32)  # as step.normal() draws it, whatever the type
        tape(lambda: tape.draw_normal(noise))
        tape(torch.mul, spread, noise, out=self.moved)
        tape(torch.add, self.mu, self.moved, out=z)
        tape(self.variance.sub_, 1.0)  # s^2 - 1, which divergence and gradient both want
        tape(torch.mul, self.mu, self.mu, out=each)
        tape(each.add_, self.variance)
        tape(each.sub_, self.log_var)
        if target.weight is not None:
            tape(each.mul_, target.weight)
        tape.sum(each, total)
        tape(lambda: total.mul_(0.5 * self._beta(tape)))
        return z

    def backward(self, tape: Tape, d: Tensor) -> tuple[Tensor, Tensor]:
        width = d.shape[-1]
        d_h, cut = tape.empty(2 * width), tape.empty(width, dtype=torch.bool)
        d_mu, d_log_var, pull = d_h[..., :width], d_h[..., width:], tape.empty(1)
        if self.weight is None:
            tape(lambda: pull.fill_(self._beta(tape) / tape.rows))
        else:
            weight = self.weight
            tape(lambda: torch.mul(weight, self._beta(tape) / tape.rows, out=pull))
        tape(torch.addcmul, d, self.mu, pull, out=d_mu)
        tape(torch.mul, d, self.moved, out=d_log_var)
        tape(d_log_var.addcmul_, self.variance, pull)
        tape(d_log_var.mul_, 0.5)
        tape(torch.ne, self.raw, self.log_var, out=cut)
        tape(d_log_var.masked_fill_, cut, 0.0)
        return d_h, d

    def _beta(self, tape: Tape) -> float:
        return self.part.beta * ramp(tape.progress, self.part.warm_up)


class AnyWaist(Waist):
    """Whatever bottleneck and penalties compute, by their own autograd. The penalties may ask for the code only."""

    def __init__(self, model: Composed, weights: Weights) -> None:
        super().__init__()
        self.part, self.head, self.n_rows = model.parts.bottleneck, model.encoder.head, model.blueprint.n_rows
        self.penalties = dict(zip(names_of(model.parts.penalties), model.parts.penalties, strict=True))
        self.parameters = list(self.head.parameters())
        self.gradients = [weights.gradient[parameter] for parameter in self.parameters]
        self.width = model.z_shape[0]
        self.leaves: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def forward(self, tape: Tape, h: Tensor, straight: Tensor | None, target: Target) -> Tensor:
        self.h_width, z = h.shape[1], tape.empty(self.width)

        def make() -> None:
            with torch.inference_mode(False), torch.enable_grad():
                self.leaves = [value.detach().clone().requires_grad_() for value in (h, straight) if value is not None]
                code = self.part(self.head, self.leaves[0], tape.rng, tape.progress)
                if straight is not None:
                    code = code._replace(z=code.z + self.leaves[1], embedding=code.embedding + self.leaves[1])
                step = code_step(target.batch, code, tape, self.n_rows)
                terms = dict(code.terms) | {name: penalty(step) for name, penalty in self.penalties.items()}
                means = average(terms, target.batch.weight) if terms else {}
                self.outputs = [code.z, *([means["loss"]] if terms else [])]
            z.copy_(code.z.detach())
            self.totals = {name: means[name].detach() * tape.rows for name in terms}

        tape(make)
        return z

    def backward(self, tape: Tape, d: Tensor) -> tuple[Tensor, Tensor]:
        d_h, d_straight = tape.empty(self.h_width), torch.empty_like(d)

        def turn() -> None:
            gradients = [d, *(torch.ones_like(loss) for loss in self.outputs[1:])]
            known = [pair for pair in zip(self.outputs, gradients, strict=True) if pair[0].requires_grad]
            leaves = [*self.leaves, *self.parameters]
            found = torch.autograd.grad([o for o, _ in known], leaves, [g for _, g in known], allow_unused=True)
            places = [d_h, d_straight][: len(self.leaves)] + self.gradients
            for place, gradient in zip(places, found, strict=True):
                place.zero_() if gradient is None else place.copy_(gradient)

        tape(turn)
        return d_h, d_straight


def waist_of(model: Composed, weights: Weights) -> Waist:
    """Return the closed form of bottleneck and penalties; where there is none, their own autograd."""
    part, penalties, head = model.parts.bottleneck, model.parts.penalties, model.encoder.head
    named = dict(zip(names_of(penalties), penalties, strict=True))
    lasso = {name: penalty for name, penalty in named.items() if isinstance(penalty, L1)}
    if len(lasso) == len(named):
        if type(part) is Bare:
            return PlainWaist([], lasso)
        if type(part) is Plain and specs_of(layers := plain_layers(head)) is not None:
            return PlainWaist(layers, lasso)
    if type(part) is Gaussian and not (part.capacity or part.free_bits or penalties):
        return GaussianWaist(part, head)
    return AnyWaist(model, weights)


def plain_layers(head: nn.Module) -> list[nn.Module]:
    """Return the linear map and the activation that a plain code ends in."""
    assert isinstance(head, nn.Sequential), "Plain builds a linear map and an activation"
    return [cast("Head", head[0]).linear, head[1]]


def code_step(batch: Batch, code: Code, tape: Tape, n_rows: int) -> Step:
    """Return a step for penalties that ask for the code only: there is nothing else in it."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a penalty of the code alone asked for more")

    return Step(
        batch=batch,
        seen=batch,
        code=code,
        x_hat=batch.x.new_empty(0),
        encode=refuse,
        decode=refuse,
        frozen_decode=refuse,
        error=refuse,
        mean=refuse,
        rng=tape.rng,
        progress=tape.progress,
        n_rows=n_rows,
    )
