"""The dense engine: the backward pass of fully connected models, written by hand.

Autograd and the optimiser's bookkeeping are most of the time of a small step. Here every kernel of a step is bound to its
buffers once, gradients are written where Adam reads them, and what is no layer - the reconstruction, the bottleneck - has its
gradient in closed form or, where it is rare, from a small autograd graph of its own.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from isthmus.designs import Composed
from isthmus.engine import products
from isthmus.engine.adam import Adam
from isthmus.engine.codes import waist_of
from isthmus.engine.curious import looks_beyond
from isthmus.engine.engine import Block, Engine, Tally
from isthmus.engine.forward import Inputs, terms_of
from isthmus.engine.layers import Layer, chain, specs_of
from isthmus.engine.losses import Target, record_of
from isthmus.engine.tape import Members, Tape
from isthmus.engine.weights import Weights
from isthmus.model import Model
from isthmus.parts.step import Batch

aten = torch.ops.aten


class Dense(Engine):
    """Serves models of dense layers whose penalties look at the code only, on the CPU."""

    name: ClassVar[str] = "dense"

    def __init__(self, model: Model, optimizer: Adam, precision: str = "float32") -> None:
        """With ``precision="bfloat16"`` the layers multiply in half precision; the weights that Adam moves stay exact."""
        assert isinstance(model, Composed), "refuses() was asked first"
        multiplied = torch.bfloat16 if precision == "bfloat16" else None
        self.model, self.weights = model, Weights(model, optimizer, multiplied)
        self.terms = terms_of(model)
        self._programs: dict[tuple[int, bool, bool], Program] = {}

    @staticmethod
    def refuses(model: Model) -> str:
        """Say why this engine cannot compute a model; "" when it can."""
        if type(model) is not Composed:
            return "its parts are joined in a way of their own"
        if next(model.parameters()).device.type != "cpu":
            return "it is not on the CPU"
        if not all(parameter.requires_grad for parameter in model.parameters()):
            return "some of its weights are not trained"
        if specs_of(chain(model.encoder.body)) is None or not specs_of(chain(model.decoder.body)):
            return "its network is not made of plain dense layers"
        if model.blueprint.condition_width:
            return "it is told a condition"
        if model.decoder.gate is not None:
            return "its shortcut has a gate"
        return looks_beyond(model.parts)

    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        model, tally, start = self.model, Tally(), 0
        with torch.inference_mode():
            self.weights.refresh()  # a restart or a checkpoint may have moved the masters
            # without corruptions the encoder's input is known for the whole block at once
            ready = None if model.parts.corruptions else Inputs.of(model, block.rows)
            for batch, progress, rate in block.steps():
                stop = start + len(batch.x)
                if ready is None:
                    inputs = Inputs.of(model, model.corrupted(batch, rng, progress))
                else:
                    inputs = ready.part(start, stop)
                tally.add(self._program(batch).play(inputs, batch, rng, progress))
                self.weights.step(rate)
                model.after_step(rng)
                start = stop
        return tally.sums()

    def _program(self, batch: Batch) -> Program:
        key = len(batch.x), batch.observed is not None, batch.weight is not None
        if key not in self._programs:
            with (
                torch.inference_mode(False),
                torch.no_grad(),
            ):  # its buffers outlive the block, and autograd may read them
                self._programs[key] = Program(self.model, batch, self.weights)
        return self._programs[key]


class Program:
    """One step for batches of one form, on a tape: forward, backward, gradients in place."""

    def __init__(self, model: Composed, like: Batch, weights: Weights, members: Members = None) -> None:
        rows = like.x.shape[0 if members is None else 1]
        self.tape = tape = Tape(rows, like.x.dtype, weights.multiplied, members)
        d = tape.flat(like.x).shape[-1]
        self.batch = Batch(torch.empty_like(like.x), _empty(like.observed), like.cells, _empty(like.weight))
        has_shortcut = model.encoder.shortcut is not None
        self.inputs = Inputs(
            tape.empty(d, dtype=tape.multiplied), tape.empty(d, dtype=tape.multiplied) if has_shortcut else None
        )
        self.target, self.waist = self._target(), waist_of(model, weights)
        encoder = [Layer(spec, weights) for spec in specs_of([*chain(model.encoder.body), *self.waist.layers]) or []]
        decoder = [Layer(spec, weights) for spec in specs_of(chain(model.decoder.body)) or []]
        shortcut = Shortcut(model, weights) if has_shortcut else None
        record = record_of(model.parts.reconstruction, model.layout, model.scale, weights)

        h = self.inputs.network
        for layer in encoder:
            h = layer.forward(tape, h)
        h = tape.cast(h, tape.dtype)
        z = self.waist.forward(tape, h, shortcut and shortcut.encode(tape, self.inputs.straight), self.target)
        x_hat = z if shortcut is None else shortcut.within_reach(tape, z)
        for layer in decoder:
            x_hat = layer.forward(tape, x_hat)
        if shortcut is not None:
            x_hat = shortcut.decode(tape, x_hat)
        elif (
            decoder[-1].slope is not None or decoder[-1].dropout is not None
        ):  # the loss overwrites what this layer still needs
            x_hat, source = torch.empty_like(x_hat), x_hat
            tape(x_hat.copy_, source)

        d_out = record(tape, tape.cast(x_hat, tape.dtype), self.target)
        d_straight = shortcut and shortcut.backward_decode(tape, d_out)
        for layer in reversed(decoder):
            d_out = layer.backward(tape, d_out)
        d_out = tape.cast(d_out, tape.dtype)
        d_z = d_out if shortcut is None else shortcut.join(tape, d_out, d_straight)
        d_h, d_straight = self.waist.backward(tape, d_z)
        if shortcut is not None:
            shortcut.backward_encode(tape, d_straight)
        for layer in reversed(encoder):
            d_h = layer.backward(tape, d_h, onwards=layer is not encoder[0])

    def play(self, inputs: Inputs, batch: Batch, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
        """Write every gradient; return the terms, each summed over the batch, ()."""
        mine, target = self.batch, self.target
        for here, given in (
            (self.inputs.network, inputs.network),
            (self.inputs.straight, inputs.straight),
            (mine.x, batch.x),
            (mine.observed, batch.observed),
            (mine.weight, batch.weight),
        ):
            if here is not None and given is not None:
                here.copy_(given)
        if target.gaps is not None and mine.observed is not None:
            torch.logical_not(self.tape.flat(mine.observed), out=target.gaps)
        self.tape.rng, self.tape.progress = rng, progress
        self.tape.play()
        totals = {"reconstruction": target.total} | self.waist.totals
        return {name: total.clone() for name, total in totals.items()}

    def _target(self) -> Target:
        batch, flat = self.batch, self.tape.flat
        return Target(
            batch,
            flat(batch.x),
            None if batch.observed is None else flat(torch.empty_like(batch.observed)),
            None if batch.weight is None else batch.weight[..., None],
            self.tape.number(),
        )


class Shortcut:
    """The linear way past both networks: z += E x, x_hat += gain (D z + mean - offset); the decoder sees z cut at its reach."""

    def __init__(self, model: Composed, weights: Weights) -> None:
        encoder, decoder = model.encoder, model.decoder
        assert encoder.shortcut is not None, "both sides carry the shortcut together"
        assert decoder.shortcut is not None, "both sides carry the shortcut together"
        self.e, self.d_e = weights.of_layer(encoder.shortcut)
        self.d, self.d_d = weights.of_layer(decoder.shortcut)
        self.reach = decoder.reach  # (), or one for each member, (members, 1, 1)
        self.gain = None if bool((decoder.gain == 1).all()) else decoder.gain
        self.constant = decoder.gain * (decoder.mean - decoder.offset)

    def encode(self, tape: Tape, x: Tensor | None) -> Tensor:
        assert x is not None, "inputs of a model with a shortcut hold the straight ones"
        self.x, straight = x, tape.empty(self.e.shape[-2], dtype=tape.multiplied)
        products.forward(tape, x, self.e, None, straight)
        return tape.cast(straight, tape.dtype)

    def within_reach(self, tape: Tape, z: Tensor) -> Tensor:
        self.z, self.cut = z, torch.empty_like(z)
        if tape.members is None:
            tape(torch.clamp, z, -float(self.reach), float(self.reach), out=self.cut)
        else:
            most = self.reach.expand_as(z).contiguous()
            tape(torch.clamp, z, -most, most, out=self.cut)
        return self.cut

    def decode(self, tape: Tape, x_hat: Tensor) -> Tensor:
        self.z_multiplied, straight = tape.cast(self.z, tape.multiplied), torch.empty_like(x_hat)
        products.forward(tape, self.z_multiplied, self.d, None, straight)
        straight = tape.cast(straight, tape.dtype)
        if self.gain is not None:
            tape(straight.mul_, self.gain)
        tape(straight.add_, self.constant)
        tape(straight.add_, x_hat)
        return straight

    def backward_decode(self, tape: Tape, d: Tensor) -> Tensor:
        """Record what the linear way takes of the gradient; return the buffer of what z gets, (B, k)."""
        if self.gain is not None:
            d, source = torch.empty_like(d), d
            tape(torch.mul, source, self.gain, out=d)
        d, d_z = tape.cast(d, tape.multiplied), torch.empty_like(self.z_multiplied)
        products.weight_gradient(tape, d, self.z_multiplied, self.d_d)
        products.input_gradient(tape, d, self.d, d_z)
        return tape.cast(d_z, tape.dtype)

    def join(self, tape: Tape, d: Tensor, d_straight: Tensor | None) -> Tensor:
        """Record the sum of what the network and the linear way give z."""
        assert d_straight is not None, "backward_decode came first"
        if tape.members is None:
            reach = float(self.reach)
            tape(aten.hardtanh_backward.grad_input, d, self.z, -reach, reach, grad_input=d)
        else:
            inside = torch.empty_like(self.z)  # 1 or 0, of the type of d: the kernels of bool are four times slower
            tape(torch.eq, self.z, self.cut, out=inside)
            tape(d.mul_, inside)
        tape(d.add_, d_straight)
        return d

    def backward_encode(self, tape: Tape, d: Tensor) -> None:
        products.weight_gradient(tape, tape.cast(d, tape.multiplied), self.x, self.d_e)


def _empty(like: Tensor | None) -> Tensor | None:
    return None if like is None else torch.empty_like(like)
