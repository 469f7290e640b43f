"""Columns: every table to the bit, what follows from other columns for next to nothing, the same bits everywhere."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from isthmus.apps.compression.archive import Archive
from isthmus.apps.compression.coder import Encoder
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.engines import columns_guess, columns_mixing
from isthmus.apps.compression.engines.columns import Columns
from isthmus.apps.compression.engines.columns_guess import UNIT, Guesses
from isthmus.apps.compression.engines.columns_mixing import Mixer
from isthmus.apps.compression.engines.columns_plan import Column
from isthmus.apps.compression.engines.columns_walk import Walk
from isthmus.apps.compression.engines.engine import UnsuitedError
from isthmus.cli import main
from isthmus.errors import DataError


def people(n: int = 600, seed: int = 0) -> np.ndarray:
    """Return a table of whole numbers: kinds, counts, sums, products, heavy tails, a constant, a number in order."""
    rng = np.random.default_rng(seed)
    kind, count = rng.integers(0, 5, n), rng.poisson(9, n) * 3
    wide = np.rint(rng.standard_t(1.2, n) * 1000).astype(np.int64)
    columns = [
        kind,
        count,
        kind * 100 + rng.integers(-3, 4, n),
        wide,
        count + 2 * wide,
        np.full(n, 7),
        np.arange(n) * 5,
    ]
    return np.stack([*columns, rng.integers(-(2**59), 2**59, n)], 1)


def learned(X: np.ndarray) -> Columns:
    columns = Columns.learn(X, 1, 0, "quick")
    assert columns is not None
    return columns


@pytest.fixture(scope="module")
def engine() -> Columns:
    return learned(people())


def test_tables_come_back_by_a_model_read_from_its_bytes(engine: Columns) -> None:
    reader = Columns.from_bytes(engine.to_bytes())
    assert reader == engine
    assert reader.to_bytes() == engine.to_bytes()
    X = people()
    for rows in (0, 1, 2, 23, 25, len(X)):
        payload, again = engine.encode(X[:rows], 1)
        assert again is not None
        np.testing.assert_array_equal(reader.decode(payload, rows, 1), X[:rows])


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 4), st.integers(16, 60), st.integers(1, 63), st.integers(0, 2**32 - 1))
def test_any_table_comes_back(width: int, rows: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.integers(-(1 << bits), (1 << bits) - 1, (rows, width))
    X[:, ::2] = np.sort(X[:, ::2], axis=0)
    X[:, -1] = X[:, 0] // 3 + rng.integers(0, 2, rows)
    columns = learned(X)
    for part in (X, X[::-1], X[:1], np.concatenate([X, X])):
        payload, _ = columns.encode(part, 1)
        np.testing.assert_array_equal(Columns.from_bytes(columns.to_bytes()).decode(payload, len(part), 1), part)


def size_of(X: np.ndarray) -> tuple[int, int]:
    """Return the bytes of the payload, and of the model."""
    columns = learned(X)
    return len(columns.encode(X, 1)[0]), len(columns.to_bytes())


def test_what_follows_from_other_columns_costs_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 200, 1500), rng.integers(0, 200, 1500)
    alone, _ = size_of(np.stack([a, b], 1))
    assert alone == pytest.approx(2 * 1500 * np.log2(200) / 8, rel=0.03)
    for c in (2 * a - b, a * b // 100):
        both, _ = size_of(np.stack([a, b, c], 1))
        assert both - alone < 0.2 * alone / 2, "a fifth of what one column costs"
    kinds = rng.integers(0, 9, 1500)
    alone, _ = size_of(kinds[:, None])
    for c in (5 - kinds, np.roll(kinds, 1), np.roll(kinds, -1), kinds**2 % 7):
        assert size_of(np.stack([kinds, c], 1))[0] - alone < 0.2 * alone


def test_a_column_of_biased_coins_costs_its_entropy() -> None:
    rng = np.random.default_rng(0)
    bits = (rng.random(20_000) < 0.03).astype(np.int64)
    share = bits.mean()
    entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
    assert 0 < size_of(bits[:, None])[0] - len(bits) * entropy / 8 < 40, "some bytes until the share is known"


def test_numbers_of_a_known_law_cost_its_entropy() -> None:
    rng = np.random.default_rng(0)
    a = np.rint(rng.logistic(0, 3000, 2500)).astype(np.int64)
    b = a + np.rint(rng.logistic(0, 40, 2500)).astype(np.int64)
    alone, _ = size_of(a[:, None])
    both, _ = size_of(np.stack([a, b], 1))
    assert 8 * (both - alone) / 2500 == pytest.approx((np.log(40) + 2) / np.log(2), abs=0.25)


def test_tables_are_smaller_than_by_xz() -> None:
    X = people(1200)[:, :7]
    narrow = [(x - x.min()).astype("<u4") for x in X.T]
    xz = min(
        len(lzma.compress(data, preset=9))
        for data in (np.rec.fromarrays(narrow).tobytes(), b"".join(x.tobytes() for x in narrow))
    )
    assert sum(size_of(X)) < 0.8 * xz


def test_learning_twice_gives_the_same_model(engine: Columns) -> None:
    assert learned(people()).to_bytes() == engine.to_bytes()


def test_the_same_bytes_mean_the_same_table_in_other_processes_with_other_threads(
    engine: Columns, tmp_path: Path
) -> None:
    X = people()
    (tmp_path / "model").write_bytes(engine.to_bytes())
    (tmp_path / "payload").write_bytes(engine.encode(X, 1)[0])
    script = """
