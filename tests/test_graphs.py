"""The graphs engine without a GPU: a stand-in repeats the work itself, where a recording would repeat its kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import isthmus as ist
from isthmus.catalogue import VARIANTS, Entry
from isthmus.engine import reference
from isthmus.engine.graphs import TOGETHER, Graphs, pieces
from isthmus.engine.precision import multiplying
from isthmus.engine.progress import Progress
from isthmus.errors import SettingError
from isthmus.parts.penalties import Penalty
from isthmus.parts.schedule import Ramp
from isthmus.parts.step import Step, ramp
from isthmus.training import gather, train
from samples import data_for
from test_engines import begun, close, small, trained

ALL = [entry for entry in VARIANTS if entry.inputs != "series"]


class Again:
    """Records nothing: it does the work again, from the buffers as they are."""

    is_rehearsing = False

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        Again.is_rehearsing = True
        try:
            yield
        finally:
            Again.is_rehearsing = False

    def record(self, work: Callable[[], None], rng: torch.Generator) -> Callable[[], None]:
        return work


def graphs(model: Any, optimizer: Any, steps: int = 1) -> tuple[Graphs, str]:
    return Graphs(model, optimizer, recorder=Again()), ""  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("entry", ALL, ids=lambda entry: entry.name)
def test_steps_from_buffers_are_the_steps_of_the_eager_engine(entry: Entry) -> None:
    X, y = data_for(entry.inputs, 120)
    ae = small(entry.name, batch_size=10)
    fast = trained(ae, graphs, X, y, dtype=torch.float64)
    close(fast, trained(ae, reference, X, y, dtype=torch.float64), 1e-5)  # a rate in a buffer is a float32 number


@dataclass
class Hasty(Penalty):
    """What reads from the device, as the rehearsal on a GPU would notice it."""

    error: str = "waits"

    def __call__(self, step: Step) -> Tensor:
        if Again.is_rehearsing:
            raise {"waits": RuntimeError, "setting": SettingError}[self.error]("called a synchronizing CUDA operation")
        return step.code.z.square().sum(1)


def run_of(**settings: Any) -> Any:
    own = {
        "network": ist.MLP(hidden=(12,), norm="batch", dropout=0.2),
        "max_epochs": 1,
        "batch_size": 10,
        "verbose": False,
    }
    run = begun(ist.Autoencoder(**(own | settings), random_state=0), data_for("any", 120)[0])
    run.engine = graphs
    return run


@pytest.mark.parametrize("penalties", [(), Hasty()], ids=["recorded", "refused"])
def test_a_rehearsal_leaves_no_trace(penalties: Any) -> None:
    run = run_of(penalties=penalties, bottleneck=ist.VectorQuantized(codes=8))
    run.model.train()
    engine, rng = graphs(run.model, run.optimizer)[0], torch.Generator().manual_seed(3)
    engine.rng.set_state(rng.get_state())
    batch = gather(run.data.train, slice(0, 10), None, None, run.model)
    torch.manual_seed(5)

    def state() -> list[Tensor]:
        held = {**run.model.state_dict(), **run.optimizer.state()}
        return [*(values.clone() for values in held.values()), engine.rng.get_state(), torch.get_rng_state()]

    before = state()
    why = engine._rehearse(batch, 0.0)
    assert why == ("Hasty.__call__ waits for a number from the device" if penalties else "")
    assert all(torch.equal(one, other) for one, other in zip(before, state(), strict=True))
    assert all(parameter.grad is None for parameter in run.model.parameters())
    notes = [
        getattr(m, name) for m in run.model._settling for name in ("_noted", "noted", "_fired") if hasattr(m, name)
    ]
    assert notes
    assert all(note is None for note in notes)


def test_what_cannot_be_recorded_is_computed_all_the_same_and_the_reason_is_told() -> None:
    run = run_of(penalties=Hasty())
    train(run)
    known = run_of(penalties=Hasty())
    known.engine = reference
    train(known)
    close(run, known, 1e-12)
    assert run.history.engine_note.startswith("11 of 11 steps were launched kernel by kernel, because Hasty")


def test_a_setting_that_no_model_takes_is_refused_and_not_worked_around() -> None:
    run = run_of(penalties=Hasty("setting"))
    with pytest.raises(SettingError):
        train(run)


def test_steps_are_recorded_once_the_ramps_are_over() -> None:
    X, _ = data_for("any", 120)
    settings = {"bottleneck": ist.Gaussian(warm_up=0.5), "max_epochs": 4, "batch_size": 10, "early_stopping": False}
    ae = ist.Autoencoder(network=ist.MLP(hidden=(12,)), random_state=0, verbose=False, **settings)
    fast, slow = (trained(ae, maker, X, dtype=torch.float64) for maker in (graphs, reference))
    assert fast.history.engine_note == (
        "22 of 44 steps were launched kernel by kernel, because it changes with the progress of the training"
    )
    for one, other in zip(fast.history.curve(), slow.history.curve(), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_a_ramp_over_the_whole_training_is_never_recorded() -> None:
    run = run_of(corruptions=ist.GaussianNoise(Ramp(0.0, 0.3)))
    train(run)
    assert run.history.engine_note.startswith("11 of 11 steps")


def test_progress_matters_where_a_later_one_would_change_the_answer() -> None:
    for share, length, matters in (
        (0.0, 0.0, False),
        (0.1, 0.2, True),
        (0.2, 0.2, False),
        (0.9, 0.2, False),
        (0.3, 1.5, True),
    ):
        progress = Progress(share)
        assert ramp(progress, length) == ramp(share, length)  # pyright: ignore[reportArgumentType]
        assert progress.matters == matters
    for question, matters in (
        (lambda p: p > 0.5, True), (lambda p: p < 0.5, True), (lambda p: p <= 0.2, False), (lambda p: p >= 2, False),
        (lambda p: 1 - p, True), (lambda p: torch.ones(2) * p, True), (float, True), (lambda p: p == 1, True),
    ):  # fmt: skip
        progress = Progress(0.3)
        question(progress)
        assert progress.matters == matters


def test_pieces_hold_steps_of_one_size_in_order() -> None:
    sizes = [5] * 11 + [4] * 19
    cut = list(pieces(sizes, TOGETHER))
    assert [place for first, count in cut for place in range(first, first + count)] == list(range(30))
    assert all(len(set(sizes[first : first + count])) == 1 for first, count in cut)
    assert [count for _, count in cut] == [8, 1, 1, 1, 8, 8, 1, 1, 1]


def test_the_switches_of_a_gpu_are_set_back_even_after_an_error() -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    for precision, within in (("float32", "ieee"), ("auto", "tf32"), ("bfloat16", "tf32")):
        switches = multiplying(precision, torch.device("cuda"))
        switches.__enter__()
        assert [place.fp32_precision for place in places] == [within] * 3
        assert not switches.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
        assert [place.fp32_precision for place in places] == before


def test_the_engine_asks_for_a_cuda_device() -> None:
    with pytest.raises(SettingError, match="engine='graphs' cannot compute this model: it is not on a CUDA device"):
        ist.Autoencoder(engine="graphs", max_epochs=1, verbose=False).fit(data_for("any")[0])
