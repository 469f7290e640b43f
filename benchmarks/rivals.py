"""The detectors that are judged: ours, pyod's with their defaults, any other by its path; and results that are kept.

pyod is no dependency of ours: have it in an environment of its own, with this one's constraints.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

OURS = "isthmus"

DETECTORS = {
    OURS: "isthmus:AnomalyDetector",
    "IForest": "pyod.models.iforest:IForest",
    "ECOD": "pyod.models.ecod:ECOD",
    "HBOS": "pyod.models.hbos:HBOS",
    "KNN": "pyod.models.knn:KNN",
    "LOF": "pyod.models.lof:LOF",
    "PCA": "pyod.models.pca:PCA",
    "AE": 'pyod.models.auto_encoder:AutoEncoder?{"verbose": 0}',
    "VAE": 'pyod.models.vae:VAE?{"verbose": 0}',
    "DeepSVDD": 'pyod.models.deep_svdd:DeepSVDD?{"verbose": 0, "n_features": "columns"}',
}
BASELINES = [label for label in DETECTORS if label != OURS]
SEEDLESS = {"ECOD", "HBOS", "KNN", "LOF", "PCA"}
"""Those that draw no random numbers: one seed says it all."""

Make = Callable[[int, int], Any]
"""(columns of the rows, seed) -> a detector that is not yet fitted."""


class Rival(NamedTuple):
    """A detector under the name it has in the tables."""

    label: str
    make: Make

    def seeds(self, count: int) -> range:
        """Return the seeds that it is judged with."""
        return range(1 if self.label in SEEDLESS else count)


def split(specs: str) -> list[str]:
    """Return the parts of a comma list; a comma within braces belongs to the keywords."""
    found, depth = [""], 0
    for letter in specs:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [spec for spec in found if spec]


def rivals(specs: str) -> list[Rival]:
    """Return the rivals of a comma list: a name of DETECTORS, or ``label=module:Class?{"keyword": 1}``."""
    return [_rival(spec) for spec in split(specs)]


@cache
def _rival(spec: str) -> Rival:
    label, _, path = spec.partition("=") if "=" in spec.partition("?")[0] else (spec, "", DETECTORS.get(spec, ""))
    if not path:
        raise SystemExit(f"no detector {spec!r}; take one of {', '.join(DETECTORS)}, or label=module:Class.")
    place, _, keywords = path.partition("?")
    settings = json.loads(keywords or "{}")

    def make(columns: int, seed: int) -> Any:
        module, name = place.split(":")
        build = getattr(importlib.import_module(module), name)
        given = {key: columns if value == "columns" else value for key, value in settings.items()}
        if "random_state" in inspect.signature(build).parameters:
            given.setdefault("random_state", seed)
        return build(**given)

    return Rival(label, make)


@cache
def warm_up(rival: Rival) -> None:
    """Fit some rows of noise, once: imports and compilers are not to be timed."""
    X = np.random.default_rng(0).normal(size=(100, 5))
    detector = rival.make(5, 0)
    detector.fit(X)  # some return nothing
    oddness(detector, X)


def oddness(detector: Any, X: Any) -> np.ndarray:
    """Return how odd a fitted detector finds each row, higher is odder: (n,)."""
    if hasattr(detector, "decision_scores_") or not hasattr(detector, "score_samples"):  # pyod's sign
        return np.asarray(detector.decision_function(X), float).ravel()
    return -np.asarray(detector.score_samples(X), float).ravel()


class Ledger:
    """Results as JSON lines in a file: what stands there is not computed again. It only grows, so several may share it."""

    def __init__(self, file: Path, keys: Iterable[str], again: str = "") -> None:
        self.file, self.keys = file, tuple(keys)
        for label in filter(None, again.split(",")):
            self._write({"forget": label})
        self.lines: list[dict[str, Any]] = []
        for text in file.read_text().splitlines() if file.exists() else []:
            line = json.loads(text)
            if "forget" in line:
                self.lines = [kept for kept in self.lines if kept["detector"] != line["forget"]]
            else:
                self.lines.append(line)

    def once(self, compute: Callable[[], dict[str, Any]], **key: Any) -> dict[str, Any]:
        """Return the line of a key, computed and written if it is not there."""
        for line in self.lines:
            if all(line[name] == key[name] for name in self.keys):
                return line
        line = key | compute()
        self.lines.append(line)
        self._write(line)
        print(json.dumps(line), flush=True)
        return line

    def _write(self, line: dict[str, Any]) -> None:
        with self.file.open("a") as out:
            out.write(json.dumps(line) + "\n")
