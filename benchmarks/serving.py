"""The service under load: requests a second, the slowest percent, memory, and what a SIGTERM loses; and what an answer takes.

    python benchmarks/serving.py prepare FOLDER            # fits and exports the models; FOLDER is kept
    OMP_NUM_THREADS=1 python benchmarks/serving.py latency FOLDER
    python benchmarks/serving.py load FOLDER [--seconds 60] [--clients 64] [--alone 20] [--verbs 5]

``latency``: milliseconds of the processor for one row and for 256, in turn: the library as it is, in chunks of few rows (what
the service does), unpadded, and the exported graph by onnxruntime. ``load``: clients on loopback, each sending its next request
when it has the answer to the last, a tenth of them bad; every good answer is compared with what the same request got alone,
byte by byte. Then the same
without micro-batching (``--alone`` seconds), and verb by verb (``--verbs`` seconds each, both ways).
Memory is what ``/metrics`` says. In the end a SIGTERM: a request that was sent whole and not answered whole counts as lost.
The clients are a process of their own, and take about as much of the processor as the server.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np

NPY, JSON = "application/x-npy", "application/json"
BAD_SHARE = 0.1
CPU = "process_cpu_seconds_total"


class Ask(NamedTuple):
    """A request as bytes, and the status it must get."""

    name: str
    sent: bytes
    status: int


def prepare(folder: Path) -> None:
    """Fit what is served: dense and convolutional autoencoders of pictures, one of a table, a detector of the table."""
    import pandas as pd

    import isthmus as ist

    images = datasets.fashion_images("train")[:4000]
    table = pd.read_csv(datasets.DATA / "seaborn_tables/titanic.csv")
    dense = ist.Autoencoder(latent_dim=16, max_epochs=3, random_state=0).fit(images)
    convolutional = ist.convolutional(latent_dim=16, max_epochs=1, random_state=0).fit(images[:1000])
    for name, ae in (("dense", dense), ("convolutional", convolutional)):
        ae.save(str(folder / name))
        ae.save(str(folder / f"{name}-onnx"))
        print(ist.export_onnx(ae, folder / f"{name}-onnx" / "model.onnx"))
    ist.Autoencoder(random_state=0, max_epochs=5).fit(table).save(str(folder / "table"))
    ist.AnomalyDetector(random_state=0).fit(table).save(str(folder / "detector"))


# -- latency ------------------------------------------------------------------------------------------------------------


def latency(folder: Path, turns: int = 40) -> None:
    """Print milliseconds of the processor for one row and for 256."""
    import torch

    import isthmus as ist
    from isthmus.apps.exporting import OnnxModel
    from isthmus.inference import few_at_once, rows_for_few

    torch.set_num_threads(1)
    images = datasets.fashion_images("t10k")[:256]
    table = ist.read(datasets.DATA / "seaborn_tables/titanic.csv").slice(0, 256)
    for name in ("dense", "convolutional", "table"):
        ae = ist.load(folder / name)
        X = table if name == "table" else images
        graph = (
            None
            if name == "table"
            else OnnxModel(folder / f"{name}-onnx" / "model.onnx", ist.load(folder / f"{name}-onnx"))
        )
        size = rows_for_few(lambda ae=ae, X=X: ae.reconstruct(X[:1] if isinstance(X, np.ndarray) else X.slice(0, 1)))
        if graph is not None:
            graph.few = size
        print(f"{name}: chunks of {size}")
        for verb in ("transform", "reconstruct", "score_samples"):
            for n in (1, 256):
                rows = X.slice(0, n) if name == "table" else X[:n]
                calls: dict[str, Callable[[], object]] = {
                    "library": lambda ae=ae, verb=verb, rows=rows: getattr(ae, verb)(rows),
                    "few": few(few_at_once, size, ae, verb, rows),
                    "unpadded": few(few_at_once, n, ae, verb, rows),
                }
                if graph is not None:
                    calls["onnxruntime"] = lambda graph=graph, verb=verb, rows=rows: getattr(graph, verb)(rows)
                took = interleaved(calls, turns if n == 1 else max(4, turns // 8))
                print(
                    f"{name:14s} {verb:14s} {n:4d} rows  " + "  ".join(f"{k} {v:7.2f}" for k, v in took.items()),
                    flush=True,
                )


def few(few_at_once: Callable, size: int, ae: object, verb: str, rows: object) -> Callable[[], object]:
    """Return a call in chunks of ``size`` rows."""

    def call() -> object:
        with few_at_once(size):
            return getattr(ae, verb)(rows)

    return call


def interleaved(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median milliseconds of the processor of each call, made right after four just like it.

    Of two that take turns the one that follows a large chunk would pay for the cache that this one emptied.
    """
    took: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns + 2):
        for name, call in calls.items():
            for _ in range(4):
                call()
            start = time.process_time()
            call()
            if turn >= 2:
                took[name].append(1e3 * (time.process_time() - start))
    return {name: float(np.median(times)) for name, times in took.items()}


