"""The service answers what the library answers, refuses in one sentence, and stays up."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import isthmus as ist
from isthmus.inference import few_at_once
from isthmus.web import Served, Settings, create_app
from isthmus.web.bodies import ARROW, ARROW_FILE, JSON, NPY, PARQUET
from isthmus.web.guard import Limits
from isthmus.web.logs import log_to_stderr

KEY = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    size = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "size": 10 + 3 * size,
            "weight": 5 + size + rng.normal(size=n) * 0.1,
            "town": np.where(size > 0, "Bern", "Chur"),
            "is_new": rng.random(n) < 0.4,
            "seen": pd.to_datetime("2026-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
        }
    )
    frame.loc[rng.random(n) < 0.1, "weight"] = np.nan
    return frame


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, digits: np.ndarray, table: pd.DataFrame) -> dict[str, Path]:
    """Models of every kind of rows, saved."""
    root = tmp_path_factory.mktemp("models")
    quick: dict[str, Any] = {"latent_dim": 3, "max_epochs": 2, "random_state": 0}
    digits_ae = ist.Autoencoder(**quick).fit(digits[:300])
    made = {
        "digits": digits_ae,
        "pictures": ist.Autoencoder(**quick).fit((digits[:200] * 15).astype(np.uint8).reshape(-1, 8, 8)),
        "table": ist.Autoencoder(**quick).fit(table),
        "odd": ist.AnomalyDetector(random_state=0).fit(digits[:150, 8:16]),
        "told": ist.conditional(**quick).fit(digits[:200], np.arange(200) % 3),
    }
    for name, model in made.items():
        model.save(str(root / name))
    ist.Index(digits_ae, digits[:300], metadata={"number": np.arange(300)}).save(root / "index")
    return {name: root / name for name in (*made, "index")}


@pytest.fixture(scope="module")
def served(folders: dict[str, Path]) -> list[Served]:
    return [
        Served.load(name, folders[name], folders["index"] if name == "digits" else None)
        for name in ("digits", "pictures", "table", "odd", "told")
    ]


class Client:
    """Asks an application in this process, without a network."""

    def __init__(self, served: list[Served], **settings: Any) -> None:
        self.app = create_app(served, Settings(**settings))

    def __call__(self, method: str, path: str, **given: Any) -> httpx.Response:
        return asyncio.run(self.ask(method, path, **given))

    async def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, **given)


@pytest.fixture(scope="module")
def client(served: list[Served]) -> Client:
    return Client(served)


def npy(array: np.ndarray, **settings: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **settings)
    return out.getvalue()


def post(client: Client, path: str, body: bytes, kind: str, accept: str = JSON) -> httpx.Response:
    return client("POST", f"/v1/models/{path}", content=body, headers={"content-type": kind, "accept": accept})


def one_sentence(answer: httpx.Response, status: int) -> str:
    """Check that an answer is a refusal as they all must be, and return what it says."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said.keys() == {"error", "request_id"}
    assert "Traceback" not in answer.text
    assert "\n" not in said["error"]
    assert answer.headers["x-request-id"] == said["request_id"]
    return said["error"]


# -- answers ------------------------------------------------------------------------------------------------------------


def test_every_verb_says_to_the_last_bit_what_the_library_says(
    client: Client, served: list[Served], digits: np.ndarray
) -> None:
    ae, X = served[0].model, digits[:5]
    with few_at_once(served[0].few):
        right = {"encode": ae.transform(X), "reconstruct": ae.reconstruct(X), "score": ae.score_samples(X)}
        decoded = ae.inverse_transform(ae.transform(X))
        drawn = ae.sample(3, 7)
        walk = ist.interpolate(ae, X[:1], X[1:2], steps=4, path="spherical")
    names = {"encode": "codes", "reconstruct": "rows", "score": "score_samples"}
    for verb, values in right.items():
        found = client("POST", f"/v1/models/digits/{verb}", json={"rows": X.tolist()}).json()
        np.testing.assert_array_equal(found[names[verb]], values)
    codes = right["encode"].tolist()
    np.testing.assert_array_equal(
        client("POST", "/v1/models/digits/decode", json={"codes": codes}).json()["rows"], decoded
    )
    found = client("POST", "/v1/models/digits/sample?n=3&random_state=7").json()
    np.testing.assert_array_equal(found["rows"], drawn)
    ends = {"a": X[:1].tolist(), "b": X[1:2].tolist()}
    found = client("POST", "/v1/models/digits/interpolate?steps=4&path=spherical", json=ends).json()
    np.testing.assert_array_equal(found["rows"], walk.samples)
    np.testing.assert_array_equal(found["codes"], walk.codes)
    # in the library's own large chunks sums are rounded otherwise, and no more than that
    np.testing.assert_allclose(right["encode"], ae.transform(X), rtol=1e-5, atol=1e-5)


