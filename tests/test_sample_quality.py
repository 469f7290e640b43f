"""What is said of samples: distances against closed forms, gaps that sum, copies that are found, bad input told why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import isthmus as ist
from isthmus.apps.generation import measures
from isthmus.apps.generation.measures import classifier, coverage, frechet, nearer_share
from isthmus.apps.generation.quality import SampleQuality
from isthmus.errors import DataError, SettingError
from isthmus.parts.samplers import Aggregated

ORDER = np.random.default_rng(0).permutation(1797)
QUICK = {"latent_dim": 4, "max_epochs": 8, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def digits(digits: np.ndarray) -> np.ndarray:
    """In random order: their last rows are of other writers."""
    return digits[ORDER]


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the classifier learn for fewer steps: digits are small."""
    monkeypatch.setattr(measures, "STEPS", 150)


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return load_digits().target[ORDER]


@pytest.fixture(scope="module")
def ae(digits: np.ndarray) -> ist.Autoencoder:
    return ist.Autoencoder(**QUICK, validation_fraction=0.0).fit(digits[:1000])


def clouds(n: int, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * [1.0, 2.0, 0.5] + shift


def test_the_frechet_distance_is_that_of_two_normal_distributions() -> None:
    a, b = clouds(400), clouds(300, 1.0, 1) @ np.array([[1.0, 0.4, 0], [0, 1, 0.2], [0, 0, 1]])
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet(a, a + 2.0) == pytest.approx(12.0)


def test_coverage_is_the_share_of_neighbourhoods_that_are_hit() -> None:
    real = clouds(200)
    assert coverage(real, real) == 1
    assert coverage(real, real + 1e6) == 0
    half = np.concatenate([real[:100], real[100:] + 1e6])
    assert coverage(half, real[:100]) == 0.5
    # for equal distributions and as many rows it is 1 - 2^-k in expectation (Naeem 2020)
    assert coverage(clouds(2000), clouds(2000, seed=1), k=5) == pytest.approx(1 - 2**-5, abs=0.015)


def test_nobody_is_nearer_where_all_are_alike_and_everybody_where_rows_are_copied() -> None:
    train, test, new = clouds(1000), clouds(1000, seed=1), clouds(1000, seed=2)
    assert nearer_share(new, train, test) == pytest.approx(0.5, abs=3 / np.sqrt(4 * 1000) + 0.02)
    assert nearer_share(train, train, test) == 1
    assert nearer_share(test, test, test) == 0.5


def test_the_classifier_learns_features_that_tell_the_labels(digits: np.ndarray, y: np.ndarray) -> None:
    x = torch.from_numpy(digits.reshape(-1, 1, 8, 8).astype(np.float32) / 16)
    before = torch.random.get_rng_state()
    seen = classifier(x[:1200], y[:1200], seed=0)(x)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert seen.shape == (1797, 128)
    probe = KNeighborsClassifier().fit(seen[:1200], y[:1200])
    assert probe.score(seen[1200:], y[1200:]) > 0.9


@pytest.mark.parametrize("labels", [True, False])
def test_the_gaps_sum_to_the_distance_and_real_rows_are_nearest(ae, digits: np.ndarray, y, labels: bool) -> None:
    found = ist.sample_quality(ae, digits[1000:], y[1000:] if labels else None, train=digits[:1000])
    assert found.frechet == pytest.approx(found.decoder_gap + found.prior_gap)
    assert found.real < found.frechet
    assert found.real_coverage > found.coverage
    assert found.n == 399
    assert (found.features, found.space) == ("classifier" if labels else "encoder", "data")
    assert abs(found.copied - 0.5) < 4 * found.copied_error
    assert "sampler adds" in found.sentences[0]
    assert found.section().facts["frechet"] == found.to_dict()["frechet"]


@pytest.mark.parametrize(
    ("distance", "real", "decoder_gap", "sampler", "said"),
    [
        (7.5, 8.5, 7.7, "Mixture", "nothing to mend."),
        (9.0, 1.0, 8.0, "Mixture", "decoder's: train longer"),
        (9.0, 1.0, 2.0, "Mixture", "try sampler='flow'."),
        (9.0, 1.0, 2.0, "Prior", "try sampler='mixture' or 'flow'."),
    ],
)
def test_what_is_to_be_mended_is_the_larger_part_and_never_the_sampler_in_use(
    distance: float, real: float, decoder_gap: float, sampler: str, said: str
) -> None:
    gaps = {"frechet": distance, "real": real, "decoder_gap": decoder_gap, "prior_gap": distance - decoder_gap}
    copies = {"coverage": 0.9, "real_coverage": 0.9, "copied": 0.5, "copied_error": 0.02, "n": 600}
    found = SampleQuality(**gaps, **copies, features="encoder", space="data", sampler=sampler)
    assert said in found.sentences[0]


def test_a_sampler_that_hands_out_training_rows_is_found_out(digits: np.ndarray) -> None:
    # a code as wide as the data lets known codes decode to the rows themselves
    exact = ist.Autoencoder(
        latent_dim=63, sampler=Aggregated(), max_epochs=1, validation_fraction=0.0, random_state=0, verbose=False
    ).fit(digits[:1000])
    found = ist.sample_quality(exact, digits[1000:], train=digits[:1000])
    # 797 of the 1,000 training rows are compared with, as many as are held out: so many of the samples find their original
    assert found.copied > 0.797
    assert "copies" in found.sentences[-1]
    assert ist.sample_quality(exact, digits[1000:]).copied > 0.797  # among the codes that were kept
    assert ist.sample_quality(exact, digits[1000:]).space == "codes"


def test_training_rows_are_split_into_those_held_out_and_the_rest(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(**QUICK | {"max_epochs": 2}, validation_fraction=0.3).fit(digits)
    found = ist.sample_quality(ae, digits)
    assert found.space == "data"
    assert found.n == len(ae.held_out_) - len(ae.held_out_) // 2


def test_samples_of_tables_are_judged_as_they_come_out() -> None:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 9, 600)
    table = pd.DataFrame({"age": age, "pay": 700 * age + rng.normal(size=600), "city": rng.choice(["a", "b"], 600)})
    table.loc[::9, "pay"] = np.nan
    ae = ist.Autoencoder(**QUICK | {"latent_dim": 2}, validation_fraction=0.0).fit(table[:400])
    found = ist.sample_quality(ae, table[400:], table["city"][400:], n=50)
    assert found.n == 50
    assert np.isfinite(found.frechet)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ae, X: ist.sample_quality(ae, X[1000:], n=3), "n=3 must be a whole number of at least 20"),
        (lambda ae, X: ist.sample_quality(ae, X[1000:1030]), "30 held-out rows are too few"),
        (lambda ae, X: ist.sample_quality(ae, X[1000:], np.arange(5)), "y has 5 labels, but there are 797 rows"),
        (lambda ae, X: ist.sample_quality(ae, X[1000:], np.zeros(797)), "y holds a single label"),
        (lambda ae, X: ist.sample_quality(ae, X[:1000]), "none of them was held out; give rows it has not seen"),
        (lambda ae, X: ist.sample_like(ae, X[:1], 3), "1 row has no likeness"),
        (lambda ae, X: ist.sample_like(ae, X[:9], 0), r"sample_like\(n=0\) must ask for at least 1"),
    ],
)
def test_what_cannot_be_judged_is_told_why(ae, digits: np.ndarray, call, message: str) -> None:
    with pytest.raises((DataError, SettingError), match=message):
        call(ae, digits)


def test_samples_like_rows_lie_where_their_codes_lie(digits: np.ndarray, y: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=8, random_state=0, verbose=False, max_epochs=10).fit(digits)
    zeros = np.asarray(ist.sample_like(ae, digits[y == 0], 100, random_state=0))
    centres = np.stack([digits[y == label].mean(0) for label in range(10)])
    nearest = np.square(zeros[:, None] - centres).sum(2).argmin(1)
    assert (nearest == 0).mean() > 0.95
    with pytest.raises(SettingError, match="A prior knows nothing of the rows given"):
        ist.sample_like(ae.set_params(sampler="prior"), digits[:9])
