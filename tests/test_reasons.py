"""Why rows and pictures are odd: planted culprits are found, in the user's units."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.apps.anomaly.pictures import overlay, worst_box
from isthmus.apps.anomaly.tiles import cut, stitch
from isthmus.errors import DataError, DataWarning, SettingError

CLASSES = ["north", "east", "south", "west"]


def correlated(n: int = 400, seed: int = 0) -> np.ndarray:
    """Return six columns that two numbers explain, but for a tenth."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ np.random.default_rng(9).normal(size=(2, 6)) + 0.1 * rng.normal(size=(n, 6))


def mixed(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Return a table whose region follows from x, with gaps in y."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, n)
    y = np.where(rng.random(n) < 0.1, np.nan, 10 * x + rng.normal(size=n))
    count = rng.integers(10, 20, n)
    return pd.DataFrame({"x": x, "y": y, "region": np.array(CLASSES)[x.astype(int)], "count": count})


@pytest.fixture(scope="module")
def detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(random_state=0).fit(correlated())


@pytest.fixture(scope="module")
def table_detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(random_state=0).fit(mixed())


def planted(seed: int = 1, shift: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Return new rows with one number moved, and which: it stays among the values of its column."""
    X, rng = correlated(60, seed), np.random.default_rng(seed)
    guilty = rng.integers(0, 6, len(X))
    X[np.arange(len(X)), guilty] -= shift * np.sign(X[np.arange(len(X)), guilty])
    return X, guilty


def test_a_cell_that_breaks_the_correlation_is_blamed_first(detector: ist.AnomalyDetector) -> None:
    X, guilty = planted()
    names = [[blame.name for blame in reason.columns] for reason in detector.explain(X)]
    first = np.mean([own[0] == f"column {j}" for own, j in zip(names, guilty, strict=True)])
    three = np.mean([f"column {j}" in own for own, j in zip(names, guilty, strict=True)])
    assert first >= 0.9
    assert three >= 0.98


def test_what_is_expected_is_what_the_other_columns_say(detector: ist.AnomalyDetector) -> None:
    clean, (X, guilty) = correlated(60, 1), planted()
    blamed = [
        (r.columns[0], i) for i, r in enumerate(detector.explain(X)) if r.columns[0].name == f"column {guilty[i]}"
    ]
    truth = np.array([clean[i, guilty[i]] for _, i in blamed])
    away = np.abs([blame.expected for blame, _ in blamed] - truth)
    assert np.median(away) < 0.3 * clean.std()
    assert [blame.observed for blame, _ in blamed] == [X[i, guilty[i]] for _, i in blamed]


@pytest.fixture(scope="module", params=range(6))
def seeded_detector(request: pytest.FixtureRequest) -> ist.AnomalyDetector:
    return ist.AnomalyDetector(random_state=request.param).fit(correlated())


@pytest.mark.parametrize("far", [(60, -70), (20, -23), (60, 70)])
def test_two_culprits_are_the_first_two(seeded_detector: ist.AnomalyDetector, far: tuple[int, int]) -> None:
    X = correlated(20, 2)
    X[:, [1, 4]] = far
    for reason in seeded_detector.explain(X):
        assert {blame.name for blame in reason.columns[:2]} == {"column 1", "column 4"}


def test_three_culprits_are_the_first_three(seeded_detector: ist.AnomalyDetector) -> None:
    X = correlated(20, 2)
    X[:, [0, 2, 5]] = 60, -20, 30
    for reason in seeded_detector.explain(X):
        assert {blame.name for blame in reason.columns[:3]} == {"column 0", "column 2", "column 5"}


def test_a_far_cell_alone_is_the_first_and_relief_what_the_score_loses(
    seeded_detector: ist.AnomalyDetector,
) -> None:
    X = correlated(20, 2)
    X[:, 3] = 60
    reasons, mended = seeded_detector.explain(X, top=1), X.copy()
    mended[:, 3] = [reason.columns[0].expected for reason in reasons]
    lost = seeded_detector.anomaly_score(X) - seeded_detector.anomaly_score(mended)
    assert {reason.columns[0].name for reason in reasons} == {"column 3"}
    np.testing.assert_allclose([reason.columns[0].relief for reason in reasons], lost, rtol=0.2)


def test_shares_of_all_columns_sum_to_one(detector: ist.AnomalyDetector) -> None:
    for reason in detector.explain(planted()[0], top=6):
        shares = [blame.share for blame in reason.columns]
        assert sum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)


def test_relief_is_what_the_score_loses(detector: ist.AnomalyDetector) -> None:
    X, guilty = planted()
    reason = detector.explain(X[:1], top=1)[0]
    assert reason.score == detector.anomaly_score(X[:1])[0]
    assert reason.p_value == detector.p_values(X[:1])[0]
    mended = X[:1].copy()
    mended[0, guilty[0]] = reason.columns[0].expected
    assert reason.score - detector.anomaly_score(mended)[0] == pytest.approx(reason.columns[0].relief, rel=0.2)


def test_reasons_of_a_row_do_not_depend_on_the_rows_beside_it(detector: ist.AnomalyDetector) -> None:
    X, _ = planted()
    together, alone = detector.explain(X)[7].to_dict(), detector.explain(X[7:8])[0].to_dict()
    assert together | {"row": 0} == alone


def test_scaling_of_columns_changes_no_ranking(detector: ist.AnomalyDetector) -> None:
    factor, (X, _) = 10.0 ** np.array([-6, 3, 0, 5, -2, 1]), planted(shift=8)
    scaled = ist.AnomalyDetector(random_state=0).fit(correlated() * factor)
    for one, other in zip(detector.explain(X), scaled.explain(X * factor), strict=True):
        assert one.columns[0].name == other.columns[0].name
        assert other.columns[0].share == pytest.approx(one.columns[0].share, abs=0.02)


def test_reasons_are_the_same_after_save_and_load(table_detector: ist.AnomalyDetector, tmp_path) -> None:
    X = mixed(20, 3)
    table_detector.save(tmp_path / "model")
    assert ist.load(tmp_path / "model").explain(X).to_dict() == table_detector.explain(X).to_dict()


def test_a_category_that_contradicts_the_row_is_blamed_with_the_right_one(table_detector: ist.AnomalyDetector) -> None:
    X = mixed(40, 4)
    X = X[X["y"].notna() & X["x"].between(0.3, 3.7)].reset_index(drop=True)
    right = X["region"].tolist()
    X["region"] = [CLASSES[(CLASSES.index(each) + 2) % 4] for each in right]
    blames = [reason.columns[0] for reason in table_detector.explain(X)]
    assert np.mean([blame.name == "region" for blame in blames]) >= 0.9
    found = [(blame.expected, each) for blame, each in zip(blames, right, strict=True) if blame.name == "region"]
    assert np.mean([expected == each for expected, each in found]) >= 0.8
    assert [blame.observed for blame in blames if blame.name == "region"] == [
        own for blame, own in zip(blames, X["region"], strict=True) if blame.name == "region"
    ]


def test_an_unknown_category_and_an_odd_gap_are_named_as_they_are(table_detector: ist.AnomalyDetector) -> None:
    X = mixed(2, 5)
    X.loc[0, "region"], X.loc[0, "x"] = "moon", 2.5
    X.loc[0, "y"] = 25.0
    with pytest.warns(DataWarning, match="moon"):
        assert table_detector.explain(X[:1])[0].columns[0].observed == "moon"
    X.loc[0, "region"] = "south"
    X.loc[1, "count"] = 10_000
    blame = table_detector.explain(X)[1].columns[0]
    assert (blame.name, blame.observed) == ("count", 10_000)
    assert 10 <= blame.expected < 20
    rare = pd.DataFrame({name: np.random.default_rng(6).normal(size=400) for name in "abc"})
    rare.loc[0, "b"] = np.nan
    gap = rare.head(1).assign(a=0.0, c=0.0)
    blame = ist.AnomalyDetector(random_state=0).fit(rare).explain(gap)[0].columns[0]
    assert (blame.name, blame.observed) == ("b", None)


def test_a_given_autoencoder_is_explained_by_hiding_cells() -> None:
    ae = ist.Autoencoder(latent_dim=2, max_epochs=5, random_state=0, verbose=False)
    X, guilty = planted(shift=6)
    reasons = ist.AnomalyDetector(ae, random_state=0).fit(correlated()).explain(X)
    first = np.mean([reason.columns[0].name == f"column {j}" for reason, j in zip(reasons, guilty, strict=True)])
    assert first >= 0.9


def test_reasons_are_json_a_table_and_sentences(table_detector: ist.AnomalyDetector) -> None:
    reasons = table_detector.explain(mixed(5, 7), top=2)
    assert len(reasons) == 5
    assert len(json.loads(json.dumps(reasons.to_dict(), allow_nan=False))["reasons"]) == 5
    table = reasons.to_table()
    assert all(len(line) == len(table.header) for line in table.rows)
    assert len(str(reasons).splitlines()) == 5
    assert len(reasons.section().to_dict()["tables"][0]["rows"]) == len(table.rows)


def test_a_wrong_top_is_named(detector: ist.AnomalyDetector) -> None:
    with pytest.raises(SettingError, match="top=0"):
        detector.explain(correlated(2), top=0)


# -- pictures -------------------------------------------------------------------------------------------------------


def blobs(n: int, side: int = 16, seed: int = 0) -> np.ndarray:
    """Return noisy pictures (n, side, side) of one soft blob each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    middle, radius = rng.uniform(0.35, 0.65, (2, n, 1, 1)) * side, rng.uniform(0.15, 0.3, (n, 1, 1)) * side
    squared = (y - middle[0]) ** 2 + (x - middle[1]) ** 2
    return np.exp(-squared / (2 * radius**2)) + 0.02 * rng.normal(size=(n, side, side))


def overlap(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return intersection over union."""
    tall = min(box[2], other[2]) - max(box[0], other[0])
    wide = min(box[3], other[3]) - max(box[1], other[1])
    both = max(tall, 0) * max(wide, 0)
    return both / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)) - both)


@pytest.fixture(scope="module")
def picture_detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(random_state=0).fit(blobs(200, 12))


@pytest.fixture(scope="module")
def given_detector() -> ist.AnomalyDetector:
    conv = ist.Autoencoder(network="conv", latent_dim=8, max_epochs=40, random_state=0, verbose=False)
    return ist.AnomalyDetector(conv, alpha=0.05, random_state=0).fit(blobs(200, 12)[:, None])


@pytest.mark.parametrize("which", ["picture_detector", "given_detector"])
def test_the_heat_map_lights_up_where_a_square_was_pasted(which: str, request: pytest.FixtureRequest) -> None:
    detector = request.getfixturevalue(which)
    X, place = blobs(10, 12, seed=1), (2, 6, 6, 10)
    X[:, 2:6, 6:10] = 1 - np.round(X[:, 2:6, 6:10])
    X = X if which == "picture_detector" else X[:, None]
    regions = detector.explain(X)
    assert np.mean([overlap(region.box, place) > 0.4 for region in regions]) >= 0.9
    assert np.mean([region.heat[2:6, 6:10].mean() > 2 * region.heat.mean() for region in regions]) >= 0.9
    assert [region.score for region in regions] == detector.anomaly_score(X).tolist()
    json.dumps(regions[0].to_dict(), allow_nan=False)


def test_the_worst_box_holds_what_hangs_together_around_the_peak() -> None:
    heat = np.zeros((8, 9))
    heat[2:4, 3:6], heat[6, 8] = 1.2, 1.1
    heat[3, 4] = 1.5
    assert worst_box(heat) == (2, 3, 4, 6)
    assert overlay(heat)[3, 4, 3] == 170


def test_tiles_cover_a_picture_and_equal_maps_are_stitched_to_it() -> None:
    pixels = np.arange(2 * 13 * 17, dtype=np.float64).reshape(2, 13, 17)
    cuts = cut(pixels, 6, 0.5)
    np.testing.assert_allclose(stitch(cuts.tiles[:, 1], cuts.corners, (13, 17)), pixels[1], rtol=1e-6)
    with pytest.raises(DataError, match="tile=13"):
        cut(pixels, 14, 0.5)


def test_a_large_picture_is_as_odd_as_its_worst_tile(tmp_path) -> None:
    def waves(n: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        phase = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
        y, x = np.mgrid[:24, :36]
        noise = 0.05 * rng.normal(size=(n, 24, 36))
        return np.sin(0.8 * x + phase[0]) + np.sin(0.5 * y + phase[1]) + noise

    tiled = ist.TiledDetector(ist.AnomalyDetector(threshold="alpha", alpha=0.2, random_state=0), tile=8).fit(
        waves(40, 0)
    )
    clean, X = waves(6, 1), waves(6, 1)
    X[:, 14:18, 25:29] = 0.0
    X[:, 15:17, 26:28] = 2.5
    regions = tiled.explain(X)
    assert np.mean(tiled.anomaly_score(X) > tiled.anomaly_score(clean).max()) >= 0.8
    assert np.mean([overlap(region.box, (14, 25, 18, 29)) > 0.2 for region in regions]) >= 0.8
    assert regions[0].heat.shape == (24, 36)
    tiled.save(tmp_path / "tiles")
    again = ist.load(tmp_path / "tiles")
    assert again.predict(X).tolist() == tiled.predict(X).tolist()
    np.testing.assert_array_equal(again.explain(X[:1])[0].heat, regions[0].heat)


def test_a_heat_display_draws_the_picture_the_heat_and_the_box(picture_detector: ist.AnomalyDetector) -> None:
    import matplotlib.pyplot as plt

    ax = picture_detector.explain(blobs(1, 12, 2))[0].display().plot().ax_
    assert (len(ax.images), len(ax.patches)) == (2, 1)
    plt.close("all")
