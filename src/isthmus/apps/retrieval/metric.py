"""Distances between codes, computed number by number in float64, and lower bounds of them by matrix products.

A product in float32 is fast and rounds, differently for every shape. So it only says which codes cannot be among the nearest;
what is left is measured directly, in an order of operations that depends on nothing but the two codes. The answer is
then the same bits in any company of queries.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

UNIT = 2.0**-24
"""Half the distance from 1 to the next float32: the relative error of one rounding."""


class Bound(NamedTuple):
    """A lower bound of the distance from queries to codes x: constant + weight(x) + factor * q.x."""

    queries: Tensor
    """(q, d), relative to the middle of the codes."""
    constant: np.ndarray
    """(q,)"""
    factor: float


class SquaredEuclidean:
    """|q - x|^2."""

    name = "sqeuclidean"

    def prepared(self, codes: np.ndarray) -> np.ndarray:
        """Return codes (n, d) as they are stored and searched."""
        return codes

    def middle(self, codes: np.ndarray) -> np.ndarray:
        """Return what to subtract from the codes: far from 0 the difference of large products would drown."""
        return codes.mean(0, dtype=np.float64).astype(np.float32)

    def weight(self, x: Tensor) -> Tensor:
        """Return |x|^2 less what rounding may have added to |x|^2 - 2 q.x, (n,); x (n, d) is centred."""
        return x.square().sum(1) * (1 - 2 * _error(x.shape[1]))

    def bound(self, queries: np.ndarray, middle: np.ndarray) -> Bound:
        # |err| <= e (|q| + |x|)^2 <= 2 e (|q|^2 + |x|^2): a share of either square, whatever the other
        centred = torch.from_numpy(queries - middle)
        squares = centred.double().square().sum(1).numpy()
        return Bound(centred, squares * (1 - 2 * _error(queries.shape[1])), -2.0)

    def direct(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the distances of queries (q, d) to codes (q, c, d): (q, c) float64."""
        difference = queries[:, None].astype(np.float64) - codes
        return np.einsum("qcd,qcd->qc", difference, difference)


class Cosine:
    """1 - q.x / (|q| |x|); a code of zeros has no direction, and is at a distance of 1 from all."""

    name = "cosine"

    def prepared(self, codes: np.ndarray) -> np.ndarray:
        length = np.linalg.norm(codes.astype(np.float64), axis=1, keepdims=True)
        return (codes / np.where(length > 0, length, 1.0)).astype(np.float32)

    def middle(self, codes: np.ndarray) -> np.ndarray:
        return np.zeros(codes.shape[1], np.float32)

    def weight(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))

    def bound(self, queries: np.ndarray, middle: np.ndarray) -> Bound:
        # int8 codes are not of length 1 to the last bit: twice the error of unit vectors is room enough
        return Bound(torch.from_numpy(queries), np.full(len(queries), 1 - 2 * _error(queries.shape[1])), -1.0)

    def direct(self, queries: np.ndarray, codes: np.ndarray) -> np.ndarray:
        return 1 - np.einsum("qcd,qcd->qc", np.broadcast_to(queries[:, None], codes.shape).astype(np.float64), codes)


METRICS = {metric.name: metric for metric in (SquaredEuclidean(), Cosine())}
Metric = SquaredEuclidean | Cosine


def _error(d: int) -> float:
    """Bound the relative rounding error of a sum of d products in float32, however it is ordered (Higham 2002), with room."""
    return 2 * (d + 8) * UNIT