import hashlib, sys
from pathlib import Path
from isthmus.apps.compression.engines.columns import Columns
folder = Path(sys.argv[1])
X = Columns.from_bytes((folder / "model").read_bytes()).decode((folder / "payload").read_bytes(), 600, 1)
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
        assert run.stdout.strip() == hashlib.sha256(X.tobytes()).hexdigest()


def test_what_does_not_fit_is_declined(engine: Columns) -> None:
    X = people()
    assert Columns.learn(X, 3, 0, "quick") is None
    assert Columns.learn(X[:9], 1, 0, "quick") is None
    assert Columns.learn(X[:, :, None], 1, 0, "quick") is None
    for wrong in (X[:, :3], X + (1 << 60), X + 1000):
        with pytest.raises(UnsuitedError):
            engine.encode(wrong, 1)


def test_damaged_models_are_refused_or_are_other_models(engine: Columns) -> None:
    data = engine.to_bytes()
    rng, refused = np.random.default_rng(0), 0
    for _ in range(200):
        broken = bytearray(data[: rng.integers(0, len(data))] if rng.random() < 0.3 else data)
        for place in rng.integers(0, len(broken), 2) if broken else ():
            broken[place] ^= 1 << rng.integers(8)
        try:
            Columns.from_bytes(bytes(broken)).decode(b"\1\2\3\4" * 9, 2, 1)
        except DataError:
            refused += 1
    assert refused > 100


def test_logarithms_and_chances_are_those_of_numpy() -> None:
    x = np.unique(np.geomspace(1, 2**62, 5000).astype(np.int64))
    np.testing.assert_allclose(columns_guess.logarithm(x) / columns_mixing.ODDS, np.log(x), atol=0.012)
    guesses = Guesses(1000, np.array([30 * UNIT]))
    guesses.look(np.array([[400 * UNIT, 100 * UNIT]]), np.zeros((1, 2), np.int64))
    for edge in (0, 90, 400, 1000):
        scale = 30 / np.log(4)
        expected = expit((edge - 0.5 - np.array([400, 100])) / scale)
        np.testing.assert_allclose(guesses.below(np.full(2, edge))[0] / 2**40, expected, atol=3e-3)


def test_mixtures_learn_what_their_contexts_know() -> None:
    """Of two contexts one tells the coin, which falls so nine times of ten; the other is noise: 0.47 bits, not 1."""
    rng = np.random.default_rng(0)
    mixer, bits = Mixer(2, 0, 1, 10, 0), 0.0
    for step in range(400):
        coin, noise = rng.integers(0, 2, 50), rng.integers(0, 2, 50)
        said = np.where(rng.random(50) < 0.9, coin, 1 - coin)
        p = mixer.probabilities(np.stack([said, noise]), np.zeros((0, 50), np.int64), np.zeros(50, np.int64))
        assert ((p > 0) & (p < 65536)).all()
        mixer.learn(coin)
        if step >= 100:
            bits -= np.log2(np.where(coin == 1, p, 65536 - p) / 65536).mean() / 300
    assert bits == pytest.approx(0.469, abs=0.03)