def test_neighbours_are_those_of_the_index(client: Client, served: list[Served], digits: np.ndarray) -> None:
    index = served[0].index
    assert index is not None
    with few_at_once(served[0].few):
        right = index.query(digits[:4], 3).to_dict()
    body = {"rows": digits[:4].tolist()}
    assert client("POST", "/v1/models/digits/neighbours?k=3", json=body).json() == right
    codes = {"codes": served[0].model.transform(digits[:1]).tolist()}
    found = client("POST", "/v1/models/digits/neighbours?k=1", json=codes).json()
    assert found["neighbours"][0][0]["number"] == 0
    stream = post(client, "digits/neighbours?k=3", npy(digits[:4]), NPY, ARROW)
    assert pa.ipc.open_stream(stream.content).read_all().num_rows == 12


def test_a_detector_says_score_p_value_and_flag(client: Client, served: list[Served], digits: np.ndarray) -> None:
    detector = served[3].model
    X = np.concatenate([digits[:20, 8:16], np.full((1, 8), 300.0)])
    with few_at_once(served[3].few):
        scores, p_values, flags = detector.anomaly_score(X), detector.p_values(X), detector.predict(X) == -1
    found = client("POST", "/v1/models/odd/detect", json={"rows": X.tolist()}).json()
    np.testing.assert_array_equal(found["anomaly_score"], scores)
    np.testing.assert_array_equal(found["p_value"], p_values)
    assert found["flagged"] == flags.tolist()
    assert found["flagged"][-1]
    assert "no such" not in one_sentence(client("POST", "/v1/models/odd/encode", json={"rows": X.tolist()}), 404)


def test_all_forms_of_rows_get_the_same_answer(client: Client, digits: np.ndarray, table: pd.DataFrame) -> None:
    X = digits[:6]
    right = client("POST", "/v1/models/digits/encode", json={"rows": X.tolist()}).json()["codes"]
    for body in (npy(X), npy(np.asfortranarray(X)), npy(X.astype(">f8"))):
        answer = post(client, "digits/encode", body, NPY, NPY)
        np.testing.assert_array_equal(np.load(io.BytesIO(answer.content), allow_pickle=False), np.float32(right))
    columns = post(client, "digits/encode", npy(X), NPY, "application/octet-stream")
    assert columns.headers["x-shape"] == "6,3"
    np.testing.assert_array_equal(np.frombuffer(columns.content, "<f4").reshape(3, 6).T, np.float32(right))

    rows = pa.Table.from_pandas(table.head(9), preserve_index=False)
    as_text = json.loads(table.head(9).to_json(orient="records", date_format="iso"))
    for row in as_text:
        row["seen"] = row["seen"].removesuffix("Z").removesuffix(".000")
    right = client("POST", "/v1/models/table/reconstruct", json={"rows": as_text})
    assert right.status_code == 200, right.text
    stream, file, parquet = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with pa.ipc.new_stream(stream, rows.schema) as writer:
        writer.write_table(rows)
    with pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows)
    pq.write_table(rows, parquet)
    for body, kind in ((stream, ARROW), (file, ARROW_FILE), (parquet, PARQUET)):
        answer = post(client, "table/reconstruct", body.getvalue(), kind)
        assert answer.json() == right.json()
    as_parquet = post(client, "table/reconstruct", parquet.getvalue(), PARQUET, PARQUET)
    assert pq.read_table(io.BytesIO(as_parquet.content)).column_names == list(table.columns)


def test_a_conditional_model_is_told(client: Client, served: list[Served], digits: np.ndarray) -> None:
    ae = served[4].model
    body = {"rows": digits[:2].tolist(), "condition": 1}
    found = client("POST", "/v1/models/told/encode", json=body).json()["codes"]
    with few_at_once(served[4].few):
        np.testing.assert_array_equal(found, ae.transform(digits[:2], condition=1))
    one_sentence(client("POST", "/v1/models/told/encode", json=body | {"condition": 17}), 422)
    one_sentence(client("POST", "/v1/models/digits/encode", json=body), 422)


