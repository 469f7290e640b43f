"""`isthmus detect`: rows in, verdicts and reasons out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.apps.anomaly import ensemble, residuals
from isthmus.cli import main
from isthmus.cli.exits import Exit


@pytest.fixture(scope="module", autouse=True)
def briefly() -> Iterator[None]:
    """Members learn little here: how they learn is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble, "STEPS", 10)
        patch.setattr(residuals, "STEPS", 10)
        yield


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def people(rows: int = 240) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, rows)
    income = (age * 700.0 + rng.normal(0, 4000, rows)).round(2)
    income[7] = 900_000.0
    return pd.DataFrame(
        {"age": age, "city": rng.choice(["Lisbon", "Porto"], rows), "income": income, "note": ["x", "y"] * (rows // 2)}
    )


class Found:
    """A folder with people.csv, the verdicts on it, the detector and the page."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "people.csv"
        self.out, self.model, self.page = folder / "flagged.parquet", folder / "detector", folder / "page.html"
        people().to_csv(self.data, index=False)
        arguments = ["-o", self.out, "--save", self.model, "--report", self.page, "--drop", "note"]
        assert run("detect", self.data, *arguments) == Exit.OK


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("detect"))


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isthmus: ")
    assert err.count("\n") == 1
    return err


def test_the_output_has_the_columns_of_the_file_and_what_python_says(found: Found) -> None:
    table = pd.read_parquet(found.out)
    expected = people()
    pd.testing.assert_frame_equal(table[list(expected)], expected, check_dtype=False)
    assert table["row"].tolist() == list(range(240))
    detector = ist.AnomalyDetector(random_state=0).fit(ist.read(found.data).drop_columns("note"))
    np.testing.assert_array_equal(table["anomaly_score"], detector.training_scores_)
    np.testing.assert_array_equal(table["flag"], detector.training_scores_ > detector.threshold_)


def test_the_injected_row_is_the_oddest_and_its_column_the_reason(found: Found) -> None:
    oddest = pd.read_parquet(found.out).sort_values("anomaly_score").iloc[-1]
    assert oddest["row"] == 7
    assert oddest["flag"]
    assert oddest["reason_1"] == "income"


def test_a_saved_detector_judges_new_rows_as_it_does_in_python(found: Found, tmp_path: Path) -> None:
    new = people().drop(columns="note").iloc[:30]
    new.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "out.csv"
    assert run("detect", tmp_path / "new.csv", "-m", found.model, "-o", out) == Exit.OK
    table, detector = pd.read_csv(out), ist.load(found.model)
    np.testing.assert_allclose(table["p_value"], detector.p_values(ist.read(tmp_path / "new.csv")))
    np.testing.assert_array_equal(np.where(table["flag"], -1, 1), detector.predict(ist.read(tmp_path / "new.csv")))


def test_batchwise_flags_are_those_of_detect(found: Found, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert run("detect", found.data, "-m", found.model, "-o", out, "--fdr", "0.3") == Exit.OK
    expected = ist.load(found.model).detect(ist.read(found.data).drop_columns("note"), 0.3)
    assert pd.read_csv(out)["flag"].tolist() == expected.tolist()


@pytest.mark.parametrize("given", [[], ["--top", "4"]])
def test_a_share_of_the_training_rows_is_flagged_on_demand(found: Found, tmp_path: Path, given: list[str]) -> None:
    out = tmp_path / "out.csv"
    arguments = ["detect", found.data, "-o", out, "--drop", "note", "--contamination", "0.1", *given]
    assert run(*arguments) == Exit.OK
    table = pd.read_csv(out)
    assert table["flag"].sum() == (4 if given else 24)
    if given:
        assert table["anomaly_score"].is_monotonic_decreasing
        assert table["row"][0] == 7


def test_the_summary_says_how_many_and_why_within_80_columns(found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", found.data, "-m", found.model, "--alpha", "0.05") == Exit.OK
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert "of 240 rows" in out
    assert "5.0%" in out
    assert "row 7: score" in out
    assert "income: 900000" in out


def test_the_same_facts_as_one_json_object(found: Found, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("detect", found.data, "--drop", "note", "--json") == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    table = pd.read_parquet(found.out)
    assert facts["flagged_rows"] == np.flatnonzero(table["flag"]).tolist()
    assert facts["worst"][0]["row"] == 7
    assert len(facts["worst"]) == 5
    assert facts["out"] is None
    assert facts["cut"]["rule"] in ("fdr", "alpha")


def test_the_page_is_written_with_its_facts(found: Found) -> None:
    facts = json.loads(found.page.with_suffix(".json").read_text(encoding="utf-8"))
    assert facts["title"].endswith("of 240 rows flagged")
    assert [section["title"] for section in facts["sections"]] == ["What stands out", "Where to cut", "The detector"]


def test_info_and_report_know_detectors(found: Found, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", found.model) == Exit.OK
    text = capsys.readouterr().out
    assert "An anomaly detector for rows of 3 columns" in text
    assert "240 rows calibrate" in " ".join(text.split())
    assert run("info", found.model, "--json") == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["reading"]["drop"] == ["note"]
    assert run("report", "-m", found.model, "-o", tmp_path / "r.html") == Exit.OK
    assert run("report", found.data, "-m", found.model, "-o", tmp_path / "s.html", "--json") == Exit.OK
    assert "of 240 rows" in json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["title"]


def test_an_autoencoder_judges_by_what_it_cannot_rebuild(
    found: Found, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--max-epochs", "3", "--latent-dim", "2", "--random-state", "0", "--no-report", "--drop", "note"]
    assert run("fit", found.data, "-o", tmp_path / "ae", *quick) == Exit.OK
    capsys.readouterr()
    assert run("detect", found.data, "-m", tmp_path / "ae", "-o", tmp_path / "a.csv") == Exit.OK
    assert "The 24 rows that the autoencoder held out of its training say what is usual" in words(capsys)
    people().iloc[:200].to_csv(tmp_path / "new.csv", index=False)
    arguments = ["detect", tmp_path / "new.csv", "-m", tmp_path / "ae", "--save", tmp_path / "kept"]
    assert run(*arguments) == Exit.OK
    assert "all of them say what is usual" in words(capsys)
    assert run("detect", tmp_path / "new.csv", "-m", tmp_path / "kept", "-o", tmp_path / "b.csv") == Exit.OK


def words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_pictures_are_called_by_their_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    base = np.add.outer(np.arange(6), np.arange(6)) * 10
    rng = np.random.default_rng(0)
    for place in range(120):
        pixels = (255 - base if place == 5 else base) + rng.integers(0, 30, (6, 6))
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "in" / f"p{place:03d}.png")
    assert run("detect", tmp_path / "in", "-o", tmp_path / "out.csv", "--top", "3") == Exit.OK
    assert pd.read_csv(tmp_path / "out.csv")["file"][0] == "p005.png"
    assert "p005.png: score" in capsys.readouterr().out


def test_windows_of_a_series_are_called_by_their_points_and_times_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = pd.date_range("2024-01-01", periods=300, freq="h")
    values = np.sin(np.arange(300) / 5)
    values[150:154] = 5
    pd.DataFrame({"time": time, "load": values}).to_csv(tmp_path / "s.csv", index=False)
    arguments = ["--window", "12", "--step", "2", "-o", tmp_path / "out.csv", "--save", tmp_path / "m"]
    assert run("detect", tmp_path / "s.csv", *arguments) == Exit.OK
    assert "note: 'time' holds times" in capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out.csv")
    oddest = table.loc[table["anomaly_score"].idxmax()]
    assert oddest["first_point"] <= 153
    assert oddest["last_point"] >= 150
    assert run("detect", tmp_path / "s.csv", "-m", tmp_path / "m", "-o", tmp_path / "again.csv") == Exit.OK


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope.csv"], Exit.DATA, "nope.csv"),
        (["{data}", "-o", "{data}"], Exit.DATA, "is the input"),
        (["{data}", "-o", "{new}.npy"], Exit.DATA, "cannot hold a table"),
        (["{data}", "--report", "{new}.txt"], Exit.DATA, "does not end in .html"),
        (["{data}", "--save", "{folder}"], Exit.MODEL, "is not an Isthmus model"),
        (["{data}", "--alpha", "0.01", "--contamination", "0.1"], Exit.SETTING, "choose one"),
        (["{data}", "--alpha", "7"], Exit.SETTING, "alpha=7.0 must be a share"),
        (["{data}", "--fdr", "0.1"], Exit.SETTING, "-m MODEL"),
        (["{data}", "-m", "{model}", "--window", "4"], Exit.SETTING, "--window is for learning"),
        (["{data}", "-m", "{model}", "--save", "{new}"], Exit.SETTING, "is one already"),
        (["{data}", "-m", "{model}", "--novelty"], Exit.SETTING, "--novelty"),
        (["{data}", "-m", "nope"], Exit.MODEL, "There is no model at nope"),
    ],
)
def test_mistakes_end_in_one_sentence_and_their_code(
    found: Found,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: Exit,
    words: str,
) -> None:
    places: dict[str, Any] = {"data": found.data, "model": found.model, "folder": found.folder, "new": tmp_path / "new"}
    before = found.data.read_bytes()
    assert run("detect", *(argument.format(**places) for argument in arguments)) == code
    assert words in sentence(capsys)
    assert list(tmp_path.iterdir()) == []
    assert found.data.read_bytes() == before
