"""What the uses of a model are asked that cannot be: each answers in one sentence that says what to do instead."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.cli import main
from isthmus.cli.exits import Exit
from isthmus.errors import IsthmusError

QUICK = {"max_epochs": 3, "random_state": 0, "verbose": False}


def table(rows: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = rng.normal(size=rows)
    kind = np.where(size > 0, "large", "small")
    return pd.DataFrame({"size": size, "weight": 2 * size + 0.1 * rng.normal(size=rows), "kind": kind})


@pytest.fixture(scope="module")
def ae() -> ist.Autoencoder:
    return ist.Autoencoder(latent_dim=2, **QUICK).fit(table())


@pytest.fixture(scope="module")
def conditional() -> ist.Autoencoder:
    return ist.conditional(latent_dim=2, condition="kind", **QUICK).fit(table())


@pytest.fixture(scope="module")
def detector() -> ist.AnomalyDetector:
    return ist.AnomalyDetector(
        autoencoder=ist.Autoencoder(latent_dim=2, **QUICK), novelty=True, alpha=0.2, random_state=0
    ).fit(table(200))


@pytest.fixture(scope="module")
def synthesizer() -> ist.Synthesizer:
    return ist.Synthesizer(random_state=0).fit(table())


@pytest.fixture(scope="module")
def folder(
    ae: ist.Autoencoder,
    conditional: ist.Autoencoder,
    synthesizer: ist.Synthesizer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    path = tmp_path_factory.mktemp("uses")
    table().to_csv(path / "rows.csv", index=False)
    ae.save(path / "model")
    conditional.save(path / "conditional")
    ist.Autoencoder(latent_dim=1, **QUICK).fit(table()).save(path / "other")
    ist.Index(ae, table()).save(path / "index")
    synthesizer.save(path / "synthesizer")
    return path


def without_codes(ae: ist.Autoencoder, folder: Path) -> ist.Autoencoder:
    """A model that kept no codes of its training rows."""
    ae.save(folder)
    bare = ist.load(folder)
    bare.codes_ = bare.codes_[:0]
    bare._sampling = bare._sampling._replace(sampler=None, state={})
    return bare


def refused(said: str):
    return pytest.raises(IsthmusError, match=re.escape(said))


# -- sample, interpolate, traverse --------------------------------------------------------------------------------------


def test_a_sampler_is_asked_of_a_model_that_kept_no_codes(ae, tmp_path) -> None:
    bare = without_codes(ae, tmp_path / "bare")
    for ask in (lambda: bare.sample(3), lambda: bare.set_params(sampler="aggregated").sample(3)):
        with refused("kept no codes of its training rows"):
            ask()
    with refused("kept no codes of its training rows, which say how far a number moves; fit again"):
        ist.traverse(bare, table())


def test_samples_that_cannot_be_drawn(ae, conditional) -> None:
    with refused("sample(n=0) must ask for at least 1 sample"):
        ae.sample(0)
    with refused("This model has no condition"):
        ae.sample(3, condition={"kind": "large"})
    with refused("sampler='dice' is not known"):
        ist.Autoencoder(latent_dim=2, sampler="dice", **QUICK).fit(table()).sample(2)


def test_a_condition_that_no_row_meets(conditional) -> None:
    with refused("huge"):
        conditional.sample(3, condition={"kind": "huge"})
    with refused("colour"):
        conditional.sample(3, condition={"colour": "red"})


def test_a_wish_that_no_row_meets(synthesizer, monkeypatch) -> None:
    with refused("kind=huge; it holds large, small"):
        synthesizer.sample(3, where={"kind": "huge"})
    with refused("no row of the training data has size=50.."):
        synthesizer.sample(3, where={"size": (50, None)})
    monkeypatch.setattr("isthmus.apps.synthesis.drawing.MOST_TRIES", 2000)
    with refused("rows drawn met kind=small and size=2..9, too few to make 5 of them: ask for less"):
        synthesizer.sample(5, where={"kind": "small", "size": (2, 9)}, random_state=0)


def test_variations_of_what_has_no_neighbours(ae) -> None:
    df, labels = table(), np.array(["usual"] * 78 + ["rare"] * 2)
    with refused("2 samples with the label 'rare' show no spread; give at least 3"):
        ist.augment(ae, df, y=labels)
    with refused("label 'rare' has 2 rows, fewer than 5 folds"):
        ist.augmentation_gain(ae, df, labels)
    with refused("strength=-1 must be a number of at least 0"):
        ist.augment(ae, df, strength=-1)
    with refused("y has 3 labels, but there are 80 rows"):
        ist.augment(ae, df, y=labels[:3])


def test_walks_that_have_no_ends(ae) -> None:
    df = table()
    with refused("a has 2 rows and b has 3"):
        ist.interpolate(ae, df[:2], df[:3])
    with refused("steps=1 must be a whole number of at least 2"):
        ist.interpolate(ae, df[:1], df[1:2], steps=1)
    with refused("path='winding' is not known"):
        ist.interpolate(ae, df[:1], df[1:2], path="winding")
    with refused("is no number of this code"):
        ist.traverse(ae, df[:1], dims=[7])


# -- cluster, search ----------------------------------------------------------------------------------------------------


def test_more_groups_or_neighbours_than_rows(ae) -> None:
    with refused("n_clusters=500 is more than the 80 rows"):
        ist.Clusterer(500, autoencoder=ae).fit(table())
    with refused("k=500 must be a whole number from 1 to 79"):
        ist.Index(ae, table()).query(rows=[0], k=500)
    with refused("k=81 must be a whole number from 1 to 80"):
        ist.Index(ae, table()).query(table()[:1], k=81)
    with refused("rows asks for row 80, but the index has 80"):
        ist.Index(ae, table()).query(rows=[80])


def test_rows_that_all_have_one_code() -> None:
    same = np.ones((20, 3))
    with pytest.raises(IsthmusError):
        ist.Clusterer(autoencoder=ist.Autoencoder(latent_dim=1, **QUICK)).fit(same)


def test_an_index_of_another_model(ae, folder) -> None:
    other = ist.Autoencoder(latent_dim=2, **(QUICK | {"random_state": 5})).fit(table()[::-1])
    with refused("was made with another model"):
        ist.Index.load(folder / "index", other).query(table()[:1])


# -- denoise ------------------------------------------------------------------------------------------------------------


def test_pictures_smaller_than_a_tile_and_rows_that_cannot_be_denoised() -> None:
    rng, numbers = np.random.default_rng(0), table()[["size", "weight"]]
    with refused("smaller than a tile of 32 x 32; set tile=12"):
        ist.Denoiser(tile=32).fit(rng.random((30, 12, 12)))
    with refused("too small to be restored alone"):
        ist.Denoiser(regime="single").fit_transform(rng.random((5, 5)))
    numbers.loc[3] = np.nan
    with refused("have gaps"):
        ist.Denoiser().fit(numbers)
    with refused("say how strong it is"):
        ist.Denoiser(regime="noisy").fit(table()[["size", "weight"]])


# -- impute, detect -----------------------------------------------------------------------------------------------------


def test_a_row_without_any_cell(ae, detector) -> None:
    df = table()
    df.loc[3] = [np.nan, np.nan, None]
    filled = ist.Imputer(autoencoder=ae).fit(df).transform(df)
    assert not filled.loc[3].isna().any()
    np.testing.assert_array_equal(filled.drop(index=3), df.drop(index=3))
    assert np.isfinite(detector.anomaly_score(df)).all()
    assert np.isfinite(ae.transform(df)).all()
    assert ist.Clusterer(2, autoencoder=ae, random_state=0).fit(df).labels_.shape == (80,)
    assert ist.Index(ae, table()).query(df.iloc[[3]], k=1).positions.shape == (1, 1)


def test_tables_with_other_columns(ae, detector) -> None:
    wrong = table().rename(columns={"weight": "mass"})
    for ask in (
        ae.transform,
        detector.predict,
        lambda X: ist.Index(ae, X),
        lambda X: ist.Imputer(autoencoder=ae).fit(X),
    ):
        with pytest.raises((IsthmusError, ValueError), match="weight"):
            ask(wrong)


def test_what_was_never_fitted() -> None:
    from sklearn.exceptions import NotFittedError

    fresh, df = ist.Autoencoder(), table()
    asks = (
        lambda: fresh.sample(2),
        lambda: ist.interpolate(fresh, df[:1], df[1:2]),
        lambda: ist.traverse(fresh, df),
        lambda: ist.Imputer(autoencoder=fresh).fit(df),
        lambda: ist.AnomalyDetector().predict(df),
        lambda: ist.Clusterer().predict(df),
        lambda: ist.Imputer().transform(df),
        lambda: ist.code_quality(fresh, df),
        lambda: ist.code_map(fresh, df),
        lambda: ist.report(fresh),
    )
    for ask in asks:
        with pytest.raises(NotFittedError, match="fit"):
            ask()


# -- the same from the shell --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("sample -m model -o new.csv -n 0", "at least 1 sample"),
        ("sample -m model -o new.csv --sampler dice", "'dice' is not known"),
        ("sample -m model -o new.csv --condition kind=large", "This model has no condition"),
        ("sample -m conditional -o new.csv --condition kind=huge", "huge"),
        ("sample -m conditional -o new.csv --condition large", "names no column"),
        ("sample -m nowhere -o new.csv", "no model at"),
        ("sample -m synthesizer -o new.csv --where kind=huge", "kind=huge; it holds large, small"),
        ("sample -m synthesizer -o new.csv --where size=50..", "no row of the training data has size=50.."),
        ("sample -m synthesizer -o new.csv --where large", "write COLUMN=VALUE"),
        ("denoise rows.csv -m model -o clean.csv", "is a saved Autoencoder; give a denoiser"),
        ("denoise rows.csv --clean nowhere.csv -o clean.csv", "nowhere.csv"),
        ("augment rows.csv -m synthesizer -o more.csv", "is a saved Synthesizer; give an autoencoder"),
        ("augment rows.csv -m model -o more.csv --labels kind", "the model was trained on the column 'kind'"),
        ("interpolate rows.csv -m model -o walk.csv --rows 0,80", "the data has the rows 0 to 79"),
        ("interpolate rows.csv -m model -o walk.csv --rows 0", "must name two rows"),
        ("interpolate rows.csv -m model -o walk.csv --rows 0,1 --path winding", "'winding' is not known"),
        ("cluster rows.csv -m model -o groups.csv -k 500", "more than the 80 rows"),
        ("cluster rows.csv -m model -o groups.csv -k many", "n_clusters='many' must be a whole number"),
        ("search rows.csv -m model -o near.csv --query 0 -k 500", "k=500 must be a whole number from 1 to 79"),
        ("search rows.csv -m model -o near.csv --query 0,80", "rows asks for row 80"),
        ("search rows.csv -m other -o near.csv --query 0 --index index", "another model"),
        ("impute rows.csv -m index -o full.csv", "is a saved Index; give an imputer or an autoencoder"),
        ("features rows.csv -m index", "is a saved Index; give an autoencoder"),
        ("encode rows.csv -m index -o codes.csv", "is a saved Index; give an autoencoder"),
        ("sample -m index -o new.csv", "is a saved Index; give an autoencoder"),
        ("cluster rows.csv -m index -o groups.csv", "is a saved Index; give an autoencoder"),
        ("detect rows.csv -m nowhere -o flagged.csv", "no model at"),
    ],
)
def test_the_shell_answers_in_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    monkeypatch.chdir(folder)
    assert main(words.split()) not in (Exit.OK, 1)
    answer = capsys.readouterr().err.strip()
    assert said in " ".join(answer.split())
    assert answer.startswith("isthmus: ")
    assert "\n" not in answer
