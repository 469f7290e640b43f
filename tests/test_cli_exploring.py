"""`isthmus explore`: what it refuses, and what the server of its page lets through."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import isthmus as ist
from isthmus.apps.exploring import Exploration
from isthmus.cli import main
from isthmus.cli.exits import Exit
from isthmus.cli.exploring import _free
from isthmus.web.app import Settings, create_app
from isthmus.web.exploring import Explorer
from isthmus.web.models import Served
from isthmus.web.pages import STATIC, explorer_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: np.ndarray) -> Path:
    root = tmp_path_factory.mktemp("explore")
    ist.Autoencoder(latent_dim=2, max_epochs=1, random_state=0, verbose=False).fit(digits[:80]).save(root / "model")
    np.save(root / "rows.npy", digits[:80])
    np.save(root / "square.npy", np.zeros((3, 3)))
    return root


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run the command, which must refuse; what it says."""
    assert main(["explore", *map(str, words), "--no-browser"]) != Exit.OK
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


def test_what_cannot_be_explored_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, rows = folder / "model", folder / "rows.npy"
    assert "there is no key" in refused(capsys, model, rows, "--host", "0.0.0.0")
    assert "give the data too" in refused(capsys, model, "--labels", rows)
    assert "no list of labels" in refused(capsys, model, rows, "--labels", folder / "square.npy")
    assert "not known; use auto, pca, umap" in refused(capsys, model, rows, "--map", "tsne")
    assert "is not an Isthmus model: it has no config.json" in refused(capsys, folder, rows)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is in use; give --port N" in refused(capsys, model, rows, "--port", port)


def test_the_first_free_port_is_taken() -> None:
    first = _free("127.0.0.1", None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        assert first < _free("127.0.0.1", None) < first + 50


@pytest.fixture(scope="module")
def ask(folder: Path) -> Any:
    """Ask the application in this process, which knows a key."""
    ae = ist.load(folder / "model")
    found = Exploration(ae, np.load(folder / "rows.npy"))
    app = create_app(
        [Served("m", ae).prepared()], Settings(key="a long and secret key"), [explorer_page(Explorer(found, "m"))]
    )
    app.open |= STATIC.keys()

    def ask(method: str, path: str, key: str | None = "a long and secret key", **given: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                headers = {} if key is None else {"authorization": f"Bearer {key}"}
                return await client.request(method, path, headers=headers, **given)

        return asyncio.run(asked())

    return ask


def test_the_page_is_open_and_the_model_is_not(ask: Any) -> None:
    for path, (_, kind) in STATIC.items():
        answer = ask("GET", path, key=None)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
    for path in ("/explore", "/explore/points", "/explore/rows/0"):
        assert ask("GET", path, key=None).status_code == 401
        assert ask("GET", path, key="a long and wrong key!").status_code == 401
        assert ask("GET", path).status_code == 200


def test_questions_that_make_no_sense_get_their_status_and_one_sentence(ask: Any) -> None:
    for method, path, body, status in (
        ("GET", "/explore/nowhere", None, 404),
        ("GET", "/explore/../../etc/passwd", None, 404),
        ("GET", "/explore/rows/80", None, 422),
        ("POST", "/explore/decode", b"{", 400),
        ("POST", "/explore/decode", b'{"codes": [[1, 2, 3]]}', 422),
        ("POST", "/explore/rows/1", b"{}", 404),
        ("PUT", "/explore/points", b"", 405),
        ("GET", "/explorer.map", None, 404),
    ):
        answer = ask(method, path, content=body)
        assert answer.status_code == status, (path, answer.text)
        assert answer.json()["error"].endswith(".")
        assert "Traceback" not in answer.text


def test_what_is_kept_comes_as_a_file(ask: Any) -> None:
    answer = ask("POST", "/explore/kept", json={"kept": [{"seed": 0, "n": 2, "place": 1}]})
    assert answer.headers["content-disposition"] == 'attachment; filename="samples.npy"'
