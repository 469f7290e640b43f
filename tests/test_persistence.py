"""Saved models: they come back to the bit, they never leave ruins, and they say what is wrong with them."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isthmus as ist
from isthmus import persistence
from isthmus.catalogue import VARIANTS
from isthmus.errors import ModelFileError
from isthmus.folder import to_saved

SETTINGS = {"latent_dim": 3, "random_state": 0, "verbose": False, "max_epochs": 2}
MODELS = Path(__file__).parent / "models"


@pytest.fixture
def fitted(digits: np.ndarray) -> ist.Autoencoder:
    return ist.Autoencoder(**SETTINGS).fit(digits)


@pytest.mark.parametrize("entry", VARIANTS, ids=lambda entry: entry.name)
def test_every_variant_comes_back_to_the_bit(entry, digits: np.ndarray, tmp_path: Path) -> None:
    X = ist.Series(digits.reshape(-1, 8), 8, 8) if entry.inputs == "series" else digits.reshape(-1, 8, 8)
    ae = ist.variant(entry.name, **SETTINGS).fit(X, np.arange(len(X)) % 3 if entry.inputs == "labels" else None)
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(loaded.transform(X), ae.transform(X))
    assert np.array_equal(loaded.score_samples(X), ae.score_samples(X))
    assert np.array_equal(loaded.reconstruct(X), ae.reconstruct(X))
    for learned in ("scores_", "history_", "settings_", "floor_", "latent_dim_", "n_iter_", "n_features_in_"):
        assert getattr(loaded, learned) == getattr(ae, learned)
    assert np.array_equal(loaded.held_out_, ae.held_out_)


def test_a_model_answers_alike_in_another_process(fitted, digits: np.ndarray, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    np.save(tmp_path / "x.npy", digits)
    script = (
        "import sys, numpy as np, torch, isthmus; torch.set_num_threads(1); model, x, out = sys.argv[1:];"
        "np.save(out, isthmus.load(model).transform(np.load(x)))"
    )
    paths = [str(tmp_path / name) for name in ("model", "x.npy", "z.npy")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    assert np.array_equal(np.load(tmp_path / "z.npy"), fitted.transform(digits))


def test_a_loaded_model_saves_to_the_same_bytes(fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "one")
    ist.load(tmp_path / "one").save(tmp_path / "two")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_a_folder_holds_json_and_safetensors_only(fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "preprocess.json",
        "preprocess.safetensors",
        "metrics.json",
        "history.jsonl",
        "README.md",
    }


def test_the_model_card_tells_scores_beside_pca_and_how_to_use_it(fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"{fitted.scores_['pca']['squared_error']:.4g}" in card
    assert "ist.load(" in card


@pytest.mark.skipif(not MODELS.is_dir(), reason="the models of earlier formats are not in this checkout")
@pytest.mark.parametrize("folder", sorted(MODELS.iterdir()) if MODELS.is_dir() else [], ids=lambda folder: folder.name)
def test_models_of_every_released_format_load_for_ever(folder: Path) -> None:
    ae = ist.load(folder)
    expected = np.load(folder / "expected.npz")
    codes = ae.transform(np.load(folder / "x.npy")) if (folder / "x.npy").exists() else None
    if codes is None:
        codes = ae.transform(ist.read(folder / "x.csv"))
    np.testing.assert_allclose(codes, expected["codes"], atol=1e-4)


# -- what can be wrong with a folder


def spoil(folder: Path, how: str) -> None:
    if how == "foreign":
        for file in folder.iterdir():
            file.unlink()
        (folder / "notes.txt").write_text("holiday plans")
    elif how == "newer":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"format": 99, "isthmus": "9.0"}))
    elif how == "another kind":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"kind": "submarine"}))
    elif how == "truncated weights":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif how == "truncated json":
        (folder / "preprocess.json").write_text((folder / "preprocess.json").read_text()[:40])
    elif how == "a file missing":
        (folder / "history.jsonl").unlink()
    elif how == "another model's weights":
        config = json.loads((folder / "config.json").read_text())
        config["settings"]["latent_dim"] = 5
        (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("foreign", "is not an Isthmus model: it has no config.json"),
        ("newer", "was saved in format 99, by isthmus 9.0.*update isthmus"),
        ("another kind", "'submarine'.*update isthmus"),
        ("truncated weights", "model.safetensors cannot be read"),
        ("truncated json", "preprocess.json is not valid JSON"),
        ("a file missing", "history.jsonl cannot be read"),
        ("another model's weights", "do not fit"),
    ],
)
def test_a_bad_folder_is_named_with_what_is_wrong(how: str, sentence: str, fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    spoil(tmp_path / "model", how)
    with pytest.raises(ModelFileError, match=sentence) as error:
        ist.load(tmp_path / "model")
    assert str(tmp_path / "model") in str(error.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"There is no model at .*nowhere"):
        ist.load(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_old_model_whole(fitted, digits: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    fitted.save(tmp_path / "model")
    before = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}

    def full(file: Path, text: str) -> None:
        if file.name == "metrics.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        file.write_text(text)

    monkeypatch.setattr(persistence, "_write_text", full)
    other = ist.Autoencoder(**(SETTINGS | {"latent_dim": 2})).fit(digits)
    with pytest.raises(ModelFileError, match="No space left on device; nothing there was changed"):
        other.save(tmp_path / "model")
    assert {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_not_overwritten(fitted, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("It was a dark and stormy night.")
    with pytest.raises(ModelFileError, match="is not an Isthmus model; give another path"):
        fitted.save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_saving_again_replaces_the_model_and_keeps_what_lies_beside_it(fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    (tmp_path / "model" / "notes.md").write_text("mine")
    (tmp_path / "model" / "report.html").write_text("of the old model")
    fitted.save(tmp_path / "model")
    assert (tmp_path / "model" / "notes.md").read_text() == "mine"
    assert not (tmp_path / "model" / "report.html").exists()


# -- models within models -----------------------------------------------------------------------------------------------


class Pair:
    """Two autoencoders that are saved as one."""

    def __init__(self, first: ist.Autoencoder, second: ist.Autoencoder) -> None:
        self.first, self.second = first, second

    def save(self, path: Path) -> None:
        inside = {"first": to_saved(self.first), "second": to_saved(self.second)}
        persistence.write(persistence.Saved("pair", {"words": "two"}, {}, {}, {}, inside=inside), path)


@pytest.fixture
def a_pair(fitted, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Pair:
    def rebuild(saved: persistence.Saved) -> Pair:
        return Pair(*(persistence.rebuild(saved.inside[name], name) for name in ("first", "second")))

    monkeypatch.setitem(persistence._BUILDERS, "pair", rebuild)
    return Pair(fitted, ist.Autoencoder(latent_dim=1, random_state=1, max_epochs=1).fit(digits))


def test_a_model_made_of_models_comes_back_with_all_of_them(a_pair: Pair, digits, tmp_path: Path) -> None:
    a_pair.save(tmp_path / "pair")
    again = ist.load(tmp_path / "pair")
    for name in ("first", "second"):
        expected = getattr(a_pair, name).transform(digits)
        assert np.array_equal(getattr(again, name).transform(digits), expected)
        assert np.array_equal(ist.load(tmp_path / "pair" / name).transform(digits), expected), (
            "each is a model by itself"
        )


def test_a_plain_model_in_the_place_of_a_composed_one_carries_nothing_of_it_along(a_pair: Pair, tmp_path: Path) -> None:
    a_pair.save(tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    a_pair.first.save(tmp_path / "model")
    assert not (tmp_path / "model" / "first").exists()
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"


def test_a_name_that_leads_out_of_the_folder_is_refused(a_pair: Pair, tmp_path: Path) -> None:
    a_pair.save(tmp_path / "pair")
    config = json.loads((tmp_path / "pair" / "config.json").read_text())
    (tmp_path / "pair" / "config.json").write_text(json.dumps(config | {"inside": ["../elsewhere"]}))
    with pytest.raises(ModelFileError, match="names models inside as"):
        ist.load(tmp_path / "pair")
