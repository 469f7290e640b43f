"""The stacked engine: dense models of one form, trained side by side by the steps of one.

    rows of member 1 --+                                                          +-- terms of member 1
    rows of member 2 --+--> (members, B, d) --> one tape, one Adam for all of them --+-- terms of member 2

Most of a small step is what its calls cost, whatever they compute. Here every call computes for all members: weights, rows
and gradients have a leading axis of them. Widths are padded with zeros, to a common size where codes differ and to multiples
that the processor's products like; a padded weight has no gradient, and stays exactly zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.engine.codes import AnyWaist, waist_of
from isthmus.engine.dense import Dense, Program
from isthmus.engine.engine import Block, part_of
from isthmus.engine.forward import Inputs, terms_of
from isthmus.engine.losses import has_closed_form
from isthmus.engine.tape import Tape
from isthmus.engine.weights import Weights
from isthmus.layout import Layout
from isthmus.model import Parts
from isthmus.parts.bottlenecks import Gaussian, Plain
from isthmus.parts.networks import MLP
from isthmus.parts.reconstructions import Huber, SquaredError
from isthmus.parts.step import Batch, Settling

ALIGNED = 8
"""Widths are padded to multiples of so many numbers: the products of 30 columns cost what those of 46 do."""
WORK = 4e7
"""Floating-point operations of one member's step from which stacking gains little (``python benchmarks/many.py``)."""


