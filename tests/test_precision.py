"""Half precision: only where it pays, only where a probe shows no loss, and never in the weights themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import isthmus as ist
from isthmus import precision
from isthmus.engine import reference
from isthmus.engine.choice import maker
from isthmus.errors import SettingError
from test_engines import trained

QUICK = {"max_epochs": 2, "random_state": 0, "verbose": False}


@pytest.fixture
def digits() -> np.ndarray:
    return load_digits().data


def wide(**settings: Any) -> ist.Autoencoder:
    own = {"network": ist.MLP(hidden=(512, 256)), "batch_size": 64}
    return ist.Autoencoder(**(QUICK | own | settings))


@pytest.mark.parametrize(
    "settings", [{}, {"shortcut": False}, {"bottleneck": ist.Gaussian()}], ids=["pca", "plain", "vae"]
)
def test_half_precision_loses_little_in_an_epoch_and_keeps_float32_masters(digits: np.ndarray, settings: dict) -> None:
    half = trained(wide(**settings), maker("dense", torch.bfloat16), digits)
    exact = trained(wide(**settings), reference, digits)
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    said, known = (run.history.epochs[-1]["held_out"]["loss"] for run in (half, exact))
    assert said == pytest.approx(known, rel=0.02)
    assert said != known  # the products were rounded indeed


def test_masters_keep_what_bfloat16_would_round_away(digits: np.ndarray) -> None:
    """Adding 1e-4 to weights near 1 a hundred times moves float32 by a hundredth, and bfloat16 not at all."""
    run = trained(wide(), maker("dense", torch.bfloat16), digits)
    weight = next(p for p in run.model.parameters() if p.dim() > 1)
    assert not torch.equal(weight.detach(), weight.detach().bfloat16().float())


def test_a_precision_that_cannot_be_had_is_refused_in_a_sentence(digits: np.ndarray) -> None:
    with pytest.raises(SettingError, match="precision='half' is not known; use 'auto', 'float32' or 'bfloat16'"):
        wide(precision="half").fit(digits)
    with pytest.raises(SettingError, match="precision='bfloat16' cannot be computed here: Contractive asks for more"):
        wide(precision="bfloat16", penalties=ist.Contractive()).fit(digits)
    with pytest.raises(SettingError, match="engine='eager' was asked for"):
        wide(precision="bfloat16", engine="eager").fit(digits)


def test_what_is_asked_for_is_done_and_told(digits: np.ndarray) -> None:
    assert "bfloat16 was asked for." in wide(precision="bfloat16").fit(digits).history_.events
    assert not any("bfloat16" in event for event in wide(precision="float32").fit(digits).history_.events)


@pytest.mark.parametrize(("half", "dtype"), [(1.0049, torch.bfloat16), (1.0051, None), (float("nan"), None)])
def test_the_probe_decides_at_half_a_percent(digits: np.ndarray, monkeypatch, half: float, dtype: Any) -> None:
    monkeypatch.setattr(precision, "promises", lambda run: True)
    monkeypatch.setattr(precision, "_error", lambda run, steps, kind, engine: half if kind else 1.0)
    run = trained(wide(), reference, digits)
    verdict = precision.settle(run, "auto", "auto")
    assert verdict.dtype == dtype
    assert ("the layers multiply in bfloat16" if dtype else "training stayed in float32") in verdict.why


def test_a_real_probe_costs_at_most_a_twentieth_of_the_steps_twice(digits: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: True)
    ae = wide(max_epochs=40, batch_size=128, network=ist.MLP(hidden=(1024, 512)))
    run = trained(ae.set_params(max_epochs=1), reference, digits)
    run.plan = run.plan._replace(epochs=40)
    steps = 40 * -(-len(run.data.train) // 128)
    assert precision.promises(run)
    assert precision.probe_steps(run) == int(0.05 * steps)
    before = [p.detach().clone() for p in run.model.parameters()]
    assert "the held-out error in bfloat16 was" in precision.settle(run, "auto", "auto").why
    assert all(
        torch.equal(a, b) for a, b in zip(before, run.model.parameters(), strict=True)
    )  # only copies were trained


def test_small_and_short_trainings_and_those_without_held_out_rows_stay_exact(digits: np.ndarray, monkeypatch) -> None:
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: True)
    for settings in ({"network": ist.MLP(hidden=(16,))}, {}, {"validation_fraction": 0, "max_epochs": 40}):
        run = trained(wide(**settings) if settings else wide(max_epochs=1), reference, digits)
        assert precision.settle(run, "auto", "auto") == (None, "")