# -- load ---------------------------------------------------------------------------------------------------------------


def request(path: str, body: bytes, kind: str, accept: str = JSON) -> bytes:
    """Return a POST as bytes."""
    lines = ("host: 127.0.0.1", f"content-type: {kind}", f"accept: {accept}", f"content-length: {len(body)}")
    return "\r\n".join((f"POST {path} HTTP/1.1", *lines, "", "")).encode() + body


def good_ones() -> dict[str, list[Ask]]:
    """Return single-row requests by verb."""
    images = datasets.fashion_images("t10k")[:32]
    rows = json.loads(_titanic().slice(0, 32).to_pandas().to_json(orient="records"))
    asks: dict[str, list[Ask]] = {}
    for name in ("dense", "convolutional"):
        for verb in ("encode", "reconstruct", "score"):
            path, key = f"/v1/models/{name}/{verb}", f"{name} {verb}"
            asks[key] = [
                Ask(key, request(path, npy(image[None]), NPY, JSON if verb != "reconstruct" else NPY), 200)
                for image in images
            ]
    for name, verb in (("table", "encode"), ("table", "reconstruct"), ("detector", "detect")):
        path, key = f"/v1/models/{name}/{verb}", f"{name} {verb}"
        asks[key] = [Ask(key, request(path, json.dumps({"rows": [row]}).encode(), JSON), 200) for row in rows]
    return asks


def bad_ones() -> list[Ask]:
    """Return requests that must be refused."""
    encode, whole = "/v1/models/dense/encode", npy(np.zeros((1, 28, 28), np.uint8))
    pickled = io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return [
        Ask("bad: wrong shape", request(encode, npy(np.zeros((1, 27, 28), np.uint8)), NPY), 422),
        Ask("bad: truncated", request(encode, whole[:-5], NPY), 400),
        Ask("bad: pickled", request(encode, pickled.getvalue(), NPY), 400),
        Ask("bad: no JSON", request(encode, b'{"rows": [', JSON), 400),
        Ask("bad: unknown column", request("/v1/models/table/encode", b'{"rows": [{"x": 1}]}', JSON), 422),
        Ask("bad: infinity", request(encode, npy(np.full((1, 28, 28), np.inf, np.float32)), NPY), 422),
        Ask("bad: unknown type", request(encode, whole, "text/plain"), 415),
        Ask("bad: unknown model", request("/v1/models/../../etc/passwd", b"{}", JSON), 404),
    ]


def npy(array: np.ndarray) -> bytes:
    """Return an array as .npy."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _titanic():
    import isthmus as ist

    return ist.read(datasets.DATA / "seaborn_tables/titanic.csv")


@contextlib.contextmanager
def service(folder: Path, batching: bool) -> Iterator[tuple[subprocess.Popen, int]]:
    """Run the service on a free port."""
    models = [f"{name}={folder / name}" for name in ("dense", "convolutional", "table", "detector")]
    command = [sys.executable, "-m", "isthmus", "serve", *models, "--port", "0", "--log-level", "warning"]
    process = subprocess.Popen(
        [*command, "--batching" if batching else "--no-batching"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("/v1")[0].rpartition(":")[2])
        yield process, port
    finally:
        process.terminate()
        process.wait(30)


class Tally:
    """What the clients saw."""

    def __init__(self) -> None:
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.seconds: list[float] = []
        self.wrong: Counter[str] = Counter()
        self.lost = 0


async def client(port: int, asks: list[Ask], known: dict[bytes, bytes], until: float, tally: Tally, seed: int) -> None:
    """Send one request after the other until the time is over or the service says it ends."""
    rng, reader, writer = np.random.default_rng(seed), None, None
    while time.perf_counter() < until:
        ask = asks[rng.integers(len(asks))]
        if writer is None:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
        assert reader is not None
        start = time.perf_counter()
        try:
            writer.write(ask.sent)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            tally.lost += 1
            return
        tally.seconds.append(time.perf_counter() - start)
        status = int(head[9:12])
        tally.statuses[ask.name, status] += 1
        if status != ask.status or (status == 200 and known.setdefault(ask.sent, body) != body):
            tally.wrong[f"{ask.name}: {status}"] += 1
        if b"connection: close" in head.lower():
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


async def clients(
    port: int, asks: list[Ask], seconds: float, count: int, known: dict[bytes, bytes], during: Callable | None = None
) -> Tally:
    """Let many clients ask for some seconds."""
    tally, until = Tally(), time.perf_counter() + seconds
    together = asyncio.gather(*(client(port, asks, known, until, tally, seed) for seed in range(count)))
    if during is not None:
        await during(until)
    await together
    return tally


def counted(port: int, name: str) -> float:
    """Return what the service says of itself."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def mixed(good: dict[str, list[Ask]]) -> list[Ask]:
    """Return as many requests of each verb, and a tenth that must be refused."""
    asks = [ask for asks in good.values() for ask in asks]
    bad = bad_ones()
    return asks + [bad[i % len(bad)] for i in range(round(len(asks) * BAD_SHARE / (1 - BAD_SHARE)))]


