"""The lattice: every point once, from known points; within half a stride; the same bits everywhere; cheaper than xz."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.engines import laws
from isthmus.apps.compression.engines.engine import UnsuitedError, nearest
from isthmus.apps.compression.engines.lattice import Lattice
from isthmus.apps.compression.engines.lattice_fit import layouts
from isthmus.apps.compression.engines.lattice_plan import Layout
from isthmus.apps.compression.engines.lattice_rules import View, plain, walk
from isthmus.cli import main
from isthmus.errors import DataError

SHAPES = [(40, 12, 13), (9, 17, 20), (300, 3), (400,), (3, 2, 30, 31), (12, 3, 9, 10), (5, 80), (1, 33, 33)]


def waves(shape: tuple[int, ...], size: float = 3000, seed: int = 0) -> np.ndarray:
    """Return smooth whole numbers with a little noise."""
    rng = np.random.default_rng(seed)
    places = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    total = sum(np.sin(sum(p * rng.uniform(0.05, 0.3) for p in places) + rng.uniform(0, 6)) for _ in range(3))
    return np.rint(size * np.asarray(total) + rng.normal(0, 20, shape)).astype(np.int64)


def learned(X: np.ndarray, stride: int) -> Lattice:
    lattice = Lattice.learn(X, stride, 0, "quick")
    assert lattice is not None
    return lattice


@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_is_walked_once_and_looks_at_known_points_alone(shape: tuple[int, ...]) -> None:
    for layout in layouts(shape, "default"):
        extent = layout.extent(shape)
        unknown = 1 << 30
        decoded, visits = np.full(extent, unknown, np.int64), np.zeros(extent, int)
        for _, site in walk(layout, shape):
            view = View(site, decoded, np.zeros(extent, np.int64), 0)
            for j in range(view.gaps()):
                gap = view.gap(j)
                assert gap is None or np.abs(gap).max(initial=0) < unknown // 2
            assert np.abs(view.predict(plain(site))).max(initial=0) < unknown // 2
            decoded[site.points] = 0
            visits[site.points] += 1
        assert (visits == 1).all()
        X = np.arange(np.prod(shape)).reshape(shape)
        np.testing.assert_array_equal(layout.rows_of(layout.frames(X), shape), X)


@pytest.mark.parametrize(("shape", "stride"), list(product(SHAPES, (1, 31))))
def test_what_is_decoded_is_what_was_promised_and_within_half_a_stride(shape: tuple[int, ...], stride: int) -> None:
    X = waves(shape)
    lattice = learned(X, stride)
    reader = Lattice.from_bytes(lattice.to_bytes())
    assert reader.to_bytes() == lattice.to_bytes()
    for rows in {1, 2, len(X) // 2 + 1, len(X)}:
        payload, again = lattice.encode(X[:rows], stride)
        assert np.abs(again - X[:rows]).max() <= stride // 2
        np.testing.assert_array_equal(reader.decode(payload, rows, stride), again)
    longer = np.concatenate([X, X[::-1], X])
    payload, again = lattice.encode(longer, stride)
    np.testing.assert_array_equal(reader.decode(payload, len(longer), stride), again)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from([1, 3, 31, 2**19 - 1]),
    st.integers(0, 35),
    st.integers(0, 2**32 - 1),
)
def test_any_numbers_come_back_by_rules_that_do_not_suit_them(shape: list, stride: int, bits: int, seed: int) -> None:
    rows = -(-256 // int(np.prod(shape)))
    lattice = learned(waves((rows, *shape), seed=seed), stride)
    X = np.random.default_rng(seed).integers(-(1 << bits), (1 << bits) + 1, (rows + 3, *shape))
    payload, again = lattice.encode(X, stride)
    assert np.abs(again - X).max() <= stride // 2
    np.testing.assert_array_equal(lattice.decode(payload, len(X), stride), again)


def test_a_plane_costs_next_to_nothing() -> None:
    t, y, x = np.meshgrid(np.arange(64), np.arange(32), np.arange(32), indexing="ij")
    X = 700 * t - 300 * y + 90 * x
    payload, again = learned(X, 1).encode(X, 1)
    np.testing.assert_array_equal(again, X)
    assert len(payload) < X.size / 100  # less than a twelfth of a bit a value: nothing is left but the first points


def test_fields_are_smaller_than_by_quantised_differences_and_xz() -> None:
    for shape in ((64, 24, 24), (3000, 4)):
        X = waves(shape)
        lattice = learned(X, 31)
        ours = len(lattice.to_bytes()) + len(lattice.encode(X, 31)[0])
        k = nearest(X, 31)
        assert ours < min(
            len(lzma.compress(np.diff(k, axis=axis, prepend=0).astype("<i2").tobytes(), preset=9))
            for axis in range(X.ndim)
        )


def test_learning_twice_gives_the_same_model() -> None:
    X = waves((20, 12, 12))
    assert learned(X, 31).to_bytes() == learned(X, 31).to_bytes()


def test_the_same_bytes_mean_the_same_values_in_other_processes_with_other_threads(tmp_path: Path) -> None:
    X = waves((50, 16, 16))
    lattice = learned(X, 31)
    payload, again = lattice.encode(X, 31)
    (tmp_path / "model").write_bytes(lattice.to_bytes())
    (tmp_path / "payload").write_bytes(payload)
    script = """
