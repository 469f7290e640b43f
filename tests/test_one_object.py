"""The example of one fitted object runs, on the made-up table and the real one; what it makes has the form of the data."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import isthmus as ist

EXAMPLE = Path(__file__).parents[1] / "examples" / "one_object.py"


def check(said: dict, folder: Path) -> None:
    table, filled, made = said["table"], said["filled"], said["made"]
    known = table.notna()
    assert not filled[[*table.columns]].isna()[table.columns[table.isna().any()]].to_numpy().any()
    for name in table.columns:  # what was observed never changes
        assert (filled[name][known[name]] == table[name][known[name]]).all()
    assert [*made.columns] == [*table.columns]
    assert made.dtypes.astype(str).tolist() == table.dtypes.astype(str).tolist()
    assert set(made.sex) <= set(table.sex)
    assert said["ae"].score_samples(table).argmin() == said["oddest"]
    assert said["after"] < said["before"]
    assert set(said["groups"].labels_) == {0, 1, 2}
    assert 0 not in said["near"].positions[0]
    assert said["worth"].gain is not None
    assert (folder / "one_object.html").stat().st_size > 10_000
    assert isinstance(ist.load(folder / "one_object"), ist.Autoencoder)


def test_one_object_does_every_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_DATA", str(tmp_path))
    said = runpy.run_path(str(EXAMPLE))
    assert len(said["table"]) == 600
    check(said, tmp_path)
    assert "The oddest passenger is" in capsys.readouterr().out


def test_one_object_does_every_use_on_the_titanic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ISTHMUS_DATA", str(shared_data))
    said = runpy.run_path(str(EXAMPLE))
    assert len(said["table"]) == 891
    assert np.isnan(said["table"].age[said["first"]])
    check(said, tmp_path)
