"""Codes as points of a plane, and the way back from a point to a code."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np

from isthmus.errors import SettingError

METHODS = ("auto", "pca", "umap")
NEAREST = 8
"""Where a map cannot be undone, so many points around a place say which code stands there."""


class Map(Protocol):
    """Where codes lie on the page."""

    @property
    def method(self) -> str: ...
    @property
    def axes(self) -> tuple[str, str]: ...
    @property
    def points(self) -> np.ndarray: ...
    def place(self, codes: np.ndarray) -> np.ndarray: ...
    def lift(self, point: np.ndarray, base: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Plane:
    """The plane through the codes along which they vary most; of codes of two numbers, these themselves."""

    points: np.ndarray
    """(n, 2) float32"""
    mean: np.ndarray
    """(latent,)"""
    directions: np.ndarray
    """(2, latent) orthonormal; the second is 0 where a code is one number."""
    axes: tuple[str, str]
    method: str = "pca"

    @classmethod
    def of(cls, codes: np.ndarray) -> Plane:
        """Lay out codes (n, latent)."""
        size = codes.shape[1]
        if size <= 2 or len(codes) < 2:
            mean, directions = np.zeros(size), np.eye(2, size)
            axes = ("code 1", "code 2" if size > 1 else "")
            method = "codes"
        else:
            from sklearn.decomposition import PCA

            with np.errstate(all="ignore"):  # codes that are all the same have no shares
                found = PCA(2, random_state=0).fit(codes.astype(np.float64))
            mean, directions, method = found.mean_, np.asarray(found.components_), "pca"
            shares = 100 * np.nan_to_num(found.explained_variance_ratio_)
            axes = tuple(f"principal component {i + 1} of the codes ({shares[i]:.0f}%)" for i in range(2))
        points = ((codes - mean) @ directions.T).astype(np.float32)
        return cls(points, mean, directions, (axes[0], axes[1]), method)

    def place(self, codes: np.ndarray) -> np.ndarray:
        """Return the points (m, 2) of codes (m, latent)."""
        return ((codes - self.mean) @ self.directions.T).astype(np.float32)

    def lift(self, point: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return the code (latent,) above a point that differs from ``base`` within the plane alone."""
        moved = np.asarray(point, np.float64) - (base - self.mean) @ self.directions.T
        return (base + moved @ self.directions).astype(np.float32)


@dataclass(frozen=True)
class Neighbourhoods:
    """A map that keeps neighbours together (UMAP: McInnes 2018) and cannot be undone."""

    points: np.ndarray
    """(n, 2) float32"""
    codes: np.ndarray
    """(n, latent)"""
    axes: tuple[str, str] = ("umap 1", "umap 2")
    method: str = "umap"

    @classmethod
    def of(cls, codes: np.ndarray, seed: int = 0) -> Neighbourhoods:
        """Lay out codes (n, latent)."""
        if find_spec("umap") is None:
            raise SettingError("the map 'umap' needs umap-learn: pip install umap-learn; or use 'pca'.")
        from umap import UMAP  # pyright: ignore[reportMissingImports] - asked for by name, and looked for before

        return cls(np.asarray(UMAP(n_components=2, random_state=seed).fit_transform(codes), np.float32), codes)

    def place(self, codes: np.ndarray) -> np.ndarray:
        """Return where the nearest of the known codes lie."""
        return np.stack([self.points[np.square(self.codes - code).sum(1).argmin()] for code in codes])

    def lift(self, point: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return the mean of the codes whose points are nearest, each weighted by 1 / squared distance."""
        squared = np.square(self.points - np.asarray(point, np.float32)).sum(1, dtype=np.float64)
        near = np.argsort(squared, kind="stable")[:NEAREST]
        weight = 1 / np.maximum(squared[near], 1e-12)
        return (weight @ self.codes[near] / weight.sum()).astype(np.float32)


def lay_out(codes: np.ndarray, method: str = "auto") -> Map:
    """Return the map of codes (n, latent); "auto" is the plane they vary most in."""
    if method not in METHODS:
        raise SettingError(f"the map {method!r} is not known; use {', '.join(METHODS)}.")
    if method == "umap" and codes.shape[1] > 2:
        return Neighbourhoods.of(codes)
    return Plane.of(codes)
