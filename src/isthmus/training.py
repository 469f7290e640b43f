"""The training loop, and the one rule that derives its length from the data."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from isthmus import residence
from isthmus.chunks import chunk_rows, chunks
from isthmus.data.rows import DenseRows, Rows
from isthmus.engine import Block, Engine, Maker, Terms, average, reference
from isthmus.engine.adam import Adam
from isthmus.errors import SettingError, TrainingError
from isthmus.history import History
from isthmus.model import Model
from isthmus.parts.step import Batch, Pretrained
from isthmus.threads import threads_for

log = logging.getLogger("isthmus")

STEPS = {"quick": 600, "default": 2500, "thorough": 10000}
"""How many optimiser steps an effort is worth, before the bounds on epochs."""
EPOCHS = {"quick": (4, 100), "default": (20, 400), "thorough": (60, 1500)}
"""Fewest and most epochs of an effort."""
BLOCK = {"cpu": 2**20, "cuda": 2**26}
"""How many numbers are gathered at once for the steps to come: four megabytes, few enough to stay in a cache of a processor; a
quarter of a gigabyte on a GPU, where every block ends with a wait for its losses."""
RESTARTS = 4
"""How often training restarts from its last good weights, each time at a quarter of the rate, before it gives up."""


class Plan(NamedTuple):
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int | None
    """Stop after so many epochs without a better held-out loss; None never stops early."""
    weight_decay: float = 0.0
    constant_rate: bool = False
    """Hold the rate instead of the cycle: for data that comes piece by piece, with no end to plan for."""


def plan(
    n_rows: int,
    effort: str = "default",
    max_epochs: int | None = None,
    batch_size: int | str = "auto",
    learning_rate: float | str = "auto",
    early_stopping: bool = True,
    weight_decay: float = 0.0,
    steps_factor: int = 1,
) -> Plan:
    """Derive the plan from the number of training rows.

    Batches hold 128 rows, 256 from 20,000 rows on, and never more than an eighth of the rows (but at least 16). Epochs are
    as many as make up the effort's steps (quick 600, default 2,500, thorough 10,000; times ``steps_factor``), within its
    bounds (4 to 100, 20 to 400, 60 to 1,500). Early stopping waits for three tenths of the epochs, and for at least ten.
    """
    if effort not in STEPS:
        raise SettingError(f"effort={effort!r} is not known; choose one of {', '.join(STEPS)}.")
    if batch_size == "auto":
        batch = min(256 if n_rows >= 20_000 else 128, max(16, n_rows // 8))
    else:
        batch = int(batch_size) if hasattr(batch_size, "__index__") else 0
    if batch < 1:
        raise SettingError(f"batch_size={batch_size!r} must be at least 1, or 'auto'.")
    batch = min(batch, max(n_rows, 1))
    if max_epochs is None:
        fewest, most = EPOCHS[effort]
        epochs = min(most, max(fewest, math.ceil(steps_factor * STEPS[effort] / math.ceil(n_rows / batch))))
    else:
        epochs = int(max_epochs)
    if epochs < 1:
        raise SettingError(f"max_epochs={max_epochs!r} must be at least 1.")
    rate = 3e-3 if learning_rate == "auto" else float(learning_rate)
    if not (rate > 0 and math.isfinite(rate)):
        raise SettingError(f"learning_rate={learning_rate!r} must be a positive number, or 'auto'.")
    patience = max(10, math.ceil(0.3 * epochs)) if early_stopping else None
    return Plan(epochs, batch, rate, patience, weight_decay)


def one_cycle(progress: float, peak: float) -> float:
    """Return the learning rate: a linear rise over the first tenth, then a cosine to 0 (Smith 2018)."""
    if progress < 0.1:
        return peak * (0.04 + 0.96 * progress / 0.1)
    return peak * max(1e-3, 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9)))


class Data(NamedTuple):
    """The rows a run learns from, and those it is judged by."""

    train: Rows
    held_out: Rows | None
    train_weight: Tensor | None = None
    held_out_weight: Tensor | None = None
    cells: Tensor | None = None
    """(d,) long: the table column of each feature; None when every feature stands for itself."""
    train_condition: Tensor | None = None
    """(n, c) what the model is told of each training row."""
    held_out_condition: Tensor | None = None


NO_DATA = Data(DenseRows(torch.empty(0, 1)), None)
"""What a run holds between two pieces of a stream."""


@dataclass
class Run:
    """The state of a training: everything a checkpoint must hold to go on as if nothing had happened."""

    model: Model
    data: Data
    plan: Plan
    seed: int
    settings_key: str = ""
    """Says which settings and data this run belongs to, so that no checkpoint of another is taken up."""
    engine: Maker = reference
    """Who computes the steps."""
    history: History = field(default_factory=History)
    epoch: int = 0
    rate_factor: float = 1.0
    restarts: int = 0
    cap: float = math.inf
    """The most that the loss of one held-out row may count when epochs are compared."""
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    optimizer: Adam = field(init=False)

    def __post_init__(self) -> None:
        self.optimizer = Adam(self.model.named_parameters(), self.plan.weight_decay)


MOMENTS = ("on_train_begin", "on_epoch_end", "on_train_end")
"""What a callback may listen to: a method ``(run)`` for any of these; ``on_epoch_end`` may return True to stop."""


def train(run: Run, callbacks: Sequence[object] = ()) -> History:
    """Train ``run.model`` in place and leave it with the best weights on held-out rows.

    All randomness of an epoch follows from (seed, epoch), so a run resumed from a checkpoint repeats the uninterrupted one.
    The user's global generators are left as they were.
    """
    history = run.history
    engine, history.engine_note = engine_of(run)
    history.engine = engine.name
    # Dropout draws from torch's global generator, which is seeded anew each epoch, inside a fork.
    device = next(run.model.parameters()).device
    own = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(own), threads_for(run.model, run.plan.batch_size, passes=3), settled(run):
        if run.epoch == 0:
            judge_start(run, engine.terms)
        _notify(callbacks, "on_train_begin", run)
        good = Snapshot(run)
        try:
            while has_epochs_left(run):
                started = time.perf_counter()
                trained = _one_epoch(run, engine)
                judged = judge(run, engine.terms)
                if not is_finite(trained, judged):
                    restart(run, good)
                    continue
                record(run, trained, judged, time.perf_counter() - started)
                good.renew()
                if _notify(callbacks, "on_epoch_end", run):
                    history.stopped = "callback"
                    break
            else:
                history.stopped = how_it_ended(run)
        except KeyboardInterrupt:
            note_interruption(run)
        finally:
            history.engine_note = "; ".join(note for note in (history.engine_note, engine.note) if note)
            _notify(callbacks, "on_train_end", run)
        run.model.load_state_dict(run.best)
    run.model.eval()
    return history


def engine_of(run: Run) -> tuple[Engine, str]:
    """Return who computes the steps of a run, and why not a faster one."""
    return run.engine(run.model, run.optimizer, steps_of(run))


def steps_of(run: Run) -> int:
    """Return how many steps a run has planned."""
    return run.plan.epochs * math.ceil(len(run.data.train) / run.plan.batch_size)


def judge_start(run: Run, terms: Terms) -> None:
    """Judge the weights a run starts from: what one row may count follows from them, and they may stay the best."""
    judged = judge(run, terms)
    run.cap = math.inf if judged is None else most_one_row_may_count(judged.losses)
    _keep_if_best(run, judged)


def record(run: Run, trained: dict[str, float], judged: Judgement | None, seconds: float) -> None:
    """Take down an epoch that went well."""
    run.epoch += 1
    _keep_if_best(run, judged)
    run.history.epochs.append(
        {
            "epoch": run.epoch,
            "learning_rate": _rate(run, run.epoch / run.plan.epochs),
            "seconds": seconds,
            "train": trained,
            "held_out": None if judged is None else judged.terms,
        }
    )


def note_interruption(run: Run) -> None:
    """Say in the history that Ctrl-C came, and what is kept."""
    run.history.stopped = "interrupted"
    run.history.events.append(
        f"Training was interrupted in epoch {run.epoch + 1} of {run.plan.epochs}; the best weights so far "
        f"(epoch {run.history.best_epoch}) are kept."
    )
    log.warning(run.history.events[-1])


def pretrain(run: Run) -> None:
    """Let every module that learns before the training learn from the training rows, and note how well it did."""
    rng = generator(run.seed, -3, run.model)
    with threads_for(run.model, run.plan.batch_size, passes=3):
        for module in run.model.modules():
            if isinstance(module, Pretrained):
                batches = _endless(run, module.batch_size, rng)
                task = module.task(next(batches), rng)
                optimizer = Adam(task.named_parameters())
                for step in range(module.steps):
                    task(next(batches), rng).backward()
                    optimizer.step(one_cycle(step / module.steps, module.learning_rate))
                run.history.events.append(module.take_over(task, next(batches), rng))


def _endless(run: Run, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
    """Yield batches of training rows for ever, each time round in a new order; what does not fill a batch is left out."""
    data = run.data
    size = min(batch_size, len(data.train))
    while True:
        order = torch.randperm(len(data.train), generator=rng, device=rng.device).cpu()
        for index in order[: len(order) // size * size].split(size):
            yield gather(data.train, index, data.train_weight, data.cells, run.model, data.train_condition)


@contextmanager
def settled(run: Run) -> Iterator[None]:
    """Let the rows of a run lie on the device of its model meanwhile, if they fit; on the CPU, a few held-out rows."""
    given, device = run.data, next(run.model.parameters()).device
    held_out = given.held_out
    if device.type == "cpu":
        if held_out is not None and len(held_out) * math.prod(held_out.shape) <= BLOCK["cpu"]:
            run.data = given._replace(held_out=residence.moved(held_out, device))
    elif why_not := residence.too_large([given.train, *([held_out] if held_out else [])], device):
        run.history.engine_note = "; ".join(note for note in (run.history.engine_note, why_not) if note)
    else:
        run.data = Data(
            residence.moved(given.train, device),
            None if held_out is None else residence.moved(held_out, device),
            *(None if values is None else values.to(device) for values in given[2:]),
        )
    try:
        yield
    finally:
        run.data = given


def _one_epoch(run: Run, engine: Engine) -> dict[str, float]:
    """Pass once over the training rows in a new order; stop at the first block whose loss is not finite."""
    rng = generator(run.seed, run.epoch, run.model)
    seed_globals(rng.initial_seed(), rng.device)
    sums: dict[str, float] = {}
    if not run.model.training:  # telling every module costs as much as judging a hundred rows
        run.model.train()
    for block in blocks(run, torch.Generator().manual_seed(rng.initial_seed())):
        for name, value in engine.run(block, rng).items():
            sums[name] = sums.get(name, 0.0) + value / len(run.data.train)
        if not math.isfinite(sums["loss"]):
            break
    return sums


def blocks(run: Run, rng: torch.Generator, numbers: int | None = None) -> Iterator[Block]:
    """Yield the training rows of one epoch in a new order, some steps at a time, in batches of equal size but for one row."""
    rows, parameter = run.data.train, next(run.model.parameters())
    steps = math.ceil(len(rows) / run.plan.batch_size)
    # Drawn on the CPU whatever the device, so that the order of a seed is the same everywhere.
    order = torch.randperm(len(rows), generator=rng).to(residence.device_of(rows))
    batches = order.tensor_split(steps)  # nearly equal, so that every row counts the same
    numbers = numbers or BLOCK.get(parameter.device.type, BLOCK["cuda"])
    together = max(1, numbers // (run.plan.batch_size * math.prod(rows.shape)))

    def taken(like: Tensor) -> Iterator[Block]:
        for start in range(0, steps, together):
            some = batches[start : start + together]
            progress = [(run.epoch + step / steps) / run.plan.epochs for step in range(start, start + len(some))]
            index = torch.cat(some)
            taken = _taken(rows, index, run.data.train_weight, run.data.cells, like, run.data.train_condition)
            yield Block(taken, [len(batch) for batch in some], progress, [_rate(run, share) for share in progress])

    if order.device == parameter.device or parameter.device.type != "cuda":
        yield from taken(parameter)
    else:
        yield from residence.ahead(taken(parameter.new_empty(0, device="cpu")), parameter.device)


class Judgement(NamedTuple):
    """What the held-out rows say of one epoch."""

    terms: dict[str, float]
    """The mean loss and its terms."""
    losses: Tensor
    """(n,) the loss of each row."""


@torch.no_grad()
def judge(run: Run, terms_of: Terms) -> Judgement | None:
    """Judge the model on held-out rows, with the same noise every time and without penalties; None when there are none."""
    rows = run.data.held_out
    if rows is None:
        return None
    rng = generator(run.seed, -1, run.model)
    total, sums, losses = 0.0, {}, []
    for index in chunks(len(rows), chunk_rows(run.model.layout.size)):
        batch = gather(rows, index, run.data.held_out_weight, run.data.cells, run.model, run.data.held_out_condition)
        # The progress is 1 throughout: what is compared between epochs is the objective training ends with.
        terms = terms_of(batch, rng, 1.0)
        for name, value in average(terms, batch.weight).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(batch.x)
        losses.append(torch.stack([values.expand(len(batch.x)) for values in terms.values()]).sum(0))
        total += float(len(batch.x) if batch.weight is None else batch.weight.sum())
    return Judgement({name: value / max(total, 1e-30) for name, value in sums.items()}, torch.cat(losses).cpu())


def most_one_row_may_count(losses: Tensor) -> float:
    """Return fifty interquartile ranges above the median of the losses of an untrained model.

    Where a row lies forty deviations away from the others, its loss alone would choose the epoch, and judge the network.
    """
    quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, median, high = torch.quantile(losses[:1_000_000].double(), quarters).tolist()
    return median + 50 * (high - low)


def has_epochs_left(run: Run) -> bool:
    """Say whether to go on: the plan is not done, and patience not at its end."""
    waited = run.epoch - run.history.best_epoch
    is_patient = run.plan.patience is None or run.data.held_out is None or waited < run.plan.patience
    return run.epoch < run.plan.epochs and is_patient


def how_it_ended(run: Run) -> str:
    """Return what the history says of a run without epochs left."""
    return "early" if run.epoch < run.plan.epochs else "finished"


def _keep_if_best(run: Run, judged: Judgement | None) -> None:
    """Keep these weights if their held-out loss is the lowest so far, where no row counts more than ``run.cap``."""
    if judged is None:
        loss = -float(run.epoch)  # nothing to judge by: the latest is the best
    else:
        capped, weight = judged.losses.double().clamp(max=run.cap), run.data.held_out_weight
        share = None if weight is None else weight.cpu().double() / weight.cpu().double().sum()
        loss = float(capped.mean() if share is None else share @ capped)
    if not loss >= run.best_loss or not run.best:  # not a number is never the best for long
        run.best_loss, run.history.best_epoch = loss, run.epoch
        run.best = {name: value.clone() for name, value in run.model.state_dict().items()}


class Snapshot:
    """Copies of the weights and of Adam's moments: what training goes back to."""

    def __init__(self, run: Run) -> None:
        self._held = [*run.optimizer.held(), *run.model.buffers()]  # whatever moves stays where it lies
        self._kept = [tensor.clone() for tensor in self._held]

    @torch.no_grad()
    def renew(self) -> None:
        """Copy what has moved since, in place: new memory costs more than the copy."""
        torch._foreach_copy_(self._kept, self._held)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def restore(self) -> None:
        torch._foreach_copy_(self._held, self._kept)  # pyright: ignore[reportPrivateImportUsage]


