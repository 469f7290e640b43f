"""The forward pass of dense models on a tape: what judges a model after every epoch, without a call of its many modules.

It computes what ``model.terms`` computes of a model in use, by the same kernels, to the last bit. The modules, which are
called one inside the other, would take twice as long for a hundred rows, and have to be told each time that training pauses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isthmus.designs import Composed
from isthmus.engine.codes import plain_layers
from isthmus.engine.engine import Terms, in_use
from isthmus.engine.layers import SLOPES, chain, specs_of
from isthmus.engine.tape import Tape
from isthmus.parts.bottlenecks import Bare, Bottleneck, Gaussian, Plain
from isthmus.parts.networks.linear import Transposed
from isthmus.parts.principal import centre
from isthmus.parts.step import Batch, Code


def terms_of(model: Composed) -> Terms:
    """Return what computes the terms of a dense model in use, whose weights must stay where they lie."""
    # any other bottleneck may ask whether it is in training
    return Forward(model) if type(model.parts.bottleneck) in (Bare, Plain, Gaussian) else in_use(model)


class Inputs(NamedTuple):
    """What enters the encoder."""

    network: Tensor
    """(B, d) what its layers see."""
    straight: Tensor | None
    """(B, d) what the linear shortcut sees, where there is one."""

    @classmethod
    def of(cls, model: Composed, seen: Batch) -> Inputs:
        encoder = model.encoder
        x = seen.x.clamp(min=0).log1p() if encoder.counts else seen.x
        x = centre(x, seen.observed, encoder.mean)
        if encoder.shortcut is None:
            return cls(x.flatten(1), None)
        return cls(x.clamp(-encoder.reach, encoder.reach).flatten(1), x.flatten(1))

    def part(self, start: int, stop: int) -> Inputs:
        """Return some rows, as views."""
        return Inputs(self.network[start:stop], None if self.straight is None else self.straight[start:stop])


class Forward:
    """Computes the terms of a dense model in use, whether or not its modules are in training."""

    def __init__(self, model: Composed) -> None:
        self.model = model
        self._passes: dict[int, Pass] = {}

    @torch.no_grad()
    def __call__(self, batch: Batch, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
        rows = len(batch.x)
        if rows not in self._passes:
            self._passes[rows] = Pass(self.model, batch.x)
        return self._passes[rows].play(batch, rng, progress)


class Pass:
    """The forward pass of batches of one size."""

    def __init__(self, model: Composed, like: Tensor) -> None:
        encoder, decoder, d = model.encoder, model.decoder, model.layout.size
        self.model, self.tape = model, Tape(len(like), like.dtype)
        tape, has_shortcut = self.tape, encoder.shortcut is not None
        self.inputs = Inputs(tape.empty(d), tape.empty(d) if has_shortcut else None)
        self.code = Code(like, like)

        ends = _ends(model.parts.bottleneck, encoder.head)
        h = _layers(tape, [*chain(encoder.body), *(ends or [])], self.inputs.network)
        z = h if ends is not None else self._encoded(h)
        if encoder.shortcut is not None and self.inputs.straight is not None:
            straight = _linear(tape, self.inputs.straight, encoder.shortcut, None)
            tape(straight.add_, z)
            z = straight
        x_hat = z
        if has_shortcut:
            x_hat = torch.empty_like(z)
            tape(torch.clamp, z, -decoder.reach, decoder.reach, out=x_hat)
        x_hat = _layers(tape, chain(decoder.body), x_hat)
        if decoder.shortcut is not None:
            straight = _linear(tape, z, decoder.shortcut, decoder.mean)
            if decoder.is_linked and not bool((decoder.gain == 1).all() and (decoder.offset == 0).all()):
                tape(straight.sub_, decoder.offset)
                tape(straight.mul_, decoder.gain)
            tape(straight.add_, x_hat)
            x_hat = straight
        self.x_hat = x_hat

    def play(self, batch: Batch, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Return the terms of a batch, each (B,)."""
        model, tape = self.model, self.tape
        seen = model.corrupted(batch, rng, progress)
        for here, given in zip(self.inputs, Inputs.of(model, seen), strict=True):
            if here is not None and given is not None:
                here.copy_(given)
        tape.rng, tape.progress = rng, progress
        tape.play()
        return {"reconstruction": model.error(self.x_hat.view_as(batch.x), batch), **self.code.terms}

    def _encoded(self, h: Tensor) -> Tensor:
        """Record what the bottleneck makes of h; return the buffer of z, (B, k)."""
        tape, encoder, z = self.tape, self.model.encoder, self.tape.empty(self.model.z_shape[0])

        def encode() -> None:
            self.code = encoder.bottleneck(encoder.head, h, tape.rng, tape.progress)
            z.copy_(self.code.z)

        tape(encode)
        return z


def _ends(part: Bottleneck, head: nn.Module) -> list[nn.Module] | None:
    """Return the layers that the encoder's chain ends with, where the code is what they give; else None."""
    if type(part) is Bare:
        return []
    layers = plain_layers(head) if type(part) is Plain else []
    return layers if specs_of(layers) else None


def _layers(tape: Tape, modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Record what dense layers make of x; return its buffer. Dropout does nothing in a model in use."""
    for linear, activation, _ in specs_of(modules) or []:
        weight = linear.weight.mT if isinstance(linear, Transposed) else linear.weight
        x = _linear(tape, x, weight, linear.bias, is_padded=type(linear) is not nn.Linear)
        if activation is not None:
            slope = SLOPES[type(activation)]
            y, x = x, torch.empty_like(x) if slope.needs_y else x
            tape(slope.function, y, out=x) if slope.needs_y else tape(slope.function, y)
    return x


def _linear(tape: Tape, x: Tensor, weight: Tensor, bias: Tensor | None, is_padded: bool = True) -> Tensor:
    """Record x W^T + b; the inner width is padded as ``parts.networks.linear`` pads it, or it would round differently."""
    weight = weight.detach()
    if is_padded and (spare := -weight.shape[1] % 4):
        x, weight = _padded(tape, x, spare), _padded(tape, weight, spare)
    out = tape.empty(weight.shape[0])
    if bias is None:
        tape(torch.mm, x, weight.t(), out=out)
    else:
        tape(torch.addmm, bias.detach(), x, weight.t(), out=out)
    return out


def _padded(tape: Tape, values: Tensor, spare: int) -> Tensor:
    """Record a copy with more columns, of zeros."""
    padded = values.new_zeros(len(values), values.shape[1] + spare)
    tape(padded[:, : values.shape[1]].copy_, values)
    return padded
