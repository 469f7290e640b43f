"""What one pass of some rows through a fitted autoencoder shows: codes, errors, rows beside their reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isthmus.data.fingerprint import fingerprint
from isthmus.inference import map_rows
from isthmus.parts.step import Batch

if TYPE_CHECKING:
    from isthmus.data.rows import Rows
    from isthmus.estimator import Autoencoder

MOST_ROWS = 10_000
"""More rows than these are not scored for a report; a random sample of that size stands for them."""


class Cell(NamedTuple):
    """One cell of a row beside what came back; ``observed`` is None where it was missing."""

    name: str
    observed: Any
    reconstructed: Any
    share: float
    """The part of the row's squared error that this cell is to blame for."""


class Pair(NamedTuple):
    """One row beside its reconstruction."""

    row: int
    """Its position in the data that was given."""
    error: float
    """Squared error, summed over the observed numbers of the encoded row."""
    cells: tuple[Cell, ...]
    """Of table rows and arrays: the cells at fault, the worst first."""
    x: np.ndarray
    """(*shape) the encoded row, NaN at gaps."""
    x_hat: np.ndarray
    """(*shape) what came back, encoded."""


class Evidence(NamedTuple):
    """Some rows, their codes and their errors."""

    rows: Rows
    positions: np.ndarray
    """(n,) where each row stands in the data that was given."""
    codes: np.ndarray
    """(n, latent) noise-free, flattened."""
    errors: np.ndarray
    """(n,) squared error of each row in scaled units, over what was observed."""
    judged: np.ndarray
    """Which of the n rows examples may be taken from: the held-out ones, where the model was trained on the others."""
    source: str
    """What the judged rows are: "held_out" (of the training data), "training" (none was held out) or "new"."""
    total: int
    """How many rows the data has that was given."""
    scope: str
    """A sentence that says which rows these are."""
    told: Tensor | None = None
    """(n, c) what a conditional model is told of them."""


def gather_evidence(ae: Autoencoder, X: Any) -> Evidence:
    """Pass X, or a sample of it, through the model; if ``ae`` was trained on X, mark the rows that were held out."""
    everything = ae.codec_.encode(X)
    total = len(everything)
    trained_on = fingerprint(everything) == ae.fingerprint_
    held_out = np.asarray(ae.held_out_) if trained_on else np.arange(0)
    positions = _sample(total, held_out)
    source = "new" if not trained_on else "held_out" if len(held_out) else "training"
    judged = np.flatnonzero(np.isin(positions, held_out)) if len(held_out) else np.arange(len(positions))
    rows = everything.subset(positions)
    model = ae.model_
    told = None if ae.condition_ is None else ae.condition_.of(X, None, total)
    told = None if told is None else told[torch.from_numpy(positions)]

    def code_and_error(batch: Batch) -> Tensor:
        codes = model.encode(batch).embedding
        squared = (model.decoder(codes, batch.condition) - batch.x).square()
        if batch.observed is not None:
            squared = torch.where(batch.observed, squared, torch.zeros_like(squared))
        return torch.cat([codes.flatten(1), squared.flatten(1).sum(1, keepdim=True)], 1)  # (B, latent + 1)

    both = map_rows(code_and_error, rows, model, condition=told)
    scope = _scope(source, total, len(positions), len(judged), ae.floor_ is not None and not ae.floor_.kept)
    return Evidence(rows, positions, both[:, :-1], both[:, -1], judged, source, total, scope, told)