def restart(run: Run, good: Snapshot) -> None:
    """Go back to the last good weights at a quarter of the rate; give up after some times, naming what is at fault."""
    good.restore()
    run.restarts += 1
    if run.restarts > RESTARTS:
        raise TrainingError(_fault(run))
    run.rate_factor /= 4
    run.history.events.append(
        f"The loss was not finite in epoch {run.epoch + 1}; training went back to the weights before it, at a learning rate "
        f"of {run.plan.learning_rate * run.rate_factor:.2g}."
    )
    log.warning(run.history.events[-1])


@torch.no_grad()
def _fault(run: Run) -> str:
    """Say which column overflows, or which setting to change."""
    run.model.eval()
    finite, largest = True, torch.zeros(run.model.layout.size)
    for index in chunks(len(run.data.train), chunk_rows(run.model.layout.size)):
        batch = gather(run.data.train, index, None, run.data.cells, run.model, run.data.train_condition)
        finite &= bool(torch.isfinite(run.model.cells(batch).sum()))
        largest = torch.maximum(largest, batch.x.flatten(1).abs().amax(0).cpu())
    if not finite:  # every output depends on every input, so the largest input is the one to look at
        feature = int(largest.argmax())
        owners = [repr(b.column) for b in run.model.layout.blocks if b.start <= feature < b.start + b.width]
        name = f"column {owners[0]}" if owners else f"number {feature} of a sample"
        return (
            f"The loss is not finite because of {name}, whose scaled values reach {largest[feature]:.2g}; look for extreme "
            f"values in it, or use scale='columns'."
        )
    return (
        f"The loss is not finite even at a learning rate of {run.plan.learning_rate * run.rate_factor:.2g}; "
        f"start from learning_rate={min(1e-3, run.plan.learning_rate / 100):.0e}, or lower the weights of the penalties."
    )


