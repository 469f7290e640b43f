"""What a detector says of rows: the same facts as arrays, table, section and page, and nothing made up."""

from __future__ import annotations

import json
import re
import runpy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isthmus.apps.anomaly import ensemble, residuals
from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.decisions import Cut, decide
from isthmus.apps.anomaly.findings import Cause, Findings, batch_cut, find, taken
from isthmus.apps.anomaly.sections import findings_section, page_of
from isthmus.apps.displays import OperatingCurveDisplay, ScoreHistogramDisplay
from isthmus.data import Images, Series, learn


@dataclass
class Explained:
    columns: tuple[Cause, ...]


class Known:
    """A detector whose score of a row is its largest number; nothing is learned."""

    judge_: Any = None

    def __init__(self, calibrating: np.ndarray, X: Any) -> None:
        self.calibration_ = Calibration(calibrating)
        self.cut_ = decide(self.calibration_, "alpha", alpha=0.05)
        self.codec_ = learn(X, scale="columns")
        self.asked: list[Any] = []

    def anomaly_score(self, X: Any) -> np.ndarray:
        return np.asarray(X, float).max(1)

    def explain(self, X: Any, top: int | None = None) -> list[Explained]:
        self.asked.append(X)
        return [
            Explained(tuple(Cause(f"c{j}", float(row[j]), 0.0, 0.5) for j in np.argsort(-row)[:top]))
            for row in np.asarray(X)
        ]


