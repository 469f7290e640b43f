"""The data sets of the benchmarks: bundled with scikit-learn, or in the folder that ISTHMUS_DATA names."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[2] / "shared" / "data"))


def names() -> list[str]:
    """Return the data sets of the floor benchmark."""
    adbench = sorted(file.stem for file in (DATA / "adbench").glob("*.npz"))
    return ["digits", "orl_faces", "fashion_mnist", "diamonds", "etth1", *adbench]


def load(name: str) -> np.ndarray:
    """Return the rows of a data set as float32 (n, d)."""
    if name == "digits":
        from sklearn.datasets import load_digits

        return load_digits().data.astype(np.float32)
    if name == "orl_faces":
        from scipy.io import loadmat

        return max(loadmat(DATA / "orl_faces/ORL.mat").values(), key=np.size).astype(np.float32)
    if name == "fashion_mnist":
        return fashion_images("train")[:10_000].reshape(-1, 784).astype(np.float32)
    if name == "diamonds":
        return standardised(
            np.genfromtxt(DATA / "seaborn_tables/diamonds.csv", delimiter=",", skip_header=1)[:, _NUMERIC]
        )
    if name == "etth1":
        series = np.genfromtxt(DATA / "ett/ETTh1.csv", delimiter=",", skip_header=1)[:, 1:]
        windows = np.lib.stride_tricks.sliding_window_view(standardised(series), 24, axis=0)[
            ::6
        ]  # a day, every 6 hours
        return windows.reshape(len(windows), -1).astype(np.float32)
    return np.load(DATA / "adbench" / f"{name}.npz")["X"].astype(np.float32)


_NUMERIC = [0, 4, 5, 6, 7, 8, 9]  # carat, depth, table, price, x, y, z


def fashion_images(part: str) -> np.ndarray:
    """Return the images of Fashion-MNIST, uint8 (n, 28, 28); ``part`` is "train" or "t10k"."""
    with gzip.open(DATA / f"fashion_mnist/{part}-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)


def fashion_labels(part: str) -> np.ndarray:
    """Return the labels of those images, (n,)."""
    with gzip.open(DATA / f"fashion_mnist/{part}-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read(), np.uint8, offset=8)


def standardised(values: np.ndarray) -> np.ndarray:
    """Return columns with mean 0 and standard deviation 1."""
    return ((values - values.mean(0)) / values.std(0)).astype(np.float32)
