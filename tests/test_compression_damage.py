"""Damaged and hostile files: found out, named, and never believed; files of earlier versions; memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compression_data import GOLDEN, digest
from isthmus.apps.compression import container
from isthmus.apps.compression.archive import Archive, decompress
from isthmus.apps.compression.compressor import Compressor
from isthmus.errors import DataError


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, bytes]:
    x = np.cumsum(np.random.default_rng(0).normal(size=(400, 5)), 0).astype("f4")
    x[17, 2] = np.nan
    return x, _file(x)


def _file(x: np.ndarray) -> bytes:
    data = Compressor(abs=0.05, engines="classical", effort="quick", chunk_values=250).compress(x)
    assert isinstance(data, bytes)
    return data


def problems_of(data: bytes) -> list[str]:
    """Return what is found wrong with a file; nothing but a DataError may be raised."""
    try:
        with Archive(data) as archive:
            return archive.verify()
    except DataError as error:
        return [str(error)]


def named(problems: list[str]) -> bool:
    return bool(problems) and any(word in problems[0] for word in ("chunk ", "header", "index", "first", "no .isth"))


def test_two_thousand_wounds_are_all_found_and_the_other_chunks_read(whole: tuple[np.ndarray, bytes]) -> None:
    x, data = whole
    rng = np.random.default_rng(1)
    expected = decompress(data)
    with Archive(data) as archive:
        places = archive.places
    for wound in range(2000):
        kind = wound % 4
        hurt = bytearray(data)
        if kind < 2:  # a bit
            at = int(rng.integers(len(data)))
            hurt[at] ^= 1 << int(rng.integers(8))
        elif kind == 2:  # the end is missing
            hurt = hurt[: int(rng.integers(len(data)))]
        else:  # two chunks change places
            a, b = sorted(rng.choice(len(places), 2, replace=False))
            ends = [place.offset for place in places[1:]] + [places[-1].offset + 36]
            first, second = data[places[a].offset : ends[a]], data[places[b].offset : ends[b]]
            hurt[places[a].offset : ends[b]] = second + data[ends[a] : places[b].offset] + first
        problems = problems_of(bytes(hurt))
        assert named(problems), (wound, problems)
        if kind < 2 and places[0].offset <= at < places[-1].offset:  # pyright: ignore[reportPossiblyUnbound]
            broken = max(number for number, place in enumerate(places) if place.offset <= at)
            assert len(problems) == 1
            assert f"chunk {broken} " in problems[0]
            if wound % 20:  # the others were decoded by verify; now and then they are compared, too
                continue
            with Archive(bytes(hurt)) as archive:
                for number, place in enumerate(places):
                    if number != broken:
                        rows = slice(place.first, place.first + place.rows)
                        np.testing.assert_array_equal(archive[rows], expected[rows])
                rows_left, _ = archive.salvage()
                assert len(rows_left) == len(x) - places[broken].rows


def test_a_chunk_of_another_file_is_known_as_strange(whole: tuple[np.ndarray, bytes]) -> None:
    x, data = whole
    other = _file(x * 1.5)
    with Archive(data) as a, Archive(other) as b:
        at, there = a.places[0].offset, b.places[0].offset
        size = min(a.places[1].offset, b.places[1].offset) - at
    assert at == there
    problems = problems_of(data[:at] + other[at : at + size] + data[at + size :])
    assert "chunk 0 " in problems[0]


def test_a_file_that_is_cut_off_gives_its_whole_chunks_on_request(whole: tuple[np.ndarray, bytes]) -> None:
    _, data = whole
    with Archive(data) as archive:
        cut = archive.places[5].offset + 30
        expected = archive[:250]
    with Archive(data[:cut]) as archive:
        with pytest.raises(DataError, match=r"index .* chunk 5 is cut off.*salvage"):
            archive.read()
        rows, problems = archive.salvage()
    np.testing.assert_array_equal(rows, expected)
    assert "chunk 5" in problems[0]


def test_text_mode_a_later_version_and_strangers_are_told_apart(whole: tuple[np.ndarray, bytes]) -> None:
    _, data = whole
    with pytest.raises(DataError, match="text mode"):
        Archive(data.replace(b"\r\n", b"\n"))
    with pytest.raises(DataError, match=r"no \.isth file"):
        Archive(b"PK\x03\x04 something else")
    with pytest.raises(DataError, match="update isthmus"):
        Archive(data[:8] + b"\x02\x00" + data[10:])
    with pytest.raises(DataError, match=r"no \.isth file"):
        Archive(b"")


def test_checksums_alone_do_not_make_a_file_believed(whole: tuple[np.ndarray, bytes]) -> None:
    """A writer of bad faith gets every checksum right: what it claims must still fit, or be refused in a sentence."""
    _, data = whole
    length = struct.unpack_from("<I", data, 12)[0]
    header = json.loads(data[20 : 20 + length])
    rng = np.random.default_rng(0)
    for change in ({"shape": [1 << 40]}, {"shape": [-1]}, {"shape": "x"}, {"dtype": "|O"}, {"grid": {}}, {"bound": 3}):
        begin, identity = container.start(header | {"form": header["form"] | change})
        with pytest.raises(DataError):
            decompress(begin + container.pack_index([], len(begin), identity))
    for header_ in ({}, {"form": 3}, {"form": {"form": "table"}}, {"form": header["form"], "models": [1]}):
        begin, identity = container.start(header_)
        with pytest.raises(DataError):
            decompress(begin + container.pack_index([], len(begin), identity))
    begin, identity = container.start(header)
    for rows, values, payload in (
        (1 << 22, 5 << 22, b""),
        (50, 250, b"\xff" * 90),
        *((50, 250, rng.bytes(80)) for _ in range(300)),
    ):
        chunk = container.Chunk(
            rng.choice(["classical", "residuals", "", "x"]), payload, (b"", b"", b"", b""), bytes(8)
        )
        packed = container.pack_chunk(chunk, min(values, 10**6))
        record = container.record(b"CHNK", 0, packed, identity, 0, rows)
        index = container.pack_index([container.Place(len(begin), 0, rows)], len(begin) + len(record), identity)
        assert "chunk 0 " in problems_of(begin + record + index)[0]


def test_a_hostile_file_allocates_no_more_than_it_justifies() -> None:
    script = """
