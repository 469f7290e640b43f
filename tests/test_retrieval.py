"""Search by code: exact means exact, approximate says how often it is right, and no index answers for another model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

import isthmus as ist
from isthmus.apps.retrieval.exact import Exact
from isthmus.errors import DataError, IsthmusError, ModelFileError, SettingError

SETTINGS = {"latent_dim": 5, "random_state": 0, "verbose": False, "max_epochs": 2}


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def nearest(queries: np.ndarray, codes: np.ndarray, k: int, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and distances by scipy, of equally near ones the earlier."""
    distances = cdist(queries.astype(np.float64), codes.astype(np.float64), metric)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, 1)


@pytest.fixture(scope="module")
def fitted(digits: np.ndarray) -> ist.Autoencoder:
    return ist.Autoencoder(**SETTINGS).fit(digits)


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
@pytest.mark.parametrize("d", [1, 7, 16, 33])
def test_exact_search_finds_what_scipy_finds(metric: str, d: int) -> None:
    codes, queries = normal(9000, d), normal(70, d, 1)
    found = ist.Index(codes=codes, metric=metric, backend="exact").query(codes=queries, k=10)
    positions, distances = nearest(queries, codes, 10, metric)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6, atol=2e-7)
    if metric == "sqeuclidean":
        assert np.array_equal(found.positions, positions)


@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
def test_a_query_gets_the_same_bits_in_any_company(metric: str) -> None:
    index = ist.Index(codes=normal(10_000, 16), metric=metric, backend="exact")
    queries = normal(100, 16, 1)
    together = index.query(codes=queries, k=5)
    for size in (1, 3, 64):
        parts = [index.query(codes=queries[i : i + size], k=5) for i in range(0, 100, size)]
        assert np.array_equal(np.concatenate([p.distances for p in parts]), together.distances)
        assert np.array_equal(np.concatenate([p.positions for p in parts]), together.positions)


def test_equally_near_rows_come_in_order_however_many_they_are() -> None:
    codes = np.repeat(normal(3, 4), 4000, axis=0)  # no bound tells 4,000 equal codes apart
    found = ist.Index(codes=codes, backend="exact").query(codes=codes[[0, 4000, 8000]], k=6)
    assert found.positions.tolist() == [list(range(s, s + 6)) for s in (0, 4000, 8000)]
    assert (found.distances == 0).all()


def test_codes_far_from_zero_and_outliers_are_searched_exactly() -> None:
    codes = normal(5000, 8)
    codes[17] *= 1e4
    for shift in (0.0, 1e3):
        moved = codes + np.float32(shift)
        positions, _ = nearest(moved[:40], moved, 5, "sqeuclidean")
        assert np.array_equal(ist.Index(codes=moved).query(codes=moved[:40], k=5).positions, positions)


def test_bounds_never_exceed_distances() -> None:
    codes, queries = normal(3000, 24) * np.float32(3), normal(20, 24, 1)
    for metric in ("sqeuclidean", "cosine"):
        index = ist.Index(codes=codes, metric=metric, backend="exact")
        exact = index._search
        assert isinstance(exact, Exact)
        prepared = exact.metric.prepared(queries)
        bound = exact.metric.bound(prepared, exact.middle)
        least, groups = exact._bounds(bound, None)
        true = exact.metric.direct(prepared, np.repeat(exact.store.at(slice(None))[None], 20, 0))
        for group in range(least.shape[1]):
            members = groups.members(np.full((1, 1), group))[0]
            nearest_there = true[:, members[members >= 0]].min(1)
            slack = nearest_there - (bound.constant + least[:, group].double().numpy())
            assert (slack >= 0).all()
            reach = np.linalg.norm(prepared, axis=1).max() + np.linalg.norm(exact.store.at(slice(None)), axis=1).max()
            assert slack.max() < 4 * 2 * (24 + 8) * 2.0**-24 * reach**2  # tight enough to prove anything


def test_more_neighbours_than_a_group_holds() -> None:
    codes = normal(500, 3)
    found = ist.Index(codes=codes).query(codes=codes[:2], k=500)
    assert np.array_equal(found.positions, nearest(codes[:2], codes, 500, "sqeuclidean")[0])


