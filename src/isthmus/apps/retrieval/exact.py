"""Exact search: every code is compared with every query, in memory that does not grow with either."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isthmus.apps.retrieval.metric import Bound, Metric
from isthmus.apps.retrieval.stores import Bits, Store, pack
from isthmus.chunks import chunks

QUERIES, CODES = 64, 8192
"""So many queries meet so many codes at a time: two megabytes of bounds, which stay in a cache."""
GROUP = 32
"""Bounds are kept for the least of so many codes."""
SPARE = 8
"""How many more groups than neighbours are looked into."""
NUMBERS = 2**22
"""So many numbers of candidates are measured at a time: thirty megabytes in float64."""


class Found(NamedTuple):
    """The nearest codes of some queries, the nearest first; of equally near ones the earlier."""

    positions: np.ndarray
    """(q, k) int64"""
    distances: np.ndarray
    """(q, k) float64"""


class Groups(NamedTuple):
    """Groups of codes: the members of one are first, first + stride, .., before end."""

    first: np.ndarray
    stride: np.ndarray
    end: np.ndarray

    def members(self, chosen: np.ndarray) -> np.ndarray:
        """Return the positions in groups ``chosen`` (q, g): (q, g * GROUP), -1 where a group is short."""
        at = self.first[chosen][..., None] + self.stride[chosen][..., None] * np.arange(GROUP)
        return np.where(at < self.end[chosen][..., None], at, -1).reshape(len(chosen), -1)


class Exact:
    """Exact search by lower bounds and direct distances.

    queries, codes -> bounds, a product --least of each group--> candidates --direct--> k nearest --proved?--> answer
                                                                                            \\--no--> all directly
    """

    name = "exact"

    def __init__(self, store: Store, metric: Metric) -> None:
        self.store, self.metric, self.recall = store, metric, 1.0
        self.refresh()

    def refresh(self) -> None:
        """Learn the middle and the weights of the codes there are."""
        some = np.linspace(0, len(self.store) - 1, min(len(self.store), CODES)).round().astype(np.int64)
        self.middle = self.metric.middle(self.store.at(some))
        weights = [self.metric.weight(self._block(place)) for place in chunks(len(self.store), CODES)]
        self.weight = torch.cat(weights)

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> Found:
        """Return the k nearest codes of queries (q, d), of all or of the positions ``among``."""
        if among is not None and not len(among):
            return Found(np.full((len(queries), k), -1), np.full((len(queries), k), np.inf))
        size = min(QUERIES, max(1, NUMBERS // ((k + SPARE) * GROUP * queries.shape[1])))
        found = [self._search(queries[place], k, among) for place in chunks(len(queries), size)]
        return Found(np.concatenate([f.positions for f in found]), np.concatenate([f.distances for f in found]))

    def _search(self, queries: np.ndarray, k: int, among: np.ndarray | None) -> Found:
        bound = self.metric.bound(queries, self.middle)
        least, groups = self._bounds(bound, among)
        count = min(k + SPARE, least.shape[1])
        looked_into = least.topk(count, largest=False, sorted=True)
        inside = groups.members(looked_into.indices.numpy())
        positions = inside if among is None else np.where(inside < 0, -1, among[inside])
        found = ranked(self.store, self.metric, queries, positions, k)
        if count == least.shape[1] or self.store.is_reranked:
            return found
        # whatever was not looked into has at least the bound of the last group that was
        proved = found.distances[:, -1] < bound.constant + looked_into.values[:, -1].double().numpy()
        for row in np.flatnonzero(~proved):
            found.positions[row], found.distances[row] = self._all_directly(queries[row], k, among)
        return found

    def _bounds(self, bound: Bound, among: np.ndarray | None) -> tuple[Tensor, Groups]:
        """Return the least bound in each group, (q, groups), less the constant; and who is in it."""
        least, first, stride, end = [], [], [], []
        for place in chunks(len(self.store) if among is None else len(among), CODES):
            chosen = place if among is None else among[place]
            bounds = torch.addmm(self.weight[chosen], bound.queries, self._block(chosen).T, alpha=bound.factor)
            rows = place.stop - place.start
            width = -(-rows // GROUP)
            if rows % GROUP:
                bounds = F.pad(bounds, (0, width * GROUP - rows), value=torch.inf)
            least.append(bounds.view(-1, GROUP, width).amin(1))  # member j of group g is code j * width + g
            first.append(place.start + np.arange(width))
            stride.append(np.full(width, width))
            end.append(np.full(width, place.stop))
        return torch.cat(least, 1), Groups(*(np.concatenate(parts) for parts in (first, stride, end)))

    def _block(self, place: slice | np.ndarray) -> Tensor:
        return torch.from_numpy(self.store.at(place) - self.middle)

    def _all_directly(self, query: np.ndarray, k: int, among: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Measure a query against all: for codes so many of which are equally near that no bound tells them apart."""
        positions = np.arange(len(self.store)) if among is None else among
        pieces = [
            self.metric.direct(query[None], self.store.exact(positions[place])[None])[0]
            for place in chunks(len(positions), CODES)
        ]
        return _least(np.concatenate(pieces), positions, k)


class Hamming:
    """Exact search among codes of bits: the numbers of bits that differ, counted word by word."""

    name = "exact"

    def __init__(self, store: Bits) -> None:
        self.store, self.recall = store, 1.0

    def refresh(self) -> None:
        """Nothing is learned of the codes."""

    def search(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> Found:
        words = self.store.packed if among is None else self.store.packed[among]
        positions = np.arange(len(self.store)) if among is None else among
        found = [_least(popcount(words ^ query).sum(1, dtype=np.int64), positions, k) for query in pack(queries)]
        return Found(np.stack([f[0] for f in found]), np.stack([f[1] for f in found]))


def ranked(store: Store, metric: Metric, queries: np.ndarray, candidates: np.ndarray, k: int) -> Found:
    """Measure candidates (q, c), -1 where there is none, directly; return the k nearest, the earlier of equally near ones."""
    candidates = np.pad(candidates, ((0, 0), (0, max(0, k - candidates.shape[1]))), constant_values=-1)
    candidates = np.sort(candidates, axis=1)
    distances = metric.direct(queries, store.exact(np.maximum(candidates, 0)))
    distances[candidates < 0] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return Found(np.take_along_axis(candidates, order, 1), np.take_along_axis(distances, order, 1))


def _least(distances: np.ndarray, positions: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and distances of the k least, of equals the earlier; -1 and infinity where there are fewer."""
    limit = np.partition(distances, k - 1)[k - 1] if k < len(distances) else np.inf
    near = np.flatnonzero(distances <= limit)
    order = near[np.lexsort((positions[near], distances[near]))[:k]]
    spare = (0, k - len(order))
    return np.pad(positions[order], spare, constant_values=-1), np.pad(
        distances[order].astype(np.float64), spare, constant_values=np.inf
    )


_ONES = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def popcount(words: np.ndarray) -> np.ndarray:
    """Count the ones of each word (.., w) uint64."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.bitwise_count(words)
    return _ONES[words[..., None].view(np.uint8)].sum(-1, dtype=np.uint8)