import hashlib, sys
from pathlib import Path
from isthmus.apps.compression.engines.lattice import Lattice
folder = Path(sys.argv[1])
X = Lattice.from_bytes((folder / "model").read_bytes()).decode((folder / "payload").read_bytes(), 50, 31)
assert "torch" not in sys.modules and "scipy" not in sys.modules
print(hashlib.sha256(X.tobytes()).hexdigest())
"""
    for threads in ("1", "4"):
        run = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={"OMP_NUM_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == hashlib.sha256(again.tobytes()).hexdigest()


def test_what_does_not_fit_is_declined() -> None:
    X = waves((20, 12, 12))
    assert Lattice.learn(X[:1, :4, :4], 31, 0, "quick") is None
    assert Lattice.learn(X + (1 << 40), 31, 0, "quick") is None
    assert Lattice.learn(X, 0, 0, "quick") is None
    lattice = learned(X, 31)
    for wrong in (X[:, :5], X + (1 << 40)):
        with pytest.raises(UnsuitedError):
            lattice.encode(wrong, 31)


def test_damaged_models_are_refused_or_are_other_models() -> None:
    data = learned(waves((20, 12, 12)), 31).to_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(300):
        broken = bytearray(data[: rng.integers(0, len(data))] if rng.random() < 0.3 else data)
        for place in rng.integers(0, min(24, len(broken)), 3) if broken else ():
            broken[place] ^= 1 << rng.integers(8)
        try:
            Lattice.from_bytes(bytes(broken)).decode(b"\1\2\3\4" * 9, 2, 31)
        except DataError:
            refused += 1
    assert refused > 100


def test_laws_write_numbers_of_any_size_by_any_scale() -> None:
    rng = np.random.default_rng(0)
    sizes = 2.0 ** rng.uniform(-6, 44, 4000)
    k = np.rint(rng.standard_t(2, 4000) * sizes * rng.choice([0.1, 1, 30], 4000)).astype(np.int64)
    scales = laws.scale_of(np.rint(sizes * laws.UNIT).astype(np.int64), 1)
    assert (np.diff(laws.scale_of(np.sort(np.rint(sizes * laws.UNIT).astype(np.int64)), 1)) >= 0).all()
    for law in range(len(laws.LAWS)):
        encoder = Encoder()
        laws.put(encoder, k, scales, law)
        np.testing.assert_array_equal(laws.get(Decoder(encoder.to_bytes()), scales, law), k)


def test_laws_cost_what_scipy_says() -> None:
    from scipy import stats

    families = {
        "gaussian": stats.norm(scale=np.sqrt(np.pi / 2)),
        "logistic": stats.logistic(scale=1 / np.log(4)),
        "laplace": stats.laplace,
        "student": stats.t(4),
    }
    rng = np.random.default_rng(0)
    for law, name in enumerate(laws.LAWS):
        law_of = families[name]
        z = law_of.rvs(20_000, random_state=rng)
        assert np.abs(z).mean() == pytest.approx(1, abs=0.03)
        scale = 4.0
        k = np.rint(scale * z).astype(np.int64)
        scales = np.full(len(k), laws.FINEST + 8)
        ideal = -np.log2(law_of.cdf((k + 0.5) / scale) - law_of.cdf((k - 0.5) / scale))
        assert laws.costs(k, scales, law).mean() == pytest.approx(ideal.mean(), abs=0.01)


def field(rows: int = 120) -> np.ndarray:
    """Return a smooth float field with NaN, infinities and a spike."""
    x = (waves((rows, 14, 15)) / 900).astype("f4")
    x[3, 4, 5], x[7, 1, 1], x[8, 2, 2], x[30, 3, 3] = np.nan, np.inf, -np.inf, 1e30
    x[50:, 9, 9] = np.nan
    return x


@pytest.mark.parametrize("bound", [{"abs": 0.01}, {"pointwise_rel": 0.01}, {}])
def test_fields_go_through_the_compressor_and_keep_their_bound(bound: dict) -> None:
    x = field()
    compressor = Compressor(engines=["lattice"], effort="quick", chunk_values=4000, random_state=0, **bound)
    data = compressor.compress(x)
    again = compressor.decompress(data)
    assert compressor.account_.engines.get("lattice", 0) > 0 or not bound
    finite = np.isfinite(x)
    np.testing.assert_array_equal(again[~finite], x[~finite])
    error = np.abs(again[finite].astype(float) - x[finite])
    most = bound.get("abs", 0) + bound.get("pointwise_rel", 0) * np.abs(x[finite].astype(float))
    assert (error <= most).all()
    with Archive(data) as archive:
        assert archive.verify() == []
        np.testing.assert_array_equal(archive[37:61], again[37:61])
    broken = bytearray(data)
    with Archive(data) as archive:
        at = archive.places[0].offset - 40  # the model is the last thing before the chunks
    broken[at] ^= 4
    with pytest.raises(DataError):
        compressor.decompress(bytes(broken))


def test_a_field_goes_through_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = waves((100, 12, 12)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    file, back = tmp_path / "x.isth", tmp_path / "back.npy"
    assert main(["compress", str(tmp_path / "x.npy"), "-o", str(file), "--rel", "0.001", "--engines", "lattice"]) == 0
    assert main(["verify", str(file)]) == 0
    assert main(["decompress", str(file), "-o", str(back)]) == 0
    capsys.readouterr()
    assert np.abs(np.load(back) - x).max() <= 0.001 * np.ptp(x)
    assert file.stat().st_size < x.nbytes / 3


def test_a_layout_that_none_can_have_is_not_walked() -> None:
    lattice = learned(waves((20, 12, 12)), 31)
    stranger = Lattice(Layout("time", 2, 39, 39, 3, 3, 0), (20, 12, 12), 0, {})
    payload, again = stranger.encode(waves((20, 12, 12)), 31)
    np.testing.assert_array_equal(stranger.decode(payload, 20, 31), again)
    assert lattice.layout != stranger.layout
