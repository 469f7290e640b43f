"""Chunks of Zarr 3, Zarr 2 and numcodecs stores: within the bound, damage found, models shared by their hash."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression_data import near_a_million, register
from isthmus.apps.compression import fleet
from isthmus.apps.compression.compressor import Compressor
from isthmus.errors import DataError, SettingError

zarr = pytest.importorskip("zarr", reason="zarr is not installed (extra zarr)")
numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is not installed (extra zarr)")

from isthmus.apps.compression.codecs.numcodec import IsthmusCodec as Numcodec  # noqa: E402
from isthmus.apps.compression.codecs.zarr3 import IsthmusCodec  # noqa: E402

zarr.registry.register_codec("isthmus", IsthmusCodec)
numcodecs.register_codec(Numcodec)


def store(path: Path, x: np.ndarray, version: int, chunks: tuple[int, ...], **settings: Any) -> Any:
    if version == 3:
        how: dict[str, Any] = {"serializer": IsthmusCodec(**settings), "compressors": None}
    else:
        how = {"compressors": Numcodec(**settings), "zarr_format": 2}
    made = zarr.create_array(str(path), shape=x.shape, chunks=chunks, dtype=x.dtype, **how)
    made[:] = x
    return made


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i8", ">f4", "?", "M8[s]"])
def test_stores_come_back_to_the_bit_whatever_the_chunks(tmp_path: Path, version: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2, (23, 7, 4)).cumsum(0).astype(dtype)
    store(tmp_path / "x.zarr", x, version, (10, 7, 3))
    again = zarr.open_array(str(tmp_path / "x.zarr"), mode="r")
    assert np.array_equal(again[:], x)
    assert np.array_equal(again[9:11, 3], x[9:11, 3])


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_keeps_the_bound_and_every_gap(tmp_path: Path, version: int) -> None:
    x = np.random.default_rng(0).normal(size=(200, 30)).cumsum(0)
    x[3, 4], x[5, 6] = np.nan, np.inf
    store(tmp_path / "x.zarr", x, version, (50, 30), abs=0.01)
    again = zarr.open_array(str(tmp_path / "x.zarr"), mode="r")[:]
    fine = np.isfinite(x)
    assert np.abs(again[fine] - x[fine]).max() <= 0.01
    assert np.array_equal(again[~fine], x[~fine], equal_nan=True)
    size = sum(file.stat().st_size for file in (tmp_path / "x.zarr").rglob("*") if file.is_file())
    assert size < x.nbytes / 3


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path: Path, version: int) -> None:
    x = np.arange(600.0).reshape(60, 10)
    store(tmp_path / "x.zarr", x, version, (30, 10))
    chunks = [
        file for file in (tmp_path / "x.zarr").rglob("*") if file.is_file() and not file.name.startswith((".", "z"))
    ]
    assert len(chunks) == 2
    broken = bytearray(sorted(chunks)[0].read_bytes())
    broken[-60] ^= 4
    sorted(chunks)[0].write_bytes(broken)
    again = zarr.open_array(str(tmp_path / "x.zarr"), mode="r")
    np.testing.assert_array_equal(again[30:], x[30:])
    with pytest.raises(DataError, match=r"chunk 0|index"):
        again[:30]


@pytest.mark.parametrize("version", [2, 3])
def test_models_are_shared_by_their_hash(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    monkeypatch.setattr("isthmus.apps.compression.writing.CLASSICAL", {})  # or their floor would win
    monkeypatch.setattr("isthmus.apps.compression.compressor.CLASSICAL", {})
    x = near_a_million(3000)
    compressor = Compressor(engines="middle", effort="quick").fit(x)
    compressor.save(tmp_path / "model")
    store(tmp_path / "x.zarr", x, version, (1000, 4), compressor=compressor)
    settings = json.loads((tmp_path / "x.zarr" / ("zarr.json" if version == 3 else ".zarray")).read_text())
    assert next(iter(compressor.models_)) in json.dumps(settings)
    monkeypatch.setattr(fleet, "_FOLDERS", [])
    again = zarr.open_array(str(tmp_path / "x.zarr"), mode="r+")
    with pytest.raises(DataError, match="not in the file"):
        again[:]
    with pytest.raises(DataError, match="ISTHMUS_MODELS"):
        again[:1000] = x[:1000]
    monkeypatch.setenv("ISTHMUS_MODELS", str(tmp_path / "model"))
    np.testing.assert_array_equal(again[:], x)
    monkeypatch.delenv("ISTHMUS_MODELS")
    fleet.register_models(tmp_path / "model")
    again[:1000] = x[:1000] + 1
    np.testing.assert_array_equal(again[:], np.concatenate([x[:1000] + 1, x[1000:]]))


def test_numcodecs_give_arrays_and_fill_those_at_hand() -> None:
    x = np.linspace(0, 9, 500, dtype="f4").reshape(50, 10)
    codec = numcodecs.get_codec({"id": "isthmus", "abs": 0.05})
    assert codec.get_config() == {"id": "isthmus", "abs": 0.05}
    data = codec.encode(x)
    out = np.empty_like(x)
    codec.decode(data, out=out)
    assert np.abs(out - x).max() <= 0.05
    assert np.array_equal(codec.decode(data), out)


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"abs": -1}, {"abs": 1, "pointwise_rel": 0.1}, {"abs": 1, "compressor": object()}):
        with pytest.raises(SettingError):
            IsthmusCodec(**wrong)
    with pytest.raises(SettingError, match="knows no colour"):
        numcodecs.get_codec({"id": "isthmus", "colour": 3})
    with pytest.raises(SettingError, match="numbers"):
        IsthmusCodec().validate(shape=(4,), dtype=zarr.dtype.FixedLengthUTF32(length=3), chunk_grid=None)


def test_the_package_says_where_its_codecs_are() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    for group, kind in (("zarr.codecs", IsthmusCodec), ("numcodecs.codecs", Numcodec)):
        module, _, name = project["entry-points"][group]["isthmus"].partition(":")
        assert getattr(import_module(module), name) is kind


def test_reading_a_store_needs_no_torch(tmp_path: Path) -> None:
    store(tmp_path / "x.zarr", np.arange(100).reshape(20, 5), 3, (10, 5))
    script = (
        "import sys, zarr; from isthmus.apps.compression.codecs.zarr3 import IsthmusCodec\n"
        "zarr.registry.register_codec('isthmus', IsthmusCodec)\n"
        "print(zarr.open_array(sys.argv[1], mode='r')[:].sum(), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x.zarr")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["4950", "False"]
