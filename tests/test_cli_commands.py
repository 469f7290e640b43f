"""The command line, run in this process: files in, files out, one sentence when something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from isthmus import load
from isthmus.cli import main
from isthmus.cli.exits import Exit

QUICK = ["--max-epochs", "2", "--random-state", "0", "--device", "cpu"]


def write_people(path: Path, rows: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, rows)
    people = pd.DataFrame(
        {
            "age": age,
            "city": rng.choice(["Lisbon", "Porto"], rows),
            "income": (age * 700.0 + rng.normal(0, 4000, rows)).round(2),
            "debt": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows).round(3)),
            "label": rng.choice(["x", "y", "z"], rows),
        }
    )
    people.to_csv(path, index=False, na_rep="?")
    return people


class Trained:
    """A folder with people.csv and a model of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.model = folder, folder / "people.csv", folder / "model"
        self.people = write_people(self.data)
        arguments = ["fit", self.data, "-o", self.model, "--gaps", "?", "--drop", "label", "--latent-dim", "2", *QUICK]
        assert run(*arguments) == Exit.OK


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("cli"))


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is on standard error: one line, no traceback; and nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("isthmus: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_fit_writes_a_model_and_its_report(trained: Trained) -> None:
    assert (trained.model / "report.html").is_file()
    facts = json.loads((trained.model / "report.json").read_text(encoding="utf-8"))
    assert facts["data"]["source"] == "held_out"
    assert load(trained.model).codec_.feature_names == ["age", "city", "income", "debt"]


def test_fit_prints_a_summary_that_fits_80_columns(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fit", trained.data, "-o", trained.folder / "again", "--gaps", "?", "--no-report", *QUICK) == Exit.OK
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= 80 + len(str(trained.folder))
    assert "80 rows × 5 columns" in out
    assert "PCA with" in out
    assert "next" in out
    assert err == ""
    assert not (trained.folder / "again" / "report.html").exists()


def test_fit_prints_one_json_object(trained: Trained, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("fit", trained.data, "-o", tmp_path / "m", "--gaps", "?", "--json", *QUICK) == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"] == 80
    assert facts["scores"] == load(tmp_path / "m").scores_
    assert facts["settings"]["random_state"] == 0


def test_encode_gives_what_transform_gives(trained: Trained, tmp_path: Path) -> None:
    expected = load(trained.model).transform(trained.people.drop(columns="label"))
    for name, read in (("z.csv", pd.read_csv), ("z.parquet", pd.read_parquet), ("z.npy", np.load)):
        assert run("encode", trained.data, "-m", trained.model, "-o", tmp_path / name) == Exit.OK
        codes = read(tmp_path / name)
        np.testing.assert_allclose(np.asarray(codes), expected, rtol=1e-5, atol=1e-6)
    names = list(load(trained.model).get_feature_names_out())
    assert list(pd.read_csv(tmp_path / "z.csv").columns) == names


def test_decoding_codes_equals_reconstructing(trained: Trained, tmp_path: Path) -> None:
    run("encode", trained.data, "-m", trained.model, "-o", tmp_path / "z.npy")
    assert run("decode", tmp_path / "z.npy", "-m", trained.model, "-o", tmp_path / "a.parquet") == Exit.OK
    assert run("reconstruct", trained.data, "-m", trained.model, "-o", tmp_path / "b.parquet") == Exit.OK
    decoded, rebuilt = pd.read_parquet(tmp_path / "a.parquet"), pd.read_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(decoded, rebuilt)
    assert list(decoded.columns) == ["age", "city", "income", "debt"]
    assert decoded["age"].dtype.kind == "i"


def test_the_reading_of_the_training_file_is_remembered(trained: Trained, tmp_path: Path) -> None:
    headless = tmp_path / "headless.csv"
    headless.write_text("".join(trained.data.read_text().splitlines(keepends=True)[1:]))
    run("encode", trained.data, "-m", trained.model, "-o", tmp_path / "a.npy")
    assert run("encode", headless, "-m", trained.model, "-o", tmp_path / "b.npy") == Exit.OK
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_columns_unknown_to_the_model_are_named_and_not_read(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.people.assign(extra=1).to_csv(tmp_path / "more.csv", index=False)
    assert run("encode", tmp_path / "more.csv", "-m", trained.model, "-o", tmp_path / "z.npy") == Exit.OK
    assert capsys.readouterr().err == "note: columns unknown to the model were not read: 'extra'.\n"


def test_report_shows_data_and_colours_by_a_column_left_out(trained: Trained, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert run("report", trained.data, "-m", trained.model, "-o", page, "--color-by", "label") == Exit.OK
    facts = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert facts["code_map"]["label"] == "label"
    assert facts["code_map"]["values"] == trained.people["label"].tolist()
    assert facts["data"]["source"] == "held_out"


def test_report_needs_no_data(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", "-m", trained.model, "-o", tmp_path / "r.html", "--json") == Exit.OK
    assert "No data was given" in json.loads(capsys.readouterr().out)["scope"]


def test_info_says_what_the_model_is(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", trained.model) == Exit.OK
    text = capsys.readouterr().out
    assert "through a code of 2" in text
    assert "income" in text
    assert run("info", trained.model, "--json") == Exit.OK
    facts = json.loads(capsys.readouterr().out)
    assert facts["scores"]["rows"] == 8
    assert facts["reading"]["gaps"] == ["?"]


def test_variants_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    from isthmus.catalogue import VARIANTS

    assert run("variants") == Exit.OK
    text = capsys.readouterr().out
    assert all(entry.name in text for entry in VARIANTS)
    assert run("variants", "--json") == Exit.OK
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)["variants"]] == [e.name for e in VARIANTS]


def test_flags_win_over_the_configuration(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = {
        "c.toml": 'variant = "sparse"\nlatent-dim = 3\nmax_epochs = 9\ndrop = ["label"]\ngaps = "?"\n[options]\nweight = 0.5\n',
        "c.yaml": "variant: sparse\nlatent_dim: 3\nmax_epochs: 9\ndrop: label\ngaps: ['?']\noptions: {weight: 0.5}\n",
    }
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
        arguments = ["fit", trained.data, "-o", tmp_path / "m", "--config", tmp_path / name, "--json", "--no-report"]
        assert run(*arguments, *QUICK) == Exit.OK
        facts = json.loads(capsys.readouterr().out)
        assert facts["epochs"] == 2
        assert facts["latent_dim"] == 3
        assert facts["settings"]["penalties"] == [{"part": "L1", "weight": 0.5, "layers": "code"}]
        assert facts["columns"] == ["age", "city", "income", "debt"]


def test_images_are_read_from_and_written_to_folders(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (24, 6, 6)).astype(np.uint8)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "in" / f"p{place:02d}.png")
    model, codes = tmp_path / "m", tmp_path / "z.csv"
    assert run("fit", tmp_path / "in", "-o", model, "--latent-dim", "3", *QUICK) == Exit.OK
    assert run("encode", tmp_path / "in", "-m", model, "-o", codes) == Exit.OK
    assert pd.read_csv(codes)["file"].tolist() == [f"p{place:02d}.png" for place in range(24)]
    assert run("decode", codes, "-m", model, "-o", tmp_path / "decoded") == Exit.OK
    assert run("reconstruct", tmp_path / "in", "-m", model, "-o", tmp_path / "rebuilt") == Exit.OK
    assert sorted(file.name for file in (tmp_path / "rebuilt").iterdir())[0] == "p00.png"
    assert len(list((tmp_path / "decoded").iterdir())) == 24


def test_a_series_comes_back_as_long_as_it_was(tmp_path: Path) -> None:
    time = np.arange(200)
    pd.DataFrame({"a": np.sin(time / 5), "b": np.cos(time / 9)}).to_csv(tmp_path / "s.csv", index=False)
    arguments = ["--window", "20", "--step", "4", "--latent-dim", "3"]
    assert run("fit", tmp_path / "s.csv", "-o", tmp_path / "m", *arguments, *QUICK) == Exit.OK
    assert run("reconstruct", tmp_path / "s.csv", "-m", tmp_path / "m", "-o", tmp_path / "back.csv") == Exit.OK
    back = pd.read_csv(tmp_path / "back.csv")
    assert back.shape == (200, 2)
    assert list(back.columns) == ["a", "b"]


def test_a_checkpoint_is_taken_up_again(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "fit",
        trained.data,
        "-o",
        tmp_path / "m",
        "--gaps",
        "?",
        "--checkpoint",
        tmp_path / "c",
        "--json",
        *QUICK,
    ]
    assert run(*arguments) == Exit.OK
    assert (tmp_path / "c" / "checkpoint.safetensors").is_file()
    first = json.loads(capsys.readouterr().out)["scores"]
    assert run(*arguments) == Exit.OK
    assert json.loads(capsys.readouterr().out)["scores"] == first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["fit", "nope.csv", "-o", "{new}"], Exit.DATA, "nope.csv"),
        (["fit", "{data}", "-o", "{new}", "--drop", "zzz"], Exit.DATA, "no column 'zzz'"),
        (["fit", "{data}", "-o", "{new}", "--variant", "nope"], Exit.SETTING, "`isthmus variants` lists them"),
        (["fit", "{data}", "-o", "{new}", "--effort", "slow"], Exit.SETTING, "quick, default, thorough"),
        (["fit", "{data}", "-o", "{new}", "--scale", "big"], Exit.SETTING, "auto, common, columns"),
        (["fit", "{data}", "-o", "{new}", "--latent-dim", "many"], Exit.SETTING, "or 'auto'"),
        (["fit", "{data}", "-o", "{new}", "--option", "beta=2"], Exit.SETTING, "--variant"),
        (["fit", "{data}", "-o", "{new}", "--option", "beta"], Exit.SETTING, "key=value"),
        (
            ["fit", "{data}", "-o", "{new}", "--variant", "variational", "--option", "b=2"],
            Exit.SETTING,
            "its options: beta",
        ),
        (["fit", "{data}", "-o", "{new}", "--config", "nope.toml"], Exit.SETTING, "nope.toml"),
        (["fit", "{data}", "-o", "{folder}"], Exit.MODEL, "is not an Isthmus model"),
        (["encode", "{data}", "-m", "nope", "-o", "{new}.csv"], Exit.MODEL, "There is no model at nope"),
        (["encode", "{data}", "-m", "{model}", "-o", "{new}.xyz"], Exit.DATA, "'.xyz'"),
        (["encode", "{data}", "-m", "{model}", "-o", "{new}/z.csv"], Exit.DATA, "no folder"),
        (["encode", "{page}", "-m", "{model}", "-o", "{new}.csv"], Exit.DATA, "of no known kind"),
        (["decode", "{data}", "-m", "{model}", "-o", "{new}.csv"], Exit.DATA, "a code of this model has 2"),
        (["reconstruct", "{data}", "-m", "{model}", "-o", "{new}.png"], Exit.DATA, "cannot hold a table"),
        (["report", "-m", "{model}", "-o", "{new}.txt"], Exit.DATA, "does not end in .html"),
        (["report", "-m", "{model}", "-o", "{new}.html", "--color-by", "age"], Exit.DATA, "give the data too"),
        (["info", "nope"], Exit.MODEL, "There is no model at nope"),
    ],
)
def test_mistakes_end_in_one_sentence_and_their_code(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: Exit, words: str
) -> None:
    places = {
        "data": trained.data,
        "model": trained.model,
        "folder": trained.folder,
        "page": trained.model / "report.html",
        "new": tmp_path / "new",
    }
    assert run(*(argument.format(**places) for argument in arguments)) == code
    assert words in sentence(capsys)
    assert list(tmp_path.iterdir()) == []


def test_usage_errors_have_code_2() -> None:
    assert run("fit") == Exit.USAGE
    assert run("frobnicate") == Exit.USAGE
    assert run("info", "--frobnicate") == Exit.USAGE


def test_a_missing_column_is_named(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained.people.drop(columns="age").to_csv(tmp_path / "less.csv", index=False)
    assert run("encode", tmp_path / "less.csv", "-m", trained.model, "-o", tmp_path / "z.csv") == Exit.DATA
    assert "no column 'age'" in sentence(capsys)


def test_an_unknown_key_of_the_configuration_is_named(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text("latent_dm = 3\n")
    arguments = ["fit", trained.data, "-o", tmp_path / "m", "--config", tmp_path / "c.toml"]
    assert run(*arguments) == Exit.SETTING
    assert "'latent_dm'" in sentence(capsys)


def test_a_full_disk_is_one_sentence_that_names_the_path() -> None:
    from isthmus.cli.exits import explain

    code, words = explain(OSError(28, "No space left on device", "/somewhere/z.csv"))
    assert code == Exit.DATA
    assert "/somewhere/z.csv" in words
    assert "No space left on device" in words


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "nope", "--debug") == Exit.MODEL
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("isthmus: There is no model")


def test_an_interrupted_training_is_saved_and_ends_with_130(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isthmus import training

    def interrupt(good: training.Snapshot) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Snapshot, "renew", interrupt)
    assert run("fit", trained.data, "-o", tmp_path / "m", "--gaps", "?", *QUICK) == Exit.INTERRUPTED
    assert load(tmp_path / "m").history_.stopped == "interrupted"


def test_the_input_is_never_written_over(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.csv"
    own.write_bytes(trained.data.read_bytes())
    before = own.read_bytes()
    for verb in ("encode", "reconstruct"):
        assert main([verb, str(own), "-m", str(trained.model), "-o", str(own)]) == 3
    assert own.read_bytes() == before
    assert "is the input; give -o another name" in capsys.readouterr().err


def test_a_read_only_file_is_not_replaced(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    precious = tmp_path / "precious.csv"
    precious.write_text("1,2,3")
    precious.chmod(0o444)
    assert main(["encode", str(trained.data), "-m", str(trained.model), "-o", str(precious)]) == 3
    assert precious.read_text() == "1,2,3"
    assert "is read-only" in capsys.readouterr().err
