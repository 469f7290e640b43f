"""The design nearly every variant has: encoder, bottleneck and decoder, one after the other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.designs.design import Design
from isthmus.designs.draws import Draws, Weighable, drawn, refuse_unlikely, repeated, standard
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Activations, Blueprint, Model
from isthmus.parts.bottlenecks import Auxiliary
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks.linear import Linear, linear
from isthmus.parts.penalties import Adversary, Onlooker, Penalty
from isthmus.parts.principal import Principal, centre
from isthmus.parts.reconstructions import Reconstruction, Starting
from isthmus.parts.step import Batch, Code, Step, frozen
from isthmus.training import Run

REACH = 10.0
"""Under a shortcut the network sees values cut at so many standard deviations: beyond the data it would only guess, and the
linear map answers alone."""
UNTOLD = 0.1
"""The share of training samples whose condition is kept from the model, so that it can do without one later."""


@dataclass
class Direct(Design):
    """x -> encoder -> code -> decoder -> x_hat: every part as it stands."""

    carries_shortcut: ClassVar[bool] = True

    def build(self, blueprint: Blueprint) -> Model:
        return Composed(blueprint)

    def prepare(self, run: Run) -> None:
        pass


class Joint(nn.Module):
    """h and a condition, mixed by one layer: (B, inside, *positions) and (B, c) -> (B, inside, *positions)."""

    def __init__(self, inside: int, condition_width: int) -> None:
        super().__init__()
        self.linear, self.activation = Linear(inside + condition_width, inside), nn.SiLU()

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        mixed = self.activation(self.linear(beside(h, condition).movedim(1, -1)))
        return h + mixed.movedim(-1, 1)


def beside(z: Tensor, condition: Tensor) -> Tensor:
    """Put a condition (B, c) beside the channels of z (B, k, *positions), the same at every position."""
    spread = condition.view(*condition.shape, *[1] * (z.dim() - 2)).expand(-1, -1, *z.shape[2:])
    return torch.cat([z, spread], dim=1)


class Encoder(nn.Module):
    """x (B, *shape) -> embedding (B, *z_shape). With a linear shortcut: network(x - mean) + E (x - mean)."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        parts, layout = blueprint.parts, blueprint.layout
        self.bottleneck, self.network, self.condition_width = (
            parts.bottleneck,
            parts.network,
            blueprint.condition_width,
        )
        self.counts = parts.reconstruction.needs_counts
        self.body, h_shape = parts.network.encoder(layout.shape)
        if not parts.network.keeps_place:
            h_shape = (math.prod(h_shape),)
        self.joint = Joint(h_shape[0], self.condition_width) if self.condition_width else None
        self.head, self.z_shape = parts.bottleneck.head(h_shape, blueprint.latent_dim)
        self.shortcut = nn.Parameter(torch.zeros(blueprint.latent_dim, layout.size)) if blueprint.shortcut else None
        self.register_buffer("mean", torch.zeros(layout.shape))
        self.register_buffer("reach", torch.full(layout.shape, torch.inf))
        self.mean: Tensor
        self.reach: Tensor

    def forward(self, x: Tensor, observed: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        return self.code(x, observed, condition, None, 1.0).embedding

    def code(
        self,
        x: Tensor,
        observed: Tensor | None,
        condition: Tensor | None,
        rng: torch.Generator | None,
        progress: float,
    ) -> Code:
        if self.counts:
            x = x.clamp(min=0).log1p()
        x = centre(x, observed, self.mean)
        if self.shortcut is None:
            return self.bottleneck(self.head, self._h(x, observed, condition), rng, progress)
        h = self._h(x.clamp(-self.reach, self.reach), observed, condition)
        code = self.bottleneck(self.head, h, rng, progress)
        straight = linear(x.flatten(1), self.shortcut)  # (B, latent_dim)
        return code._replace(z=code.z + straight, embedding=code.embedding + straight)

    def _h(self, x: Tensor, observed: Tensor | None, condition: Tensor | None) -> Tensor:
        h = self.body(x, observed) if self.network.sees_gaps else self.body(x)
        if not self.network.keeps_place:
            h = h.flatten(1)
        if self.joint is None:
            return h
        return self.joint(h, h.new_zeros(len(h), self.condition_width) if condition is None else condition)


class Decoder(nn.Module):
    """z (B, *z_shape) -> the expected sample (B, *shape). With a linear shortcut: network(z) + gain (D z + mean - offset)."""

    def __init__(self, blueprint: Blueprint, z_shape: tuple[int, ...]) -> None:
        super().__init__()
        parts, layout, shortcut = blueprint.parts, blueprint.layout, blueprint.shortcut
        self.layout, self.reconstruction, self.condition_width = (
            layout,
            parts.reconstruction,
            blueprint.condition_width,
        )
        self.body = parts.network.decoder((z_shape[0] + self.condition_width, *z_shape[1:]), layout.shape)
        self.shortcut = nn.Parameter(torch.zeros(layout.size, math.prod(z_shape))) if shortcut else None
        # A network whose end cannot be silenced by its last layer is silenced by a factor that starts at 0.
        self.gate = nn.Parameter(torch.zeros(())) if shortcut and not parts.network.ends_linearly else None
        link = parts.reconstruction.link(layout) if shortcut else None
        gain, offset = link if link is not None else (torch.ones(1), torch.zeros(1))
        self.register_buffer("mean", torch.zeros(layout.size))
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("reach", torch.tensor(torch.inf))
        self.mean: Tensor
        self.reach: Tensor
        self.gain: Tensor
        self.offset: Tensor

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.reconstruction.mean(self.outputs(z, condition), self.layout)

    def outputs(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Return what the reconstruction compares: the sample itself, or logits."""
        if self.shortcut is None:
            return self.body(self._told(z, condition))
        x_hat = self.body(self._told(z.clamp(-self.reach, self.reach), condition))
        if self.gate is not None:
            x_hat = self.gate * x_hat
        straight = self.gain * (linear(z.flatten(1), self.shortcut, self.mean) - self.offset)
        return x_hat + straight.view_as(x_hat)

    def _told(self, z: Tensor, condition: Tensor | None) -> Tensor:
        if not self.condition_width:
            return z
        return beside(z, z.new_zeros(len(z), self.condition_width) if condition is None else condition)


class Composed(Model, Weighable):
    """Encoder, bottleneck and decoder, one after the other."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.blueprint = blueprint
        parts, layout = blueprint.parts, blueprint.layout
        self.encoder = Encoder(blueprint)
        self.z_shape = self.encoder.z_shape
        self.decoder = Decoder(blueprint, self.z_shape)
        parts.network.join(self.encoder.body, self.encoder.head, self.decoder.body)
        self.scale = parts.reconstruction.module(layout)
        self._names = names_of(parts.penalties)
        self.critics = nn.ModuleDict(
            {
                name: penalty.critic(layout, self.z_shape)
                for name, penalty in zip(self._names, parts.penalties, strict=True)
                if isinstance(penalty, Adversary)
            }
        )
        onlookers = {n: p for n, p in zip(self._names, parts.penalties, strict=True) if isinstance(p, Onlooker)}
        networks = {name: penalty.network(layout) for name, penalty in onlookers.items()}
        self.features = nn.ModuleDict({name: network for name, network in networks.items() if network is not None})

    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        return self.encoder.code(batch.x, batch.observed, batch.condition, rng, progress)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.decoder.outputs(z, condition)

    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        seen = batch if rng is None else self.corrupted(batch, rng, progress)
        is_asked = bool(self.parts.penalties) or isinstance(self.parts.bottleneck, Auxiliary)
        with Activations(self.encoder.body if self.training and is_asked else nn.Identity()) as hidden:
            code = self.encode(seen, rng, progress)
        x_hat = self.decode(code.z, seen.condition)
        terms = {"reconstruction": self.error(x_hat, batch), **code.terms}
        if self.training and is_asked and rng is not None:
            asked = self._asked_of(self._step(batch, seen, code, x_hat, rng, progress, tuple(hidden)))
            if taken := sorted(asked.keys() & terms.keys()):
                raise SettingError(
                    f"A penalty's class is called like the term {taken[0]!r} of the model; rename the class."
                )
            terms |= asked
        return terms

    def error(self, x_hat: Tensor, batch: Batch) -> Tensor:
        """Return the reconstruction term, (B,)."""
        return self.parts.reconstruction(x_hat, batch, self.layout, self.scale)

    @property
    def noise_width(self) -> int:
        return math.prod(self.z_shape)

    def weigh(self, batch: Batch, noise: Tensor, seen: Batch | None = None) -> Draws:
        refuse_unlikely(self.parts)
        posterior = self.encode(batch if seen is None else seen).posterior
        assert posterior is not None, "a Gaussian code has a posterior"
        z, log_posterior = drawn(posterior, noise)
        many = repeated(batch if seen is None else batch._replace(condition=seen.condition), len(noise))
        error = self.error(self.decode(z.flatten(0, 1), many.condition), many)
        return Draws(z, -error.view(log_posterior.shape), standard(z), log_posterior)

    def corrupted(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        """Return the batch as the encoder gets it in training."""
        return corrupted(self.parts.corruptions, batch, rng, progress)

    def cells(self, batch: Batch) -> Tensor:
        x_hat = self.decode(self.encode(batch).z, batch.condition)
        return reducible(self.parts.reconstruction, x_hat, batch, self.layout, self.scale)

    def sample(self, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        z = self.parts.bottleneck.prior(n, self.z_shape, rng)
        return None if z is None else self.decoder(z, condition)

    def _step(
        self,
        batch: Batch,
        seen: Batch,
        code: Code,
        x_hat: Tensor,
        rng: torch.Generator,
        progress: float,
        hidden: tuple[Tensor, ...],
    ) -> Step:
        told = seen.condition
        return Step(
            batch=batch,
            seen=seen,
            code=code,
            x_hat=x_hat,
            encode=lambda x: self.encoder(x, seen.observed, told),
            decode=lambda z: self.decode(z, _repeated(told, z)),
            frozen_decode=lambda z: frozen(_Outputs(self.decoder))(z, _repeated(told, z)),
            error=lambda other: self.error(other, batch),
            mean=lambda other: self.parts.reconstruction.mean(other, self.layout),
            rng=rng,
            progress=progress,
            n_rows=self.blueprint.n_rows,
            hidden=hidden,
        )

    def _asked_of(self, step: Step) -> dict[str, Tensor]:
        """Return what the bottleneck and the penalties ask of a whole step."""
        terms: dict[str, Tensor] = {}
        if isinstance(self.parts.bottleneck, Auxiliary):
            terms |= self.parts.bottleneck.auxiliary(self.encoder.head, step)
        for name, penalty in zip(self._names, self.parts.penalties, strict=True):
            if isinstance(penalty, Adversary):
                critic = self.critics[name]
                terms[name] = penalty(replace(step, critic=frozen(critic)))
                terms[f"{name}_critic"] = penalty.critic_term(replace(step, critic=critic))
            elif name in self.features:
                terms[name] = penalty(replace(step, features=self.features[name]))
            else:
                terms[name] = penalty(step)
        return terms

    @torch.no_grad()
    def start_from(self, floor: Principal) -> None:
        if isinstance(self.scale, Starting):
            self.scale.start_from(floor.mean, left_by(floor, self.layout))
        if self.encoder.shortcut is not None:
            self.become_linear(floor)
        else:
            self._start_at(floor.mean)

    def _start_at(self, mean: Tensor) -> None:
        """Let dense layers start as if the data were centred: b - W mean at the input, the mean at the output."""
        if self.parts.reconstruction.needs_counts:
            return
        first, last = _weighted(self.encoder.body)[:1], _weighted(self.decoder.body)[-1:]
        for layer in first:
            if type(layer) is Linear and layer.in_features == self.layout.size:
                layer.bias.sub_(layer.weight @ mean)
        link = self.parts.reconstruction.link(self.layout)
        for layer in last:
            if type(layer) is Linear and layer.out_features == self.layout.size and self.parts.network.ends_linearly:
                gain, offset = link if link is not None else (torch.zeros(1), torch.zeros(1))
                layer.bias.copy_((gain * (mean - offset)).expand_as(layer.bias))

    @torch.no_grad()
    def become_linear(self, floor: Principal) -> None:
        """Make the model equal PCA: orthonormal shortcut (E = U, D = U^T), network silent. Needs a shortcut."""
        encoder, decoder = self.encoder, self.decoder
        assert encoder.shortcut is not None, "this model has no shortcut"
        assert decoder.shortcut is not None, "encoder and decoder carry the shortcut together"
        k = len(floor.directions)  # fewer than latent_dim when there are fewer rows than that: the rest stays 0
        encoder.shortcut.zero_()[:k] = floor.directions
        decoder.shortcut.zero_()[:, :k] = floor.directions.T
        encoder.mean.copy_(floor.mean.view_as(encoder.mean))
        decoder.mean.copy_(floor.mean)
        bounded = torch.cat(
            [torch.full((b.width,), b.kind != "numeric") for b in self.layout.blocks] or [torch.zeros(1)]
        )
        reach = torch.where(bounded.bool(), torch.inf, REACH * floor.spread)
        encoder.reach.copy_(reach.view_as(encoder.reach))
        decoder.reach.copy_(REACH * floor.variances.max().sqrt())
        _silence(encoder.head)
        if decoder.gate is None:
            _silence(decoder.body)
        else:
            decoder.gate.zero_()
        if isinstance(self.scale, Starting):
            self.scale.start_from(floor.mean, left_by(floor, self.layout))


class _Outputs(nn.Module):
    """A decoder whose call gives what the reconstruction compares."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, condition: Tensor | None) -> Tensor:
        return self.decoder.outputs(z, condition)


def _repeated(condition: Tensor | None, z: Tensor) -> Tensor | None:
    """Return the condition for codes of which there are a whole multiple of the batch, batch after batch."""
    if condition is None or len(condition) == len(z):
        return condition
    return condition.repeat(len(z) // len(condition), 1)


def corrupted(corruptions: Sequence[Corruption], batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
    """Return the batch as an encoder gets it in training: corrupted, and not always told its condition."""
    for corruption in corruptions:
        batch = corruption(batch, rng, progress)
    if batch.condition is not None:
        told = torch.rand(len(batch.x), 1, generator=rng, device=batch.x.device) >= UNTOLD
        batch = batch._replace(condition=batch.condition * told)
    return batch


def reducible(part: Reconstruction, x_hat: Tensor, batch: Batch, layout: Layout, scale: nn.Module | None) -> Tensor:
    """Return the reconstruction term of each cell without what no reconstruction could change."""
    cells = part.cells(x_hat, batch, layout, scale)
    normaliser = part.normaliser(layout, scale)
    if normaliser is None:
        return cells
    if batch.observed is None:
        return cells - normaliser
    if not layout.blocks:
        return torch.where(batch.observed, cells - normaliser, torch.zeros_like(cells))
    first = torch.tensor([block.start for block in layout.blocks], device=cells.device)
    return torch.where(batch.observed[:, first], cells - normaliser, torch.zeros_like(cells))


def names_of(penalties: Sequence[Penalty]) -> list[str]:
    """Return the name of each penalty's term: its class, and a number from the second of a class on."""
    seen: Counter[str] = Counter()
    names = []
    for penalty in penalties:
        name = type(penalty).__name__.lower()
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def left_by(floor: Principal, layout: Layout) -> Tensor:
    """Return the variance that principal components leave of each number, or of each block of a table."""
    explained = (floor.variances[:, None] * floor.directions.square()).sum(0)  # (d,)
    left = (floor.spread.square() - explained).clamp(min=0)
    return left[[block.start for block in layout.blocks]] if layout.blocks else left


def _silence(module: nn.Module) -> None:
    """Zero the last layer that has weights, so that ``module`` adds nothing until training says so."""
    layers = _weighted(module)
    last: Sequence[nn.Parameter] = list(layers[-1].parameters(recurse=False)) if layers else []
    for parameter in last:
        parameter.zero_()


def _weighted(module: nn.Module) -> list[nn.Module]:
    """Return the layers that have weights, in the order they were built in."""
    return [layer for layer in module.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]