def typical_and_worst(ae: Autoencoder, evidence: Evidence, count: int) -> tuple[list[Pair], list[Pair]]:
    """Return the ``count`` rows nearest to the median error, and the ``count`` rows of largest error, worst first."""
    order = evidence.judged[np.argsort(evidence.errors[evidence.judged], kind="stable")]
    count = max(1, min(count, len(order) // 2))
    middle = (len(order) - count) // 2
    return pairs(ae, evidence, order[middle : middle + count]), pairs(ae, evidence, order[::-1][:count])


def pairs(ae: Autoencoder, evidence: Evidence, index: np.ndarray) -> list[Pair]:
    """Return the rows of ``index`` (positions within the evidence) beside their reconstructions."""
    chosen = evidence.rows.subset(index.copy())  # torch takes no view that runs backwards
    x, observed = chosen.take(slice(None))
    told = None if evidence.told is None else evidence.told[torch.from_numpy(index.copy())]
    x_hat = map_rows(ae.model_.expected, chosen, ae.model_, condition=told)
    x = x.numpy().copy()
    known = np.ones(x.shape, bool) if observed is None else observed.numpy()
    cells = _cells(ae, x, x_hat, known) if ae.codec_.kind in ("table", "array") else [()] * len(x)
    x[~known] = np.nan
    return [
        Pair(int(evidence.positions[i]), float(evidence.errors[i]), cells[place], x[place], x_hat[place])
        for place, i in enumerate(index)
    ]


def _sample(total: int, held_out: np.ndarray) -> np.ndarray:
    """Return the positions of at most ``MOST_ROWS`` rows, in order, up to half of them held-out ones."""
    if total <= MOST_ROWS:
        return np.arange(total)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(held_out)[: MOST_ROWS // 2]
    others = rng.permutation(np.setdiff1d(np.arange(total), held_out, assume_unique=True))
    return np.sort(np.concatenate([chosen, others[: MOST_ROWS - len(chosen)]]))


def _scope(source: str, total: int, used: int, judged: int, is_linear: bool) -> str:
    """State in plain words which rows the examples come from."""
    sample = "" if used == total else f" A random {used:,} of its {total:,} rows are used."
    if source == "new":
        return f"The examples come from {used:,} rows that are not the training data.{sample}"
    known = "The data is what the model was trained on"
    if source == "training":
        return (
            f"{known} and no row was held out: the examples are rows it has seen, so expect worse on new ones.{sample}"
        )
    last = " In the end, PCA was fitted to all rows, these among them." if is_linear else ""
    return f"{known}, so the examples come from {judged:,} rows of it that were held out of training.{last}{sample}"


def _cells(ae: Autoencoder, x: np.ndarray, x_hat: np.ndarray, known: np.ndarray) -> list[tuple[Cell, ...]]:
    """Return for each row its cells, the worst first, with values in the units of the user."""
    names, owner = owners(ae)
    squared = np.where(known, np.square(x_hat.astype(np.float64) - x), 0.0).reshape(len(x), -1)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))  # the numbers of a cell stand side by side
    by_cell = np.add.reduceat(squared, starts, axis=1)  # (n, cells)
    seen = np.logical_or.reduceat(known.reshape(len(x), -1), starts, axis=1)
    before, after = values_of(ae, x), values_of(ae, x_hat)
    rows = []
    for i in range(len(x)):
        total = by_cell[i].sum() or 1.0
        order = np.argsort(-by_cell[i], kind="stable")
        rows.append(
            tuple(
                _cell(names[c], before[names[c]][i] if seen[i, c] else None, after[names[c]][i], by_cell[i, c] / total)
                for c in order
            )
        )
    return rows


def _cell(name: str, observed: Any, reconstructed: Any, share: float) -> Cell:
    """Make a cell; a number that is nothing beside the other is 0, for scaling and its undoing leave crumbs."""
    if isinstance(observed, float) and isinstance(reconstructed, float):
        crumb = 1e-5 * max(abs(observed), abs(reconstructed))
        observed, reconstructed = (0.0 if abs(value) < crumb else value for value in (observed, reconstructed))
    return Cell(name, observed, reconstructed, share)


def owners(ae: Autoencoder) -> tuple[list[str], np.ndarray]:
    """Return the names of the cells of a row, and for each encoded number the cell it belongs to."""
    layout = ae.codec_.layout
    if not layout.blocks:
        names = [f"column {i}" for i in range(layout.size)]
        return names, np.arange(layout.size)
    names = list(dict.fromkeys(block.column for block in layout.blocks))
    owner = np.empty(layout.size, np.int64)
    for block in layout.blocks:
        owner[block.features] = names.index(block.column)
    return names, owner


def values_of(ae: Autoencoder, x: np.ndarray) -> dict[str, list[Any]]:
    """Decode rows into one list of plain values per cell name."""
    decoded = ae.codec_.decode(x)
    if ae.codec_.kind == "table":
        import narwhals as nw

        frame = nw.from_native(decoded, eager_only=True)
        return {str(name): _with_gaps(frame[name].to_list(), frame[name].is_null().to_list()) for name in frame.columns}
    matrix = np.asarray(decoded.toarray() if hasattr(decoded, "toarray") else decoded)
    return {f"column {i}": matrix[:, i].tolist() for i in range(matrix.shape[1])}


def _with_gaps(values: list[Any], gaps: list[bool]) -> list[Any]:
    """Say None for every gap, whatever the family of the table says (NaN, NaT, NA)."""
    return [None if gap else value for value, gap in zip(values, gaps, strict=True)]
