"""Approximate search by FAISS, and how often it is right, measured on rows it had not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus.apps.retrieval.exact import Exact, Found, ranked
from isthmus.apps.retrieval.metric import Metric
from isthmus.apps.retrieval.stores import Store
from isthmus.errors import SettingError

KINDS = ("flat", "ivf", "hnsw")
FEWEST, LARGEST_IVF = 20_000, 64
"""Fewer codes are searched exactly; lists win for codes of up to so many numbers, a graph beyond."""
WANTED = 0.995
"""The recall that the effort of a search is chosen for; it is reported on other rows than it was chosen by."""
JUDGES, NEIGHBOURS = 500, 10
EFFORTS = tuple(2**power for power in range(2, 14))
LINKS, BREADTH = 32, 64
"""Of a graph (Malkov 2018): links of a code, and how broadly they are looked for."""


def is_installed() -> bool:
    """Say whether FAISS can be imported."""
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def chosen(n: int, d: int) -> str:
    """Return the backend of "auto": exact below 20,000 codes or without FAISS, else "ivf", or "hnsw" above 64 numbers."""
    if n < FEWEST or not is_installed():
        return "exact"
    return "ivf" if d <= LARGEST_IVF else "hnsw"


class Approximate:
    """An index of FAISS (Douze 2024) that proposes candidates, which are then measured directly.

    "flat" compares with all; "ivf" (Jegou 2011) with those in the lists nearest to the query; "hnsw" (Malkov 2018) walks a
    graph. The effort of the search is the least of 4, 8, 16, .. that finds 99.5 % of the ten nearest of 500 rows that were
    not in the index then; ``recall`` is what it finds for 500 others.
    """

    def __init__(self, kind: str, index: Any, ids: np.ndarray, exact: Exact, recall: float) -> None:
        self.name, self.index, self.ids, self.exact, self.recall = kind, index, ids, exact, recall
        """``ids`` says which position each code of the index has."""

    @classmethod
    def build(cls, kind: str, store: Store, metric: Metric) -> Approximate:
        """Build from the codes of a store; some rows are added last, so that they may judge what was built without them."""
        faiss = imported()
        n, d = len(store), store.at(slice(0, 1)).shape[1]
        order = np.random.default_rng(0).permutation(n)
        judges, others = order[: min(2 * JUDGES, n // 10)], np.sort(order[min(2 * JUDGES, n // 10) :])
        exact = Exact(store, metric)
        with OneThread(faiss):  # a graph that grows on many threads is another one every time
            index = _empty(faiss, kind, store.name, len(others), d)
            codes = np.ascontiguousarray(store.at(others))
            if not index.is_trained:
                index.train(codes)
            index.add(codes)
            built = cls(kind, index, others, exact, 1.0)
            built.recall = built._tune(judges)
            index.add(np.ascontiguousarray(store.at(judges)))
        built.ids = np.concatenate([others, judges])
        return built

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> Found:
        """Return about the k nearest codes of queries (q, d); among some of the rows the search is exact."""
        if among is not None:
            return self.exact.search(queries, k, among)
        candidates = self._candidates(queries, k)
        found = ranked(self.exact.store, self.exact.metric, queries, candidates, k)
        short = np.flatnonzero((candidates < 0).any(1))  # the lists looked into held fewer than k
        if len(short):
            again = self.exact.search(queries[short], k)
            found.positions[short], found.distances[short] = again
        return found

    def refresh(self) -> None:
        """Take in the codes that the store has gained."""
        self.exact.refresh()
        fresh = np.arange(len(self.ids), len(self.exact.store))
        self.index.add(np.ascontiguousarray(self.exact.store.at(fresh)))
        self.ids = np.concatenate([self.ids, fresh])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a saved index holds of it."""
        return {"faiss": imported().serialize_index(self.index), "ids": self.ids}

    @classmethod
    def restored(
        cls, kind: str, arrays: dict[str, np.ndarray], effort: int, recall: float, exact: Exact
    ) -> Approximate:
        """Rebuild from :meth:`arrays`."""
        built = cls(kind, imported().deserialize_index(arrays["faiss"]), arrays["ids"], exact, recall)
        built.effort = effort
        return built

    @property
    def effort(self) -> int:
        """How many lists are looked into, or how broadly a graph is walked; 0 where all are compared."""
        return {"flat": lambda: 0, "ivf": lambda: self.index.nprobe, "hnsw": lambda: self.index.hnsw.efSearch}[
            self.name
        ]()

    @effort.setter
    def effort(self, value: int) -> None:
        if self.name == "ivf":
            self.index.nprobe = value
        elif self.name == "hnsw":
            self.index.hnsw.efSearch = value

    def _candidates(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return positions (q, c), -1 where nothing was found; rounded codes may swap neighbours, so twice as many."""
        wanted = k if self.exact.store.name == "float32" else min(2 * k, len(self.ids))
        _, found = self.index.search(np.ascontiguousarray(queries), wanted)
        return np.where(found < 0, -1, self.ids[found])

    def _tune(self, judges: np.ndarray) -> float:
        """Choose the effort by one half of the judges; return the recall that the other half sees."""
        k = min(NEIGHBOURS, len(self.ids))
        right = self.exact.search(self.exact.store.at(judges), k, among=self.ids).positions
        half = len(judges) // 2
        most = self.index.nlist if self.name == "ivf" else len(self.ids)
        for effort in (effort for effort in EFFORTS if effort <= max(most, EFFORTS[0])):
            self.effort = effort
            if self.name == "flat" or self._recall(judges[:half], right[:half]) >= WANTED:
                break
        return self._recall(judges[half:], right[half:])

    def _recall(self, judges: np.ndarray, right: np.ndarray) -> float:
        queries, k = self.exact.store.at(judges), right.shape[1]
        found = ranked(self.exact.store, self.exact.metric, queries, self._candidates(queries, k), k).positions
        return recall_of(found, right)


def recall_of(found: np.ndarray, right: np.ndarray) -> float:
    """Return the mean share of the right positions (q, k) among those found."""
    return float(np.mean([len(np.intersect1d(a, b)) / right.shape[1] for a, b in zip(found, right, strict=True)]))


class OneThread:
    """FAISS on one thread within the block."""

    def __init__(self, faiss: Any) -> None:
        self.faiss = faiss

    def __enter__(self) -> None:
        self.before = self.faiss.omp_get_max_threads()
        self.faiss.omp_set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        self.faiss.omp_set_num_threads(self.before)


def imported() -> Any:
    """Import FAISS, or say how to get it."""
    torch.get_num_threads()  # torch's OpenMP runtime comes first: two of them in the other order may hang
    try:
        import faiss  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise SettingError(
            "this index needs FAISS, which is not installed: pip install 'isthmus[retrieval]', or use backend='exact'."
        ) from error
    return faiss


def _empty(faiss: Any, kind: str, store: str, n: int, d: int) -> Any:
    """Return an index without codes; rounded codes stay in bytes there, too."""
    is_byte, eight = store == "int8", faiss.ScalarQuantizer.QT_8bit
    if kind == "flat":
        return faiss.IndexScalarQuantizer(d, eight) if is_byte else faiss.IndexFlatL2(d)
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(d, eight, LINKS) if is_byte else faiss.IndexHNSWFlat(d, LINKS)
        index.hnsw.efConstruction = BREADTH
        return index
    lists = max(1, min(2 ** int(np.log2(4 * np.sqrt(n))), n // 40))
    coarse = faiss.IndexFlatL2(d)
    index = faiss.IndexIVFScalarQuantizer(coarse, d, lists, eight) if is_byte else faiss.IndexIVFFlat(coarse, d, lists)
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, 64
    coarse.this.disown()
    index.own_fields = True
    return index
