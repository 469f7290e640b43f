"""The compiled engine: a block of steps in one call, with no Python between them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from isthmus.designs import Composed
from isthmus.designs.composed import names_of
from isthmus.engine.adam import Adam
from isthmus.engine.compiled.form import form_of, refuses
from isthmus.engine.compiled.records import Moving, Rows
from isthmus.engine.engine import Block, Engine, part_of
from isthmus.engine.forward import Inputs, terms_of
from isthmus.errors import SettingError
from isthmus.model import Model
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.networks.dropout import draw_all_kept
from isthmus.parts.penalties import L1
from isthmus.parts.step import Batch, ramp

TOGETHER = 2**20
"""How many numbers are prepared at once for the steps of one call: four megabytes, few enough to stay in a cache."""


class Compiled(Engine):
    """Serves common models of dense layers, on one thread of the CPU. Needs numba, which is imported when it is made."""

    name: ClassVar[str] = "compiled"
    refuses = staticmethod(refuses)

    def __init__(self, model: Model, optimizer: Adam) -> None:
        assert isinstance(model, Composed), "refuses() was asked first"
        self.model, self.optimizer, self.take_steps = model, optimizer, kernel()
        optimizer.flatten()
        self.terms = terms_of(model)
        self.moving, self.form = moving_of(optimizer), form_of(model, optimizer, rows=0)
        penalties = model.parts.penalties
        self.lasso = {n: p.weight for n, p in zip(names_of(penalties), penalties, strict=True) if isinstance(p, L1)}
        self.constant = model.decoder.mean - model.decoder.offset if model.decoder.shortcut is not None else None

    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        sums = np.zeros(3)
        with torch.no_grad():
            if max(block.sizes) > self.form.rows:
                self.form = form_of(self.model, self.optimizer, max(block.sizes))
            for piece in self._pieces(block):
                self._take(piece, rng, sums)
        terms = {"reconstruction": float(sums[0])}
        if isinstance(self.model.parts.bottleneck, Gaussian):
            terms["kl"] = float(sums[1])
        terms |= {name: weight * float(sums[2]) for name, weight in self.lasso.items()}
        return {"loss": sum(terms.values())} | terms

    def _pieces(self, block: Block) -> Iterator[Block]:
        """Yield the block in pieces whose numbers stay in a cache."""
        each = 4 * self.model.layout.size + sum(width for width, _ in self.form.dropped)
        together, start = max(1, TOGETHER // (each * self.form.rows)), 0
        for first in range(0, len(block.sizes), together):
            sizes = block.sizes[first : first + together]
            some, stop = slice(first, first + together), start + sum(sizes)
            yield Block(part_of(block.rows, start, stop), sizes, block.progress[some], block.rates[some])
            start = stop

    def _take(self, block: Block, rng: torch.Generator, sums: np.ndarray) -> None:
        optimizer, part = self.optimizer, self.model.parts.bottleneck
        flats = [group.flat for group in optimizer.groups if group.flat is not None]
        betas = [part.beta * ramp(p, part.warm_up) if isinstance(part, Gaussian) else 0.0 for p in block.progress]
        self.take_steps(
            self.form.model,
            self.form.layers,
            self._rows(block, rng),
            np.array(block.sizes),
            np.array(block.rates),
            np.array(betas),
            self.moving,
            np.array([*optimizer.betas, optimizer.eps, *(group.weight_decay for group in optimizer.groups)]),
            int(flats[0].steps),
            self.form.work,
            sums,
        )
        for flat in flats:
            flat.steps.add_(len(block.sizes))

    def _rows(self, block: Block, rng: torch.Generator) -> Rows:
        """Draw what is random, in the order of the steps, and lay everything out as the kernel reads it."""
        seen, noise, kept = self._drawn(block, rng)
        inputs, rows = Inputs.of(self.model, seen), block.rows
        x, weight = rows.x.flatten(1), rows.weight
        known = None if rows.observed is None else rows.observed.flatten(1).to(x)
        if weight is not None:
            known = weight[:, None].expand_as(x) if known is None else known * weight[:, None]
        return Rows(
            x=flat(inputs.network),
            straight=flat(inputs.straight),
            target=flat(x if self.constant is None else x - self.constant),
            known=flat(known),
            weight=flat(x.new_ones(len(x)) if weight is None else weight),
            noise=flat(noise),
            kept=flat(kept),
        )

    def _drawn(self, block: Block, rng: torch.Generator) -> tuple[Batch, Tensor | None, Tensor | None]:
        """Return what the encoder sees, the noise of the code, (n, k), and the masks of dropout: drawn as Eager draws them."""
        model, n = self.model, len(block.rows.x)
        is_gaussian, dropped = isinstance(model.parts.bottleneck, Gaussian), self.form.dropped
        if not (model.parts.corruptions or is_gaussian or dropped):
            return block.rows, None, None
        noise = torch.empty(n, *model.z_shape) if is_gaussian else None
        kept = torch.empty(n * sum(width for width, _ in dropped)) if dropped else None
        if kept is not None:
            masks = [mask.view(n, -1) for mask in kept.split([n * width for width, _ in dropped])]
            draw_all_kept([layer for _, layer in dropped], masks, block.sizes)
        seen, start = [], 0
        for batch, progress, _ in block.steps():
            stop = start + len(batch.x)
            seen.append(model.corrupted(batch, rng, progress) if model.parts.corruptions else batch)
            if noise is not None:
                noise[start:stop].normal_(generator=rng)
            start = stop
        if not model.parts.corruptions:
            return block.rows, noise, kept
        observed = None if seen[0].observed is None else torch.cat([batch.observed for batch in seen])
        return block.rows._replace(x=torch.cat([batch.x for batch in seen]), observed=observed), noise, kept


def flat(values: Tensor | None) -> np.ndarray:
    """Return the numbers one behind the other, as a view where they lie so; none where there are none."""
    return np.empty(0, np.float32) if values is None else values.contiguous().view(-1).numpy()


def moving_of(optimizer: Adam) -> Moving:
    """Return views of what Adam moves and remembers; of size 0 for a group without parameters."""
    held = [None if group.flat is None else group.flat[:4] for group in optimizer.groups]
    first, second = ([flat(None)] * 4 if tensors is None else [flat(t) for t in tensors] for tensors in held)
    return Moving(*zip(first, second, strict=True))


def is_at_hand() -> bool:
    """Is numba installed?"""
    return importlib.util.find_spec("numba") is not None


@cache
def kernel() -> Callable[..., Any]:
    """Return the compiled function; numba is imported here and nowhere else."""
    if not is_at_hand():
        raise SettingError("engine='compiled' needs numba; install it with: pip install \"isthmus[fast]\"")
    from isthmus.engine.compiled.kernel import made

    return made()
