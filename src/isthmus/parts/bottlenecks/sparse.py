"""Sparse codes that count: so many numbers of a code are not zero, whatever their size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Auxiliary, Bottleneck, Head, broadcast
from isthmus.parts.step import Code, Settling, Step


class Usage(Settling):
    """How many training steps ago each number of a code was last not zero."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("silent", torch.zeros(latent_dim, dtype=torch.long))
        self.silent: Tensor
        self._fired: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        if self.training:
            self._fired = (z.detach() != 0).transpose(0, 1).flatten(1).any(1)  # (latent_dim,)
        return z

    def after_step(self, rng: torch.Generator) -> None:
        if self._fired is not None:
            self.silent.copy_(torch.where(self._fired, 0, self.silent + 1))
            self._fired = None


class Cut(Settling):
    """The value below which a number of the code becomes zero in inference: a running mean over the training steps.

    A plain mean of the first hundred steps, then an exponential one, so that what an untrained model did is forgotten.
    """

    steps: ClassVar[int] = 100

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.value: Tensor
        self.count: Tensor
        self._smallest: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        if self.training:
            self._smallest = torch.where(z > 0, z, torch.inf).detach().amin()  # infinite where nothing was kept
        return z

    def after_step(self, rng: torch.Generator) -> None:
        if self._smallest is not None:
            was_kept = self._smallest < torch.inf
            self.count += was_kept
            move = (self._smallest - self.value) / self.count.clamp(min=1, max=self.steps)
            self.value += torch.where(was_kept, move, 0.0)
            self._smallest = None


class SelectingHead(nn.Module):
    """h -> one pre-activation for each number of the code; beside it what is known of their use, and the cut."""

    def __init__(self, h_shape: tuple[int, ...], latent_dim: int, cut: Cut | None = None) -> None:
        super().__init__()
        self.linear, self.usage, self.cut = Head(h_shape, latent_dim), Usage(latent_dim), cut

    def forward(self, h: Tensor) -> Tensor:
        return self.linear(h)


@dataclass
class TopK(Bottleneck, Auxiliary):
    """Keep the ``k`` largest numbers of max(0, W h + b) and set the others to zero (Makhzani 2014; Gao 2024).

    ``k="auto"`` is the square root of latent_dim, rounded. A number that was zero for ``dead_after`` training steps counts as
    dead; the term "revival" asks the dead ones to improve on the reconstruction of the living ones, which stays as it is:
    ``auxiliary_weight`` * error(x_hat + g(z_dead) - g(0)), which for squared errors is the distance of the residual from what
    the dead add, ||(x - x_hat) - (g(z_dead) - g(0))||^2 (Gao 2024).
    For a likelihood of logits the dead ones add to the logits. z_dead holds, for each sample, the largest pre-activations of
    the dead, as many as half the code at most, and not rectified: a gradient must reach those that are negative everywhere.
    The term is 0 while nothing is dead.
    """

    k: int | str = "auto"
    auxiliary_weight: float = 1 / 32
    dead_after: int = 100
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # what a linear map adds is not sparse

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        how_many(self.k, latent_dim, "TopK")
        return SelectingHead(h_shape, latent_dim), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        assert isinstance(head, SelectingHead)
        before = head(h)  # (B, latent_dim, *positions)
        z = largest(F.relu(before), how_many(self.k, before.shape[1], "TopK"))
        if rng is not None:
            head.usage(z)
        return Code(z=z, embedding=z, before=before)

    def auxiliary(self, head: nn.Module, step: Step) -> dict[str, Tensor]:
        assert isinstance(head, SelectingHead)
        return {"revival": self.auxiliary_weight * revival(head.usage.silent >= self.dead_after, step)}

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None


@dataclass
class BatchTopK(Bottleneck, Auxiliary):
    """Keep the B * ``k`` largest numbers of a whole batch of max(0, W h + b) (Bussmann 2024).

    Rich samples get more numbers, plain ones fewer; of a batch of maps, every position counts as a sample.
    Without a batch to compare with, in inference, a number is kept where it exceeds a fixed value: the running mean over the
    training of the smallest one that was kept. So a code depends on its own sample alone. ``k="auto"``, dead numbers and
    their revival are as in :class:`TopK`.
    """

    k: int | str = "auto"
    auxiliary_weight: float = 1 / 32
    dead_after: int = 100
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True

    @property
    def is_additive(self) -> bool:
        return False  # what a linear map adds is not sparse

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        how_many(self.k, latent_dim, "BatchTopK")
        return SelectingHead(h_shape, latent_dim, Cut()), (latent_dim, *h_shape[1:])

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        assert isinstance(head, SelectingHead)
        before = head(h)  # (B, latent_dim, *positions)
        assert head.cut is not None, "this head was built by BatchTopK"
        rectified = F.relu(before)
        alone = torch.where(rectified > head.cut.value, rectified, torch.zeros_like(rectified))
        if rng is None or not head.training:
            return Code(z=alone, embedding=alone, before=before)
        each = before.numel() // before.shape[1]  # samples times positions
        kept = each * how_many(self.k, before.shape[1], "BatchTopK")
        z = largest(rectified.reshape(1, -1), kept).view_as(rectified)
        head.usage(z)
        head.cut(z)
        return Code(z=z, embedding=alone, before=before)

    def auxiliary(self, head: nn.Module, step: Step) -> dict[str, Tensor]:
        assert isinstance(head, SelectingHead)
        return {"revival": self.auxiliary_weight * revival(head.usage.silent >= self.dead_after, step)}

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None


def how_many(k: int | str, latent_dim: int, part: str) -> int:
    """Return how many of ``latent_dim`` numbers are kept; "auto" is the square root, rounded."""
    if k == "auto":
        return max(1, round(math.sqrt(latent_dim)))
    if isinstance(k, (str, bool)) or not hasattr(k, "__index__") or not 1 <= k <= latent_dim:
        raise SettingError(
            f"{part}(k={k!r}) must be a whole number from 1 to latent_dim={latent_dim}, or 'auto'; with latent_dim='auto' the "
            f"data decide how large a code is."
        )
    return int(k)


def largest(values: Tensor, k: int) -> Tensor:
    """Return ``values`` (B, n, *positions) with all but the k largest along dimension 1 set to zero."""
    kept = torch.topk(values, k, dim=1, sorted=False)
    return torch.zeros_like(values).scatter(1, kept.indices, kept.values)


def revival(dead: Tensor, step: Step, counts: bool | None = None) -> Tensor:
    """Return the reconstruction term, (B,), of the main output as it stands plus what the ``dead`` (latent_dim,) add to it.

    With ``counts``, the default on a CPU, nothing is computed for numbers that are not dead. A GPU would have to be waited for
    to learn how many are.
    """
    before = step.code.before
    assert before is not None, "a code that was made sparse says what it was before"
    most, counts = max(1, before.shape[1] // 2), dead.device.type == "cpu" if counts is None else counts
    if counts:
        most = min(int(dead.sum()), most)
        if not most:
            return before.new_zeros(len(before))
    living = torch.full_like(before, -torch.inf)
    candidates = largest(torch.where(broadcast(dead, before), before, living), most)
    z = torch.where(candidates == -torch.inf, 0.0, candidates)
    added = step.decode(z) - step.decode(torch.zeros_like(z))
    return torch.where(dead.any(), step.error(step.x_hat.detach() + added), 0.0)
