"""Members fitted together become what their own fits would make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import isthmus as ist
from isthmus import lockstep, training
from isthmus.engine import Maker, choice, reference
from isthmus.engine.choice import maker
from isthmus.engine.stack import Stack
from isthmus.errors import DataError, SettingError
from isthmus.lockstep import form_of, train_together
from isthmus.training import Run, train
from samples import data_for, gappy

SIZES = (3, 8, 5)


def noisy(rows: int = 240, d: int = 30) -> np.ndarray:
    """Return data with no number of it constant: there is a gradient everywhere, and rounding decides nothing."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 5)) @ rng.normal(size=(5, d)) + 0.5 * rng.normal(size=(rows, d))


def member(latent_dim: int = 4, seed: int = 0, **settings: Any) -> ist.Autoencoder:
    own = {
        "network": ist.MLP(hidden=(24, 12)),
        "max_epochs": 3,
        "batch_size": 48,
        "early_stopping": False,
        "verbose": False,
    }
    return ist.Autoencoder(**(own | settings), latent_dim=latent_dim, random_state=seed)


def run_of(ae: ist.Autoencoder, X: Any, weight: Any = None, engine: Maker | None = None) -> Run:
    """Return the run of a fit before its first step, in float64: there only a wrong formula makes a difference."""
    run = ae._begin(X, None, weight).run
    run.model.to(torch.float64)
    run.optimizer.__init__(run.model.named_parameters(), run.plan.weight_decay)
    run.engine = engine or maker("auto")
    return run


def same(run: Run, other: Run, tolerance: float = 1e-10) -> None:
    """Compare every term of every epoch, relative to the loss, and the weights that were kept."""
    assert (run.epoch, run.history.best_epoch, run.history.stopped) == (
        other.epoch,
        other.history.best_epoch,
        other.history.stopped,
    )
    assert run.history.events == other.history.events
    for said, known in zip(run.history.epochs, other.history.epochs, strict=True):
        assert (said["epoch"], said["learning_rate"]) == (known["epoch"], known["learning_rate"])
        for rows in ("train", "held_out"):
            for term, value in known[rows].items():
                assert said[rows][term] == pytest.approx(value, abs=tolerance * abs(known[rows]["loss"])), term
    for name, value in other.model.state_dict().items():
        # a weight is what Adam made of a gradient divided by its own size: it keeps fewer digits than the loss
        assert torch.allclose(run.model.state_dict()[name], value, rtol=0, atol=1e3 * tolerance), name


@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, SIZES),
        ({"shortcut": False, "network": ist.MLP(hidden=(24,), activation="sigmoid")}, SIZES),
        ({"reconstruction": "huber", "penalties": [ist.L1(0.01), ist.L1(0.02)]}, SIZES),
        ({"bottleneck": ist.Plain("sigmoid"), "reconstruction": "bernoulli", "scale": "range"}, (4, 4, 4)),
        ({"bottleneck": ist.Gaussian(beta=0.5, warm_up=0.5)}, SIZES),
        ({"bottleneck": "gaussian", "reconstruction": "squared_error"}, SIZES),
        (
            {"network": ist.MLP(hidden=(24, 12), dropout=0.3), "corruptions": [ist.GaussianNoise(0.3), ist.Swap(0.2)]},
            SIZES,
        ),
        ({"network": ist.MLP(hidden=(24,), tied=True), "weight_decay": 0.1, "shortcut": False}, SIZES),
        ({"bottleneck": ist.Bare(), "network": ist.MLP(hidden=(24, 6))}, (6, 6, 6)),
    ],
    ids=["plain", "sigmoid", "huber", "bernoulli", "gaussian", "mean", "noisy", "tied", "bare"],
)
def test_a_stack_walks_the_path_of_each_member(
    settings: dict, sizes: tuple[int, ...], has_gaps: bool, is_weighted: bool
) -> None:
    X = gappy(noisy()) if has_gaps else noisy()  # thirty numbers, so that widths are padded
    weight = np.random.default_rng(2).random(len(X)) + 0.5 if is_weighted else None
    members = [member(size, seed, **settings) for seed, size in enumerate(sizes)]
    together = [run_of(ae, X, weight) for ae in members]
    assert form_of(together[0]) is not None
    assert all(form_of(run) == form_of(together[0]) for run in together)
    train_together(together)
    for run, ae in zip(together, members, strict=True):
        assert run.history.engine == "stacked"
        # the dense engine rounds alike; the eager one does not, and where a gradient is nothing but rounding Adam moves on it
        for engine, tolerance in ((maker("dense"), 1e-10), (reference, 1e-6)):
            alone = run_of(ae, X, weight, engine)
            train(alone)
            same(run, alone, tolerance)


