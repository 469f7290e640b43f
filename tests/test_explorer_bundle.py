"""The explorer page that is committed is the one that its sources build, small, and asks nobody else for anything."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.web.pages import STATIC

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "src/isthmus/web/static"
WEB = ROOT / "web"
NAMES = {"index.html", "explorer.js", "explorer.css", "widget.js", "icon.svg"}


def node() -> str:
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("Node is not here; the page cannot be built again")
    if not (WEB / "node_modules/vite").is_dir():
        pytest.skip("the tools of the page are not here (cd web && npm ci)")
    return npx


def test_every_file_of_the_page_is_there_and_all_are_small() -> None:
    files = list(BUILT.iterdir())
    assert {file.name for file in files} == NAMES
    assert {name for name, _ in STATIC.values()} == NAMES - {"widget.js"}
    assert sum(file.stat().st_size for file in files) < 500_000


def test_the_page_refers_to_no_other_place() -> None:
    for file in BUILT.iterdir():
        named = set(re.findall(r"https?://[^\s\"'`)]+", file.read_text("utf-8")))
        assert named <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}, file.name


def test_the_page_has_neither_inline_scripts_nor_inline_styles() -> None:
    page = (BUILT / "index.html").read_text("utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert "eval(" not in (BUILT / "explorer.js").read_text("utf-8")


@pytest.mark.parametrize("configuration", ["vite.config.ts", "vite.widget.config.ts"])
def test_what_is_committed_is_what_the_sources_build(tmp_path: Path, configuration: str) -> None:
    command = [node(), "vite", "build", "--config", configuration, "--outDir", str(tmp_path), "--emptyOutDir"]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True, text=True)
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (BUILT / file.name).read_bytes(), f"{file.name}: run `make page`"


@pytest.mark.long
@pytest.mark.parametrize(
    "command", [["tsc", "--noEmit"], ["biome", "check", "--error-on-warnings", "."], ["vitest", "run"]]
)
def test_the_sources_of_the_page_pass_their_own_checks(command: list[str]) -> None:
    done = subprocess.run([node(), *command], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