def is_finite(trained: dict[str, float], judged: Judgement | None) -> bool:
    """Say whether every term of an epoch is a number."""
    terms = [*trained.values(), *(() if judged is None else judged.terms.values())]
    return all(math.isfinite(value) for value in terms)


def _rate(run: Run, progress: float) -> float:
    peak = run.rate_factor * run.plan.learning_rate
    return peak / 3 if run.plan.constant_rate else one_cycle(progress, peak)


def _notify(callbacks: Sequence[object], moment: str, run: Run) -> bool:
    """Call the method ``moment`` of every callback that has it, on a model in use; True if one asked to stop."""
    listening = [getattr(callback, moment) for callback in callbacks if hasattr(callback, moment)]
    if listening and run.model.training:
        run.model.eval()
    answers = [listen(run) for listen in listening]
    return any(answer is True for answer in answers)


def generator(seed: int, epoch: int, model: Model) -> torch.Generator:
    """Return the generator of one epoch, on the model's device; -1 stands for the held-out rows."""
    device = next(model.parameters()).device
    # A large odd multiplier keeps neighbouring seeds and epochs apart (Knuth's multiplicative hashing).
    return torch.Generator(device).manual_seed((seed * 2_654_435_761 + (epoch + 1) * 40_503) % 2**63)


def seed_globals(seed: int, device: torch.device) -> None:
    """Seed the global generators of the CPU and of one device; those of other devices are none of ours."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def gather(
    rows: Rows,
    index: Tensor | slice,
    weight: Tensor | None,
    cells: Tensor | None,
    model: Model,
    condition: Tensor | None = None,
) -> Batch:
    """Take some rows as a batch on the model's device."""
    return _taken(rows, index, weight, cells, next(model.parameters()), condition)


def _taken(
    rows: Rows,
    index: Tensor | slice,
    weight: Tensor | None,
    cells: Tensor | None,
    like: Tensor,
    condition: Tensor | None,
) -> Batch:
    x, observed = rows.take(index)
    return Batch(
        x.to(like),
        None if observed is None else observed.to(like.device),
        None if cells is None else cells.to(like.device),
        None if weight is None else weight[index].to(like),
        None if condition is None else condition[index].to(like),
    )