@pytest.mark.parametrize("bottleneck", ["plain", "gaussian"])
@pytest.mark.parametrize("corruptions", [(), ist.Masking(0.2)], ids=["clean", "masked"])
@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
def test_a_stack_walks_the_path_of_each_member_of_a_mixed_table(
    has_gaps: bool, is_weighted: bool, corruptions, bottleneck: str
) -> None:
    import pandas as pd

    rng, n = np.random.default_rng(0), 240
    gap = rng.random((3, n)) < (0.1 if has_gaps else 0.0)
    size, colour, sold = rng.normal(size=n), rng.choice(["red", "green", "blue"], n), rng.random(n) < 0.3
    frame = pd.DataFrame(
        {
            "size": np.where(gap[0], np.nan, size),
            "colour": np.where(gap[1], None, colour),
            "sold": pd.array(np.where(gap[2], None, sold), dtype="boolean"),
            "price": size + (colour == "red") + 0.1 * rng.normal(size=n),
        }
    )
    weight = rng.random(n) + 0.5 if is_weighted else None
    members = [member(k, seed, corruptions=corruptions, bottleneck=bottleneck) for seed, k in enumerate((2, 3, 3))]
    together = [run_of(ae, frame, weight) for ae in members]
    assert form_of(together[0]) is not None
    assert all(form_of(run) == form_of(together[0]) for run in together)
    train_together(together)
    for run, ae in zip(together, members, strict=True):
        for engine, tolerance in ((maker("dense"), 1e-10), (reference, 1e-6)):
            alone = run_of(ae, frame, weight, engine)
            train(alone)
            same(run, alone, tolerance)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
def test_a_stack_walks_the_path_of_each_member_of_images(has_gaps: bool, is_weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.random((240, 5, 6))
    X = gappy(X) if has_gaps else X
    weight = rng.random(len(X)) + 0.5 if is_weighted else None
    settings = {"bottleneck": "gaussian", "reconstruction": "gradient_normal"}
    members = [member(k, seed, **settings) for seed, k in enumerate((2, 3, 3))]
    together = [run_of(ae, X, weight) for ae in members]
    assert form_of(together[0]) is not None
    train_together(together)
    for run, ae in zip(together, members, strict=True):
        for engine, tolerance in ((maker("dense"), 1e-10), (reference, 1e-6)):
            alone = run_of(ae, X, weight, engine)
            train(alone)
            same(run, alone, tolerance)


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "eager"},
        {"precision": "bfloat16"},
        {"reconstruction": "log_cosh"},
        {"bottleneck": ist.TopK(2)},
        {"penalties": ist.MMD()},
        {"network": ist.MLP(hidden=(24,), norm="batch")},
        {"network": ist.MLP(hidden=(1024, 512))},
    ],
    ids=["eager", "half", "log_cosh", "top_k", "mmd", "norm", "wide"],
)
def test_what_the_stack_does_not_compute_or_not_faster_is_trained_alone(settings: dict) -> None:
    assert form_of(member(**settings)._begin(noisy(), None, None).run) is None


def test_only_members_of_one_form_are_stacked() -> None:
    X = noisy()
    form = form_of(member()._begin(X, None, None).run)
    for ae in (member(seed=9), member(7)):
        assert form_of(ae._begin(X, None, None).run) == form
    for ae in (member(max_epochs=4), member(learning_rate=0.1), member(bottleneck="gaussian"), member(shortcut=False)):
        assert form_of(ae._begin(X, None, None).run) not in (form, None)
    assert form_of(member()._begin(X[:230], None, None).run) != form
    assert form_of(member()._begin(gappy(X), None, None).run) != form
    assert form_of(member()._begin(X, None, np.arange(1.0, 241.0)).run) != form


def test_padded_weights_stay_exactly_zero() -> None:
    X = noisy()
    runs = [run_of(member(size), X) for size in SIZES]
    stack = Stack([run.model for run in runs], [run.optimizer for run in runs])
    lockstep._one_epoch(runs, stack)
    shortcut, last = stack.template.encoder.shortcut, stack.template.decoder.body[-2]
    assert shortcut.shape == (3, 8, 32)
    for k, size in enumerate(SIZES):
        assert shortcut[k, :size, :30].abs().min() > 0
        assert not shortcut[k, size:].any()
        assert not shortcut[k, :, 30:].any()
        assert not last.weight[k, 30:].any()
        assert not last.bias[k, 30:].any()


def test_a_member_that_stops_early_leaves_the_others_alone() -> None:
    X = data_for("any")[0]
    members = [member(size, seed, max_epochs=40, learning_rate=0.05) for seed, size in enumerate((2, 4, 6, 8))]

    def begun(ae: ist.Autoencoder) -> Run:
        run = run_of(ae, X)
        run.plan = run.plan._replace(patience=2)
        return run

    together, alone = [begun(ae) for ae in members], [begun(ae) for ae in members]
    train_together(together)
    for run in alone:
        train(run)
    assert len({run.epoch for run in alone}) > 2, "the members of this test must stop at different epochs"
    for run, other in zip(together, alone, strict=True):
        same(run, other, 1e-6)  # at this rate every epoch multiplies what rounding did


