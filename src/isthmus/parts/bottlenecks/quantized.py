"""Vector-quantised codes: every position of the code is an entry of a codebook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Bottleneck, Discrete, Head
from isthmus.parts.step import Code, Settling, per_sample

SMOOTHING = 1e-5
"""What Laplace's rule adds to the count of a code, so that none is divided by zero."""
AUTO_WIDTH = 2
"""How many numbers of a vector code share an entry when ``groups="auto"``."""


@dataclass
class VectorQuantized(Bottleneck, Discrete):
    """A code made of entries of a codebook: q = the e_k nearest to z, with dq/dz = 1 (van den Oord 2017).

    The term "commitment" is ``commitment`` * sum |z - sg(q)|^2, where sg stops the gradient. With ``learn="ema"`` each e_k
    is a running mean of the z it was chosen for (Razavi 2019); with "gradient" it follows a second term, "codebook",
    sum |sg(z) - q|^2.

    One entry for a whole vector says little: ``groups`` splits the numbers of each position into so many parts with a
    codebook each (product quantisation, Jegou 2011); "auto" makes pairs of them in a vector, and one group in a map.
    With ``levels`` > 1 each further codebook quantises what the ones before it left (Zeghidour 2021, Lee 2022). A position
    then takes groups * levels * log2(codes) bits.

    A code that no sample chose for ``revive_after`` steps moves onto a sample of the last batch; 0 leaves it. The codes
    start there too, each on another sample.

    ``Code.indices`` is (B, groups * levels, *positions): the levels of the first group, then those of the next.
    """

    codes: int = 256
    commitment: float = 0.25
    learn: Literal["ema", "gradient"] = "ema"
    decay: float = 0.99
    groups: int | str = "auto"
    levels: int = 1
    revive_after: int = 100
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True
    is_rounded: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        return QuantizedHead(self, h_shape, latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        assert isinstance(head, QuantizedHead), "the head is the one this part has built"
        before = head.project(h)  # (B, latent_dim, *positions)
        quantised = head.quantise(before)
        terms = {"commitment": self.commitment * head.per_sample(quantised.left - quantised.picked.detach(), h)}
        if self.learn == "gradient":
            terms["codebook"] = head.per_sample(quantised.left.detach() - quantised.picked, h)
        # z - sg(z) is exactly 0, so that the code is the very entry, to the last bit, and its gradient is that of z.
        z = head.join(quantised.picked, h).detach() + (before - before.detach())
        return Code(z=z, embedding=z, terms=terms, before=before, indices=head.columns(quantised.indices, h))

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None

    def indices_of(self, head: nn.Module, h: Tensor) -> Tensor:
        """Return which entries the codes of ``h`` are made of: (B, groups * levels, *positions) long."""
        assert isinstance(head, QuantizedHead), "the head is the one this part has built"
        return head.columns(head.quantise(head.project(h)).indices, h)

    def decode_indices(self, head: nn.Module, indices: Tensor) -> Tensor:
        """Return the code that such indices stand for, (B, latent_dim, *positions), equal to the last bit."""
        assert isinstance(head, QuantizedHead), "the head is the one this part has built"
        return head.join(head.codebook.entries(head.uncolumned(indices)), indices)

    def sizes(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many values each column of the indices may take."""
        return (self.codes,) * (self.n_groups(z_shape) * self.levels)

    def n_groups(self, z_shape: tuple[int, ...]) -> int:
        """Return how many parts the numbers of a position are split into; z_shape is (latent_dim, *positions)."""
        channels, *positions = z_shape
        if self.groups == "auto":
            return 1 if positions else -(-channels // AUTO_WIDTH)
        if not isinstance(self.groups, int) or not 1 <= self.groups <= channels:
            raise SettingError(
                f"VectorQuantized(groups={self.groups!r}) must be from 1 to the {channels} numbers of a code "
                f"(latent_dim), or 'auto'."
            )
        return self.groups


class Quantised(NamedTuple):
    """What a codebook made of some rows."""

    left: Tensor
    """(levels, groups, N, width) what each level had to quantise: the first all of it, the next what that one left."""
    picked: Tensor
    """(levels, groups, N, width) the entries taken for it."""
    indices: Tensor
    """(levels, groups, N)"""


class Codebook(Settling):
    """The entries (levels, groups, codes, width) and, where they are running means, the sums behind them."""

    def __init__(self, part: VectorQuantized, groups: int, width: int) -> None:
        super().__init__()
        self.is_mean, self.decay, self.revive_after = part.learn == "ema", part.decay, part.revive_after
        shape = (part.levels, groups, part.codes)
        entries = torch.randn(*shape, width)
        if self.is_mean:
            self.register_buffer("codes", entries)
            self.register_buffer("counts", torch.ones(shape))
            self.register_buffer("sums", entries.clone())
        else:
            self.codes = nn.Parameter(entries)
        self.register_buffer("unused", torch.full(shape, -1))
        self.codes: Tensor
        self.counts: Tensor
        self.sums: Tensor
        self.unused: Tensor
        """(levels, groups, codes) for how many steps nobody has chosen a code; -1 before it is placed among the samples."""
        self.noted: tuple[Tensor, Tensor] | None = None

    def forward(self, rows: Tensor) -> Quantised:
        """Quantise rows (groups, N, width)."""
        left, picked, indices = [], [], []
        for codes in self.codes:
            index = nearest(rows, codes)
            entries = _taken(codes, index)
            left.append(rows)
            picked.append(entries)
            indices.append(index)
            rows = rows - entries.detach()
        quantised = Quantised(torch.stack(left), torch.stack(picked), torch.stack(indices))
        if self.training and self.noted is None:  # a penalty may encode again; the batch itself comes first
            self.noted = (quantised.left.detach().to(self.codes), quantised.indices)
        return quantised

    def entries(self, indices: Tensor) -> Tensor:
        """Return the entries of indices (levels, groups, N): (levels, groups, N, width)."""
        return torch.stack([_taken(codes, index) for codes, index in zip(self.codes, indices, strict=True)])

    @torch.no_grad()
    def after_step(self, rng: torch.Generator) -> None:
        if self.noted is None:
            return
        (rows, indices), self.noted = self.noted, None
        counts, sums = gathered(rows, indices, self.codes.shape[2])
        if self.is_mean:
            self.counts.lerp_(counts, 1 - self.decay)
            self.sums.lerp_(sums, 1 - self.decay)
            total = self.counts.sum(-1, keepdim=True)
            smoothed = (self.counts + SMOOTHING) / (total + SMOOTHING * counts.shape[-1]) * total
            self.codes.copy_(self.sums / smoothed[..., None])
        waited = torch.where(counts > 0, 0, self.unused + 1)
        self.unused.copy_(torch.where(self.unused < 0, self.unused, waited))
        self._place(rows, rng)

    def _place(self, rows: Tensor, rng: torch.Generator) -> None:
        """Move codes that are new, or that nobody wants, onto rows of the batch, no two of a codebook onto the same."""
        due = self.unused < 0
        if self.revive_after:
            due |= self.unused >= self.revive_after
        if due.device.type == "cpu" and not due.any():  # a GPU would have to be waited for to answer
            return
        n_rows = rows.shape[2]
        place = due.cumsum(-1) - 1  # its turn among those of its codebook
        due &= place < n_rows  # the others wait for the next batch
        order = torch.rand(rows.shape[:3], generator=rng, device=rows.device).argsort(-1)
        row = order.gather(-1, place.clamp(0, n_rows - 1))  # (levels, groups, codes)
        fresh = rows.gather(2, row[..., None].expand(-1, -1, -1, rows.shape[-1]))
        self.codes.copy_(torch.where(due[..., None], fresh, self.codes))
        self.unused.masked_fill_(due, 0)
        if self.is_mean:
            self.counts.masked_fill_(due, 1.0)
            self.sums.copy_(torch.where(due[..., None], fresh, self.sums))


class QuantizedHead(nn.Module):
    """The linear map h -> z, and the codebook; it also turns codes (B, latent_dim, *positions) into rows and back."""

    def __init__(self, part: VectorQuantized, h_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        _check(part)
        groups = part.n_groups((latent_dim, *h_shape[1:]))
        width = -(-latent_dim // groups)
        self.project = Head(h_shape, latent_dim)
        self.codebook = Codebook(part, groups, width)
        # Groups are padded to one width: a number that is missing is 0 in every row, and so in every entry.
        shares = [len(share) for share in torch.arange(latent_dim).tensor_split(groups)]
        slots = torch.cat([group * width + torch.arange(share) for group, share in enumerate(shares)])
        source = torch.full((groups * width,), latent_dim).index_copy(0, slots, torch.arange(latent_dim))
        self.register_buffer("slots", slots, persistent=False)
        self.register_buffer("source", source, persistent=False)
        self.slots: Tensor
        """(latent_dim,) where in the padded groups each number lies."""
        self.source: Tensor
        """(groups * width,) which number lies there; latent_dim where there is none."""
        with torch.no_grad():
            self.codebook.codes.mul_((source < latent_dim).view(groups, 1, width))
            if part.learn == "ema":
                self.codebook.sums.copy_(self.codebook.codes)

    def forward(self, h: Tensor) -> Tensor:
        """Return the quantised code of h."""
        return self.join(self.quantise(self.project(h)).picked, h)

    def quantise(self, z: Tensor) -> Quantised:
        """Quantise codes (B, latent_dim, *positions)."""
        flat = z.movedim(1, -1).reshape(-1, z.shape[1])  # (N, latent_dim), N = B * positions
        padded = F.pad(flat, (0, 1))[:, self.source]  # (N, groups * width)
        return self.codebook(padded.view(len(flat), self.codebook.codes.shape[1], -1).transpose(0, 1))

    def join(self, picked: Tensor, like: Tensor) -> Tensor:
        """Add up the levels of entries (levels, groups, N, width) to codes (B, latent_dim, *positions of ``like``)."""
        rows = picked[0]
        for level in picked[1:]:
            rows = rows + level
        flat = rows.transpose(0, 1).flatten(1)[:, self.slots]  # (N, latent_dim)
        return flat.view(len(like), *like.shape[2:], -1).movedim(-1, 1)

    def columns(self, indices: Tensor, like: Tensor) -> Tensor:
        """Turn indices (levels, groups, N) into (B, groups * levels, *positions of ``like``)."""
        together = indices.permute(2, 1, 0).reshape(len(like), *like.shape[2:], -1)
        return together.movedim(-1, 1)

    def uncolumned(self, indices: Tensor) -> Tensor:
        """Turn indices (B, groups * levels, *positions) into (levels, groups, N)."""
        levels, groups = self.codebook.codes.shape[:2]
        return indices.movedim(1, -1).reshape(-1, groups, levels).permute(2, 1, 0)

    def per_sample(self, difference: Tensor, like: Tensor) -> Tensor:
        """Sum the squares of (levels, groups, N, width) over all but the samples: (B,)."""
        squares = difference.square().sum((0, 1, 3))  # (N,)
        return per_sample(squares.view(len(like), -1))


@torch.no_grad()
def nearest(rows: Tensor, codes: Tensor) -> Tensor:
    """Return which of the codes (groups, K, width) is nearest to each of the rows (groups, N, width): (groups, N) long.

    argmin |e|^2 - 2 z.e, with both taken relative to the mean of the codes: far from 0 the difference would drown. The
    first of equally near codes is taken. Rows are padded to a multiple of 4 numbers, as in ``networks.linear``.
    """
    middle = codes.mean(1, keepdim=True)
    spare = -codes.shape[-1] % 4
    codes, rows = F.pad(codes - middle, (0, spare)), F.pad(rows - middle, (0, spare))
    return torch.baddbmm(codes.square().sum(-1)[:, None], rows, codes.mT, alpha=-2).argmin(-1)


def gathered(rows: Tensor, indices: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return how many of the rows (levels, groups, N, width) chose each of ``size`` codes, and the sums of those rows."""
    levels, groups, n_rows, width = rows.shape
    if rows.device.type != "cpu":  # a GPU adds by index in no fixed order, and the same seed must give the same bits
        chosen = rows.new_zeros(levels, groups, n_rows, size).scatter_(-1, indices[..., None], 1.0)
        return chosen.sum(2), chosen.mT @ rows
    first = size * torch.arange(levels * groups, device=rows.device).view(levels, groups, 1)
    flat = (indices + first).flatten()
    counts = torch.bincount(flat, minlength=levels * groups * size).to(rows)
    sums = rows.new_zeros(levels * groups * size, width).index_add_(0, flat, rows.reshape(-1, width))
    return counts.view(levels, groups, size), sums.view(levels, groups, size, width)


def perplexity(indices: Tensor, size: int) -> Tensor:
    """Return how many of ``size`` codes are in use, exp(entropy) of how often each is: from 1 to ``size``.

    Indices are (n,), and the answer one number; or (n, columns, *positions), and the answer (columns,).
    """
    columns = indices.reshape(1, -1) if indices.dim() == 1 else indices.movedim(1, 0).flatten(1)
    counts = torch.stack([torch.bincount(column, minlength=size) for column in columns]).double()
    share = counts / counts.sum(1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(1)
    return entropy.exp()[0] if indices.dim() == 1 else entropy.exp()


def _taken(codes: Tensor, index: Tensor) -> Tensor:
    """Return the entries (groups, N, width) of codes (groups, K, width) at index (groups, N)."""
    return codes.gather(1, index[..., None].expand(-1, -1, codes.shape[-1]))


def _check(part: VectorQuantized) -> None:
    if part.learn not in ("ema", "gradient"):
        raise SettingError(f"VectorQuantized(learn={part.learn!r}) is not known; use 'ema' or 'gradient'.")
    for name, least in (("codes", 2), ("levels", 1)):
        if int(getattr(part, name)) < least:
            raise SettingError(f"VectorQuantized({name}={getattr(part, name)}) must be at least {least}.")
    if not 0 <= part.decay < 1:
        raise SettingError(f"VectorQuantized(decay={part.decay}) must be at least 0 and below 1; try 0.99.")
