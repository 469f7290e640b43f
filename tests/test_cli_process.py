"""The command line as its own process: quick to answer, and honest in its exit codes."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "numpy",
    "sklearn",
    "scipy",
    "pandas",
    "polars",
    "pyarrow",
    "matplotlib",
    "narwhals",
    "jinja2",
    "PIL",
    "fastapi",
    "uvicorn",
)


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["variants"], ["--version"]])
def test_help_and_catalogue_load_no_heavy_library(arguments: list[str]) -> None:
    code = (
        "import sys; from isthmus.cli import main; code = main(sys.argv[1:]); "
        f"loaded = [name for name in {HEAVY} if name in sys.modules]; print(loaded, file=sys.stderr); sys.exit(code)"
    )
    done = python("-c", code, *arguments)
    assert done.returncode == 0
    assert done.stderr == "[]\n"


def test_help_answers_in_under_half_a_second_of_cpu() -> None:
    python("-m", "isthmus", "--help")  # the first run may have to write bytecode
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("-m", "isthmus", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5
    assert "Exit codes: 0 ok" in done.stdout


def test_a_process_ends_with_the_code_of_its_error(tmp_path: Path) -> None:
    done = python("-m", "isthmus", "info", "nope", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr == "isthmus: There is no model at nope; check the path, or fit one first.\n"


@pytest.mark.long
def test_the_demo_trains_and_beats_pca(tmp_path: Path) -> None:
    done = python("-m", "isthmus", "demo", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    import json

    facts = json.loads(done.stdout)
    assert facts["seconds"] < 60
    assert facts["scores"]["model"]["squared_error"] < facts["scores"]["pca"]["squared_error"]
    assert (tmp_path / "isthmus-demo" / "report.html").is_file()
    again = python(
        "-m", "isthmus", "encode", "isthmus-demo/digits.npy", "-m", "isthmus-demo", "-o", "z.csv", cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
