"""Augmentation: variations lie where the codes around them lie, and nothing is recommended that was not measured to help."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

import isthmus as ist
from isthmus.apps.augmentation import AugmentationGain
from isthmus.apps.augmentation.variations import NEIGHBOURS
from isthmus.cli import main
from isthmus.errors import DataError, SettingError


def plane(rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows on a plane in six dimensions, and which half of it they lie in."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 2))
    return (z @ rng.normal(size=(2, 6))).astype(np.float32), (z[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def flat() -> ist.Autoencoder:
    return ist.linear(latent_dim=2, random_state=0).fit(plane()[0])


@pytest.fixture(scope="module")
def noisy() -> ist.Autoencoder:
    return ist.variational(latent_dim=2, random_state=0, max_epochs=5).fit(plane()[0])


# -- what a variation is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["flat", "noisy"])
def test_strength_nought_gives_the_samples_back(model, request):
    X, _ = plane()
    found = ist.augment(request.getfixturevalue(model), X, strength=0, random_state=0)
    np.testing.assert_allclose(found.samples, X, atol=1e-5)
    np.testing.assert_array_equal(found.sources, np.arange(len(X)))


def test_without_detail_strength_nought_gives_the_reconstructions(noisy):
    X, _ = plane()
    found = ist.augment(noisy, X, strength=0, detail=False)
    np.testing.assert_array_equal(found.samples, noisy.reconstruct(X))


def test_moves_have_the_covariance_of_the_codes_around(flat):
    X, _ = plane()
    codes = flat.transform(X)
    near = (
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(flat.codes_.numpy()).kneighbors(codes[:1], return_distance=False)
    )
    expected = np.cov(flat.codes_.numpy()[near[0]].T)
    found = ist.augment(flat, X[:1], n=20_000, strength=2.0, random_state=0)
    moved = flat.transform(found.samples) - codes[:1]
    error = 4 * expected.trace() * np.sqrt(2 / 20_000)  # of each entry of a covariance of normal moves, at most
    np.testing.assert_allclose(np.cov(moved.T) / 4, expected, atol=4 * error)
    np.testing.assert_allclose(moved.mean(0), 0, atol=4 * 2 * np.sqrt(expected.trace() / 20_000))


def test_a_posterior_is_what_codes_are_drawn_from(noisy):
    import torch

    from isthmus.parts.step import Batch

    X, _ = plane()
    with torch.no_grad():
        posterior = noisy.model_.encode(Batch(noisy.codec_.encode(X[:1]).take(slice(None))[0])).posterior
    found = ist.augment(noisy, np.repeat(X[:1], 5000, 0), detail=False, random_state=0)
    decoded = noisy.inverse_transform(
        (
            posterior.mu
            + (posterior.log_var / 2).exp() * torch.randn(5000, 2, generator=torch.Generator().manual_seed(1))
        ).numpy()
    )
    low, high = decoded.mean(0), decoded.std(0)
    np.testing.assert_allclose(found.samples.mean(0), low, atol=5 * high.max() / np.sqrt(2500))
    np.testing.assert_allclose(found.samples.std(0), high, rtol=0.1)


def test_every_sample_is_varied_as_often_and_labels_follow(flat):
    X, y = plane()
    found = ist.augment(flat, X, n=700, y=y, random_state=0)
    assert set(np.bincount(found.sources)) == {2, 3}
    assert len(found.samples) == 700
    found = ist.augment(flat, X, n=200, y=y, random_state=0)
    assert len(set(found.sources)) == 200


def test_tables_keep_their_columns_ranges_and_gaps():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    table = pd.DataFrame({"a": a, "n": (5 * a).round().astype(int), "side": np.where(a > 0, "right", "left")})
    table.loc[::7, "side"] = None
    ae = ist.Autoencoder(latent_dim=2, random_state=0, max_epochs=5).fit(table)
    found = ist.augment(ae, table, n=600, strength=3.0, random_state=0).samples
    assert list(found.dtypes) == list(table.dtypes)
    assert found["n"].between(table["n"].min(), table["n"].max()).all()
    assert found["a"].between(table["a"].min() - 1e-6, table["a"].max() + 1e-6).all()
    assert set(found["side"].dropna()) <= {"left", "right"}


def test_images_stay_images_and_a_seed_draws_the_same():
    from sklearn.datasets import load_digits

    images = load_digits().images[:200].astype(np.uint8)
    ae = ist.Autoencoder(latent_dim=4, network="mlp", random_state=0, max_epochs=2).fit(images)
    first, second = (ist.augment(ae, images, random_state=1) for _ in range(2))
    assert first.samples.shape == images.shape
    assert first.samples.max() <= images.max()
    np.testing.assert_array_equal(first.samples, second.samples)


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"strength": -1}, SettingError, "at least 0"),
        ({"strength": np.inf}, SettingError, "at least 0"),
        ({"n": 0}, SettingError, "at least 1"),
        ({"y": [1, 2]}, DataError, "2 labels, but there are 300 rows"),
        ({"y": np.arange(300)}, DataError, "1 samples with the label '0' show no spread"),
    ],
)
def test_what_cannot_be_varied_is_one_sentence(flat, asked, error, told):
    with pytest.raises(error, match=told) as raised:
        ist.augment(flat, plane()[0], **asked)
    assert "\n" not in str(raised.value)


# -- what it gains --------------------------------------------------------------------------------------------------


def test_what_adds_nothing_gains_nothing_and_is_not_recommended(flat):
    X, y = plane()
    found = ist.augmentation_gain(flat, X, y, classifier=DummyClassifier(strategy="most_frequent"))
    assert found.gain == found.error == 0
    assert found.verdict == "unclear"
    assert "leave it out" in found.sentence()


def test_a_classifier_that_is_spoilt_is_said_to_be_hurt(flat, monkeypatch):
    X, y = plane()

    def mislabelled(ae, rows, told, labels, n, strength, detail, rng):
        wrong = np.array([np.flatnonzero(labels != label)[0] for label in labels])
        return np.tile(rows.take(slice(None))[0].numpy(), (3, 1)), np.tile(wrong, 3)

    monkeypatch.setattr("isthmus.apps.augmentation.gain.vary", mislabelled)
    found = ist.augmentation_gain(flat, X, y, n=720, classifier=KNeighborsClassifier(3), repeats=2)
    assert found.augmented < 0.2 < 0.9 < found.without
    assert found.verdict == "hurts"
    assert not found.recommended
    assert "Do not augment" in found.sentence()


def test_the_error_is_the_corrected_one_of_nadeau_and_bengio(flat, monkeypatch):
    X, y = plane(200)
    kept = []

    class Watched(KNeighborsClassifier):
        def predict(self, X):
            kept.append(super().predict(X))
            return kept[-1]

    found = ist.augmentation_gain(flat, X, y, strength=30.0, classifier=Watched(1), folds=4, repeats=2)
    from sklearn.model_selection import RepeatedStratifiedKFold

    splits = RepeatedStratifiedKFold(n_splits=4, n_repeats=2, random_state=0).split(X, y)
    truths = [y[test] for _, test in splits]
    right = np.array(
        [(kept[2 * i + 1] == truth).mean() - (kept[2 * i] == truth).mean() for i, truth in enumerate(truths)]
    )
    assert found.gain == pytest.approx(right.mean())
    assert found.error == pytest.approx(right.std(ddof=1) * np.sqrt(1 / 8 + 50 / 150))


def test_what_is_recommended_without_any_gain_is_as_rare_as_two_errors_say():
    """A gain that is nought, measured again and again: P(t > 2) of its 14 degrees of freedom is .033; fewer than 70 of 1000."""
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(1000, 15)) * np.sqrt(1 + 15 * 0.25) * 0.02
    wrong = 0
    for row in differences / np.sqrt(1 + 15 * 0.25):
        shared = rng.normal() * 0.02 * np.sqrt(0.25)  # what folds share through their training rows
        mean, error = (row + shared).mean(), row.std(ddof=1) * np.sqrt(1 / 15 + 0.25)
        wrong += AugmentationGain(0.5, 0.5 + mean, error, 300, 240, 15, "any").recommended
    assert 0 < wrong < 70
    assert t.sf(2, 14) < 0.034


def test_a_synthesizer_is_fitted_anew_to_the_training_rows_of_each_split(monkeypatch):
    table = pd.DataFrame({"a": np.arange(60.0), "b": np.tile(["u", "v"], 30)})
    seen = []
    original = ist.Synthesizer.fit

    def watched(self, X, y=None):
        seen.append(set(X.column("a").to_pylist()))
        return original(self, X)

    monkeypatch.setattr(ist.Synthesizer, "fit", watched)
    found = ist.augmentation_gain(ist.Synthesizer(), table, table["b"], folds=2, repeats=1)
    assert [len(rows) for rows in seen] == [30, 30]
    assert not seen[0] & seen[1]
    assert found.added == 30


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"y": np.zeros(300)}, "single label"),
        ({"y": np.r_[np.zeros(298), 1, 1]}, "fewer than 5 folds"),
        ({"y": None}, "needs y"),
        ({"folds": 1}, "folds=1 must be at least 2"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(flat, asked, told):
    X, y = plane()
    with pytest.raises((DataError, SettingError), match=told):
        ist.augmentation_gain(flat, X, **{"y": y, **asked})


# -- at the shell ---------------------------------------------------------------------------------------------------


def test_the_shell_varies_and_says_what_it_is_worth(tmp_path, capsys):
    X, y = plane(120)
    table = pd.DataFrame(X, columns=list("abcdef")).assign(half=np.where(y, "east", "west"))
    table.to_csv(tmp_path / "all.csv", index=False)
    data, model, out = (str(tmp_path / name) for name in ("all.csv", "model", "out.csv"))
    settings = ["--drop", "half", "--latent-dim", "2", "--max-epochs", "2", "--random-state", "0", "--no-report"]
    assert main(["fit", data, "-o", model, *settings]) == 0
    capsys.readouterr()
    assert main(["augment", data, "-m", model, "-o", out, "-n", "240", "--labels", "half", "--strength", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "240 variations" in said
    assert "samples added, the accuracy of HistGradientBoostingClassifier" in " ".join(said.split())
    made = pd.read_csv(out)
    assert list(made.columns) == list(table.columns)
    assert made["half"].value_counts().sum() == 240
    assert main(["augment", data, "-m", model, "-o", out, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sources"]) == 120
    assert main(["augment", data, "-m", model, "-o", out, "--labels", "nothing"]) != 0
    assert "no column of the data and no file" in capsys.readouterr().err
