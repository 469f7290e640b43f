"""Conditions: what a model is told besides the sample, and what it makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import isthmus as ist
from isthmus.conditions import Condition
from isthmus.errors import DataError, ModelFileError, SettingError

QUICK = {"max_epochs": 3, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def told() -> tuple[ist.Autoencoder, np.ndarray, np.ndarray]:
    digits = load_digits()
    settings = {"bottleneck": ist.Gaussian(), "condition": "y", "latent_dim": 4, "max_epochs": 40}
    return ist.Autoencoder(**(QUICK | settings)).fit(digits.data, digits.target), digits.data, digits.target


def test_labels_become_one_number_a_class() -> None:
    condition = Condition.learn("y", None, np.array([3, 1, 3, 2]))
    x = condition.of(None, np.array([1, 2, 3, 3]), 4)
    assert condition.width == 3
    assert x is not None
    assert torch.equal(x.sum(1), torch.ones(4))
    assert torch.equal(x[2], x[3])
    assert not torch.equal(x[0], x[1])
    assert torch.equal(condition.of(None, 3, 4), x[[2, 2, 2, 2]])


def test_amounts_stay_one_number() -> None:
    condition = Condition.learn("y", None, np.array([0.5, 1.5, 2.5]))
    assert condition.width == 1
    x = condition.of(None, [0.5, 1.5, 2.5], 3)
    assert x is not None
    assert x[1].item() == pytest.approx(0.0, abs=1e-6)


def test_samples_of_a_class_look_like_that_class(told) -> None:
    ae, X, y = told
    judge = KNeighborsClassifier(3).fit(X, y)
    for label in (0, 3, 7):
        drawn = ae.sample(60, random_state=0, condition=label)
        assert (judge.predict(drawn) == label).mean() > 0.5


def test_a_model_that_is_told_nothing_still_answers(told) -> None:
    ae, X, y = told
    assert np.isfinite(ae.score_samples(X)).all()
    with_labels = np.square(ae.reconstruct(X, condition=y) - X).mean()
    assert with_labels < np.square(ae.reconstruct(X) - X).mean()


def test_a_condition_survives_saving(told, tmp_path) -> None:
    ae, X, y = told
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(loaded.transform(X, condition=y), ae.transform(X, condition=y))
    assert np.array_equal(loaded.sample(5, 0, condition=3), ae.sample(5, 0, condition=3))


def test_columns_of_a_table_can_be_the_condition() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kind = rng.choice(["low", "high"], size=400)
    level = np.where(kind == "high", 5.0, -5.0)
    frame = pd.DataFrame({"kind": kind, "a": level + rng.normal(size=400), "b": level + rng.normal(size=400)})
    settings = {"bottleneck": ist.Gaussian(), "condition": ["kind"], "latent_dim": 1, "max_epochs": 60}
    ae = ist.Autoencoder(**(QUICK | settings)).fit(frame)
    high = ae.sample(50, random_state=0, condition={"kind": "high"})
    low = ae.sample(50, random_state=0, condition={"kind": "low"})
    assert high["a"].mean() > 2 > -2 > low["a"].mean()
    assert ae.transform(frame).shape == (400, 1)
    assert len(ae.reconstruct(frame)) == 400


def test_conditions_that_make_no_sense_are_refused(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(bottleneck="gaussian", condition="y", latent_dim=2, **QUICK)
    with pytest.raises(DataError, match=r"requires y to be passed"):
        ae.fit(digits)
    with pytest.raises(SettingError, match=r"names columns, but the data is no table"):
        ae.set_params(condition=["age"]).fit(digits)
    with pytest.raises(SettingError, match="This model has no condition"):
        ist.Autoencoder(latent_dim=2, **QUICK).fit(digits).sample(2, condition=1)
    fitted = ae.set_params(condition="y").fit(digits[:100], np.arange(100) % 4)
    with pytest.raises(DataError, match="has 3 rows, but there are 5 samples"):
        fitted.sample(5, condition=[1, 2, 3])


def test_a_plain_code_may_be_told_too_and_still_start_from_pca(digits: np.ndarray) -> None:
    y = load_digits().target
    ae = ist.Autoencoder(condition="y", latent_dim=4, **QUICK).fit(digits, y)
    assert ae.settings_["shortcut"]
    assert ae.scores_["model"]["squared_error"] <= ae.scores_["pca"]["squared_error"]


def test_what_no_training_row_was_is_refused(told) -> None:
    ae = told[0]
    with pytest.raises(DataError, match="The condition says what no training row did"):
        ae.sample(3, condition=77)


def test_a_score_tells_the_model_the_labels(told) -> None:
    ae, X, y = told
    assert ae.score(X, y) == pytest.approx(ae.score_samples(X, condition=y).mean())
    assert ae.score(X, y) > ae.score(X)


def test_a_checkpoint_of_other_labels_is_refused(tmp_path) -> None:
    X, y = load_digits(return_X_y=True)
    settings = {
        "bottleneck": ist.Gaussian(),
        "condition": "y",
        "latent_dim": 2,
        "callbacks": [ist.Checkpoint(tmp_path)],
    }
    ist.Autoencoder(**(QUICK | settings)).fit(X, y)
    with pytest.raises(ModelFileError, match="other"):
        ist.Autoencoder(**(QUICK | settings)).fit(X, np.roll(y, 1))