def test_a_member_whose_loss_is_not_finite_goes_on_alone_from_its_last_good_epoch(monkeypatch) -> None:
    X = data_for("any")[0]
    members = [member(4, seed) for seed in range(3)]
    together, alone = [run_of(ae, X) for ae in members], [run_of(ae, X) for ae in members]
    honest_stack, honest = lockstep._one_epoch, training._one_epoch
    fell: list[str] = []

    def stacked(runs: Any, stack: Stack) -> Any:
        trained = honest_stack(runs, stack)
        if runs[1].epoch == 1 and "stacked" not in fell:
            fell.append("stacked")
            trained[1]["loss"] = float("nan")
        return trained

    def single(run: Run, engine: Any) -> Any:
        trained = honest(run, engine)
        if run is alone[1] and run.epoch == 1 and "alone" not in fell:
            fell.append("alone")
            trained["loss"] = float("nan")
        return trained

    monkeypatch.setattr(lockstep, "_one_epoch", stacked)
    monkeypatch.setattr(training, "_one_epoch", single)
    train_together(together)
    for run, other in zip(together, alone, strict=True):
        train(other)
        same(run, other)
    assert fell == ["stacked", "alone"]
    assert "not finite in epoch 2" in together[1].history.events[0]
    assert together[1].rate_factor == 0.25


def test_ctrl_c_keeps_the_best_weights_of_every_member(monkeypatch) -> None:
    runs = [run_of(member(4, seed), data_for("any")[0]) for seed in range(2)]
    honest = lockstep._one_epoch

    def interrupted(runs: Any, stack: Stack) -> Any:
        if runs[0].epoch == 2:
            raise KeyboardInterrupt
        return honest(runs, stack)

    monkeypatch.setattr(lockstep, "_one_epoch", interrupted)
    train_together(runs)
    for run in runs:
        assert run.history.stopped == "interrupted"
        assert all(torch.equal(value, run.best[name]) for name, value in run.model.state_dict().items())


def equal(ae: ist.Autoencoder, alone: ist.Autoencoder, X: Any) -> None:
    """Compare two fits of one epoch, within the rounding of float32.

    Where a model starts at PCA, the first gradient of its encoder is nothing but rounding, and Adam goes a full step on it.
    """
    tolerance = 1e-3 if alone.floor_ is not None else 1e-5
    assert (ae.n_iter_, ae.seed_, ae.latent_dim_) == (alone.n_iter_, alone.seed_, alone.latent_dim_)
    assert np.array_equal(ae.held_out_, alone.held_out_)
    assert ae.history_.best_epoch == alone.history_.best_epoch
    assert (ae.floor_ is None) == (alone.floor_ is None)
    assert ae.floor_ is None or ae.floor_.kept == alone.floor_.kept
    for rows in ("train", "held_out"):
        assert ae.history_.curve(rows) == pytest.approx(alone.history_.curve(rows), rel=tolerance)
    codes = alone.transform(X)
    assert np.abs(ae.transform(X) - codes).max() < 10 * tolerance * np.abs(codes).max()


def once(latent_dim: int = 4, seed: Any = 0, **settings: Any) -> ist.Autoencoder:
    return member(latent_dim, seed, **({"max_epochs": 1, "shortcut": False} | settings))


def test_each_member_becomes_what_its_own_fit_makes_of_it() -> None:
    X = noisy(d=36)
    weight = np.random.default_rng(2).random(len(X)) + 0.5
    half, other = np.arange(120), np.random.default_rng(1).permutation(len(X))[:120]
    conv = {"network": ist.Conv(channels=(4,))}
    for data, settings in (
        (X, [{}, {"seed": 1}, {"latent_dim": 7}, {}, {"seed": 1}, {"engine": "eager"}]),
        (X.reshape(-1, 6, 6), [{}, {"seed": 1}, conv, conv | {"seed": 1}]),
        (X, [{"shortcut": True}, {"shortcut": True, "latent_dim": 7}]),
    ):
        rows = [None, None, None, half, other, None][: len(settings)]
        rows = rows if len(settings) == 6 else None
        made, alone = ([once(**own) for own in settings] for _ in range(2))
        many = ist.fit_many(made, data, sample_weight=weight, rows=rows)
        assert all(ae is given for ae, given in zip(many, made, strict=True))
        for number, (ae, single) in enumerate(zip(many, alone, strict=True)):
            here = slice(None) if rows is None or rows[number] is None else rows[number]
            single.fit(data[here], sample_weight=weight[here])
            equal(ae, single, data)
            is_stacked = not {"engine", "network"} & settings[number].keys()
            assert (ae.history_.engine == "stacked") == is_stacked
            if not is_stacked:
                assert np.array_equal(ae.transform(data), single.transform(data))