def test_distances_from_a_prediction_cover_every_rank() -> None:
    """Coded as distances from whatever is predicted, all ranks come back, at both ends too."""
    from isthmus.apps.compression.coder import Decoder
    from isthmus.apps.compression.engines.columns_plan import SHIFT, Predictor

    for size in (2, 3, 17, 5000, 1 << 39):
        u = np.unique(np.concatenate([np.arange(min(size, 40)), size - 1 - np.arange(min(size, 40)), [size // 2]]))
        u = np.random.default_rng(0).permutation(np.repeat(u, 3))
        for predictor in (Predictor((), (), 1 << SHIFT, 0, 256), Predictor((), (), 0, (size - 1) << SHIFT, 64)):
            column = Column(0, 0, size, (), 1, predictors=(predictor,))
            encoder = Encoder()
            Walk(column, 0, np.zeros((1, len(u)), np.int64), (column,), len(u)).run(encoder, u)
            known = np.zeros((1, len(u)), np.int64)
            Walk(column, 0, known, (column,), len(u)).run(Decoder(encoder.to_bytes()), None)
            np.testing.assert_array_equal(known[0], u)


def frame(n: int = 500) -> pd.DataFrame:
    """Return a table with gaps, texts, dates, categories, truth values and floats that are no quotients."""
    rng = np.random.default_rng(0)
    price = np.round(rng.gamma(2, 40, n), 2)
    price[rng.random(n) < 0.1] = np.nan
    return pd.DataFrame(
        {
            "price": price,
            "twice": 2 * price,
            "kind": pd.Categorical(rng.choice(["cat", "dog", "eel"], n)),
            "name": [f"no. {i * 7919 % 1000}" for i in range(n)],
            "day": pd.Timestamp("2024-02-28") + pd.to_timedelta(np.arange(n), "D"),
            "wild": rng.normal(size=n).astype("f4"),
            "count": pd.array(np.where(rng.random(n) < 0.2, None, rng.integers(0, 40, n)), dtype="Int64"),
            "sure": rng.random(n) < 0.9,
        }
    )


def test_tables_with_gaps_and_texts_go_through_the_compressor() -> None:
    table = frame()
    compressor = Compressor(
        engines=["columns"], chunk_values=1500, random_state=0
    )  # 12 columns with the flags: 125 rows
    data = compressor.compress(table)
    pd.testing.assert_frame_equal(compressor.decompress(data), table)
    assert isinstance(data, bytes)
    assert compressor.account_.engines == {"columns": 4}
    with Archive(data) as archive:
        assert archive.verify() == []
        pd.testing.assert_frame_equal(archive[130:250].reset_index(drop=True), table[130:250].reset_index(drop=True))
        at = archive.places[0].offset - 40  # the model is the last thing before the chunks
    broken = bytearray(data)
    broken[at] ^= 4
    with pytest.raises(DataError):
        compressor.decompress(bytes(broken))


def test_rows_unlike_those_learned_come_back_by_another_engine() -> None:
    compressor = Compressor(engines=["columns"], random_state=0).fit(frame(200)[["price", "kind"]])
    other = frame(300)[["price", "kind"]]
    other["price"] *= 1000
    again = compressor.decompress(compressor.compress(other))
    pd.testing.assert_frame_equal(again, other)


def test_a_table_goes_through_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    X = people(400)[:, :7]
    table = pd.DataFrame(X, columns=list("abcdefg")).assign(kind=np.array(["low", "high"])[X[:, 0] // 3])
    table.to_csv(tmp_path / "x.csv", index=False)
    file, back = tmp_path / "x.isth", tmp_path / "back.csv"
    assert main(["compress", str(tmp_path / "x.csv"), "-o", str(file), "--engines", "columns"]) == 0
    assert main(["verify", str(file)]) == 0
    assert main(["decompress", str(file), "-o", str(back)]) == 0
    capsys.readouterr()
    pd.testing.assert_frame_equal(pd.read_csv(back), table)
