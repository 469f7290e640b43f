"""`isthmus features`, `latent-dims` and `map`: files in, sentences and files out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.cli import main
from isthmus.cli.exits import Exit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of five numbers along a curve in the plane, a label, and a model of it."""
    path, rng = tmp_path_factory.mktemp("studied"), np.random.default_rng(0)
    t, s = rng.uniform(-2, 2, (2, 300))
    columns = {"a": t, "b": s, "c": t + s, "d": t - s, "e": t**2}
    df = pd.DataFrame(columns) + 0.05 * rng.normal(size=(300, 5))
    df.assign(kind=np.where(t > 0, "late", "early")).to_csv(path / "rows.csv", index=False)
    ae = ist.Autoencoder(latent_dim=2, max_epochs=5, random_state=0, verbose=False).fit(df)
    ae.save(path / "model")
    return path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_features_says_what_python_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("features", folder / "rows.csv", "-m", folder / "model", "--label", "kind")
    assert run(*words, "--json", "--report", folder / "page.html") == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    df = pd.read_csv(folder / "rows.csv")
    found = ist.code_quality(ist.load(folder / "model"), df[[*"abcde"]], df.kind)
    assert facts["representations"] == found.to_dict()["representations"]
    assert "Codes as features" in (folder / "page.html").read_text()
    assert run(*words) == Exit.OK
    assert "A linear probe reaches" in capsys.readouterr().out


def test_latent_dims_leaves_the_label_out_and_writes_the_curve(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder / "curve.csv"
    words = ("latent-dims", folder / "rows.csv", "-o", out, "--dims", "1,2,4", "--label", "kind", "--json")
    assert run(*words) == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    df = pd.read_csv(folder / "rows.csv")
    expected = ist.latent_dim_curve(df[[*"abcde"]], df.kind, (1, 2, 4))
    curve = pd.read_csv(out)
    assert curve.latent_dim.tolist() == [1, 2, 4]
    np.testing.assert_allclose(curve.error, [size.error for size in expected.sizes], rtol=1e-4)
    assert facts["suggested"] == expected.suggested


def test_map_writes_points_or_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("map", folder / "rows.csv", "-m", folder / "model", "--color-by", "kind", "-o")
    assert run(*words, folder / "map.csv") == Exit.OK
    points = pd.read_csv(folder / "map.csv")
    codes = ist.load(folder / "model").transform(pd.read_csv(folder / "rows.csv")[[*"abcde"]])
    np.testing.assert_allclose(points[["x", "y"]], codes, rtol=1e-5)
    assert "trustworthiness" in capsys.readouterr().out
    assert run(*words, folder / "map.png") == Exit.OK
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("features", "{rows}", "-m", "{model}", "--label", "colour"), "there is no column 'colour'"),
        (("features", "{rows}", "-m", "{model}", "--report", "page.txt"), "does not end in .html"),
        (("features", "{rows}", "-m", "{model}", "-k", "200"), "k=200 neighbours"),
        (("latent-dims", "{rows}", "--dims", "two"), "--dims 'two' must be whole numbers"),
        (("latent-dims", "{rows}", "-o", "{rows}"), "is the input"),
        (("latent-dims", "{rows}", "--label", "colour"), "there is no column 'colour'"),
        (("map", "{rows}", "-m", "{model}", "-o", "map.csv", "--method", "globe"), "'globe' is not known"),
    ],
)
def test_mistakes_end_in_a_sentence(folder: Path, capsys: pytest.CaptureFixture[str], words, said: str) -> None:
    named = [word.format(rows=folder / "rows.csv", model=folder / "model") for word in words]
    assert run(*named) not in (Exit.OK, 1)
    assert said in " ".join(capsys.readouterr().err.split())
