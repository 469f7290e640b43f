"""Save the models that ``test_models_of_every_released_format_load_for_ever`` keeps loading.

    python tests/make_models.py

Run once for each format, before it is released; the folders are never written again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

import isthmus as ist
from isthmus.persistence import FORMAT

FOLDER = Path(__file__).parent / "models"
SETTINGS = {"latent_dim": 2, "max_epochs": 3, "random_state": 0, "verbose": False}


def keep(name: str, ae: ist.Autoencoder, X: object) -> None:
    """Save a model with the rows it must encode alike for ever."""
    folder = FOLDER / f"format{FORMAT}-{name}"
    if folder.exists():
        raise SystemExit(f"{folder} exists; a released format is never written again")
    ae.fit(X).save(str(folder))
    if isinstance(X, np.ndarray):
        np.save(folder / "x.npy", X)
    else:
        ist.write(X, folder / "x.csv")
    np.savez(folder / "expected.npz", codes=ae.transform(X))


def main() -> None:
    """Save one model of each kind of data."""
    rng = np.random.default_rng(0)
    keep("array", ist.Autoencoder(network=ist.MLP(hidden=(8,)), **SETTINGS), rng.normal(size=(30, 5)).round(3))
    images = rng.integers(0, 255, size=(24, 6, 5), dtype=np.uint8)
    keep("images", ist.variational(network=ist.Conv(channels=(3,)), **SETTINGS), images)
    table = pa.table(
        {
            "height": rng.normal(170, 10, 40).round(1),
            "shoe": pa.array([None if i % 7 == 0 else 36 + i % 9 for i in range(40)]),
            "town": [["Corinth", "Suez", "Panama"][i % 3] for i in range(40)],
            "left_handed": [i % 5 == 0 for i in range(40)],
        }
    )
    keep("table", ist.Autoencoder(network=ist.MLP(hidden=(8,)), **SETTINGS), table)


if __name__ == "__main__":
    main()
