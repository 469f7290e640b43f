"""`isthmus search` and `isthmus cluster`: files in, files out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.cli import main
from isthmus.cli.exits import Exit


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A table of two kinds of things, and a model of it."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1], 60)
    df = pd.DataFrame(
        {
            "size": 10.0 * kind + rng.normal(size=120),
            "weight": 5.0 * kind + rng.normal(size=120),
            "age": 3.0 * kind + rng.normal(size=120),
            "name": [f"n{i}" for i in range(120)],
        }
    )
    df.to_csv(tmp_path / "shop.csv", index=False)
    ae = ist.Autoencoder(latent_dim=2, max_epochs=3, random_state=0, verbose=False).fit(df[["size", "weight", "age"]])
    ae.save(tmp_path / "model")
    return tmp_path


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_rows_are_looked_up_by_number_and_by_file(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, index = shop / "near.csv", shop / "index"
    search = ("search", shop / "shop.csv", "-m", shop / "model", "-o", out, "-k", 3, "--index", index)
    assert run(*search, "--query", "0,7", "--json") == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert (facts["queries"], facts["rows"], facts["recall"]) == (2, 120, 1.0)
    df, near = pd.read_csv(shop / "shop.csv"), pd.read_csv(out)
    ae = ist.load(shop / "model")
    expected = ist.Index(ae, df[["size", "weight", "age"]]).query(rows=[0, 7], k=3)
    assert near.position.tolist() == expected.positions.ravel().tolist()
    assert near.name.tolist() == [f"n{i}" for i in near.position]
    df.iloc[[5]].to_csv(shop / "one.csv", index=False)
    # the index is kept: DATA need not be given again
    assert (
        run("search", "-m", shop / "model", "-o", out, "-k", 1, "--index", index, "--query", shop / "one.csv")
        == Exit.OK
    )
    assert pd.read_csv(out).position.tolist() == [5]
    assert "The 1 nearest of 120 rows for 1 queries" in capsys.readouterr().out
    assert run(*search, "--query", shop / "one.csv") == Exit.OK


def test_an_index_of_other_rows_or_of_another_model_is_refused(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("-m", shop / "model", "-o", shop / "near.csv", "--query", "0")
    assert run("search", shop / "shop.csv", *words, "--index", shop / "index") == Exit.OK
    df = pd.read_csv(shop / "shop.csv")
    df.iloc[:50].to_csv(shop / "other.csv", index=False)
    assert run("search", shop / "other.csv", *words, "--index", shop / "index") == Exit.MODEL
    assert "an index of other rows" in capsys.readouterr().err
    ist.Autoencoder(latent_dim=2, max_epochs=3, random_state=1, verbose=False).fit(df[["size", "weight", "age"]]).save(
        shop / "model"
    )
    assert run("search", *words, "--index", shop / "index") == Exit.MODEL
    assert "another model" in capsys.readouterr().err
    assert run("search", *words) == Exit.DATA
    assert "give DATA" in capsys.readouterr().err
    assert run("search", shop / "shop.csv", "-m", shop / "model", "-o", shop / "shop.csv", "--query", "0") == Exit.DATA
    assert run("search", shop / "shop.csv", *words, "-k", 120) == Exit.SETTING


def test_groups_are_written_beside_the_rows(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shop / "groups.csv"
    words = ("cluster", shop / "shop.csv", "-m", shop / "model", "-o", out, "--random-state", 0)
    assert run(*words, "--save", shop / "saved") == Exit.OK
    printed = capsys.readouterr().out
    assert "120 rows fall into 2 groups" in printed
    assert "group 0: 60 rows" in printed
    groups = pd.read_csv(out)
    assert groups.columns.tolist() == ["size", "weight", "age", "name", "cluster"]
    assert (groups.cluster.to_numpy() != groups.cluster[0]).tolist() == [False] * 60 + [True] * 60
    loaded = ist.load(shop / "saved")
    assert np.array_equal(loaded.predict(groups[["size", "weight", "age"]]), groups.cluster)
    assert run(*words, "-k", 3, "--method", "mixture", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["n_clusters"] == 3
    assert "probability" in pd.read_csv(out).columns
    assert run(*words, "-k", "many") == Exit.SETTING
    assert run(*words, "-k", 500) == Exit.SETTING
    assert "n_clusters=500 is more than the 120 rows" in capsys.readouterr().err


def test_without_a_model_one_is_trained(shop: Path) -> None:
    df = pd.read_csv(shop / "shop.csv")[["size", "weight", "age"]]
    df.to_csv(shop / "plain.csv", index=False)
    assert run("cluster", shop / "plain.csv", "-o", shop / "groups.parquet", "-k", 2, "--random-state", 0) == Exit.OK
    groups = pd.read_parquet(shop / "groups.parquet")
    assert sorted(groups.cluster.value_counts()) == [60, 60]
