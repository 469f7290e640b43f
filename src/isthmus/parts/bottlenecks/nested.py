"""Nested codes: the first numbers of a code are a code already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks.bottleneck import Auxiliary, Bottleneck, Discrete
from isthmus.parts.bottlenecks.plain import Plain
from isthmus.parts.step import Code, Step


@dataclass
class Matryoshka(Bottleneck, Auxiliary):
    """Ask every prefix of the code to reconstruct (Kusupati 2022; Bussmann 2025).

    The term is "prefixes" = sum_m error(g(z_1, .., z_m, 0, .., 0)), which comes on top of the error of the whole code.
    ``prefixes`` are the lengths m below latent_dim, the whole code being there anyway; "auto" takes all powers of two (a code
    of one number has none, and the term is 0). ``inner`` makes the code itself: dense, or sparse with ``TopK()``.
    """

    inner: Bottleneck = field(default_factory=Plain)
    prefixes: tuple[int, ...] | str = "auto"
    is_distribution: ClassVar[bool] = False
    constrains: ClassVar[bool] = True  # its prefixes compress, whatever the whole does

    @property
    def is_additive(self) -> bool:
        return self.inner.is_additive

    def head(self, h_shape: tuple[int, ...], latent_dim: int) -> tuple[nn.Module, tuple[int, ...]]:
        if self.inner.is_distribution:
            raise SettingError(
                f"Matryoshka(inner={self.inner!r}): a prefix of a random code is none of the prior's; use Plain() or TopK()."
            )
        if isinstance(self.inner, Discrete):
            raise SettingError(
                f"Matryoshka(inner={self.inner!r}): 0 is no value of such a code, so that its prefixes mean nothing; use "
                f"Plain() or TopK()."
            )
        head, z_shape = self.inner.head(h_shape, latent_dim)
        self._lengths(z_shape[0])
        return head, z_shape

    def __call__(self, head: nn.Module, h: Tensor, rng: torch.Generator | None, progress: float = 1.0) -> Code:
        return self.inner(head, h, rng, progress)

    def auxiliary(self, head: nn.Module, step: Step) -> dict[str, Tensor]:
        terms = self.inner.auxiliary(head, step) if isinstance(self.inner, Auxiliary) else {}
        z = step.code.z
        terms["prefixes"] = z.new_zeros(len(z))
        for length in self._lengths(z.shape[1]):
            prefix = torch.cat([z[:, :length], torch.zeros_like(z[:, length:])], dim=1)
            terms["prefixes"] = terms["prefixes"] + step.error(step.decode(prefix))
        return terms

    def prior(self, n: int, z_shape: tuple[int, ...], rng: torch.Generator) -> Tensor | None:
        return None

    def _lengths(self, latent_dim: int) -> tuple[int, ...]:
        if self.prefixes == "auto":
            return tuple(2**power for power in range((latent_dim - 1).bit_length()))
        lengths = () if isinstance(self.prefixes, str) else tuple(self.prefixes)
        if not lengths or any(not hasattr(m, "__index__") or not 1 <= m < latent_dim for m in lengths):
            raise SettingError(
                f"Matryoshka(prefixes={self.prefixes!r}) must be whole numbers of at least 1 and below "
                f"latent_dim={latent_dim}, such as (2, 8), or 'auto'."
            )
        return tuple(int(length) for length in lengths)