class Stack:
    """Computes the steps of several models; each keeps its own rows, random numbers and terms."""

    name: ClassVar[str] = "stacked"

    def __init__(self, models: Sequence[Composed], optimizers: Sequence[Adam]) -> None:
        self.models, self.optimizers = models, optimizers
        self.terms = [terms_of(model) for model in models]
        self.template = _template(models)
        named = dict(self.template.named_parameters())
        for name, parameter in named.items():
            parameter.data = _one(models, name).new_zeros(len(models), *parameter.shape)
        self.optimizer = Adam(named.items(), optimizers[0].groups[0].weight_decay, members=len(models))
        self.weights = Weights(self.template, self.optimizer)
        self._programs: dict[tuple[int, bool, bool], Program] = {}
        # what torch's own generator gives to the dropout of a model alone
        self._dropping = [torch.Generator() for _ in models]
        self._pairs = [
            _pairs(model, own, self.optimizer, k) for k, (model, own) in enumerate(zip(models, optimizers, strict=True))
        ]
        self._centre()
        self._load()

    @staticmethod
    def refuses(engine: Dense) -> str:
        """Say why a model, with the engine it would have alone, cannot be a member; "" when it can."""
        model = engine.model
        if type(model.parts.network) is not MLP:
            return "its network is the user's own"
        if not has_closed_form(model.parts.reconstruction):
            return f"{type(model.parts.reconstruction).__name__} is differentiated by autograd"
        if isinstance(waist_of(model, engine.weights), AnyWaist):
            return f"{type(model.parts.bottleneck).__name__} is differentiated by autograd"
        if engine.weights.multiplied is not None:
            return "its layers multiply in half precision"
        if any(isinstance(module, Settling) for module in model.modules()):
            return "something in it settles after each step"
        return ""

    def begin(self, rngs: Sequence[torch.Generator]) -> None:
        """Take the generators of an epoch, one a member."""
        self.rngs = rngs
        for own, rng in zip(self._dropping, rngs, strict=True):
            own.manual_seed(rng.initial_seed())

    def run(self, blocks: Sequence[Block]) -> list[dict[str, float]]:
        """Take the steps of one block a member; return the terms of each, as :meth:`Engine.run` does."""
        totals: dict[str, list[Tensor]] = {}
        start = 0
        with torch.inference_mode():
            clean = self._side_by_side([block.rows for block in blocks])
            for size, progress, rate in zip(blocks[0].sizes, blocks[0].progress, blocks[0].rates, strict=True):
                stop = start + size
                batch = Batch(
                    clean.x[:, start:stop],
                    None if clean.observed is None else clean.observed[:, start:stop],
                    weight=None if clean.weight is None else clean.weight[:, start:stop],
                )
                program = self._program(batch)
                inputs = program.inputs  # where the tape puts them itself
                if self.template.parts.corruptions:
                    inputs = self._corrupted([part_of(block.rows, start, stop) for block in blocks], progress)
                for name, total in program.play(inputs, batch, self.rngs[0], progress).items():
                    totals.setdefault(name, []).append(total)
                self.weights.step(rate)
                start = stop
        sums = {name: torch.stack(values).double().sum(0) for name, values in totals.items()}
        each = [{name: float(values[k]) for name, values in sums.items()} for k in range(len(self.models))]
        return [{"loss": sum(terms.values())} | terms for terms in each]

    @torch.no_grad()
    def write_weights(self, k: int) -> None:
        """Give a member's model its weights."""
        for own, here in self._pairs[k]:
            own.value.copy_(here.value)

    @torch.no_grad()
    def write_moments(self, k: int) -> None:
        """Give a member's optimizer its moments and the count of its steps."""
        for own, here in self._pairs[k]:
            own.mean.copy_(here.mean)
            own.square.copy_(here.square)
        for group, stacked in zip(self.optimizers[k].groups, self.optimizer.groups, strict=True):
            for steps in group.steps[:1]:  # all parameters share one count
                steps.copy_(stacked.steps[0])

    def state(self) -> list[Tensor]:
        """Return copies of the weights and moments of all."""
        return [tensor.clone() for tensor in self._held()]

    def restore(self, state: list[Tensor]) -> None:
        """Take over what :meth:`state` returned."""
        for mine, given in zip(self._held(), state, strict=True):
            mine.copy_(given)

    @torch.no_grad()
    def _load(self) -> None:
        for own, here in (pair for pairs in self._pairs for pair in pairs):
            for mine, stacked in zip(own, here, strict=True):
                stacked.copy_(mine)
        for group, first in zip(self.optimizer.groups, self.optimizers[0].groups, strict=True):
            for steps in group.steps[:1]:
                steps.copy_(first.steps[0])

    def _centre(self) -> None:
        """Stack what the data said before the first step: means, and how far inputs and codes reach."""
        encoders, decoders = [m.encoder for m in self.models], [m.decoder for m in self.models]
        self.mean = self._joined([encoder.mean.view(1, -1) for encoder in encoders])  # (members, 1, d)
        self.reach = self._joined([encoder.reach.view(1, -1) for encoder in encoders])
        self.template.decoder.mean = self._joined([decoder.mean.view(1, -1) for decoder in decoders])
        self.template.decoder.reach = torch.stack([decoder.reach for decoder in decoders])[:, None, None]

    def _held(self) -> list[Tensor]:
        return [tensor for group in self.optimizer.groups if group.flat is not None for tensor in group.flat]

    def _side_by_side(self, rows: Sequence[Batch]) -> Batch:
        """Stack the rows of all members: x (members, n, d), and so on. Padded numbers are observed: 0, as their x_hat is."""
        seen = [batch.observed.flatten(1) for batch in rows if batch.observed is not None]
        weights = [batch.weight for batch in rows if batch.weight is not None]
        return Batch(
            self._joined([batch.x.flatten(1) for batch in rows]),
            self._joined(seen, True) if seen else None,
            weight=torch.stack(weights) if weights else None,
        )

    def _entrance(self, program: Program) -> Tape:
        """Record what becomes of the clean rows before they enter the encoder: :meth:`Inputs.of`, for all members."""
        x, inputs, gaps = program.batch.x, program.inputs, program.target.gaps
        tape = Tape(x.shape[1], x.dtype, members=self._dropping)
        centred = inputs.network if inputs.straight is None else inputs.straight
        # expanded, for the kernels of equal shapes are several times faster than those that broadcast
        tape(torch.sub, x, self.mean.expand_as(x).contiguous(), out=centred)
        if gaps is not None:
            tape(centred.masked_fill_, gaps, 0.0)
        if inputs.straight is not None:
            most = self.reach.expand_as(x).contiguous()
            tape(torch.clamp, centred, -most, most, out=inputs.network)
        return tape

    def _corrupted(self, batches: Sequence[Batch], progress: float) -> Inputs:
        each = [
            Inputs.of(model, model.corrupted(batch, rng, progress))
            for model, batch, rng in zip(self.models, batches, self.rngs, strict=True)
        ]
        straight = [inputs.straight for inputs in each if inputs.straight is not None]
        return Inputs(self._joined([inputs.network for inputs in each]), self._joined(straight) if straight else None)

    def _joined(self, values: Sequence[Tensor], fill: float = 0.0) -> Tensor:
        """Stack (n, d) of each member, padded to the common width: (members, n, width)."""
        joined = values[0].new_full((len(values), len(values[0]), self.template.layout.size), fill)
        for place, own in zip(joined, values, strict=True):
            place[:, : own.shape[1]] = own
        return joined

    def _program(self, batch: Batch) -> Program:
        key = batch.x.shape[1], batch.observed is not None, batch.weight is not None
        if key not in self._programs:
            with torch.inference_mode(False), torch.no_grad():  # its buffers outlive the block
                program = self._programs[key] = Program(self.template, batch, self.weights, self._dropping)
            if not self.template.parts.corruptions:
                program.tape.calls[:0] = self._entrance(program).calls
            program.tape.draw_normal = self._draw_normal
        return self._programs[key]

    def _draw_normal(self, noise: Tensor) -> None:
        """Draw (members, B, width), each member as many columns as its own code has; the others stay 0."""
        noise.zero_()
        for place, model, rng in zip(noise, self.models, self.rngs, strict=True):
            place[:, : model.z_shape[0]] = torch.empty(len(place), model.z_shape[0]).normal_(generator=rng)


