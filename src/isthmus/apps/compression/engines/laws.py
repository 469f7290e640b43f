"""Laws of residuals: integer tables for a whole number k around 0, by the size that it is expected to have.

scales (n,) --> table, width        k = high 2^width + low: the high part by a table, the low bits as they are

A scale is the expected |k|, in quarters of octaves: scale i is 2^((i - FINEST) / 4). Tables cover scales below 8; beyond,
low bits are as good as uniform and are written as they are. Everything here is sums, products, quotients and square roots,
which IEEE 754 rounds alike everywhere, and then whole numbers: every machine makes the same tables.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from isthmus.apps.compression.coder import Decoder, Encoder, Tables, frequencies
from isthmus.apps.compression.grid import exp2

LAWS = ("gaussian", "logistic", "laplace", "student")
FINEST = 18
"""Scales below 1: the finest is 2^-4.5, where not one k in 1,000 differs from 0."""
UNIT = 1 << 12
_TABLES = FINEST + 12
_REACH = 63
"""Symbols are k + _REACH; the last one says that k is beyond."""
_BITS = 20
_LARGEST = 46
"""Octaves above 1."""
_QUARTERS = FINEST + 4 * _LARGEST


@cache
def tables() -> Tables:
    """Return the tables of all laws, law after law, scale after scale."""
    edges = np.arange(-_REACH, _REACH + 2) - 0.5
    z = edges / exp2((np.arange(_TABLES)[:, None] - FINEST) / 4)
    below = np.concatenate([_CUMULATIVE[law](z) for law in LAWS])
    shares = np.concatenate([np.diff(below, axis=1), 1 - below[:, -1:] + below[:, :1]], axis=1)
    return Tables(frequencies(np.maximum(shares, 0) * 2.0**30, _BITS))


def _laplace(z: np.ndarray) -> np.ndarray:
    tail = exp2(np.maximum(-np.abs(z) * 1.4426950408889634, -60.0)) / 2
    return np.where(z < 0, tail, 1 - tail)


def _logistic(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + exp2(np.clip(-2 * z, -60, 60)))  # E|z| is log 4 of an ordinary one: 2^-2z = e^(-1.386 z)


def _gaussian(z: np.ndarray) -> np.ndarray:
    z = np.clip(z * 0.7978845608028654, -9, 9)  # E|z| = sqrt(2 / pi); the normal integral to 1.4e-4 (Page 1977)
    return 1 / (1 + exp2(-1.4426950408889634 * z * (1.5976 + 0.07056 * z * z)))


def _student(z: np.ndarray) -> np.ndarray:
    q = 1 + z * z / 4  # four degrees of freedom: E|t| = 1
    return 0.5 + 0.375 * z / np.sqrt(q) * (1 - z * z / (12 * q))


_CUMULATIVE = {"gaussian": _gaussian, "logistic": _logistic, "laplace": _laplace, "student": _student}


@cache
def _thresholds() -> np.ndarray:
    """Return where one scale goes over into the next, times ``UNIT``."""
    return np.rint(UNIT * exp2((np.arange(_QUARTERS) - FINEST + 0.5) / 4)).astype(np.int64)


def scale_of(sizes: np.ndarray, stride: int) -> np.ndarray:
    """Return the scales (n,) of expected sizes (n,), given in ``UNIT``ths of a unit of which ``stride`` make a step of k."""
    return np.searchsorted(np.minimum(_thresholds(), (1 << 62) // stride) * stride, sizes)


def _parted(scales: np.ndarray, law: int) -> tuple[np.ndarray, np.ndarray]:
    widths = np.maximum(scales - _TABLES + 4, 0) // 4
    return law * _TABLES + scales - 4 * widths, widths


def put(encoder: Encoder, k: np.ndarray, scales: np.ndarray, law: int) -> None:
    """Write ``k`` (n,) int64."""
    which, widths = _parted(scales, law)
    high = (k + (1 << widths >> 1)) >> widths
    beyond = np.abs(high) > _REACH
    encoder.put(np.where(beyond, 2 * _REACH + 1, high + _REACH), tables(), which)
    low = k + (1 << widths >> 1) - (high << widths)
    for width in np.unique(widths[~beyond & (widths > 0)]).tolist():
        encoder.put_bits(low[~beyond & (widths == width)], width)
    if beyond.any():
        encoder.put_integers(k[beyond])


def get(decoder: Decoder, scales: np.ndarray, law: int) -> np.ndarray:
    """Return the next numbers (n,) int64."""
    which, widths = _parted(scales, law)
    symbols = decoder.get(tables(), which)
    beyond = symbols > 2 * _REACH
    k = ((symbols - _REACH) << widths) - (1 << widths >> 1)
    for width in np.unique(widths[~beyond & (widths > 0)]).tolist():
        place = ~beyond & (widths == width)
        k[place] += decoder.get_bits(int(place.sum()), width).astype(np.int64)
    if beyond.any():
        k[beyond] = decoder.get_integers(int(beyond.sum()))
    return k


def costs(k: np.ndarray, scales: np.ndarray, law: int) -> np.ndarray:
    """Return what each of ``k`` costs, in bits; beyond the tables about so."""
    which, widths = _parted(scales, law)
    high = (k + (1 << widths >> 1)) >> widths
    beyond = np.abs(high) > _REACH
    far = np.where(beyond, 2 * np.log2(np.abs(k) + 1.0) + 2, widths)
    return tables().cost(np.where(beyond, 2 * _REACH + 1, high + _REACH), which) + far
