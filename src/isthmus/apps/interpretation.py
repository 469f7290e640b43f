"""What each number of a code stands for: which columns, pixels or points it moves, beside what PCA's components move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from isthmus.apps.evidence import Evidence, gather_evidence, owners, values_of
from isthmus.apps.words import plain
from isthmus.threads import threads_for

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

MOST_ROWS, FEWEST_ROWS, MOST_NUMBERS = 256, 8, 2**22
"""Moves are averaged over so many rows: fewer where many numbers of a code move many numbers of a sample."""
MOST_CODES = 64
"""Of a longer code, the numbers that vary most are looked at."""
MOST_COLUMNS = 4
"""How many columns ``to_dict`` names for each number of the code."""
LEAST_SHARE = 0.05
"""A column that moves less than this share of what the first one does is not named."""


class Move(NamedTuple):
    """What one number of a code, or one principal component, does to one column."""

    name: str
    size: float
    """How far the column moves, in scaled units; for categories and yes/no, how much probability changes hands."""
    signed: float | None
    """The same with its sign, averaged; None for categories, which know no up and down."""
    towards: Any = None
    """The category that gains most."""


@dataclass(frozen=True)
class Interpretation:
    """How far each number of the code moves each number of the expected sample, in scaled units.

    A move is the derivative of the decoder, averaged over rows, times the standard deviation of the code's number: what
    a typical step of it does. PCA's loadings are just that for PCA, so the two may be compared. Where ``step`` is not 0, it
    is what a true step does: (g(z + step sd) - g(z - step sd)) / (2 step).
    """

    codes: np.ndarray
    """(m,) which numbers of the code, or channels of a map, counted from 0."""
    spread: np.ndarray
    """(m,) the standard deviation of each over the rows; of a channel, the mean over its positions."""
    moves: np.ndarray
    """(m, *shape) the mean of |dx/dz_j|, times the standard deviation of z_j."""
    signed: np.ndarray
    """(m, *shape) the same with signs: it is smaller where rows disagree."""
    loadings: np.ndarray
    """(p, *shape) PCA's directions, each times the standard deviation along it."""
    rows: int
    """How many rows the moves were averaged over."""
    step: float = 0.0
    """In standard deviations; 0 for the derivative."""
    names: tuple[str, ...] = ()
    """The columns of a table or an array; empty for images and series."""
    owner: np.ndarray | None = None
    """(d,) which of the columns each encoded number belongs to."""
    labels: tuple[Any, ...] = ()
    """(d,) of each encoded number the category it stands for, None where it stands for none."""
    share: np.ndarray | None = None
    """(d,) how much of its move counts for its column: all; half for a category, for one gains what others lose; nothing
    for the indicator of a gap."""

    @property
    def order(self) -> np.ndarray:
        """(m,) the places in ``codes``, by falling size of what they move."""
        return np.argsort(-np.linalg.norm(self.moves.reshape(len(self.codes), -1), axis=1), kind="stable")

    def columns(self, moves: np.ndarray) -> np.ndarray:
        """Gather moves (m, d) per column, (m, columns): how far a number moves, how much probability changes hands."""
        assert self.owner is not None, "there are columns in tables and arrays only"
        gathered = np.zeros((len(moves), len(self.names)))
        np.add.at(gathered.T, self.owner, (self.share * np.abs(moves.reshape(len(moves), -1))).T)
        return gathered

    def nearest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each number of the code the principal component that moves most alike, and the cosine between them."""
        ours, theirs = (v.reshape(len(v), -1).astype(np.float64) for v in (self.signed, self.loadings))
        ours /= np.maximum(np.linalg.norm(ours, axis=1, keepdims=True), 1e-30)
        theirs /= np.maximum(np.linalg.norm(theirs, axis=1, keepdims=True), 1e-30)
        cosines = ours @ theirs.T  # (m, p)
        best = np.abs(cosines).argmax(1)
        return best, cosines[np.arange(len(best)), best]

    def most_moved(self, moves: np.ndarray, signed: np.ndarray, count: int = MOST_COLUMNS) -> tuple[Move, ...]:
        """Return the columns that one number of the code moves most, (d,) moves and signed moves, the first the most."""
        sizes = self.columns(moves[None])[0]
        found = np.argsort(-sizes, kind="stable")[:count]
        return tuple(
            self._move(column, float(sizes[column]), signed.reshape(-1))
            for column in found
            if sizes[column] > LEAST_SHARE * sizes.max()
        )

    def _move(self, column: int, size: float, signed: np.ndarray) -> Move:
        assert self.share is not None, "there are columns in tables and arrays only"
        features = np.flatnonzero((self.owner == column) & (self.share > 0))
        if self.share[features[0]] < 1:
            return Move(self.names[column], size, None, self.labels[features[signed[features].argmax()]])
        return Move(self.names[column], size, float(signed[features[0]]))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: each number of the code, the largest first, what it moves and PCA's nearest; maps apart."""
        best, cosine = self.nearest()
        found = []
        for place in self.order:
            component = int(best[place])
            facts: dict[str, Any] = {
                "code": self.codes[place],
                "spread": self.spread[place],
                "size": np.linalg.norm(self.moves[place]),
                "component": component,
                "cosine": cosine[place],
            }
            if self.names:
                loading = self.loadings[component] * (1 if cosine[place] >= 0 else -1)
                facts["moves"] = [m._asdict() for m in self.most_moved(self.moves[place], self.signed[place])]
                facts["component_moves"] = [m._asdict() for m in self.most_moved(np.abs(loading), loading)]
            found.append(facts)
        return plain({"rows": self.rows, "step": self.step, "codes": found})