def test_members_that_pay_for_the_compiled_engine_together_take_it_in_turn(monkeypatch) -> None:
    pytest.importorskip("numba")
    X, steps = noisy(), 5
    settings = {"network": ist.MLP(hidden=(24,))}
    model = once(**settings).fit(X).model_
    weights = sum(parameter.numel() for parameter in model.parameters())
    together = 8 * steps * (choice.STACKED + choice.STACKED_BY_WEIGHT * weights)
    assert steps * (choice.SAVED + choice.SAVED_BY_WEIGHT * weights) < together
    for start, engine in ((0.99 * together, "compiled"), (1.01 * together, "stacked")):
        monkeypatch.setattr(choice, "START", start)
        many = ist.fit_many([once(seed=seed, **settings) for seed in range(8)], X)
        assert {ae.history_.engine for ae in many} == {engine}
        for seed in (0, 7):
            equal(many[seed], once(seed=seed, **settings).fit(X), X)


def test_rows_choose_from_frames_and_masks_too() -> None:
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(noisy())
    mask = np.arange(len(X)) % 2 == 0
    a, b = ist.fit_many([once(), once()], X, rows=[mask, np.flatnonzero(mask)])
    assert np.array_equal(a.transform(X), b.transform(X))
    equal(a, once().fit(X[mask]), X)


def test_more_members_than_a_stack_holds_are_as_good() -> None:
    X = noisy()
    many = ist.fit_many([once(seed=seed) for seed in range(lockstep.MOST + 3)], X)
    for seed in (0, lockstep.MOST, lockstep.MOST + 2):
        equal(many[seed], once(seed=seed).fit(X), X)


def test_members_with_callbacks_are_fitted_alone_and_heard() -> None:
    class Listener:
        def __init__(self) -> None:
            self.epochs: list[int] = []

        def on_epoch_end(self, run: Run) -> None:
            self.epochs.append(run.epoch)

    ears = [Listener(), Listener()]
    many = ist.fit_many([member(seed=seed, callbacks=[ear]) for seed, ear in enumerate(ears)], data_for("any")[0])
    assert [ear.epochs for ear in ears] == [[1, 2, 3]] * 2
    assert {ae.history_.engine for ae in many} == {"dense"}


def test_too_few_rows_for_a_network_are_pca_for_every_member() -> None:
    X = data_for("any")[0][:12]
    for seed, ae in enumerate(ist.fit_many([member(seed=seed) for seed in range(2)], X)):
        assert np.array_equal(ae.transform(X), member(seed=seed).fit(X).transform(X))
        assert "cannot prove a network better than PCA" in ae.history_.events[0]


def test_processes_bring_back_the_same_members() -> None:
    X = noisy()

    def members() -> list[ist.Autoencoder]:
        shared = np.random.RandomState(7)  # whose numbers the members draw in turn
        made = [once(size, shared) for size in (3, 4, 5, 8)]
        return [*made, once(network=ist.MLP(hidden=(24,), norm="layer"))]

    for ae, other in zip(ist.fit_many(members(), X, n_jobs=2), ist.fit_many(members(), X), strict=True):
        equal(ae, other, X)
        assert ae.history_.engine == other.history_.engine


def test_errors_name_the_member_and_leave_no_half_fit() -> None:
    X, _ = data_for("any")
    good = once()
    with pytest.raises(SettingError, match="Member 1: latent_dim=0 must be at least 1"):
        ist.fit_many([good, member(0)], X)
    assert not hasattr(good, "model_")
    with pytest.raises(SettingError, match="Member 1 is 'vae'; fit_many takes autoencoders"):
        ist.fit_many([good, "vae"], X)
    with pytest.raises(SettingError, match="Members 0 and 1 are the same object"):
        ist.fit_many([good, good], X)
    with pytest.raises(SettingError, match="rows has 1 entries for 2 members"):
        ist.fit_many([good, member()], X, rows=[None])
    with pytest.raises(DataError, match="rows of member 1 reach from 0 to 240, but there are 240 rows"):
        ist.fit_many([good, member()], X, rows=[None, [0, 240]])
    with pytest.raises(DataError, match="rows of member 0 must be positions, or a mask of 240 rows"):
        ist.fit_many([good], X, rows=[[0.5]])
    with pytest.raises(SettingError, match="windows of a Series overlap"):
        ist.fit_many([good], data_for("series")[0], rows=[[0, 1]])
    deaf = member(callbacks=[type("Door", (), {"on_epoch_end": print, "__reduce__": lambda self: 1 / 0})()])
    with pytest.raises(SettingError, match="Member 1 cannot be sent to another process"):
        ist.fit_many([good, deaf], X, n_jobs=2)