def load(folder: Path, seconds: float, count: int, alone: float, verbs: float) -> None:
    """Print what the service does under load."""
    good, known, memory = good_ones(), {}, []
    everything = mixed(good)

    async def watch(until: float) -> None:
        while time.perf_counter() < until - 1:
            memory.append(await asyncio.to_thread(counted, port, "process_resident_memory_bytes") / 2**20)
            await asyncio.sleep(seconds / 12)

    with service(folder, batching=True) as (process, port):
        for ask in everything:  # alone first: what every later answer must equal, byte by byte
            asyncio.run(client_once(port, ask, known))
        before = counted(port, CPU)
        show(
            "together",
            asyncio.run(clients(port, everything, seconds, count, known, watch)),
            seconds,
            counted(port, CPU) - before,
        )
        print("memory, MB:", *(f"{m:.0f}" for m in memory))
        each = (
            {key: asyncio.run(clients(port, asks, verbs, count, known)) for key, asks in good.items()} if verbs else {}
        )
        print("SIGTERM under load:", asyncio.run(stopped(process, port, everything, count, known)))
    with service(folder, batching=False) as (_, port):
        before = counted(port, CPU)
        show(
            "each alone",
            asyncio.run(clients(port, everything, alone, count, known)),
            alone,
            counted(port, CPU) - before,
        )
        for key, tally in each.items():
            slow = asyncio.run(clients(port, good[key], verbs, count, known))
            one = asyncio.run(clients(port, good[key], verbs / 2, 1, known))
            print(
                f"{key:28s} together {len(tally.seconds) / verbs:7.0f}/s, alone {len(slow.seconds) / verbs:7.0f}/s: "
                f"{len(tally.seconds) / max(1, len(slow.seconds)):.1f}x; one client {1e3 * np.median(one.seconds):.1f} ms; "
                f"wrong {sum(tally.wrong.values()) + sum(slow.wrong.values())}",
                flush=True,
            )


async def client_once(port: int, ask: Ask, known: dict[bytes, bytes]) -> None:
    """Ask once, with nobody else there."""
    tally = Tally()
    one = asyncio.create_task(client(port, [ask], known, time.perf_counter() + 1e-3, tally, 0))
    await one
    assert not tally.wrong, tally.wrong


async def stopped(process: subprocess.Popen, port: int, asks: list[Ask], count: int, known: dict[bytes, bytes]) -> str:
    """Stop the service while clients ask, and say what was lost."""

    async def stop(until: float) -> None:
        await asyncio.sleep(2)
        process.send_signal(signal.SIGTERM)

    tally = await clients(port, asks, 30, count, known, stop)
    process.wait(30)
    wrong = sum(tally.wrong.values())
    return f"{len(tally.seconds)} answered, {tally.lost} lost, {wrong} wrong; exit code {process.returncode}"


def show(name: str, tally: Tally, seconds: float, cpu: float) -> None:
    """Print requests a second, percentiles and whatever was not as it must be."""
    ms = 1e3 * np.array(tally.seconds)
    p50, p99, worst = np.percentile(ms, 50), np.percentile(ms, 99), ms.max()
    refused = sum(n for (ask, _), n in tally.statuses.items() if ask.startswith("bad"))
    print(
        f"{name}: {len(ms)} requests ({refused} bad ones refused), {len(ms) / seconds:.0f}/s, "
        f"{1e3 * cpu / len(ms):.2f} ms of the processor each, median {p50:.0f} ms, "
        f"p99 {p99:.0f} ms, slowest {worst:.0f} ms; lost {tally.lost}, wrong {dict(tally.wrong)}",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("prepare", "latency", "load"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--alone", type=float, default=20)
    parser.add_argument("--verbs", type=float, default=5)
    given = parser.parse_args()
    if given.what == "load":
        load(given.folder, given.seconds, given.clients, given.alone, given.verbs)
    else:
        {"prepare": prepare, "latency": latency}[given.what](given.folder)