import resource, sys, struct
import numpy as np
from isthmus.apps.compression import container
from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.compressor import Compressor
from isthmus.errors import DataError
data = Compressor(engines="classical").compress(np.zeros((10, 1000)))
with Archive(data) as archive: header = archive.header
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin, identity = container.start(header)
for rows in (1 << 16, 1 << 31):
    for payload in (b"", struct.pack("<BQ", 1, 1 << 60), struct.pack("<BQ", 2, 1 << 31) + bytes(100)):
        chunk = container.Chunk("classical", payload, (b"", b"", b"", (1 << 62).to_bytes(8, "little") + b"x"), bytes(8))
        packed = container.pack_chunk(chunk, 1)
        record = container.record(b"CHNK", 0, packed, identity, 0, rows)
        index = container.pack_index([container.Place(len(begin), 0, rows)], len(begin) + len(record), identity)
        with Archive(begin + record + index) as archive:
            try: archive.read()
            except DataError as error: assert "chunk 0" in str(error)
            else: raise SystemExit("believed")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000  # KB; the claims are of 500 MB and more


@pytest.mark.long
def test_memory_is_bounded_by_the_chunk_and_not_by_the_file(tmp_path: Path) -> None:
    """A file of ten times the memory that is allowed, there and back."""
    limit = 4 << 20
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "<f4", (10 * limit // 400, 100))
    x[:] = (np.arange(x.shape[0])[:, None] // 50 + np.arange(100)) % 2048
    x.flush()
    script = f"""
import os, resource, threading, time, numpy as np
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.archive import Archive
os.chdir({str(tmp_path)!r})
compressor = Compressor(abs=0.4, engines="classical", effort="quick", chunk_values=1 << 15)
compressor.fit(np.load("x.npy", mmap_mode="r"))
compressor.engines_ = {{"residuals": compressor.engines_["residuals"]}}  # the quickest
compressor.compress(np.zeros((1, 100), "f4"))
def private():  # memory of this process alone; pages of a mapped file are the system's to take back
    return 1024 * int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])
peak, done, start = [0], [], private()
def watch():
    while not done: peak[0] = max(peak[0], private() - start); time.sleep(0.002)
thread = threading.Thread(target=watch); thread.start()
compressor.compress(np.load("x.npy", mmap_mode="r"), "x.isth")
with Archive("x.isth") as archive: assert archive.to_npy("again.npy")
done.append(1); thread.join()
print(peak[0])
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux says how much memory a process has")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert not done.stderr
    assert int(done.stdout) < limit
    again = np.load(tmp_path / "again.npy", mmap_mode="r")
    assert again.shape == x.shape
    assert np.abs(again[::97] - x[::97]).max() <= 0.4


def test_files_of_earlier_versions_decode_to_the_bit_here_and_in_other_processes() -> None:
    expected = json.loads((GOLDEN / "digests.json").read_text())
    assert len(expected) >= 5
    script = (
        "import sys, json, zlib, numpy as np; sys.path.insert(0, sys.argv[1])\n"
        "from compression_data import GOLDEN, digest\n"
        "print(json.dumps({file.name: digest(file) for file in sorted(GOLDEN.glob('*.isth'))}))"
    )
    for threads in ("1", "4"):
        environment = {
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "PATH": "",
            "PYTHONPATH": ":".join(sys.path),
        }
        folder = str(Path(__file__).parent)
        done = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, env=environment
        )
        assert json.loads(done.stdout) == expected
    assert {file.name: digest(file) for file in sorted(GOLDEN.glob("*.isth"))} == expected
