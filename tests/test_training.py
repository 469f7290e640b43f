"""The loop: what it keeps, what it survives, and that a resumed run repeats the uninterrupted one."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

import isthmus as ist
from isthmus.data.rows import DenseRows
from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.errors import ModelFileError, TrainingError
from isthmus.layout import Block, Layout
from isthmus.model import Blueprint, Parts
from isthmus.training import Data, Run, one_cycle, plan, train

SETTINGS = {"latent_dim": 3, "random_state": 0, "verbose": False}


class StopAfter:
    def __init__(self, epochs: int, how: type[BaseException] | None = None) -> None:
        self.epochs, self.how = epochs, how

    def on_epoch_end(self, run) -> bool:
        if run.epoch == self.epochs and self.how is not None:
            raise self.how
        return run.epoch >= self.epochs


class CrashError(Exception):
    pass


def test_adam_takes_the_steps_of_torchs_adamw() -> None:
    torch.manual_seed(0)
    own = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(3))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in own]
    adam = Adam([("weight", own[0]), ("bias", own[1])], weight_decay=0.1)
    groups = [{"params": [theirs[0]], "weight_decay": 0.1}, {"params": [theirs[1]], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.99))
    x = torch.randn(5, 3)
    for _ in range(20):
        for weight, bias in (own, theirs):
            ((x @ weight.T).square().sum() + bias.square().sum()).backward()
        adam.step(1e-2)
        reference.step()
        reference.zero_grad()
    for mine, yours in zip(own, theirs, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-5, atol=1e-7)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    rates = [one_cycle(i / 1000, 2.0) for i in range(1001)]
    assert max(rates) == pytest.approx(2.0)
    assert rates.index(max(rates)) == 100
    assert rates[-1] == pytest.approx(2e-3)
    steps = np.diff(rates)
    assert (steps[:100] > 0).all()
    assert (steps[100:] <= 0).all()


def test_the_plan_follows_the_documented_rule() -> None:
    small, large = plan(1000), plan(54_000)
    assert (small.batch_size, small.epochs) == (125, math.ceil(2500 / 8))
    assert (large.batch_size, large.epochs) == (256, 20)
    assert plan(1000, "quick").epochs < small.epochs < plan(1000, "thorough").epochs
    assert plan(1000, early_stopping=False).patience is None


def test_the_best_weights_on_held_out_rows_are_kept(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(**SETTINGS, max_epochs=8, shortcut=False).fit(digits)
    held_out = ae.history_.curve("held_out")
    assert ae.history_.best_epoch == int(np.argmin(held_out)) + 1
    errors = ae.reconstruction_error(digits[ae.held_out_])
    assert errors.mean() == pytest.approx(min(held_out), rel=1e-4)


def test_early_stopping_ends_a_training_that_no_longer_improves() -> None:
    noise = np.random.default_rng(0).normal(size=(200, 10))
    ae = ist.Autoencoder(**SETTINGS).fit(noise)
    assert ae.history_.stopped == "early"
    assert ae.n_iter_ < ae.settings_["epochs"]


def test_a_callback_may_stop_and_history_says_so(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(**SETTINGS, max_epochs=9, callbacks=StopAfter(2)).fit(digits)
    assert (ae.n_iter_, ae.history_.stopped) == (2, "callback")


def test_an_interruption_keeps_the_best_so_far_and_says_so(digits: np.ndarray) -> None:
    interrupted = ist.Autoencoder(**SETTINGS, max_epochs=9, callbacks=[StopAfter(2, KeyboardInterrupt)])
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 9"):
        interrupted.fit(digits)
    assert interrupted.history_.stopped == "interrupted"
    assert np.isfinite(interrupted.transform(digits)).all()


@pytest.mark.parametrize("crash_after", [1, 3, 5])
@pytest.mark.parametrize("variant", ["variational", "denoising", "dropout"])
def test_an_interrupted_run_resumed_equals_the_uninterrupted_one(variant, crash_after, digits, tmp_path) -> None:
    def estimator(*callbacks: object):
        settings = SETTINGS | {"max_epochs": 6, "callbacks": callbacks}
        if variant == "dropout":
            return ist.Autoencoder(network=ist.MLP(hidden=(16,), dropout=0.3), **settings)
        return ist.variant(variant, **settings)

    whole = estimator().fit(digits)
    checkpoint = ist.Checkpoint(tmp_path / "run")
    with pytest.raises(CrashError):
        estimator(checkpoint, StopAfter(crash_after, CrashError)).fit(digits)
    resumed = estimator(checkpoint).fit(digits)
    assert np.array_equal(resumed.transform(digits), whole.transform(digits))
    assert resumed.history_.curve() == whole.history_.curve()
    assert resumed.history_.curve("held_out") == whole.history_.curve("held_out")
    assert resumed.history_.best_epoch == whole.history_.best_epoch
    for name, value in whole.model_.state_dict().items():
        assert torch.equal(value, resumed.model_.state_dict()[name])


def test_a_checkpoint_of_other_data_or_settings_is_refused(digits: np.ndarray, tmp_path) -> None:
    checkpoint = ist.Checkpoint(tmp_path / "run")
    ist.Autoencoder(**SETTINGS, max_epochs=2, callbacks=[checkpoint]).fit(digits)
    for other in (
        ist.Autoencoder(**(SETTINGS | {"latent_dim": 4}), max_epochs=2, callbacks=[checkpoint]),
        ist.Autoencoder(**SETTINGS, max_epochs=3, callbacks=[checkpoint]),
    ):
        with pytest.raises(ModelFileError, match="belongs to other data or settings"):
            other.fit(digits)
    with pytest.raises(ModelFileError, match="belongs to other data or settings"):
        ist.Autoencoder(**SETTINGS, max_epochs=2, callbacks=[checkpoint]).fit(digits + 1)


def test_a_damaged_checkpoint_is_named(digits: np.ndarray, tmp_path) -> None:
    checkpoint = ist.Checkpoint(tmp_path)
    checkpoint.file.write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="cannot be read"):
        ist.Autoencoder(**SETTINGS, max_epochs=2, callbacks=[checkpoint]).fit(digits)


def test_a_loss_that_overflows_once_is_restarted_at_a_lower_rate(digits: np.ndarray) -> None:
    class SpoilOnce:
        done = False

        def on_epoch_end(self, run) -> None:
            if run.epoch == 2 and not self.done:
                self.done = True
                run.optimizer.groups[1].mean[0].fill_(float("nan"))

    spoiler = SpoilOnce()
    ae = ist.Autoencoder(**SETTINGS, max_epochs=5, callbacks=[spoiler]).fit(digits)
    # the snapshot of epoch 2 was taken before the callback spoiled the moments, so training goes on from there
    assert spoiler.done
    assert len(ae.history_) == 5
    assert "went back to the weights before it" in ae.history_.events[0]
    assert np.isfinite(ae.transform(digits)).all()


def test_a_rate_beyond_repair_is_named(digits: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="start from learning_rate="):
        ist.deep(**SETTINGS, learning_rate=1e30, max_epochs=3).fit(digits)


def test_a_column_that_overflows_is_named() -> None:
    layout = Layout((3,), tuple(Block("numeric", i, 1, name) for i, name in enumerate(("calm", "wild", "third"))))
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e25, 1.0])
    model = Composed(Blueprint(Parts(ist.MLP(hidden=(4,)), ist.Plain(), ist.Mixed()), layout, 1))
    with pytest.raises(TrainingError, match="column 'wild'"):
        train(Run(model, Data(DenseRows(x), None), plan(60), seed=0))


def test_a_progress_bar_is_silent_without_a_terminal(digits: np.ndarray, capfd) -> None:
    ist.Autoencoder(**(SETTINGS | {"verbose": True}), max_epochs=2).fit(digits)
    out, err = capfd.readouterr()
    assert out == err == ""


def test_training_emits_no_warnings(digits: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ist.variational(**SETTINGS, max_epochs=2).fit(digits)


def test_a_run_that_stopped_early_stays_stopped_when_resumed(digits: np.ndarray, tmp_path) -> None:
    noise = np.random.default_rng(0).normal(size=(200, 10))
    checkpoint = ist.Checkpoint(tmp_path / "run", every=7)
    first = ist.Autoencoder(**SETTINGS, callbacks=[checkpoint]).fit(noise)
    again = ist.Autoencoder(**SETTINGS, callbacks=[checkpoint]).fit(noise)
    assert first.history_.stopped == again.history_.stopped == "early"
    assert first.n_iter_ == again.n_iter_
    assert np.array_equal(first.transform(noise), again.transform(noise))


def test_a_checkpoint_of_other_weights_is_refused(digits: np.ndarray, tmp_path) -> None:
    checkpoint = ist.Checkpoint(tmp_path / "run")
    ist.Autoencoder(**SETTINGS, max_epochs=2, callbacks=[checkpoint]).fit(digits)
    with pytest.raises(ModelFileError, match="belongs to other data or settings"):
        ist.Autoencoder(**SETTINGS, max_epochs=2, callbacks=[checkpoint]).fit(
            digits, sample_weight=np.arange(len(digits))
        )


def test_one_stray_held_out_row_does_not_choose_the_epoch() -> None:
    x = torch.randn(400, 5, generator=torch.Generator().manual_seed(0))
    x[:, 3:] = x[:, :2].square() - 1
    stray = x[300:].clone()
    stray[0, 0] = 80.0

    def best_epoch(held_out: torch.Tensor) -> int:
        torch.manual_seed(0)
        model = Composed(Blueprint(Parts(ist.MLP(hidden=(32,)), ist.Plain(), ist.SquaredError()), Layout((5,)), 3))
        settings = plan(300, max_epochs=12, early_stopping=False)
        return train(Run(model, Data(DenseRows(x[:300]), DenseRows(held_out)), settings, seed=0)).best_epoch

    assert best_epoch(stray) == best_epoch(x[300:])
