"""What odd rows among the training rows do to the detector: they are set aside, and set the scale of nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import isthmus as ist
from isthmus.apps.anomaly import ensemble
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.apps.anomaly.residuals import Residuals, Weighed
from isthmus.apps.anomaly.tails import leave_one_out
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


def test_weighed_rows_are_the_rows_times_their_weight_and_gaps_stay_gaps() -> None:
    x, weight = np.where(RNG.random((50, 6)) < 0.1, np.nan, RNG.normal(size=(50, 6))), RNG.uniform(1, 10, 6)
    rows = learn_rows(x, "none").rows
    weighed = Weighed(rows, weight)
    (plain, observed), (found, known) = rows.take(slice(None)), weighed.take(slice(None))
    np.testing.assert_array_equal(known, observed)
    np.testing.assert_array_equal(found, plain.numpy() * weight.astype(np.float32))
    np.testing.assert_array_equal(weighed.subset(np.array([7, 3])).take(slice(None))[0], found[[7, 3]])
    assert len(weighed) == 50


def test_members_that_are_given_a_weight_are_those_of_rows_in_that_unit() -> None:
    """Columns in other units and a weight that undoes it: what comes back, and how badly, is the same."""
    x = RNG.normal(size=(120, 4)) @ RNG.normal(size=(4, 6))
    weight = np.array([1, 2, 4, 8, 2, 1.0])  # powers of 2 are exact
    bags = [np.arange(0, 120, 2), np.arange(1, 120, 2)]
    found = []
    for rows, times in ((x / x.std(0), None), (x / x.std(0) / weight, weight)):
        learned = learn_rows(rows, "columns")
        learned = learned._replace(rows=learn_rows(rows.astype(np.float32), "none").rows)
        head = Residuals.learn(rows, learned, bags, np.random.default_rng(0), times)
        found.append(head.settle(learned.rows, np.arange(120), ensemble.seen(bags, 120)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [4, 600])
def test_networks_see_their_numbers_in_units_of_the_kept_rows_also_after_loading(size: int, tmp_path) -> None:
    """A few far values in half of the columns: by the deviation of all rows the others would all look alike to a network."""
    X, half = RNG.normal(size=(200, size)).astype(np.float32), size // 2
    X[:10, :half] += 50
    detector = ist.AnomalyDetector(random_state=0).fit(X)
    head = detector.judge_.heads["residual"]
    assert isinstance(head, Residuals)
    assert head.weight is not None
    assert head.weight[:half].min() > 5
    assert head.weight[half:].max() < 2
    detector.save(tmp_path / "model")
    np.testing.assert_array_equal(ist.load(tmp_path / "model").anomaly_score(X), detector.anomaly_score(X))


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


def test_residuals_choose_again_with_distances_and_rarities_among_what_the_forest_let_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = RNG.normal(size=(300, 5))
    noted: dict[str, list[np.ndarray]] = {"second": [], "settled": [], "learned": [], "passed": []}

    def note(owner, name: str, key: str, of) -> None:
        original = getattr(owner, name)

        def noting(*args):
            found = original(*args)
            noted[key].append(of(args, found))
            return found

        monkeypatch.setattr(owner, name, noting)

    note(ensemble, "prune", "passed", lambda args, found: found)
    note(ensemble, "_second_look", "second", lambda args, found: found)
    note(ensemble.Residuals, "settle", "settled", lambda args, found: found.sum(1))
    note(ensemble.Frequencies, "learn", "learned", lambda args, found: args[1])
    ist.AnomalyDetector(random_state=0).fit(X)
    (passed,), (second,), (residual,) = noted["passed"], noted["second"], noted["settled"]
    odd = second + leave_one_out(residual[passed])
    kept = passed[odd <= np.sort(odd)[len(odd) - 1 - int(0.1 * len(odd))]]
    np.testing.assert_array_equal(noted["learned"][-1], kept)


def test_a_detector_saved_before_there_were_weights_has_none(tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    X = RNG.normal(size=(120, 3))
    detector = ist.AnomalyDetector(novelty=True, random_state=0).fit(X)
    detector.save(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    arrays = load_file(file)
    del arrays["distance.weight"]
    assert "residual.weight" not in arrays, "with novelty nothing is inflated"
    save_file(arrays, file)
    np.testing.assert_array_equal(ist.load(tmp_path / "model").anomaly_score(X), detector.anomaly_score(X))
