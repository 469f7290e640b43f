"""What each ingredient of the anomaly detector is worth: the sets of ADBench with one thing changed at a time.

    python benchmarks/ablation.py [--only cardio,glass] [--seeds 3]

Protocol as in ``benchmarks/adbench.py``. Ours is the first row; every other says what was changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from adbench import judge

import isthmus as ist
from isthmus.apps.anomaly import ensemble, residuals


@contextmanager
def changed(module: Any, **values: Any) -> Iterator[None]:
    """Set names of a module for a while."""
    before = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(before)


class Changed(ist.AnomalyDetector):
    """The detector with constants of its recipe changed while it learns, or with heads left out."""

    def __init__(
        self, module: Any = ensemble, values: dict[str, Any] | None = None, without: tuple[str, ...] = (), **settings
    ):
        super().__init__(**settings)
        self.module, self.values, self.without = module, values or {}, without

    def fit(self, X: Any, y: Any = None) -> Changed:
        with changed(self.module, **self.values):
            super().fit(X, y)
        for name in self.without:
            self.judge_.heads.pop(name, None)
        return self


def longer(size: int, n_rows: int, seeds: Any, **other: Any) -> list[ist.Autoencoder]:
    """Return the members with some of their settings changed."""
    return [member.set_params(**other) for member in MEMBERS_FOR(size, n_rows, seeds)]


MEMBERS_FOR = residuals.members_for
VARIANTS: dict[str, Callable[[int], ist.AnomalyDetector]] = {
    "as it is": lambda seed: Changed(random_state=seed),
    "nothing pruned": lambda seed: Changed(values={"PRUNED": 0.0, "PRUNED_AGAIN": 0.0}, random_state=seed),
    "nothing pruned again": lambda seed: Changed(values={"PRUNED_AGAIN": 0.0}, random_state=seed),
    "columns not weighed": lambda seed: Changed(values={"MOST_INFLATED": 1.0}, random_state=seed),
    "sixteen samples of 256": lambda seed: Changed(values={"BAGS": 16, "MOST": 256}, random_state=seed),
    "a tenth pruned": lambda seed: Changed(values={"PRUNED": 0.1}, random_state=seed),
    "four tenths pruned": lambda seed: Changed(values={"PRUNED": 0.4}, random_state=seed),
    "no residuals": lambda seed: Changed(without=("residual",), random_state=seed),
    "no distances": lambda seed: Changed(without=("distance",), random_state=seed),
    "no rarity": lambda seed: Changed(without=("rarity",), random_state=seed),
    "residuals alone": lambda seed: Changed(without=("distance", "rarity"), random_state=seed),
    "distances alone": lambda seed: Changed(without=("residual", "rarity"), random_state=seed),
    "rarity alone": lambda seed: Changed(without=("residual", "distance"), random_state=seed),
    "two members": lambda seed: Changed(values={"MEMBERS": 2}, random_state=seed),
    "sixteen members": lambda seed: Changed(values={"MEMBERS": 16}, random_state=seed),
    "a third of the steps": lambda seed: Changed(residuals, {"STEPS": 66}, random_state=seed),
    "three times the steps": lambda seed: Changed(residuals, {"STEPS": 600}, random_state=seed),
    "members start at random": lambda seed: Changed(
        residuals, {"members_for": lambda *a: longer(*a, shortcut=False)}, random_state=seed
    ),
    "one scale for all columns' residuals": lambda seed: Changed(residuals, {"CHI_MEDIAN": 0.0}, random_state=seed),
    "codes of half the size": lambda seed: Changed(
        residuals, {"members_for": lambda *a: MEMBERS_FOR(*a, shares=(0.05, 0.375))}, random_state=seed
    ),
}


def main() -> None:
    """Print a line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--variants", default="", help="comma list of parts of names")
    options = parser.parse_args()
    print("| | AUROC | AP | fit s |\n|---|---|---|---|")
    for name, make in VARIANTS.items():
        if options.variants and not any(part in name for part in options.variants.split(",")):
            continue
        lines = judge(lambda _, seed, make=make: make(seed), only=options.only, seeds=range(options.seeds))
        means = [float(np.mean([line[key] for line in lines])) for key in ("auroc", "ap", "fit")]
        print("| {} | {:.4f} | {:.4f} | {:.2f} |".format(name, *means), flush=True)


if __name__ == "__main__":
    main()
