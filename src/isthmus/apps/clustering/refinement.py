"""Refinement: the encoder learns on, so that its codes fall into the groups that neighbours agree upon.

codes -> q, soft groups --mean over neighbours--> agreed --sharpened--> p, targets of an epoch --KL(p | q)--> encoder, centres
                                                    reconstruction, relative to what it was at the start --> encoder, decoder
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from isthmus.apps.clustering.groups import Centres, Groups
from isthmus.apps.retrieval.index import Index
from isthmus.codestats import codes_of
from isthmus.data.rows import Rows
from isthmus.engine import average
from isthmus.engine.adam import Adam
from isthmus.errors import SettingError
from isthmus.inference import map_rows
from isthmus.model import Model
from isthmus.parts.reconstructions import cells_of
from isthmus.sampling import UNFITTED
from isthmus.scores import score, some_rows
from isthmus.threads import threads_for
from isthmus.training import gather, generator, one_cycle, seed_globals

STEPS, EPOCHS, BATCH, RATE = 400, (5, 60), 128, 1e-3
"""About so many steps, within fewest and most epochs."""
WEIGHT = 100.0
"""Of the divergence, beside a reconstruction that counts 1 at the start."""
NEIGHBOURS, HOPS = 10, 3
"""Targets are averaged over so many neighbours (a row is one of its own), so many times."""
FIRST = 0.5
"""Share of the epochs whose targets follow from the start: centres that know no shapes would forget those of a mixture."""


class Refined(NamedTuple):
    """A copy of an autoencoder that has learned on, and the centres of its groups."""

    autoencoder: Any
    groups: Centres


def refine(ae: Any, X: Any, start: Groups, seed: int, weight: float = WEIGHT, hops: int = HOPS) -> Refined:
    """Refine codes and the centres of ``start`` together (deep embedded clustering, Xie 2016; with the decoder kept, Guo 2017).

    q_ik = (1 + |z_i - c_k|^2 / s)^-1, divided by its sum over k, where s is the mean squared distance to the nearest centre
    at the start: with the papers' s = 1 the result depends on the units of the code. Targets are
    p_ik = a_ik^2 / sum_i a_ik, divided by its sum over k, where a is q averaged over the ten nearest rows of each by the
    codes of the start, three times over. Without that (``hops=0``, as in the papers) groups that the start has cut
    through a dense region stay cut. In the first half of the epochs q is that of the start (the probabilities of a mixture),
    then it is made anew each epoch. The loss is the model's own, relative to its error at the start, plus
    ``weight`` * KL(p | q).
    """
    _refuse(ae.model_)
    ae = copy.deepcopy(ae)
    model, rows = ae.model_, ae.codec_.encode(X)
    told = ae._condition(X, None, len(rows))
    before, centres = _codes(model, rows, told), start.centres
    spread = float(Centres(centres).squares(before).min(1).mean())
    task = _Assignment(model, centres, max(spread, 1e-12))
    agree = _neighbourhood(before, seed) if hops else None
    cells = cells_of(ae.codec_.layout.blocks)
    error = map_rows(lambda batch: model.cells(batch).flatten(1).sum(1), rows, model, cells=cells, condition=told)
    error = max(float(error.mean()), 1e-12)
    known = start.probabilities(before)
    first = task.soft(before) if known is None else known
    optimizer = Adam(task.named_parameters())
    epochs = min(EPOCHS[1], max(EPOCHS[0], math.ceil(STEPS / math.ceil(len(rows) / BATCH))))
    with torch.random.fork_rng([]), threads_for(model, BATCH, passes=3):
        for epoch in range(epochs):
            known = first if epoch < FIRST * epochs else task.soft(_codes(model, rows, told))
            targets = task.targets(known, agree, hops)
            rng = generator(seed, epoch, model)
            seed_globals(rng.initial_seed(), rng.device)
            model.train()
            batches = torch.randperm(len(rows), generator=torch.Generator().manual_seed(rng.initial_seed())).split(
                BATCH
            )
            for step, index in enumerate(batches):
                batch = gather(rows, index, None, cells, model, told)
                loss = average(model.terms(batch, rng, 1.0), None)["loss"] / error
                (loss + weight * task.divergence(batch, targets[index])).backward()
                optimizer.step(one_cycle((epoch + step / len(batches)) / epochs, RATE))
                model.after_step(rng)
            model.eval()
    _conclude(ae, rows, told, epochs)
    return Refined(ae, Centres(task.centres.detach().cpu().double().numpy(), task.scale))


class _Assignment(nn.Module):
    """Soft groups of codes: the model, and the centres that learn with it."""

    def __init__(self, model: Model, centres: np.ndarray, scale: float) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        self.centres = nn.Parameter(torch.from_numpy(centres).to(next(model.parameters())))

    def soft(self, codes: np.ndarray) -> np.ndarray:
        """Return q (n, k) for codes (n, d)."""
        with torch.no_grad():
            return self.assign(torch.from_numpy(codes).to(self.centres)).cpu().double().numpy()

    def targets(self, q: np.ndarray, agree: csr_matrix | None, hops: int) -> Tensor:
        """Return p (n, k) for q (n, k)."""
        for _ in range(hops):
            q = agree @ q
        p = np.square(q) / np.maximum(q.sum(0), 1e-12)
        return torch.from_numpy(p / p.sum(1, keepdims=True)).to(self.centres)

    def assign(self, z: Tensor) -> Tensor:
        """Return q (B, k) for codes (B, d)."""
        near = 1 / (1 + (z[:, None] - self.centres).square().sum(-1) / self.scale)
        return near / near.sum(1, keepdim=True)

    def divergence(self, batch: Any, p: Tensor) -> Tensor:
        """Return the mean of KL(p | q) over a batch, ()."""
        q = self.assign(self.model.encode(batch).embedding.flatten(1))
        return (torch.xlogy(p, p) - p * q.log()).sum(1).mean()


def _neighbourhood(codes: np.ndarray, seed: int) -> csr_matrix:
    """Return the matrix (n, n) that averages over each row and its nearest ones."""
    n, k = len(codes), min(NEIGHBOURS, len(codes)) - 1
    if not k:
        return csr_matrix(np.eye(n))
    near = Index(codes=codes).query(rows=np.arange(n), k=k).positions
    columns = np.column_stack([np.arange(n), near]).ravel()
    starts = np.arange(n + 1) * (k + 1)
    return csr_matrix((np.full(len(columns), 1 / (k + 1)), columns, starts), shape=(n, n))


def _codes(model: Model, rows: Rows, told: Tensor | None) -> np.ndarray:
    codes = map_rows(lambda batch: model.encode(batch).embedding, rows, model, condition=told)
    return codes.reshape(len(codes), -1)


def _refuse(model: Model) -> None:
    """Refuse codes that cannot move by small steps."""
    if model.parts.bottleneck.is_rounded:
        raise SettingError(
            f"refine=True moves codes by small steps, but those of {type(model.parts.bottleneck).__name__} are rounded; "
            "use refine=False, or an autoencoder with plain codes."
        )


def _conclude(ae: Any, rows: Rows, told: Tensor | None, epochs: int) -> None:
    """Bring up to date what the autoencoder says of itself."""
    model = ae.model_
    ae.codes_, known = codes_of(model, *some_rows(model, rows, told))
    ae._sampling = UNFITTED
    ae.scores_ = score(model, rows, ae.principal_, held_out=False, condition=told) | {"code": known}
    ae.history_.events.append(
        f"After the training, {epochs} epochs of refinement moved the codes into groups; scores are of all rows since then."
    )
