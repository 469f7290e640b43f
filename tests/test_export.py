"""A graph says what the model says: to 1e-5, in the user's units, at any batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import isthmus as ist
from isthmus.catalogue import VARIANTS
from isthmus.errors import ModelFileError, SettingError
from samples import data_for

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'isthmus[onnx]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'isthmus[onnx]'")


REFUSED = {"conditional": "conditional model"}
"""The variants that have no graph, and why."""


def run(path: Path, output: str, **given: np.ndarray) -> np.ndarray:
    """Run a graph as a stranger would: with onnxruntime and nothing of ours."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run([output], given)[0]


@pytest.fixture(scope="module")
def array(tmp_path_factory: pytest.TempPathFactory) -> tuple[ist.Autoencoder, np.ndarray, Path]:
    """A model of float64 rows far from 0, of very different sizes, with gaps; and its graph."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 8)) * 10.0 ** np.arange(-3, 5) + 1e4
    X[rng.random(X.shape) < 0.05] = np.nan
    ae = ist.Autoencoder(latent_dim=3, scale="columns", max_epochs=3, random_state=0).fit(X)
    path = tmp_path_factory.mktemp("array") / "model.onnx"
    done = ist.export_onnx(ae, path)
    assert max(done.differences.values()) <= 1e-5
    return ae, X, path


@pytest.mark.parametrize("rows", [1, 2, 7, 256])
def test_the_graph_agrees_with_the_library_at_every_batch(
    array: tuple[ist.Autoencoder, np.ndarray, Path], rows: int
) -> None:
    ae, X, path = array
    x, spread = X[:rows], np.nanstd(X, axis=0)
    np.testing.assert_allclose(run(path, "codes", x=x), ae.transform(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(path, "score", x=x), ae.score_samples(x), rtol=1e-5, atol=1e-5)
    scaled = np.abs(run(path, "reconstruction", x=x) - ae.reconstruct(x)) / np.maximum(
        spread, np.abs(ae.reconstruct(x))
    )
    assert scaled.max() <= 1e-5
    z = ae.transform(x)
    decoded = run(path, "decoded", x=X[:1], z=z)
    assert (np.abs(decoded - ae.inverse_transform(z)) / np.maximum(spread, np.abs(decoded))).max() <= 1e-5


def test_the_runner_answers_like_the_model_and_no_row_depends_on_others(
    array: tuple[ist.Autoencoder, np.ndarray, Path],
) -> None:
    ae, X, path = array
    graph = ist.OnnxModel(path, ae)
    for verb in ("transform", "reconstruct", "score_samples"):
        together = getattr(graph, verb)(X[:50])
        alone = np.concatenate([getattr(graph, verb)(X[i : i + 1]) for i in range(50)])
        np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(graph.transform(X), ae.transform(X), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="features"):
        graph.transform(X[:, :-1])
    with pytest.raises(SettingError, match=r"Codes of this model are \(n, 3\)"):
        graph.inverse_transform(np.zeros((2, 4)))


def test_pictures_keep_their_axes_and_their_type(tmp_path: Path, digits: np.ndarray) -> None:
    X = (digits.reshape(-1, 8, 8, 1) * 15.9).astype(np.uint8).repeat(3, axis=3)
    ae = ist.Autoencoder(network=ist.Conv(channels=(8,)), latent_dim=4, max_epochs=1, random_state=0).fit(X[:200])
    done = ist.export_onnx(ae, tmp_path / "model.onnx")
    assert done.sample == (8, 8, 3)
    graph = ist.OnnxModel(tmp_path / "model.onnx", ae)
    rebuilt, right = graph.reconstruct(X[:20]), ae.reconstruct(X[:20])
    assert (rebuilt.dtype, rebuilt.shape) == (right.dtype, right.shape)
    # 1e-5 of the range is .003 of a level: only numbers that lie between two levels may round to the other
    assert np.abs(rebuilt.astype(int) - right).max() <= 1
    assert (rebuilt != right).mean() < 0.01
    unrounded = run(tmp_path / "model.onnx", "reconstruction", x=X[:20].astype(np.float32))
    assert np.abs(unrounded.clip(0, 255) - right).max() <= 0.5 + 255e-5


def test_a_table_of_numbers_is_taken_as_an_array_in_the_order_of_its_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 300
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "income": np.exp(rng.normal(10, 2, n)),
            "is_new": rng.random(n) < 0.3,
            "same": np.full(n, 7.0),
        }
    )
    table.loc[rng.random(n) < 0.1, "age"] = np.nan
    ae = ist.Autoencoder(latent_dim=2, max_epochs=3, random_state=0).fit(table)
    path = tmp_path / "model.onnx"
    ist.export_onnx(ae, path)
    x = table.to_numpy(np.float64)
    np.testing.assert_allclose(run(path, "codes", x=x), ae.transform(table), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(path, "score", x=x), ae.score_samples(table), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        run(path, "reconstruction", x=x), ae.reconstruct(table).to_numpy(np.float64), rtol=1e-4, atol=1e-3
    )


def test_what_cannot_be_exported_is_refused_in_one_sentence(tmp_path: Path, digits: np.ndarray) -> None:
    table = pd.DataFrame({"a": np.arange(60.0), "town": ["Bern", "Chur", "Genf"] * 20})
    ae = ist.Autoencoder(latent_dim=2, max_epochs=1, random_state=0).fit(table)
    with pytest.raises(SettingError, match="column 'town' holds large_string values"):
        ist.export_onnx(ae, tmp_path / "model.onnx")
    told = ist.conditional(latent_dim=2, max_epochs=1, random_state=0).fit(digits[:100], np.arange(100) % 3)
    with pytest.raises(SettingError, match="conditional model"):
        ist.export_onnx(told, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_something_else_is_not_kept(
    tmp_path: Path, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus.apps.exporting import onnx

    ae = ist.Autoencoder(latent_dim=2, max_epochs=1, random_state=0).fit(digits[:100])
    other = ist.Autoencoder(latent_dim=2, max_epochs=1, random_state=1).fit(digits[100:200])
    written = onnx._written
    monkeypatch.setattr(onnx, "_written", lambda graph, about: written(onnx.Graph(other).eval(), about))
    with pytest.raises(SettingError, match=r"does not compute what the model does.*nothing was written"):
        ist.export_onnx(ae, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_of_another_model_is_not_run(array: tuple[ist.Autoencoder, np.ndarray, Path], tmp_path: Path) -> None:
    ae, X, path = array
    other = ist.Autoencoder(latent_dim=3, max_epochs=1, random_state=1).fit(X)
    with pytest.raises(ModelFileError, match="was not exported from this model"):
        ist.OnnxModel(path, other)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelFileError, match="no ONNX graph"):
        ist.OnnxModel(tmp_path / "model.onnx", ae)
    with pytest.raises(ModelFileError, match="There is no graph"):
        ist.OnnxModel(tmp_path / "nowhere.onnx", ae)


def test_the_command_writes_the_graph_into_the_model_and_a_new_model_takes_it_away(
    tmp_path: Path, digits: np.ndarray
) -> None:
    from isthmus.cli import app

    ae = ist.Autoencoder(latent_dim=2, max_epochs=1, random_state=0).fit(digits[:100])
    ae.save(str(tmp_path / "model"))
    done = CliRunner().invoke(app, ["export", str(tmp_path / "model"), "--onnx", "--json"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["path"] == str(tmp_path / "model" / "model.onnx")
    assert max(facts["differences"].values()) <= 1e-5
    ist.OnnxModel(facts["path"], ist.load(tmp_path / "model"))
    ae.save(str(tmp_path / "model"))
    assert not Path(facts["path"]).exists()


@pytest.mark.long
@pytest.mark.parametrize("entry", VARIANTS, ids=lambda entry: entry.name)
def test_every_variant_is_exported_or_refused_as_the_page_says(entry: Any, tmp_path: Path) -> None:
    X, y = data_for(entry.inputs, 120)
    X = X.values if isinstance(X, ist.Series) else X
    if entry.inputs == "series":
        X = ist.Series(X, length=24, step=1)
    ae = getattr(ist, entry.name)(random_state=0, max_epochs=1).fit(X, y)
    refused = REFUSED.get(entry.name)
    if refused is not None:
        with pytest.raises(SettingError, match=refused):
            ist.export_onnx(ae, tmp_path / "model.onnx")
        return
    done = ist.export_onnx(ae, tmp_path / "model.onnx")
    assert max(done.differences.values()) <= 1e-5
