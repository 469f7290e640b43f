"""The training loop of several members: epoch by epoch what ``train`` does to each, with their steps computed as one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch

from isthmus.designs import Composed
from isthmus.engine import in_use
from isthmus.engine.dense import Dense
from isthmus.engine.stack import WORK, Stack, pads_code
from isthmus.layout import Block
from isthmus.model import Parts
from isthmus.threads import threads_for
from isthmus.training import (
    BLOCK,
    Plan,
    Run,
    Snapshot,
    blocks,
    engine_of,
    generator,
    has_epochs_left,
    how_it_ended,
    is_finite,
    judge,
    judge_start,
    note_interruption,
    record,
    restart,
    settled,
    train,
)

MOST = 8
"""As many members to a stack: more no longer fit into the cache of a core (``python benchmarks/many.py``)."""


class Form(NamedTuple):
    """What the members of a stack have in common; seeds, rows, and sizes of codes may differ."""

    parts: Parts
    plan: Plan
    shape: tuple[int, ...]
    blocks: tuple[Block, ...]
    n_rows: int
    has_gaps: bool
    is_weighted: bool
    has_shortcut: bool
    latent_dim: int | None
    """None where codes of different sizes go together."""
    dtype: torch.dtype


def form_of(run: Run) -> Form | None:
    """Return the form of a run that has not begun; None when it is better, or only, trained alone.

    Alone are models that the dense engine does not compute or knows only by autograd, and steps so large that their calls
    cost nothing beside their arithmetic.
    """
    engine, _ = engine_of(run)
    if not isinstance(engine, Dense) or Stack.refuses(engine) or run.epoch:
        return None
    model, train_rows = engine.model, run.data.train
    weights = sum(parameter.numel() for parameter in model.parameters())
    if 6.0 * run.plan.batch_size * weights > WORK:
        return None
    return Form(
        model.parts,
        run.plan,
        train_rows.shape,
        model.layout.blocks,
        len(train_rows),
        train_rows.take(slice(0, 1))[1] is not None,
        run.data.train_weight is not None,
        model.encoder.shortcut is not None,
        None if pads_code(model.parts) else model.z_shape[0],
        next(model.parameters()).dtype,
    )


def train_together(runs: Sequence[Run]) -> None:
    """Train runs of one form in place, and leave each as ``train`` alone would, but for rounding.

    A member that stops early leaves the stack with its best weights; one whose loss is not finite goes back to its last good
    epoch and on alone. There are no callbacks: whoever listens to a run may change it, and wants a loop of his own.
    """
    going, alone = [*runs], []
    for run in runs:
        run.history.engine, run.history.engine_note = Stack.name, ""
    threads = threads_for(runs[0].model, runs[0].plan.batch_size * len(runs), passes=3)
    with torch.random.fork_rng([]), threads, ExitStack() as rows:
        for run in runs:
            rows.enter_context(settled(run))
            judge_start(run, in_use(run.model))
        try:
            while len(going) > 1:
                going, fallen = _until_one_leaves(going)
                alone += fallen
        except KeyboardInterrupt:
            for run in [*going, *alone]:
                note_interruption(run)
            going, alone = [], []
    for run in [*going, *alone]:
        train(run)
    for run in runs:
        if run.history.stopped != "interrupted":
            run.history.stopped = how_it_ended(run)
        run.model.load_state_dict(run.best)
        run.model.eval()


def _until_one_leaves(runs: list[Run]) -> tuple[list[Run], list[Run]]:
    """Train until a member has no epochs left, or its loss is not finite; return who goes on together, and who alone."""
    models = [run.model for run in runs if isinstance(run.model, Composed)]
    stack = Stack(models, [run.optimizer for run in runs])
    while True:
        good, started = stack.state(), time.perf_counter()
        trained = _one_epoch(runs, stack)
        for k in range(len(runs)):
            stack.write_weights(k)
        judged = [judge(run, terms) for run, terms in zip(runs, stack.terms, strict=True)]
        seconds = (time.perf_counter() - started) / len(runs)
        is_well = [is_finite(*said) for said in zip(trained, judged, strict=True)]
        for k, run in enumerate(runs):
            if is_well[k]:
                record(run, trained[k], judged[k], seconds)
        if not all(is_well) or not all(has_epochs_left(run) for run in runs):
            break
    for k in range(len(runs)):
        stack.write_moments(k)
    stack.restore(good)
    for k, run in enumerate(runs):
        if not is_well[k]:
            stack.write_weights(k)
            stack.write_moments(k)
            restart(run, Snapshot(run))
    going = [run for k, run in enumerate(runs) if is_well[k] and has_epochs_left(run)]
    return going, [run for k, run in enumerate(runs) if not is_well[k]]


def _one_epoch(runs: Sequence[Run], stack: Stack) -> list[dict[str, float]]:
    """Pass once over the training rows of every member, each in an order of its own."""
    rngs = [generator(run.seed, run.epoch, run.model) for run in runs]
    stack.begin(rngs)
    orders = [
        blocks(run, torch.Generator().manual_seed(rng.initial_seed()), BLOCK["cpu"] // len(runs))
        for run, rng in zip(runs, rngs, strict=True)
    ]
    sums: list[dict[str, float]] = [{} for _ in runs]
    for pieces in zip(*orders, strict=True):
        for run, total, found in zip(runs, sums, stack.run(pieces), strict=True):
            for name, value in found.items():
                total[name] = total.get(name, 0.0) + value / len(run.data.train)
    return sums