def test_every_example_of_the_description_is_answered(client: Client) -> None:
    paths = client("GET", "/openapi.json").json()["paths"]
    asked = 0
    for path, item in paths.items():
        if "post" in item:
            example = item["post"]["requestBody"]["content"][JSON]["example"]
            answer = client("POST", path, json=example)
            assert answer.status_code == 200, (path, answer.text)
            asked += 1
    assert asked == 4 * 6 + 1 + 2
    listed = client("GET", "/v1/models").json()["models"]
    assert [each["name"] for each in listed] == ["digits", "pictures", "table", "odd", "told"]


# -- together -----------------------------------------------------------------------------------------------------------


def test_requests_that_wait_together_are_computed_together_and_get_the_answers_they_get_alone(
    served: list[Served], digits: np.ndarray
) -> None:
    client = Client(served)
    bodies = [npy(digits[i : i + 1 + i % 3]) for i in range(60)]
    bad = npy(np.full((1, 64), np.inf))
    alone = [post(client, "digits/reconstruct", body, NPY, NPY).content for body in bodies]

    async def crowd() -> list[httpx.Response]:
        asked = [bodies[i // 2] if i % 2 else bad for i in range(120)]
        headers = {"content-type": NPY, "accept": NPY}
        path = "/v1/models/digits/reconstruct"
        return await asyncio.gather(*(client.ask("POST", path, content=body, headers=headers) for body in asked))

    answers = asyncio.run(crowd())
    assert {answer.status_code for answer in answers[::2]} == {422}
    assert [answer.content for answer in answers[1::2]] == alone
    text = client("GET", "/metrics").text
    line = next(line for line in text.splitlines() if 'batch_rows_count{model="digits",verb="reconstruct"}' in line)
    assert int(line.split()[-1]) < 60 + 30  # of the 60 that came together some were computed together


def test_one_that_fails_does_not_fail_those_it_was_computed_with(served: list[Served], table: pd.DataFrame) -> None:
    from isthmus.errors import DataError
    from isthmus.web.batching import Batcher, Turn

    def compute(rows: np.ndarray) -> np.ndarray:
        if (rows < 0).any():
            raise DataError("a row is negative.")
        return rows * 2

    async def ask() -> list[Any]:
        seen: list[int] = []
        batcher = Batcher(compute, Turn(lambda: None), lambda rows, _: seen.append(rows))
        wanted = [np.full(i % 4 + 1, -1.0 if i == 5 else i) for i in range(12)]
        found = await asyncio.gather(*(batcher(rows, "kind") for rows in wanted), return_exceptions=True)
        long = await batcher(np.arange(1000.0), "kind")
        np.testing.assert_array_equal(long, 2 * np.arange(1000.0))
        assert max(seen) <= 256
        return found

    found = asyncio.run(ask())
    assert isinstance(found[5], DataError)
    for i, values in enumerate(found):
        if i != 5:
            np.testing.assert_array_equal(values, np.full(i % 4 + 1, 2.0 * i))


def test_the_graph_answers_in_the_place_of_torch(folders: dict[str, Path], digits: np.ndarray) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'isthmus[onnx]'")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install 'isthmus[onnx]'")
    ae = ist.load(folders["digits"])
    ist.export_onnx(ae, folders["digits"] / "model.onnx")
    try:
        by = Served.load("digits", folders["digits"], runtime="onnx")
        client = Client([by])
        assert client("GET", "/v1/models").json()["models"][0]["runtime"] == "onnxruntime"
        X = digits[:20]
        for verb, name, right in (
            ("encode", "codes", ae.transform(X)),
            ("score", "score_samples", ae.score_samples(X)),
            ("reconstruct", "rows", ae.reconstruct(X)),
        ):
            found = client("POST", f"/v1/models/digits/{verb}", json={"rows": X.tolist()}).json()[name]
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5 * X.std())
        assert Served.load("digits", folders["digits"]).graph is not None
        assert Served.load("digits", folders["digits"], runtime="torch").graph is None
    finally:
        (folders["digits"] / "model.onnx").unlink()


# -- abuse --------------------------------------------------------------------------------------------------------------