def interpret(ae: Autoencoder, X: Any, step: float | None = None) -> Interpretation:
    """Say what each number of the code stands for, by how the decoder answers to it around the rows of X.

    ``step`` 0 asks the derivative; more takes steps of so many standard deviations. None means the derivative for numbers,
    and steps of 1 where there are categories or yes/no: a decoder that is certain of a category has no derivative there.

    >>> ist.interpret(ae, X).to_dict()["codes"][0]  # doctest: +SKIP
    """
    check_is_fitted(ae)
    return interpret_evidence(ae, gather_evidence(ae, X), step)


def interpret_evidence(ae: Autoencoder, evidence: Evidence, step: float | None = None) -> Interpretation:
    """Interpret the code by rows that have been passed through the model already."""
    model, layout, floor = ae.model_, ae.codec_.layout, ae.principal_
    if step is None:
        step = float(any(block.kind != "numeric" and not block.gap for block in layout.blocks))
    spread = evidence.codes.astype(np.float64).std(0).reshape(model.z_shape)
    by_code = spread.reshape(model.z_shape[0], -1).mean(1)
    codes = np.sort(np.argsort(-by_code, kind="stable")[:MOST_CODES])
    few = int(np.clip(MOST_NUMBERS // (len(codes) * layout.size), FEWEST_ROWS, MOST_ROWS))
    chosen = np.arange(len(evidence.codes))
    if len(chosen) > few:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, few, replace=False))
    z = torch.from_numpy(evidence.codes[chosen]).view(-1, *model.z_shape)
    told = None if evidence.told is None else evidence.told[torch.from_numpy(chosen)]
    moves, signed = decoder_moves(model, Around(z, torch.from_numpy(spread), told), codes, step)
    loadings = (floor.directions * floor.variances.sqrt()[:, None]).numpy().reshape(-1, *layout.shape)
    names, owner, labels, share = _columns(ae)
    return Interpretation(
        codes, by_code[codes], moves, signed, loadings, len(chosen), step, names, owner, labels, share
    )


class Around(NamedTuple):
    """Codes around which a decoder is asked."""

    z: Tensor
    """(n, *z_shape)"""
    spread: Tensor
    """(*z_shape) the standard deviation of each number."""
    told: Tensor | None = None
    """(n, c) the condition of each."""


def decoder_moves(model: Any, around: Around, codes: np.ndarray, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return for each code j the means over rows of |move| and of the move of every number of a sample, (m, *shape) each.

    A channel of a map is raised everywhere at once, each position by its own spread.
    """
    parameter = next(model.parameters())
    z, spread = around.z.to(parameter), around.spread.to(parameter)
    told = None if around.told is None else around.told.to(parameter)
    sizes, signed = [], []
    model.eval()
    # the fused kernels of attention can be differentiated only once
    with threads_for(model, len(z), passes=3), sdpa_kernel(SDPBackend.MATH):
        answer = (_steps if step else _derivatives)(lambda z: model.decoder(z, told), z, step)
        for j in codes:
            raised = torch.zeros_like(z)
            raised[:, j] = spread[j]
            moved = answer(raised)
            sizes.append(moved.abs().mean(0).cpu().numpy())
            signed.append(moved.mean(0).cpu().numpy())
    return np.stack(sizes), np.stack(signed)


def _steps(decode: Callable[[Tensor], Tensor], z: Tensor, step: float) -> Callable[[Tensor], Tensor]:
    """Return raised -> (g(z + step raised) - g(z - step raised)) / (2 step)."""

    @torch.no_grad()
    def moved(raised: Tensor) -> Tensor:
        return (decode(z + step * raised) - decode(z - step * raised)) / (2 * step)

    return moved


def _derivatives(decode: Callable[[Tensor], Tensor], z: Tensor, step: float) -> Callable[[Tensor], Tensor]:
    """Return raised -> J raised, J the Jacobian of each row: u -> J^T u is linear in u, and its own transpose is J."""
    z = z.clone().requires_grad_()
    with torch.enable_grad():
        x = decode(z)
        u = torch.zeros_like(x, requires_grad=True)
        (pulled,) = torch.autograd.grad(x, z, u, create_graph=True, materialize_grads=True)
    return lambda raised: torch.autograd.grad(pulled, u, raised, retain_graph=True, materialize_grads=True)[0]


def _columns(ae: Autoencoder) -> tuple[tuple[str, ...], np.ndarray | None, tuple[Any, ...], np.ndarray | None]:
    """Return names, owner, labels and share of an Interpretation."""
    layout = ae.codec_.layout
    if ae.codec_.kind not in ("table", "array"):
        return (), None, (), None
    names, owner = owners(ae)
    share, labels = np.ones(layout.size), [None] * layout.size
    classes = [block for block in layout.blocks if block.kind == "category"]
    # one row for each category of the column that has most: what it decodes to is what people call it
    rows = np.zeros((max((block.width for block in classes), default=0), layout.size), np.float32)
    for block in classes:
        rows[np.arange(block.width), np.arange(block.start, block.start + block.width)] = 1
    decoded = values_of(ae, rows) if classes else {}
    for block in classes:
        share[block.features] = 0.5
        labels[block.features] = decoded[block.column][: block.width]
    for block in layout.blocks:
        if block.gap and (owner == owner[block.start]).sum() > 1:
            share[block.features] = 0.0
    return tuple(names), owner, tuple(labels), share
