"""How good a model is, beside PCA at the same latent size and beside the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import Rows
from isthmus.inference import map_rows, rows_at_once
from isthmus.layout import Layout
from isthmus.model import Model
from isthmus.parts.penalties import Penalty
from isthmus.parts.principal import Principal
from isthmus.parts.step import Batch
from isthmus.threads import threads_for
from isthmus.training import most_one_row_may_count

RIVALS = ("model", "pca", "mean")
FEW_HELD_OUT = 100
MOST_CODES, LEAST_CODES, MOST_CODE_NUMBERS = 20_000, 200, 640_000
"""How many codes a model keeps for its sampler: up to 20,000, fewer when one code has more than 32 numbers."""


class Floor(NamedTuple):
    """Was the network kept on top of PCA? ``gain`` is the mean held-out loss it saves per sample."""

    kept: bool
    gain: float
    standard_error: float | None
    """None when a single row was held out."""


def held_out_losses(
    model: Model, rows: Rows, cells: Tensor | None, rng: torch.Generator, condition: Tensor | None = None
) -> np.ndarray:
    """Return the loss of each row, (n,), under the objective of training and the noise of ``rng``."""
    model.eval()

    def losses(batch: Batch) -> Tensor:
        terms = model.terms(batch, rng, 1.0)
        return torch.stack([values.expand(len(batch.x)) for values in terms.values()]).sum(0)

    # these rows are compared with each other alone, so that few of them need not fill a chunk
    size = min(len(rows), rows_at_once(model, model.layout.size))
    return map_rows(losses, rows, model, size, cells, condition)


def judge_floor(linear: np.ndarray, trained: np.ndarray, weight: Tensor | None = None) -> Floor:
    """Keep the network when what it saves on held-out rows exceeds the standard error of that saving, or twice that.

    Twice where fewer than 100 rows are held out: the same rows have chosen the epoch, and few rows flatter their choice more.
    Where stray rows make that error large, it is also kept when it saves beyond doubt with no row counting more than fifty
    interquartile ranges, and is not worse beyond doubt with strays in full.
    """
    errors = 1 if len(linear) >= FEW_HELD_OUT else 2
    share = np.full(len(linear), 1 / len(linear)) if weight is None else weight.double().numpy() / float(weight.sum())
    gain, error = _saving(linear, trained, share)
    if error is None or gain > errors * error:
        return Floor(error is not None, gain, error)
    cap = most_one_row_may_count(torch.from_numpy(linear))
    usual, usual_error = _saving(np.minimum(linear, cap), np.minimum(trained, cap), share)
    if usual_error is not None and usual > errors * usual_error and gain > -error:
        return Floor(True, usual, usual_error)
    return Floor(False, gain, error)


def overruled(penalties: Sequence[Penalty]) -> str:
    """Return the sentence for a model that became PCA, which knows nothing of penalties."""
    names = ", ".join(type(penalty).__name__ for penalty in penalties)
    return f"The network was set aside for PCA, in which {names} had no part; use shortcut=False to keep the network."


def _saving(linear: np.ndarray, trained: np.ndarray, share: np.ndarray) -> tuple[float, float | None]:
    """Return the mean of linear - trained and its standard error; None for the error of a single row."""
    gains = linear.astype(np.float64) - trained
    gain = float(share @ gains)
    if len(gains) < 2:
        return gain, None
    return gain, math.sqrt(float(share**2 @ (gains - gain) ** 2) * len(gains) / (len(gains) - 1))


def score(
    model: Model,
    rows: Rows,
    floor: Principal,
    held_out: bool,
    weight: Tensor | None = None,
    condition: Tensor | None = None,
) -> dict[str, Any]:
    """Return squared error, explained share and accuracy of the model, of PCA and of the mean on the same rows."""
    layout = model.layout
    tally, device = _Tally(layout), next(model.parameters()).device

    sums = torch.zeros(len(RIVALS), 3, tally.width, dtype=torch.float64)
    size, total = chunk_rows(layout.size), float(len(rows) if weight is None else weight.sum())
    with torch.inference_mode(), threads_for(model, size, passes=1):
        for place in chunks(len(rows), size):
            x, observed = rows.take(place)
            told = None if condition is None else condition[place].to(device)
            seen_there = None if observed is None else observed.to(device)
            guess = model.expected(Batch(x.to(device), seen_there, condition=told)).cpu()
            flat, seen = x.flatten(1), None if observed is None else observed.flatten(1)
            guesses = (guess.flatten(1), floor.project(flat, seen), floor.mean.expand_as(flat))
            for rival, values in enumerate(guesses):
                compared = tally.compare(values, flat, seen).double()
                sums[rival] += (
                    compared.sum(0) if weight is None else torch.tensordot(weight[place].double(), compared, 1)
                )
    result: dict[str, Any] = {"rows": len(rows), "held_out": held_out}
    for place, name in enumerate(RIVALS):
        result[name] = tally.summary(sums[place].numpy(), sums[-1].numpy(), total)
    if layout.blocks:
        result["columns"] = tally.columns(sums.numpy())
    return result


def some_rows(model: Model, rows: Rows, condition: Tensor | None) -> tuple[Rows, Tensor | None]:
    """Return up to 20,000 rows, evenly spread, whose codes a model keeps: what samplers learn from."""
    most = min(MOST_CODES, max(LEAST_CODES, MOST_CODE_NUMBERS // math.prod(model.z_shape)))
    if len(rows) <= most:
        return rows, condition
    chosen = torch.linspace(0, len(rows) - 1, most).long()
    return rows.subset(chosen), None if condition is None else condition[chosen]


class _Tally:
    """Sums per cell: squared errors (numbers) or hits (categories, booleans), and how many cells were observed."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.width = layout, len(layout.blocks) or layout.size

    def compare(self, guess: Tensor, x: Tensor, seen: Tensor | None) -> Tensor:
        """Return (B, 3, cells): squared error, hits and count of each cell."""
        known = torch.ones_like(x) if seen is None else seen.to(x.dtype)
        squared = (guess - x).square() * known
        if not self.layout.blocks:
            return torch.stack([squared, torch.zeros_like(squared), known], 1)
        parts = []
        for block in self.layout.blocks:
            own, right = guess[:, block.features], x[:, block.features]
            if block.kind == "category":
                hits = own.argmax(1) == right.argmax(1)
            else:
                hits = (own[:, 0] > 0.5) == (right[:, 0] > 0.5)
            count = known[:, block.start]
            parts.append(torch.stack([squared[:, block.features].sum(1), hits * count, count], 1))
        return torch.stack(parts, 2)

    def summary(self, sums: np.ndarray, mean: np.ndarray, rows: float) -> dict[str, float | None]:
        error, worst = float(sums[0].sum()), float(mean[0].sum())
        labels = [i for i, block in enumerate(self.layout.blocks) if block.kind != "numeric" and not block.gap]
        count = float(sums[2][labels].sum()) if labels else 0.0
        return {
            "squared_error": error / rows,
            "explained": 1 - error / worst if worst > 0 else None,
            "accuracy": float(sums[1][labels].sum()) / count if count else None,
        }

    def columns(self, sums: np.ndarray) -> dict[str, dict[str, Any]]:
        """Return for each column its kind and, for each rival, RMSE over that of the mean (numbers) or accuracy."""
        columns: dict[str, dict[str, Any]] = {}
        for i, block in enumerate(self.layout.blocks):
            count = sums[0, 2, i]
            if block.gap or not count:
                continue
            if block.kind == "numeric":
                worst = math.sqrt(sums[2, 0, i]) or 1.0
                values = {name: math.sqrt(sums[p, 0, i]) / worst for p, name in enumerate(RIVALS)}
            else:
                values = {name: float(sums[p, 1, i] / count) for p, name in enumerate(RIVALS)}
            columns[block.column] = {"kind": block.kind, "rows": round(count), **values}
        return columns