def test_rows_of_the_index_are_no_neighbours_of_themselves() -> None:
    codes = normal(400, 4)
    codes[5] = codes[6] = codes[7]
    found = ist.Index(codes=codes).query(rows=range(400), k=3)
    expected = NearestNeighbors(n_neighbors=3).fit(codes).kneighbors(return_distance=False)
    assert not (found.positions == np.arange(400)[:, None]).any()
    assert (np.sort(found.positions, 1) == np.sort(expected, 1)).mean() > 0.99  # but for the three that are equal
    assert found.positions[6, :2].tolist() == [5, 7]


def test_rounded_codes_are_within_half_a_step_and_reranking_restores_the_distances() -> None:
    codes, queries = normal(4000, 12), normal(50, 12, 1)
    step = (codes.max(0) - codes.min(0)) / 254
    rounded = ist.Index(codes=codes, store="int8", backend="exact")
    assert (np.abs(rounded._store.at(slice(None)) - codes) <= 0.5001 * step).all()
    assert rounded._store.nbytes == codes.nbytes / 4
    again = ist.Index(codes=codes, store="int8", backend="exact", rerank=True).query(codes=queries, k=5)
    positions, distances = nearest(queries, codes, 5, "sqeuclidean")
    assert np.array_equal(again.positions, positions)
    np.testing.assert_allclose(again.distances, distances, rtol=1e-12)
    right = ist.Index(codes=codes, backend="exact").query(codes=queries, k=10).positions
    found = rounded.query(codes=queries, k=10).positions
    agree = np.array([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, right, strict=True)])
    assert rounded.recall_ < 1
    assert abs(agree.mean() - rounded.recall_) < 4 * agree.std() * np.sqrt(1 / 50 + 1 / 500)
    plain = rounded.query(codes=queries, k=5)
    np.testing.assert_allclose(plain.distances, nearest(queries, rounded._store.at(slice(None)), 5, "sqeuclidean")[1])


@pytest.mark.parametrize("d", [3, 64, 100])
def test_bits_are_compared_by_hamming_distance(d: int) -> None:
    rng = np.random.default_rng(0)
    codes, queries = (rng.integers(2, size=(n, d)).astype(np.float32) for n in (3000, 30))
    index = ist.Index(codes=codes, store="binary")
    found = index.query(codes=queries, k=7)
    differing = (queries[:, None] != codes).sum(-1)
    order = np.argsort(differing, axis=1, kind="stable")[:, :7]
    assert np.array_equal(found.positions, order)
    assert np.array_equal(found.distances, np.take_along_axis(differing, order, 1))
    assert np.array_equal(index._store.at(slice(None)), codes)


