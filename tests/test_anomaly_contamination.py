"""What odd rows among the training rows do to the detector: they are set aside, and do not set the scale of distances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import isthmus as ist
from isthmus.apps.anomaly import ensemble
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.inputs import learn_rows

RNG = np.random.default_rng(0)


def test_inflation_is_the_deviation_of_all_rows_over_that_of_the_kept() -> None:
    x = RNG.normal(size=(300, 4))
    x[:20, 0] *= 5
    x[:20, 1] += 1e4
    x[:, 2] = 7
    kept = np.arange(20, 300)
    rows = learn_rows(x, "columns").rows
    found = ensemble.inflation(rows, kept, Columns(blocks=(), names=(), owner=np.arange(4)))
    expected = np.where(x.std(0) > 0, x.std(0) / np.maximum(x[kept].std(0), 1e-300), 1)
    np.testing.assert_allclose(found, np.minimum(np.where(x.std(0) > 0, expected, 1), 10), rtol=1e-5)
    assert found[1] == ensemble.MOST_INFLATED
    assert found[2] == 1


def test_gaps_do_not_count_in_inflation_and_categories_are_not_inflated() -> None:
    size = np.r_[RNG.normal(size=180), 4 * RNG.normal(size=20)]
    size[::3] = np.nan
    X = pd.DataFrame({"kind": ["a", "b"] * 90 + ["c"] * 20, "size": size})
    learned, kept = learn_rows(X, "columns"), np.arange(180)
    columns = Columns.of(learned.codec.layout)
    found = ensemble.inflation(learned.rows, kept, columns)
    number = [block.start for block in columns.blocks if block.kind == "numeric" and not block.gap]
    np.testing.assert_allclose(found[number], np.nanstd(size) / np.nanstd(size[kept]), rtol=1e-5)
    np.testing.assert_array_equal(np.delete(found, number), 1)


def test_nothing_is_inflated_where_all_rows_are_kept() -> None:
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(RNG.normal(size=(120, 3)))
    head = detector.judge_.heads["distance"]
    assert isinstance(head, Neighbours)
    np.testing.assert_array_equal(head.weight, 1)


def test_a_weight_is_a_unit_of_distance() -> None:
    x, weight = RNG.normal(size=(80, 3)), np.array([0.5, 1.0, 4.0])
    columns, bags = Columns(blocks=(), names=(), owner=np.arange(3)), [np.arange(20), np.arange(20, 40)]
    for gaps in (False, True):
        values = np.where(RNG.random(x.shape) < 0.1, np.nan, x) if gaps else x
        rows, scaled = (learn_rows(each, "none").rows for each in (values, values * weight))
        plain = Neighbours.learn(scaled, columns, bags).of(scaled)
        np.testing.assert_allclose(Neighbours.learn(rows, columns, bags, weight).of(rows), plain, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_far_training_rows_do_not_hide_nearer_anomalies(seed: int) -> None:
    """2 % at 50 deviations inflate the scale of a column sevenfold, so that 8 deviations look like one."""
    rng = np.random.default_rng(seed)
    X, fresh, odd = rng.normal(size=(1000, 6)), rng.normal(size=(300, 6)), rng.normal(size=(300, 6))
    X[:20, 0] += 50
    odd[:, 0] += 8
    detector = ist.AnomalyDetector(random_state=seed).fit(X)
    head, rows = detector.judge_.heads["distance"], detector.codec_.encode(np.r_[fresh, odd])
    truth = np.arange(600) >= 300
    assert roc_auc_score(truth, head.of(rows).sum(1)) > 0.99
    assert isinstance(head, Neighbours)
    unweighted = Neighbours(head.samples, head.observed, head.columns)
    assert roc_auc_score(truth, unweighted.of(rows).sum(1)) < 0.95


def test_a_third_of_the_rows_is_set_aside_the_odd_ones_among_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X = RNG.normal(size=(400, 5))
    X[:40] += 6
    learned_from = []
    counts = ensemble.Frequencies.learn

    def noted(rows, kept, columns):
        learned_from.append(kept)
        return counts(rows, kept, columns)

    monkeypatch.setattr(ensemble.Frequencies, "learn", noted)
    ist.AnomalyDetector(random_state=0).fit(X)
    assert [len(kept) for kept in learned_from] == [300, 270], "a quarter, then a tenth of the rest"
    assert (learned_from[1] >= 40).all()
    learned_from.clear()
    ist.AnomalyDetector(novelty=True, random_state=0).fit(X)
    assert [len(kept) for kept in learned_from] == [400]


def test_a_detector_saved_before_there_were_weights_has_none(tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    X = RNG.normal(size=(120, 3))
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(X)
    detector.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    arrays = load_file(file)
    del arrays["distance.weight"]
    save_file(arrays, file)
    np.testing.assert_array_equal(ist.load(tmp_path / "model").anomaly_score(X), detector.anomaly_score(X))
