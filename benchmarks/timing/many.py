"""Case ``many``: eight members at once beside one after the other, and two threads beside one on the wide network."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import isthmus as ist
from isthmus.errors import IsthmusError
from timing import ours
from timing.alone import alone
from timing.clock import Cost, UnavailableError, Watch, interleave, median, ratios, spent
from timing.job import Job, Trainer, present, table_job, wide_job
from timing.report import Report, span
from timing.training import PEERS, TUTORIAL

MEMBERS = 8
EPOCHS = 3
THREADS = (1, 2)


def many(quick: bool, rounds: int) -> Iterator[Report]:
    """Both tables; a round is one process of one thread and one of two, and each of them measures everybody."""
    n_rows = 2_000 if quick else 10_000
    yield _members(n_rows, rounds)
    yield _threads(n_rows, rounds)


def fit_together(job: Job, engine: str, members: int) -> None:
    """Fit members that differ in their seed, all at once."""
    ist.fit_many([ours.matched(job._replace(seed=seed), engine, "float32") for seed in range(members)], job.X)


def fit_in_turn(job: Job, engine: str, members: int) -> None:
    """Fit the same members one after the other."""
    for seed in range(members):
        ours.train(job._replace(seed=seed), Watch(), engine, "float32")


def members_round(n_rows: int) -> dict[str, dict[str, Any]]:
    """Return CPU and wall seconds of an epoch of all members, each way: the slope between fits of one and of more epochs."""
    job, costs, skipped = table_job(n_rows), {}, {}
    ways = {"1 member": (fit_in_turn, 1), "8 in turn": (fit_in_turn, MEMBERS), "8 at once": (fit_together, MEMBERS)}
    for engine in ours.ENGINES:
        for way, (fit, members) in ways.items():
            try:
                fit(job._replace(X=job.X[:512], epochs=1), engine, members)
            except (UnavailableError, ImportError, IsthmusError) as reason:
                skipped[f"{engine}, {way}"] = str(reason)
                continue
            one, several = (spent(partial(fit, job._replace(epochs=e), engine, members))[1] for e in (1, 1 + EPOCHS))
            costs[f"{engine}, {way}"] = (several - one) / EPOCHS
    return {"costs": costs, "skipped": skipped}


def threads_round(n_rows: int) -> dict[str, dict[str, Any]]:
    """Return CPU and wall seconds of an epoch of the wide network, everybody's."""
    job, costs = wide_job(n_rows), {}
    trainers: dict[str, Trainer] = {TUTORIAL: PEERS[TUTORIAL], **ours.trainers(), **ours.trainers("bfloat16")}
    here, skipped = present(trainers, job)
    for name, train in here.items():
        watch = Watch()
        train(job, watch)
        costs[name] = watch.epoch
    return {"costs": costs, "skipped": skipped}


def _members(n_rows: int, rounds: int) -> Report:
    runs, skipped = _both("members_round", n_rows, rounds)
    job = table_job(n_rows)
    title = f"many: {job.net}, batch {job.batch}, {n_rows:,} rows; one step of one member, {rounds} rounds"
    columns = ["engine, members, threads", "CPU us", "wall us", "CPU x in turn", "wall x in turn", "least..most"]
    report = Report("many", title, columns, skipped=skipped, rounds=runs)
    for name, costs in runs.items():
        each = 1e6 / job.steps / (1 if "1 member" in name else MEMBERS)
        base = runs.get(name.replace("at once", "in turn"), costs)
        cpu, wall = (ratios([getattr(c, k) for c in base], [getattr(c, k) for c in costs]) for k in Cost._fields)
        means = [each * median([getattr(c, k) for c in costs]) for k in Cost._fields]
        report.rows.append([name, *means, median(cpu), median(wall), span(wall)])
    report.notes = ["x in turn: times faster than as many members one after the other, at the same number of threads"]
    return report


def _threads(n_rows: int, rounds: int) -> Report:
    runs, skipped = _both("threads_round", n_rows, rounds)
    job = wide_job(n_rows)
    title = f"many: {job.net}, batch {job.batch}, {n_rows:,} rows; one thread and two, {rounds} rounds"
    columns = ["contestant, threads", "CPU us/step", "wall us/step", "wall x 1 thread", "least..most"]
    report = Report("many", title, columns, skipped=skipped, rounds=runs)
    for name, costs in runs.items():
        one = runs[f"{name.rsplit(', ', 1)[0]}, {THREADS[0]}"]
        gain = ratios([c.wall for c in one], [c.wall for c in costs])
        means = [1e6 * median([getattr(c, k) for c in costs]) / job.steps for k in Cost._fields]
        report.rows.append([name, *means, median(gain), span(gain)])
    report.notes = ["wall time means little where other programs share the cores"]
    return report


def _both(function: str, n_rows: int, rounds: int) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Return what everybody cost in every round, by "name, threads", and who is missing."""
    call = partial(alone, f"timing.many:{function}", n_rows=n_rows)
    processes = {f"{n} thread(s)": lambda turn, n=n: call(threads=n) for n in THREADS}
    answers = interleave(processes, rounds)
    runs: dict[str, list[Cost]] = {}
    skipped: dict[str, str] = {}
    for threads, several in zip(THREADS, answers.values(), strict=True):
        for answer in several:
            skipped |= answer["skipped"]
            for name, cost in answer["costs"].items():
                runs.setdefault(f"{name}, {threads}", []).append(Cost(*cost))
    return runs, skipped
