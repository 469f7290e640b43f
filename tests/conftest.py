from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[2] / "shared" / "data"))

# The workers of a parallel run share the cores; more threads than cores only wait for each other.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data for development; a checkout without it skips the tests that need it."""
    if not DATA.is_dir():
        pytest.skip(f"the folder of real data is not here ({DATA}); set ISTHMUS_DATA")
    return DATA


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().data


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