def test_popcount_agrees_with_python_on_either_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.apps.retrieval import exact

    words = np.random.default_rng(0).integers(2**63, size=(50, 2), dtype=np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert exact.popcount(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert exact.popcount(words).tolist() == expected


def test_codes_of_the_binary_variant_go_into_bits(digits: np.ndarray) -> None:
    ae = ist.binary(**SETTINGS | {"latent_dim": 64}).fit(digits[:300])
    index = ist.Index(ae, digits[:300], store="binary")
    assert index._store.nbytes == 300 * 8
    differing = (ae.transform(digits[300:301]) != ae.transform(digits[:300])).sum(1)
    assert index.query(digits[300], k=3).distances.tolist() == [np.sort(differing)[:3].tolist()]
    with pytest.raises(DataError, match="zeros and ones"):
        ist.Index(codes=normal(10, 4), store="binary")


def test_rows_pictures_codes_and_positions_ask_the_same(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    index = ist.Index(fitted, digits)
    by_row, by_rows = index.query(digits[3], k=4), index.query(digits[3:4], k=4)
    by_code = index.query(codes=fitted.transform(digits[3:4]), k=4)
    assert by_row.positions.tolist() == by_rows.positions.tolist() == by_code.positions.tolist()
    assert by_row.positions[0, 0] == 3
    assert by_row.positions[0, 1:].tolist() == index.query(rows=3, k=3).positions[0].tolist()
    images = digits.reshape(-1, 8, 8)
    ae = ist.Autoencoder(**SETTINGS, network="mlp").fit(images)
    assert ist.Index(ae, images).query(images[9], k=2).positions[0, 0] == 9


def test_what_is_known_of_rows_comes_back_with_them(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    known = pd.DataFrame({"name": [f"row {i}" for i in range(len(digits))], "rank": np.arange(len(digits)) / 2})
    found = ist.Index(fitted, digits, known).query(digits[:3], k=2)
    assert found.metadata is not None
    assert found.metadata["name"].to_pylist() == [f"row {i}" for i in found.positions.ravel()]
    table = found.to_table()
    assert table.column_names == ["query", "rank", "position", "distance", "name", "rank_"]
    first = found.to_dict()["neighbours"][0][0]
    assert first["name"] == f"row {first['position']}"
    json.dumps(found.to_dict(), allow_nan=False)
    assert found.section().to_dict()["queries"] == 3


def test_a_filter_leaves_rows_out(digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    import pyarrow.compute as pc

    index = ist.Index(fitted, digits, {"place": np.arange(len(digits))})
    mask = np.arange(len(digits)) % 7 == 0
    found = index.query(digits[:5], k=4, where=mask)
    assert (found.positions % 7 == 0).all()
    inside, _ = nearest(fitted.transform(digits[:5]), fitted.transform(digits[mask]), 4, "sqeuclidean")
    assert np.array_equal(found.positions, np.flatnonzero(mask)[inside])
    assert (index.query(digits[:5], k=4, where=pc.field("place") < 100).positions < 100).all()
    few = index.query(digits[:1], k=4, where=pc.field("place") < 2)
    assert (few.positions[0, 2:] == -1).all()
    assert len(few.to_dict()["neighbours"][0]) == 2
    assert (index.query(digits[:1], k=4, where=np.zeros(len(digits), bool)).positions == -1).all()


@pytest.mark.parametrize("store", ["float32", "int8"])
def test_an_index_that_grew_is_the_index_of_all_rows(store: str, digits: np.ndarray, fitted: ist.Autoencoder) -> None:
    order = np.argsort(np.abs(fitted.transform(digits)).max(1))[::-1]  # the first half spans the range of int8
    X = digits[order]
    grown = ist.Index(fitted, X[:900], {"row": range(900)}, store=store).add(X[900:], {"row": range(900, len(X))})
    whole = ist.Index(fitted, X, {"row": range(len(X))}, store=store)
    ours, theirs = grown.query(X[:50], k=5), whole.query(X[:50], k=5)
    assert len(grown) == len(X)
    assert ours.metadata == theirs.metadata or store == "int8"
    assert store == "int8" or np.array_equal(ours.distances, theirs.distances)


@pytest.mark.parametrize(
    "settings",
    [{}, {"metric": "cosine"}, {"store": "int8"}, {"store": "int8", "rerank": True}],
    ids=["plain", "cosine", "int8", "reranked"],
)
def test_a_saved_index_answers_alike(
    settings: dict, digits: np.ndarray, fitted: ist.Autoencoder, tmp_path: Path
) -> None:
    index = ist.Index(fitted, digits, {"row": range(len(digits))}, **settings)
    index.save(tmp_path / "index")
    fitted.save(tmp_path / "model")
    for loaded in (
        ist.Index.load(tmp_path / "index", ist.load(tmp_path / "model")),
        ist.load(tmp_path / "index", ae=fitted),
    ):
        ours, theirs = index.query(digits[:20]), loaded.query(digits[:20])
        assert np.array_equal(ours.positions, theirs.positions)
        assert np.array_equal(ours.distances, theirs.distances)
        assert ours.metadata == theirs.metadata
    names = {file.name for file in (tmp_path / "index").iterdir()}
    assert all(name.endswith((".json", ".safetensors", ".md", ".jsonl")) for name in names)


def test_bits_come_back_from_disk(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(2, size=(50, 70)).astype(np.float32)
    index = ist.Index(codes=codes, store="binary")
    index.save(tmp_path / "index")
    loaded = ist.Index.load(tmp_path / "index")
    assert np.array_equal(loaded.query(codes=codes).positions, index.query(codes=codes).positions)


def test_an_index_is_refused_by_a_model_it_was_not_made_with(
    digits: np.ndarray, fitted: ist.Autoencoder, tmp_path: Path
) -> None:
    ist.Index(fitted, digits).save(tmp_path / "index")
    other = ist.Autoencoder(**SETTINGS | {"random_state": 1}).fit(digits)
    with pytest.raises(ModelFileError, match="another model"):
        ist.Index.load(tmp_path / "index", other)
    other.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="not an index"):
        ist.Index.load(tmp_path / "model")
    with pytest.raises(ModelFileError, match="folder of its own"):
        ist.Index(fitted, digits).save(tmp_path / "model")
    alone = ist.Index.load(tmp_path / "index")
    assert alone.query(codes=fitted.transform(digits[:1]), k=1).positions.tolist() == [[0]]
    with pytest.raises(SettingError, match="no model to encode"):
        alone.query(digits[:1])
    learning = ist.Autoencoder(**SETTINGS).partial_fit(digits)
    index = ist.Index(learning, digits)
    learning.partial_fit(digits)
    with pytest.raises(ModelFileError, match="before it learned on"):
        index.query(digits[:1])


def test_what_cannot_be_is_refused_in_a_sentence(digits: np.ndarray, fitted: ist.Autoencoder, tmp_path: Path) -> None:
    codes = normal(20, 4)
    index = ist.Index(codes=codes, metadata={"a": range(20)})
    wide = np.zeros((1, 5), np.float32)
    for wrong, sentence in (
        (lambda: index.query(codes=codes, k=21), "k=21 must be a whole number from 1 to 20"),
        (lambda: index.query(rows=[0], k=20), "from 1 to 19"),
        (lambda: index.query(codes=codes, k=0), "k=0"),
        (lambda: index.query(codes=wide, k=1), "codes of 5 numbers, but the index of 4"),
        (lambda: index.query(codes=codes * np.nan, k=1), "NaN"),
        (lambda: index.query(rows=[20], k=1), "row 20, but the index has 20"),
        (lambda: index.query(rows=[0.5], k=1), "whole numbers"),
        (lambda: index.query(k=1), "one of them"),
        (lambda: index.query(codes=codes, where="a < 3"), "backend='lance'"),
        (lambda: index.query(codes=codes, where=[True]), "mask of booleans"),
        (lambda: index.add(codes=codes), "give the same for the new rows"),
        (lambda: index.add(codes=wide, metadata={"a": [1]}), "codes of 5 numbers"),
        (lambda: index.add(codes=codes[:1], metadata={"a": ["x"]}), "other types"),
        (lambda: ist.Index(codes=codes, metadata={"a": [1]}), "metadata has 1 rows, but there are 20"),
        (lambda: ist.Index(codes=codes, metadata=[1]), "must be a table"),
        (lambda: ist.Index(codes=codes, store="float8"), "store='float8'"),
        (lambda: ist.Index(codes=codes, metric="hamming"), "metric='hamming' is not for store='float32'"),
        (lambda: ist.Index(codes=codes, backend="annoy"), "backend='annoy'"),
        (lambda: ist.Index(codes=codes, backend="lance"), "path="),
        (lambda: ist.Index(codes=codes, rerank=True), "rerank=True is for store='int8'"),
        (lambda: ist.Index(codes=codes, store="binary", backend="ivf"), "searched exactly"),
        (lambda: ist.Index(codes=codes[0]), "must be an array"),
        (lambda: ist.Index(ist.Autoencoder(), digits), "not fitted yet"),
    ):
        with pytest.raises((IsthmusError, NotFittedError), match=sentence):
            wrong()
    int8 = ist.Index(codes=codes, store="int8")
    with pytest.raises(DataError, match="row 0 has a code outside the range"):
        int8.add(codes=100 * codes)


def test_without_faiss_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(SettingError, match=r"pip install 'isthmus\[retrieval\]'"):
        ist.Index(codes=normal(30, 3), backend="ivf")
    with pytest.raises(SettingError, match=r"pip install 'isthmus\[retrieval\]'"):
        ist.Index(codes=normal(30, 3), backend="lance", path="nowhere")
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
@pytest.mark.parametrize("settings", [{}, {"metric": "cosine"}, {"store": "int8"}], ids=["l2", "cosine", "int8"])
def test_faiss_finds_what_the_exact_search_finds_and_says_how_often(kind: str, settings: dict, tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="FAISS is not installed; pip install 'isthmus[retrieval]'")
    codes, queries = normal(6000, 8), normal(300, 8, 1)
    index = ist.Index(codes=codes, backend=kind, **settings)
    full = {name: value for name, value in settings.items() if name != "store"}
    right = ist.Index(codes=codes, backend="exact", **full).query(codes=queries)
    found = index.query(codes=queries)
    agree = [len(np.intersect1d(a, b)) / 10 for a, b in zip(found.positions, right.positions, strict=True)]
    standard_error = np.std(agree) / np.sqrt(300)
    assert np.mean(agree) > (0.9 if settings.get("store") else 0.98)
    assert abs(np.mean(agree) - index.recall_) < 0.005 + 4 * standard_error
    if "store" not in settings:  # both are measured directly
        same = found.positions == right.positions
        assert np.array_equal(found.distances[same], right.distances[same])
    index.save(tmp_path / "index")
    loaded = ist.Index.load(tmp_path / "index")
    assert (loaded.recall_, loaded.backend_) == (index.recall_, kind)
    assert np.array_equal(loaded.query(codes=queries).positions, found.positions)
    again = ist.Index(codes=codes, backend=kind, **settings)
    assert np.array_equal(again.query(codes=queries).positions, found.positions)
    inside = codes[:5] * np.float32(0.5) + np.float32(0.1)  # int8 takes no code beyond its range
    assert loaded.add(codes=inside).query(codes=inside, k=1).positions.ravel().tolist() == list(range(6000, 6005))


def test_the_rule_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.apps.retrieval import approximate

    monkeypatch.setattr(approximate, "is_installed", lambda: True)
    assert [approximate.chosen(*shape) for shape in ((19_999, 8), (20_000, 8), (20_000, 65))] == [
        "exact",
        "ivf",
        "hnsw",
    ]
    monkeypatch.setattr(approximate, "is_installed", lambda: False)
    assert approximate.chosen(10**6, 8) == "exact"


def test_rows_in_lancedb_are_filtered_by_sql_and_stay_on_disk(
    digits: np.ndarray, fitted: ist.Autoencoder, tmp_path: Path
) -> None:
    pytest.importorskip("lancedb", reason="LanceDB is not installed; pip install 'isthmus[retrieval]'")
    known = {"place": np.arange(900), "name": [f"row {i}" for i in range(900)]}
    index = ist.Index(fitted, digits[:900], known, backend="lance", path=tmp_path / "index")
    right = ist.Index(fitted, digits[:900], known)
    queries = digits[900:910]
    ours, theirs = index.query(queries, k=4), right.query(queries, k=4)
    assert np.array_equal(ours.positions, theirs.positions)
    assert np.array_equal(ours.distances, theirs.distances)
    assert ours.metadata == theirs.metadata
    below = index.query(queries, k=4, where="place < 50")
    assert np.array_equal(below.positions, right.query(queries, k=4, where=np.arange(900) < 50).positions)
    assert (index.query(queries, k=4, where="place < 2").positions[:, 2:] == -1).all()
    index.add(digits[900:], {"place": np.arange(900, len(digits)), "name": [""] * (len(digits) - 900)})
    index.save(tmp_path / "copy")
    for folder in ("index", "copy"):
        loaded = ist.Index.load(tmp_path / folder, fitted)
        assert len(loaded) == len(digits)
        assert loaded.query(digits[1000], k=1).positions.tolist() == [[1000]]
        assert (
            loaded.query(rows=[5], k=2).positions.tolist()
            == ist.Index(fitted, digits).query(rows=[5], k=2).positions.tolist()
        )
    with pytest.raises(SettingError, match="is no condition on these rows"):
        index.query(queries, where="plaice < 2")
    with pytest.raises(SettingError, match="filters by SQL"):
        index.query(queries, where=np.ones(len(digits), bool))
