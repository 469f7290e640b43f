"""`isthmus sample` and `interpolate`: the library's own rows, in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.cli import main
from isthmus.cli.exits import Exit

QUICK = {"max_epochs": 2, "random_state": 0, "verbose": False}


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def table(rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 9, rows).round(2)
    return pd.DataFrame({"age": age, "pay": (700 * age).round(1), "city": rng.choice(["a", "b"], rows)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generating")
    people = table()
    people.to_csv(folder / "people.csv", index=False)
    ist.Autoencoder(latent_dim=2, **QUICK).fit(people).save(folder / "model")
    ist.conditional(latent_dim=2, condition="city", **QUICK).fit(people).save(folder / "told")
    return folder


def test_samples_are_those_of_the_library(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "new.csv"
    assert run("sample", "-m", folder / "model", "-o", out, "-n", 7, "--random-state", 3, "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["rows"] == 7
    expected = ist.load(folder / "model").sample(7, random_state=3)
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False, rtol=1e-6)


@pytest.mark.parametrize("sampler", ["mixture", "aggregated"])
def test_any_sampler_can_be_asked_for(folder: Path, sampler: str) -> None:
    out = folder / f"{sampler}.csv"
    assert run("sample", "-m", folder / "model", "-o", out, "-n", 5, "--sampler", sampler) == Exit.OK
    assert len(pd.read_csv(out)) == 5


def test_a_conditional_model_is_told(folder: Path) -> None:
    out = folder / "told.csv"
    arguments = ["sample", "-m", folder / "told", "-o", out, "-n", 4, "--random-state", 0]
    assert run(*arguments, "--condition", "city=a") == Exit.OK
    expected = ist.load(folder / "told").sample(4, 0, {"city": "a"})
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False, rtol=1e-6)


def test_samples_like_rows_are_those_of_the_library(folder: Path) -> None:
    table().query("city == 'a'").to_csv(folder / "a.csv", index=False)
    out = folder / "like.csv"
    arguments = ["sample", "-m", folder / "model", "-o", out, "-n", 4, "--random-state", 0]
    assert run(*arguments, "--like", folder / "a.csv") == Exit.OK
    expected = ist.sample_like(ist.load(folder / "model"), table().query("city == 'a'"), 4, 0)
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False, rtol=1e-6)


def test_walks_are_those_of_the_library(folder: Path) -> None:
    out, people = folder / "walk.csv", table()
    rows = ["--rows", "0,5", "--rows", "3,1", "--steps", 4, "--path", "spherical"]
    assert run("interpolate", folder / "people.csv", "-m", folder / "model", "-o", out, *rows) == Exit.OK
    ae = ist.load(folder / "model")
    expected = ist.interpolate(ae, people.iloc[[0, 3]], people.iloc[[5, 1]], steps=4, path="spherical").samples
    pd.testing.assert_frame_equal(pd.read_csv(out), expected.reset_index(drop=True), check_dtype=False, rtol=1e-6)


def test_walks_between_windows_of_a_series(tmp_path: Path) -> None:
    pd.DataFrame({"x": np.sin(np.arange(300) / 5)}).to_csv(tmp_path / "series.csv", index=False)
    fit = ["fit", tmp_path / "series.csv", "-o", tmp_path / "m", "--window", 16, "--latent-dim", 2, "--max-epochs", 2]
    assert run(*fit, "--no-report") == Exit.OK
    out = tmp_path / "walk.npy"
    assert run("interpolate", tmp_path / "series.csv", "-m", tmp_path / "m", "-o", out, "--rows", "0,7") == Exit.OK
    assert np.load(out).shape == (9, 16, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--rows", "0"], Exit.SETTING, "must name two rows"),
        (["--rows", "0,999"], Exit.DATA, "the data has the rows 0 to 119"),
        (["--rows", "0,1", "--steps", "1"], Exit.SETTING, "steps=1 must be"),
        (["--rows", "0,1", "--path", "curly"], Exit.SETTING, "path='curly' is not known"),
    ],
)
def test_walks_that_cannot_be_are_one_sentence(folder: Path, capsys, arguments, code, message: str) -> None:
    given = ["interpolate", folder / "people.csv", "-m", folder / "model", "-o", folder / "no.csv", *arguments]
    assert run(*given) == code
    assert message in capsys.readouterr().err


def test_samples_that_cannot_be_are_one_sentence(folder: Path, capsys) -> None:
    given = ["sample", "-m", folder / "told", "-o", folder / "no.csv"]
    assert run(*given, "-n", "0") == Exit.SETTING
    assert "must ask for at least 1 sample" in capsys.readouterr().err
    assert run(*given, "--condition", "a") == Exit.SETTING
    assert "write city=VALUE" in capsys.readouterr().err
    assert run(*given, "--sampler", "dice") == Exit.SETTING
    assert "sampler='dice' is not known" in capsys.readouterr().err
