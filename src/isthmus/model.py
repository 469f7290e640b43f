"""The model: all weights, composed from parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isthmus.layout import Layout
from isthmus.parts.bottlenecks import Bottleneck
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks import Network
from isthmus.parts.networks.linear import linear
from isthmus.parts.penalties import Penalty
from isthmus.parts.principal import Principal, centre
from isthmus.parts.reconstructions import LogVariance, Reconstruction
from isthmus.parts.step import Batch, Code, Step


@dataclass(frozen=True)
class Parts:
    """The parts of one model, all resolved: nothing says "auto" any more."""

    network: Network
    bottleneck: Bottleneck
    reconstruction: Reconstruction
    corruptions: tuple[Corruption, ...] = ()
    penalties: tuple[Penalty, ...] = ()


REACH = 10.0
"""Under a shortcut the network sees values cut at so many standard deviations: beyond the data it would only guess, and the
linear map answers alone."""


class Encoder(nn.Module):
    """x (B, *shape) -> embedding (B, *z_shape). With a linear shortcut: network(x - mean) + E (x - mean)."""

    def __init__(self, parts: Parts, layout: Layout, latent_dim: int, shortcut: bool) -> None:
        super().__init__()
        self.bottleneck = parts.bottleneck
        self.body, h_shape = parts.network.encoder(layout.shape)
        self.head, self.z_shape = parts.bottleneck.head(h_shape, latent_dim)
        self.shortcut = nn.Parameter(torch.zeros(latent_dim, layout.size)) if shortcut else None
        self.register_buffer("mean", torch.zeros(layout.shape))
        self.register_buffer("reach", torch.full(layout.shape, torch.inf))
        self.mean: Tensor
        self.reach: Tensor

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        return self.code(x, observed, None, 1.0).embedding

    def code(self, x: Tensor, observed: Tensor | None, rng: torch.Generator | None, progress: float) -> Code:
        x = centre(x, observed, self.mean)
        if self.shortcut is None:
            return self.bottleneck(self.head, self.body(x), rng, progress)
        code = self.bottleneck(self.head, self.body(x.clamp(-self.reach, self.reach)), rng, progress)
        straight = linear(x.flatten(1), self.shortcut)  # (B, latent_dim)
        return code._replace(z=code.z + straight, embedding=code.embedding + straight)


class Decoder(nn.Module):
    """z (B, *z_shape) -> the expected sample (B, *shape). With a linear shortcut: network(z) + gain (D z + mean - offset)."""

    def __init__(self, parts: Parts, layout: Layout, z_shape: tuple[int, ...], shortcut: bool) -> None:
        super().__init__()
        self.layout, self.reconstruction = layout, parts.reconstruction
        self.body = parts.network.decoder(z_shape, layout.shape)
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

    def forward(self, z: Tensor) -> Tensor:
        return self.reconstruction.mean(self.outputs(z), self.layout)

    def outputs(self, z: Tensor) -> Tensor:
        """Return what the reconstruction compares: the sample itself, or logits."""
        if self.shortcut is None:
            return self.body(z)
        x_hat = self.body(z.clamp(-self.reach, self.reach))
        if self.gate is not None:
            x_hat = self.gate * x_hat
        straight = self.gain * (linear(z.flatten(1), self.shortcut, self.mean) - self.offset)
        return x_hat + straight.view_as(x_hat)


class Model(nn.Module):
    """All weights; four methods that the loop, the estimator and the applications know: encode, decode, terms, sample."""

    def __init__(self, parts: Parts, layout: Layout, latent_dim: int, shortcut: bool = False) -> None:
        super().__init__()
        self.parts, self.layout = parts, layout
        self.encoder = Encoder(parts, layout, latent_dim, shortcut)
        self.decoder = Decoder(parts, layout, self.encoder.z_shape, shortcut)
        self.scale = parts.reconstruction.module(layout)

    @property
    def z_shape(self) -> tuple[int, ...]:
        return self.encoder.z_shape

    def encode(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> Code:
        """Return the code of a batch; without a generator, the noise-free one."""
        return self.encoder.code(batch.x, batch.observed, rng, progress)

    def decode(self, z: Tensor) -> Tensor:
        """Return the decoder's output, (B, *shape): the sample itself, or logits. ``decoder(z)`` gives the expected sample."""
        return self.decoder.outputs(z)

    def terms(self, batch: Batch, rng: torch.Generator | None = None, progress: float = 1.0) -> dict[str, Tensor]:
        """Return every loss term by name, each (B,), or () for a term of the whole batch.

        With a generator: corrupted input and random code, as in training; without: as in scoring. Penalties belong to
        training alone, where gradients flow. A second term of one name gets a number.
        """
        seen = batch
        if rng is not None:
            for corruption in self.parts.corruptions:
                seen = corruption(seen, rng)
        code = self.encode(seen, rng, progress)
        x_hat = self.decode(code.z)
        terms = {"reconstruction": self.parts.reconstruction(x_hat, batch, self.layout, self.scale), **code.terms}
        if rng is not None and self.parts.penalties and self.training:
            step = Step(batch, code, x_hat, lambda x: self.encoder(x, seen.observed), self.decode, progress)
            for penalty in self.parts.penalties:
                name = type(penalty).__name__.lower()
                count = sum(key.split("_")[0] == name for key in terms)
                terms[name if not count else f"{name}_{count + 1}"] = penalty(step)
        return terms

    def cells(self, batch: Batch) -> Tensor:
        """Return the noise-free reconstruction term of each cell: (B, *shape), or (B, n_blocks) for tables.

        What no reconstruction could change (the normaliser of a Gaussian) is left out: a perfect cell counts 0.
        """
        part = self.parts.reconstruction
        cells = part.cells(self.decode(self.encode(batch).z), batch, self.layout, self.scale)
        normaliser = part.normaliser(self.layout, self.scale)
        if normaliser is None:
            return cells
        if batch.observed is None:
            return cells - normaliser
        if not self.layout.blocks:
            return torch.where(batch.observed, cells - normaliser, torch.zeros_like(cells))
        first = torch.tensor([block.start for block in self.layout.blocks], device=cells.device)
        return torch.where(batch.observed[:, first], cells - normaliser, torch.zeros_like(cells))

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw ``n`` expected samples, (n, *shape), from codes of the prior."""
        return self.decoder(self.parts.bottleneck.prior(n, self.z_shape, rng))

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
        if isinstance(self.scale, LogVariance):
            left = self._left_by(floor)
            self.scale.start(left.mean()[None] if self.scale.log_var.numel() == 1 else left)

    def _left_by(self, floor: Principal) -> Tensor:
        """Return the variance that principal components leave of each number, or of each block of a table."""
        explained = (floor.variances[:, None] * floor.directions.square()).sum(0)  # (d,)
        left = (floor.spread.square() - explained).clamp(min=0)
        return left[[block.start for block in self.layout.blocks]] if self.layout.blocks else left


def _silence(module: nn.Module) -> None:
    """Zero the last layer that has weights, so that ``module`` adds nothing until training says so."""
    layers = [layer for layer in module.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter)]
    last: Sequence[nn.Parameter] = list(layers[-1].parameters(recurse=False)) if layers else []
    for parameter in last:
        parameter.zero_()