class Moving(NamedTuple):
    """A parameter and its running moments, all of one shape."""

    value: Tensor
    mean: Tensor
    square: Tensor


def _moving(optimizer: Adam) -> Iterator[tuple[str, Moving]]:
    for group in optimizer.groups:
        for name, *tensors in zip(group.names, group.parameters, group.mean, group.square, strict=True):
            yield name, Moving(*(tensor.detach() for tensor in tensors))


def _one(models: Sequence[Composed], name: str) -> Tensor:
    return models[0].get_parameter(name)


def _template(models: Sequence[Composed]) -> Composed:
    """Build the model that is as wide as the widest member and then some; only its form is of use."""
    widest = max(models, key=lambda model: model.z_shape[0])
    parts, width, size = widest.parts, widest.z_shape[0], widest.layout.size
    # a random code is as wide as its noise, and a likelihood counts its numbers: only what is 0 at 0 can be padded
    if pads_code(parts):
        width = _aligned(width)
    if type(parts.reconstruction) in (SquaredError, Huber) and type(parts.bottleneck) is not Gaussian:
        size = _aligned(size)
    layout = widest.layout if size == widest.layout.size else Layout((size,))
    blueprint = replace(widest.blueprint, layout=layout, latent_dim=width)
    with torch.random.fork_rng([]):
        template = Composed(blueprint)
    return template.to(next(widest.parameters()).dtype)


def pads_code(parts: Parts) -> bool:
    """Can codes of different sizes be padded to one? Only where a number that nothing leads to is 0."""
    part = parts.bottleneck
    return type(part) is Gaussian or (type(part) is Plain and part.activation != "sigmoid")


def _aligned(width: int) -> int:
    return -(-width // ALIGNED) * ALIGNED


def _pairs(model: Composed, optimizer: Adam, stacked: Adam, k: int) -> list[tuple[Moving, Moving]]:
    """Return views of what a member holds, each beside a view of where it stands in the stack."""
    return [
        (Moving(*(tensor[there] for tensor in own)), Moving(*(tensor[k][here] for tensor in all_)))
        for (name, own), (_, all_) in zip(_moving(optimizer), _moving(stacked), strict=True)
        for there, here in _places(model, name, all_.value[k])
    ]


Place: TypeAlias = tuple[slice, ...]


def _places(model: Composed, name: str, full: Tensor) -> list[tuple[Place, Place]]:
    """Return which numbers of a member's parameter stand where in the padded one."""
    own, code = model.get_parameter(name).shape, model.z_shape[0]
    rest = tuple(slice(0, width) for width in own[1:])
    if type(model.parts.bottleneck) is Gaussian and own[0] == 2 * code and full.shape[0] != own[0]:
        wide = full.shape[0] // 2  # means, and below them log variances
        return [
            ((slice(0, code), *rest), (slice(0, code), *rest)),
            ((slice(code, own[0]), *rest), (slice(wide, wide + code), *rest)),
        ]
    return [(((slice(0, own[0]), *rest)), (slice(0, own[0]), *rest))]