def test_bad_bodies_are_refused_in_one_sentence_and_the_service_stays_up(client: Client, digits: np.ndarray) -> None:
    good, objects = npy(digits[:2]), io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    claims = good.replace(b"(2, 64)", b"(9**9, 64)"[:7])
    encode = "digits/encode"
    for body, kind, status, said in (
        (b"", JSON, 400, "empty"),
        (b"{", JSON, 400, "no JSON"),
        (b"[1, 2]", JSON, 422, "one JSON object"),
        (b'{"rows": [[NaN]]}', JSON, 400, "NaN is no JSON number"),
        (b'{"rows": []}', JSON, 422, "at least one row"),
        (b'{"rows": [[1, 2], [1]]}', JSON, 422, "differ in length"),
        (b'{"rows": [["1"]]}', JSON, 422, "not text"),
        (b'{"rows": [[true]]}', JSON, 422, "booleans"),
        (b'{"rows": [[1e999]]}', JSON, 422, ""),
        (b'{"rows": [[1' + b"0" * 400 + b"]]}", JSON, 422, ""),
        (b'{"rows": [[1' + b"0" * 5000 + b"]]}", JSON, 400, ""),
        (b'{"rows": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, 400, ""),
        (b'{"lines": [[1]]}', JSON, 422, "members"),
        (b"\xff\xfe{}", JSON, 400, ""),
        (json.dumps({"rows": digits[:1, :-1].tolist()}).encode(), JSON, 422, "63 features"),
        (good[:-1], NPY, 400, "send it whole"),
        (good[:20], NPY, 400, "no .npy file"),
        (claims, NPY, 400, ""),
        (objects.getvalue(), NPY, 400, "pickled"),
        (npy(np.array(["a"])), NPY, 422, "not numbers"),
        (npy(np.array([(1, 2.0)], dtype="i4,f8")), NPY, 422, "not numbers"),
        (npy(np.array(1.0)), NPY, 422, "at least one row"),
        (npy(digits[:0]), NPY, 422, "at least one row"),
        (npy(digits[:2] + 1j), NPY, 422, "not numbers"),
        (npy(np.full((1, 64), np.inf)), NPY, 422, "infinity"),
        (b"ARROW1", ARROW_FILE, 400, "cannot be read"),
        (b"\x00" * 64, ARROW, 400, ""),
        (os.urandom(200), PARQUET, 400, "cannot be read"),
        (good, "text/csv", 415, "not taken"),
        (good, "application/x-python-pickle", 415, "not taken"),
    ):
        assert said in one_sentence(post(client, encode, body, kind), status), (body[:40], kind)
    for query in ("k=5", "x=1", "n=1"):
        one_sentence(post(client, f"{encode}?{query}", good, NPY), 422)
    for query in ("n=0", "n=x", "n=-1", "n=1e3", "n=1&n=2", "random_state=-1", "n=99999999999999999999"):
        one_sentence(client("POST", f"/v1/models/digits/sample?{query}"), 422)
    one_sentence(post(client, encode, good, NPY, "text/html"), 406)
    assert post(client, encode, good, NPY).status_code == 200


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(served: list[Served]) -> None:
    client = Client(served, limits=Limits(body=30_000, rows=1000))
    many = pa.table({"x": pa.array(np.zeros(2_000_000))})
    parquet, packed, long = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pq.write_table(many, parquet, compression="zstd")
    with pa.ipc.new_stream(packed, many.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(many)
    text = pa.table({"x": pa.array(["a" * 5000] * 900)})
    pq.write_table(text, long, compression="zstd")
    assert len(parquet.getvalue()) < 30_000
    assert "rows" in one_sentence(post(client, "table/encode", parquet.getvalue(), PARQUET), 413)
    assert "compressed" in one_sentence(post(client, "table/encode", packed.getvalue()[:29_000], ARROW), 415)
    assert "unpacks" in one_sentence(post(client, "table/encode", long.getvalue(), PARQUET), 413)
    assert "5,000 rows" in one_sentence(post(client, "digits/encode", npy(np.zeros((5000, 1), bool)), NPY), 413)
    assert "numbers" in one_sentence(client("POST", "/v1/models/digits/sample?n=1000"), 413)
    packed_body = {"content": b"", "headers": {"content-encoding": "gzip", "content-type": JSON}}
    one_sentence(client("POST", "/v1/models/digits/encode", **packed_body), 415)


def test_an_oversized_body_is_refused_before_it_is_read(served: list[Served]) -> None:
    app = create_app(served, Settings(limits=Limits(body=1000)))
    read, sent = [], []

    async def ask(headers: list[tuple[bytes, bytes]]) -> None:
        async def receive() -> dict[str, Any]:
            read.append(1)
            return {"type": "http.request", "body": b"x" * 400, "more_body": len(read) < 50}

        async def send(message: Any) -> None:
            sent.append((len(read), message))

        path = "/v1/models/digits/encode"
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
        await app({**scope, "headers": [(b"host", b"localhost"), *headers]}, receive, send)

    asyncio.run(ask([(b"content-length", b"20000")]))
    assert sent[0][0] == 0  # the refusal was on its way before a byte was read
    assert sent[0][1]["status"] == 413
    read.clear()
    sent.clear()
    asyncio.run(ask([]))  # one that does not say how long it is
    assert sent[0][1]["status"] == 413
    assert sent[0][0] == 3


def test_keys_hosts_and_origins(served: list[Served], digits: np.ndarray) -> None:
    client = Client(served[:1], key=KEY, hosts=None)
    body = {"json": {"rows": digits[:1].tolist()}}
    path = "/v1/models/digits/encode"
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"x-api-key": KEY + "x"},
        {"authorization": KEY},
        {"x-api-key": "\xff"},
    ):
        as_bytes = {name: value.encode("latin1") for name, value in headers.items()}
        answer = client("POST", path, **body, headers=as_bytes)
        one_sentence(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    for headers in ({"authorization": f"Bearer {KEY}"}, {"x-api-key": KEY}):
        assert client("POST", path, **body, headers=headers).status_code == 200
    assert client("GET", "/healthz").status_code == client("GET", "/readyz").status_code == 200
    one_sentence(client("GET", "/metrics"), 401)

    local = Client(served[:1])
    one_sentence(local("POST", path, **body, headers={"host": "rebound.example.com"}), 421)
    one_sentence(local("POST", path, **body, headers={"origin": "https://elsewhere.example.com"}), 403)
    assert local("POST", path, **body, headers={"origin": "http://localhost:8000"}).status_code == 200


def test_paths_lead_nowhere_else(client: Client) -> None:
    for path in (
        "/v1/models/../../etc/passwd",
        "/v1/models/%2e%2e%2f%2e%2e/encode",
        "/v1/models/digits/encode/..",
        "/docs",
        "//",
    ):
        one_sentence(client("GET", path), 404)
    said = client("GET", "/v1/models/digits/encode")
    assert "use POST" in one_sentence(said, 405)
    assert said.headers["allow"] == "POST"


def test_answers_carry_an_id_and_strict_headers(client: Client) -> None:
    answer = client("GET", "/healthz", headers={"x-request-id": "abc-1"})
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    forged = client("GET", "/healthz", headers={"x-request-id": "a b\tc"})
    assert forged.headers["x-request-id"] != "a b\tc"


def test_too_many_requests_are_told_to_come_back_and_slow_answers_end(
    served: list[Served], digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Served, "compute", lambda *_: time.sleep(1) or digits[:1])
    client = Client(served[:1], limits=Limits(requests=2, seconds=0.5))
    body = {"json": {"rows": digits[:1].tolist()}}

    async def crowd() -> list[httpx.Response]:
        return await asyncio.gather(*(client.ask("POST", "/v1/models/digits/encode", **body) for _ in range(4)))

    answers = asyncio.run(crowd())
    assert sorted(answer.status_code for answer in answers) == [503, 503, 504, 504]
    assert {a.headers.get("retry-after") for a in answers if a.status_code == 503} == {"1"}


def test_what_nobody_expected_is_an_error_without_a_traceback(
    served: list[Served], digits: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(Served, "compute", fail)
    client = Client(served[:1])
    answer = client("POST", "/v1/models/digits/encode", json={"rows": digits[:1].tolist()})
    assert "secret" not in one_sentence(answer, 500)
    assert "a secret path" in caplog.text
    assert client("GET", "/healthz").status_code == 200


# -- the command and a real process -------------------------------------------------------------------------------------


def test_the_command_refuses_to_listen_to_others_without_a_key(folders: dict[str, Path], tmp_path: Path) -> None:
    from isthmus.cli import main

    runner = CliRunner()
    from isthmus.cli import app

    assert runner.invoke(app, ["serve", "--help"]).exit_code == 0
    assert main(["serve", str(folders["digits"]), "--host", "0.0.0.0"]) == 6
    (tmp_path / "key").write_text("short")
    assert main(["serve", str(folders["digits"]), "--key-file", str(tmp_path / "key")]) == 6
    assert main(["serve", str(folders["digits"]), "--key-file", str(tmp_path / "none")]) == 3
    assert main(["serve", str(folders["digits"]), f"digits={folders['odd']}"]) == 6
    assert main(["serve", str(folders["digits"]), "--index", f"other={folders['index']}", "--index", "x"]) == 6
    assert main(["serve", str(folders["index"])]) == 4


class Process:
    """The service as users start it."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self.logged = log  # not a pipe: one that nobody reads fills up, and stops the service
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "isthmus", "serve", *arguments, "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, log.read_text()
        self.port = int(line.split("/v1")[0].rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"

    def stopped(self) -> tuple[int, list[dict[str, Any]]]:
        """Wait for the end; return the exit code and what was logged."""
        self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in self.logged.read_text().splitlines()]


@pytest.fixture
def process(folders: dict[str, Path], tmp_path: Path) -> Iterator[Process]:
    running = Process(
        tmp_path / "log", str(folders["digits"]), str(folders["odd"]), "--arrival", "1", "--max-body", "1"
    )
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.communicate()


def test_slow_and_oversized_clients_meet_limits_and_sigterm_loses_nothing(process: Process, digits: np.ndarray) -> None:
    body, headers = npy(digits[:1]), {"content-type": NPY}
    head = f"POST /v1/models/digits/encode HTTP/1.1\r\nhost: localhost\r\ncontent-type: {NPY}\r\ncontent-length: "
    with socket.create_connection(("127.0.0.1", process.port)) as slow:  # a body that never comes
        slow.sendall(f"{head}100\r\n\r\nabc".encode())
        slow.settimeout(20)
        assert b" 408 " in slow.recv(4096)
    with socket.create_connection(("127.0.0.1", process.port)) as slow:  # a head that never ends
        slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: loc")
        slow.settimeout(20)
        assert slow.recv(4096) == b""
    with socket.create_connection(("127.0.0.1", process.port)) as large:
        large.sendall(f"{head}{10**9}\r\n\r\n".encode())
        large.settimeout(20)
        assert b" 413 " in large.recv(4096)
    answers: list[int] = []

    def ask_on() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        while True:
            is_new = connection.sock is None
            try:
                connection.request("POST", "/v1/models/digits/reconstruct", body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                # nobody listens any more; the system resets what it has connected and the service not yet accepted
                return 0 if is_new else 1
            answers.append(answer.status)

    with ThreadPoolExecutor(8) as clients:
        asking = [clients.submit(ask_on) for _ in range(8)]
        while len(answers) < 40:
            time.sleep(0.01)
        process.process.send_signal(signal.SIGTERM)
        assert sum(each.result() for each in asking) == 0
    code, logged = process.stopped()
    assert code == -signal.SIGTERM
    assert set(answers) == {200}
    events = [line["event"] for line in logged]
    assert events.index("stopping") < events.index("stopped")
    done = [line for line in logged if line["event"] == "request" and line["status"] == 200]
    assert len(done) == len(answers)
    assert {"request_id", "ms", "model", "verb", "bytes_in", "time", "level"} <= done[0].keys()


def test_warnings_are_lines_of_the_log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for logger in (logging.getLogger("isthmus.web"), logging.getLogger("uvicorn.error")):
        for what in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, what, getattr(logger, what))  # put back as they were
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log_to_stderr()
        warnings.warn("column 'town' is new", UserWarning, stacklevel=1)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["text"]) == ("warning", "warning", "column 'town' is new")


@pytest.mark.long
def test_schemathesis_finds_no_answer_that_the_description_does_not_know(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    tool = os.environ.get("SCHEMATHESIS", "schemathesis")
    try:
        subprocess.run([tool, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("schemathesis is not installed (pip install schemathesis), or SCHEMATHESIS names none")
    running = Process(
        tmp_path / "log",
        *(str(folders[name]) for name in ("digits", "table", "odd")),
        "--index",
        f"digits={folders['index']}",
    )
    try:
        checked = subprocess.run(
            [
                tool,
                "run",
                f"{running.url}/openapi.json",
                "--max-examples",
                "6",
                "--wait-for-schema",
                "30",
                "--seed",
                "1",
                "--request-timeout",
                "60",
                "--phases",
                "examples,coverage,fuzzing",
                # a walk needs as many rows at both ends, a date must be one that its column can hold: no schema says so
                "--exclude-checks",
                "positive_data_acceptance",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        assert checked.returncode == 0, checked.stdout[-6000:]
        assert httpx.get(f"{running.url}/healthz").status_code == 200
    finally:
        running.process.terminate()
        running.stopped()
