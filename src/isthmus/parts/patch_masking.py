"""Patches hidden from the encoder: a corruption that asks for what lies around them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks.patches import Grid, grid
from isthmus.parts.step import Batch


@dataclass
class PatchMasking(Corruption):
    """Hide the share ``rate`` of a sample's patches: squares of images, spans of series, cells of tables (He 2022).

    What is hidden is 0 and not observed in what the encoder sees. Where ``rate`` times the number of patches is no whole
    number, it is rounded up or down at random, so that the share is right on average. The loss is that of the whole sample,
    shown patches and hidden ones (He counts the hidden ones alone), so that the code stays one of the sample. ``patch`` counts
    pixels, steps or features; "auto" is what the Transformer takes for images and series, and single features of arrays.
    With ``vary`` each sample hides a share of its own, anything from nothing to ``rate``: a model that never saw a whole sample
    in training overshoots when it gets one.
    """

    rate: float = 0.75
    patch: int | str = "auto"
    vary: bool = False

    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        if not 0 <= self.rate < 1:
            raise SettingError(f"PatchMasking(rate={self.rate}) must be at least 0 and below 1; try 0.5.")
        shown = self._shown(batch, rng)
        observed = shown if batch.observed is None else shown & batch.observed
        return batch._replace(x=batch.x * shown, observed=observed)

    def _shown(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return (B, *shape) bool: what the encoder may see."""
        shape, rows, device = tuple(batch.x.shape[1:]), len(batch.x), batch.x.device
        if batch.cells is not None:
            return self._chosen(rows, int(batch.cells.max()) + 1, rng, device)[:, batch.cells]
        if len(shape) == 1 and self.patch == "auto":
            cut = Grid(shape, 1)
        else:
            cut = grid(shape, self.patch, "PatchMasking")
        chosen = self._chosen(rows, cut.count, rng, device)  # (B, count)
        return cut.join(chosen[..., None].expand(-1, -1, cut.width))

    def _chosen(self, rows: int, count: int, rng: torch.Generator, device: torch.device) -> Tensor:
        """Return (rows, count) bool with exactly the wanted number of False in each row."""
        rate = self.rate * torch.rand(rows, 1, generator=rng, device=device) if self.vary else self.rate
        hidden = (rate * count + torch.rand(rows, 1, generator=rng, device=device)).floor()
        place = torch.rand(rows, count, generator=rng, device=device).argsort(1).argsort(1)
        return place >= hidden
