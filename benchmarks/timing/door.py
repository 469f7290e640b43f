"""Case ``door``: what ``Autoencoder().fit(X)`` costs beyond the training steps themselves."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch

from isthmus.engine.choice import maker
from isthmus.errors import IsthmusError
from isthmus.threads import threads_for
from isthmus.training import Run, blocks, generator
from timing import job as jobs
from timing import ours
from timing.clock import Cost, interleave, median, spent
from timing.report import Report


class Opened(NamedTuple):
    """CPU seconds of one fit: all of it, its training loop, and the bare steps of the same training done again."""

    fit: float
    loop: float
    steps: float
    engine: str
    epochs: int


def door(quick: bool, rounds: int) -> Iterator[Report]:
    """Default fits of 20,000 and of 1,000 rows of 30 columns."""
    report = Report(
        "door", f"door: Autoencoder().fit(X) against its bare steps, {rounds} rounds, CPU seconds",
        ["rows x 30", "engine", "epochs", "fit", "loop", "bare steps", "loop / steps", "fit / steps", "overhead, s"],
    )  # fmt: skip
    sizes = (2_000, 1_000) if quick else (20_000, 1_000)
    settings = {"effort": "quick"} if quick else {}
    opened = {n: partial(_open, jobs.table_job(n), settings) for n in sizes}
    try:
        for open_one in opened.values():
            open_one(0)
        runs = interleave({f"{n:,}": open_one for n, open_one in opened.items()}, rounds)
    except IsthmusError as reason:
        report.skipped["door"] = str(reason)
        yield report
        return
    for name, several in runs.items():
        loop, fit = ([getattr(run, part) / run.steps for run in several] for part in ("loop", "fit"))
        seconds = [median([getattr(run, part) for run in several]) for part in ("fit", "loop", "steps")]
        rest = median([run.fit - run.steps for run in several])
        first = several[0]
        report.rows.append(
            [name, first.engine, median([float(r.epochs) for r in several]), *seconds, median(loop), median(fit), rest]
        )
    report.notes = [
        "bare steps: the engine alone, from the same first weights, as many epochs of as many batches",
        "loop: training.train, which also judges held-out rows, keeps the best weights and writes the history",
        "fit: also codec, principal components, floor, scores and code statistics",
    ]
    report.rounds = {name: [run._asdict() for run in several] for name, several in runs.items()}
    yield report


class _Door:
    """Keeps the run of a fit as it was before the first step, and the time between first and last."""

    def on_train_begin(self, run: Run) -> None:
        self.model, self.plan, self.data, self.seed = copy.deepcopy(run.model), run.plan, run.data, run.seed
        self.begun = Cost.now()

    def on_train_end(self, run: Run) -> None:
        self.loop = Cost.now() - self.begun


def _open(job: jobs.Job, settings: dict, turn: int) -> Opened:
    listener = _Door()
    ae = ours.autoencoder(job._replace(seed=turn), callbacks=[listener], latent_dim="auto", **settings)
    fit = spent(lambda: ae.fit(job.X))[1]
    run = Run(listener.model, listener.data, listener.plan, listener.seed)
    begun = Cost.now()  # the copy above is not in the steps, and a few milliseconds in the fit
    bare_steps(run, ae.history_.engine, ae.n_iter_)
    return Opened(fit.cpu, listener.loop.cpu, (Cost.now() - begun).cpu, ae.history_.engine, ae.n_iter_)


def bare_steps(run: Run, engine: str, epochs: int) -> None:
    """Train ``run.model`` for ``epochs`` with nothing but the engine: no judging, no history, no best weights."""
    stepper, _ = maker(engine)(run.model, run.optimizer, epochs)
    run.model.train()
    with torch.random.fork_rng([]), threads_for(run.model, run.plan.batch_size, passes=3):
        for epoch in range(epochs):
            run.epoch, rng = epoch, generator(run.seed, epoch, run.model)
            for block in blocks(run, rng):
                stepper.run(block, rng)