@pytest.fixture(scope="module", autouse=True)
def briefly() -> Iterator[None]:
    """Members learn little here: how they learn is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "STEPS", 10)
        patch.setattr(residuals, "STEPS", 10)
        yield


def rows(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 4))


@pytest.fixture
def known() -> Known:
    return Known(rows(99).max(1), rows())


def test_verdicts_are_those_of_cut_and_calibration(known: Known) -> None:
    X = rows() + 0.5
    found = find(known, X)
    np.testing.assert_array_equal(found.scores, X.max(1))
    np.testing.assert_array_equal(found.flags, X.max(1) > known.cut_.score)
    np.testing.assert_array_equal(found.flags, found.p_values <= 0.05)
    np.testing.assert_array_equal(found.order, np.argsort(-X.max(1), kind="stable"))
    assert found.flagged == found.flags.sum() > 0


def test_every_flagged_row_and_the_oddest_ones_are_explained_and_no_others(known: Known) -> None:
    X = rows()
    X[:20] += 9
    found = find(known, X)
    expected = set(map(int, found.order[: max(10, found.flagged)]))
    assert set(found.reasons) == expected
    assert len(known.asked[0]) == len(expected)
    place = int(found.order[0])
    assert found.reasons[place][0].observed == X[place].max()


def test_batchwise_flags_are_those_of_benjamini_hochberg(known: Known) -> None:
    X = rows()
    X[:40] += 9
    found = find(known, X, fdr=0.1)
    p = np.sort(found.p_values)
    k = np.flatnonzero(p <= 0.1 * np.arange(1, 201) / 200).max() + 1
    assert found.flagged == k
    np.testing.assert_array_equal(found.flags, found.p_values <= p[k - 1])


def test_a_batch_without_anomalies_has_no_cut(known: Known) -> None:
    scores = known.calibration_.scores[:50]
    cut = batch_cut(known.calibration_, scores, 0.01)
    assert not cut.flags(scores).any()
    assert "Nothing in this batch" in cut.sentence
    found = find(known, np.repeat(scores[:, None], 4, 1), fdr=0.01)
    json.dumps(found.to_dict(), allow_nan=False)


def findings(names: tuple[str, ...] = (), **settings: Any) -> Findings:
    scores = np.array([1.0, 9.0, 3.0, 4.0])
    reasons = {1: (Cause("age", 99.0, 30.0, 0.75), Cause("city", None, "Porto", 0.2))}
    cut = Cut(5.0, "number", 0.1, 0.25, "As was asked for.")
    calibration = Calibration(np.arange(9.0))
    return Findings(
        scores, calibration.p_values(scores), scores > 5, cut, reasons, calibration, names=names, **settings
    )


def test_the_table_keeps_the_columns_of_the_data_and_adds_the_verdict() -> None:
    data = pa.table({"age": [1, 99, 3, 4], "city": ["a", None, "c", "d"]})
    table = findings().to_table(data)
    assert table.select(["age", "city"]).equals(data)
    assert table["row"].to_pylist() == [0, 1, 2, 3]
    assert table["flag"].to_pylist() == [False, True, False, False]
    assert table["reason_1"].to_pylist() == [None, "age", None, None]
    assert table["observed_1"].to_pylist() == [None, 99.0, None, None]
    assert table["expected_2"].to_pylist() == [None, "Porto", None, None]
    assert table["share_1"].to_pylist() == [None, 0.75, None, None]


def test_the_oddest_come_first_when_only_some_are_wanted() -> None:
    table = findings(names=("a.png", "b.png", "c.png", "d.png")).to_table(top=2)
    assert table["file"].to_pylist() == ["b.png", "d.png"]
    assert table["row"].to_pylist() == [1, 3]


def test_columns_that_the_data_has_already_are_kept_and_ours_renamed() -> None:
    table = findings().to_table(pa.table({"flag": ["x", "y", "z", "w"], "row": [7, 7, 7, 7]}))
    assert table["flag"].to_pylist() == ["x", "y", "z", "w"]
    assert table["row"].to_pylist() == [7, 7, 7, 7]
    assert table["isthmus_flag"].to_pylist() == [False, True, False, False]
    assert table["isthmus_row"].to_pylist() == [0, 1, 2, 3]


def test_windows_are_called_by_their_points() -> None:
    found = findings(windows=(10, 3), noun="window")
    assert found.label(2) == "points 6 to 15"
    assert found.to_table()["last_point"].to_pylist() == [9, 12, 15, 18]
    assert found.sentences[0] == "1 of 4 windows is flagged, 25.0%."


def test_what_p_values_mean_is_said_and_differs_for_the_rows_that_calibrate() -> None:
    assert "Only 9 rows calibrate, so no p-value can be below 10.0%" in findings().sentences[-1]
    many = Calibration(np.arange(999.0))
    found = Findings(np.array([2000.0, 5.0]), np.array([0.001, 0.9]), np.array([True, False]), findings().cut, {}, many)
    assert found.sentences[-1] == "1 row has a p-value of at most 0.01; were all normal, about 0.02 of 2 would."


def test_rows_judged_among_themselves_are_ranked_and_that_is_said() -> None:
    for n, words in (
        (60, "have no p-value below 3.3%"),
        (999, "at most the oddest 1.0% are flagged, whatever they are"),
    ):
        calibration = Calibration(np.arange(float(n)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # alpha is less than 60 rows can show
            cut = decide(calibration, "alpha", alpha=0.01)
        scores = calibration.scores
        found = Findings(
            scores, calibration.p_values(scores), cut.flags(scores), cut, {}, calibration, among_themselves=True
        )
        assert found.p_values.min() == 2 / (n + 1)
        assert words in found.sentences[1]
    by_share = replace(found, cut=decide(calibration, "contamination", contamination=0.1))
    assert "one in a hundred" in by_share.sentences[2]


@pytest.mark.parametrize("family", ["numpy", "pandas", "arrow", "polars", "list"])
def test_rows_are_taken_in_the_form_they_have(known: Known, family: str) -> None:
    X = rows(6)
    if family == "polars":
        given: Any = pytest.importorskip("polars").DataFrame(X, schema=list("abcd"))
    else:
        frame = pd.DataFrame(X, columns=list("abcd"), index=list("uvwxyz"))
        given = {"numpy": X, "pandas": frame, "arrow": pa.table(frame.reset_index(drop=True)), "list": X.tolist()}[
            family
        ]
    chosen = taken(known, given, np.array([4, 1]))
    assert type(chosen) is (np.ndarray if family == "list" else type(given))
    np.testing.assert_array_equal(np.asarray(chosen.to_pandas() if family == "arrow" else chosen), X[[4, 1]])


def test_windows_and_images_are_taken_as_they_are(known: Known) -> None:
    series = Series(np.arange(40.0).reshape(20, 2), length=5, step=3)
    chosen = taken(Known(np.arange(99.0), series), series, np.array([2, 0]))
    np.testing.assert_allclose(chosen, np.stack([series.values[6:11], series.values[:5]]), rtol=1e-5, atol=1e-5)
    images = Images(np.arange(32, dtype=np.uint8).reshape(2, 1, 4, 4), ["a.png", "b.png"])
    chosen = taken(known, images, np.array([1]))
    assert chosen.names == ["b.png"]
    np.testing.assert_array_equal(chosen.pixels, images.pixels[1:])


def test_no_bar_of_the_histogram_is_partly_flagged() -> None:
    scores = np.random.default_rng(0).exponential(size=500)
    for threshold in (3.0, float(scores.max()), float(scores.min())):
        edges = ScoreHistogramDisplay(scores, threshold)._edges()
        assert np.isclose(edges, threshold).any()
        assert edges[0] <= scores.min() + 1e-9
        assert edges[-1] >= scores.max() - 1e-9
        assert np.allclose(np.diff(edges), np.diff(edges)[0])


def test_the_histogram_shows_every_row_once() -> None:
    import matplotlib.pyplot as plt

    scores = np.random.default_rng(0).exponential(size=500)
    for threshold in (2.0, np.inf):
        ax = ScoreHistogramDisplay(scores, threshold).plot().ax_
        heights = [patch.get_height() for patch in ax.patches]  # pyright: ignore[reportAttributeAccessIssue] - bars
        assert sum(heights) == 500
        plt.close("all")


def test_displays_take_a_fitted_detector(detector: Any) -> None:
    import matplotlib.pyplot as plt

    assert ScoreHistogramDisplay.from_estimator(detector, rows(30)).threshold == detector.threshold_
    assert OperatingCurveDisplay.from_estimator(detector).curve.chosen == detector.cut_
    plt.close("all")


@pytest.fixture(scope="module")
def detector() -> Any:
    import isthmus as ist

    return ist.AnomalyDetector(random_state=0).fit(rows(120))


def test_the_page_tells_flagged_rows_from_those_next_in_line(detector: Any) -> None:
    found = findings()
    section = findings_section(found)
    assert [table.caption for table in section.tables] == ["Flagged", "Not flagged, but next in line"]
    assert section.tables[0].rows[0] == ("1", "age", "99", "30", "75.0%")
    assert section.tables[0].rows[1] == ("p 0.1", "city", "gap", "Porto", "20.0%")
    page = page_of(detector, found)
    assert page.title == "1 of 4 rows flagged"
    assert page.sections[0].to_dict()["flagged_rows"] == [1]


def test_the_page_asks_nothing_of_the_network(detector: Any, tmp_path: Path) -> None:
    place = page_of(detector, findings(names=("<b>.png", "b", "c", "d"))).save(tmp_path / "page.html")
    page = place.read_text(encoding="utf-8")
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert all(source.startswith(("#", "data:image/png;base64,")) for source in sources)
    assert "<b>.png" not in page.split("<script")[0]
    facts = json.loads((tmp_path / "page.json").read_text(encoding="utf-8"))
    assert facts["sections"][0]["worst"][0]["reasons"][0]["name"] == "age"


def test_a_detector_alone_has_a_page(detector: Any) -> None:
    page = detector.report()
    assert page.title == "An anomaly detector for rows of 4 columns"
    assert "120 rows calibrate" in page.sections[-1].sentences[0]


def test_images_are_shown_instead_of_their_pixels_named() -> None:
    import isthmus as ist

    pixels = np.random.default_rng(0).integers(0, 255, (120, 6, 6)).astype(np.uint8)
    detector = ist.AnomalyDetector(random_state=0).fit(pixels)
    section = detector.report(pixels).sections[0]
    assert section.tables == ()
    assert len(section.pictures) == 8
    original, where = section.pictures[0].images
    np.testing.assert_array_equal(original, pixels[int(detector.findings(pixels).order[0])])
    assert where.shape == (6, 6, 4)


def test_the_example_finds_the_other_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "find_anomalies.py"))
    malignant = ~said["benign"][said["batch"].index].to_numpy()
    assert said["flagged"][malignant].mean() > 5 * said["flagged"][~malignant].mean()
    assert (tmp_path / "anomalies.html").is_file()
