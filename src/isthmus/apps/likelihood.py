"""How probable rows are under a variational model: log p(x), estimated by importance sampling."""

from __future__ import annotations

import zlib
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.designs import Weighable
from isthmus.designs.draws import log_mean, refuse_unlikely
from isthmus.errors import SettingError
from isthmus.estimator import Autoencoder
from isthmus.inference import map_rows
from isthmus.inputs import check_input
from isthmus.parts.reconstructions import cells_of
from isthmus.parts.step import Batch

ROWS = 16
"""How many rows are weighed at a time: few, for each stands for many draws."""
NUMBERS = 2**21
"""About how many numbers the decoder may give at a time."""


def log_likelihood(
    ae: Autoencoder,
    X: Any,
    samples: int = 100,
    random_state: Any = None,
    condition: Any = None,
    units: Literal["scaled", "data"] = "scaled",
) -> np.ndarray:
    """Estimate log p(x) of each row in nats, (n,): log 1/k sum_i p(x | z_i) p(z_i) / q(z_i | x) (Burda 2016).

    For k = ``samples`` codes drawn from q(z | x). In expectation it lies below log p(x), and rises to it with ``samples``;
    minus its mean is the negative log-likelihood that papers print. A row's draws follow from ``random_state`` and the row
    itself, so it gets the same number in any company; rows that are equal share their draws. Gaps are summed out.

    Parameters
    ----------
    ae : a fitted autoencoder with Gaussian codes and a likelihood (``variational()`` and its kin; of images with
        ``reconstruction="normal"``).
    units : what the density is of: "scaled" data, as the model sees it, or the "data" of an array as it came in, which
        takes sum log(factor) of the scaling off. Tables have scaled units only. Probabilities of 0/1 data have no units.

    >>> ist.log_likelihood(ae, X, samples=200, random_state=0).mean()  # doctest: +SKIP
    """
    check_is_fitted(ae)
    model = ae.model_
    if not isinstance(model, Weighable):
        raise SettingError(f"log_likelihood cannot draw from a {type(model).__name__}; use variational() or its kin.")
    refuse_unlikely(model.parts)
    if not hasattr(samples, "__index__") or samples < 1:
        raise SettingError(f"samples={samples!r} must be a whole number of at least 1; try 100.")
    rows = ae.codec_.encode(check_input(ae, X, reset=False))
    factor = _log_factor(ae, units)
    told = ae._condition(X, condition, len(rows))
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else _seed(random_state)
    at_once = max(1, NUMBERS // (ROWS * max(model.layout.size, 64 * model.noise_width)))

    def estimate(batch: Batch) -> Tensor:
        noise = _noise(batch, samples, model.noise_width, seed).to(batch.x)
        pieces = [model.weigh(batch, piece).log_weights() for piece in noise.split(at_once)]
        logs = log_mean(torch.cat(pieces).double())
        if factor is None:
            return logs
        seen = torch.ones_like(batch.x) if batch.observed is None else batch.observed
        return logs - (seen * factor.to(logs)).flatten(1).sum(1)

    return map_rows(estimate, rows, model, ROWS, cells_of(ae.codec_.layout.blocks), told)


def _seed(random_state: Any) -> int:
    return int(check_random_state(random_state).randint(2**31 - 1))


def _noise(batch: Batch, samples: int, width: int, seed: int) -> Tensor:
    """Draw N(0, 1) for each row, (samples, B, width), from a generator that the row and the seed determine."""
    gaps = None if batch.observed is None else batch.observed.cpu().numpy()
    x = batch.x.float().cpu().numpy()
    noise = torch.empty(samples, len(x), width)
    for place, row in enumerate(x):
        content = zlib.crc32(row.tobytes(), seed & 0xFFFFFFFF)
        if gaps is not None and not gaps[place].all():
            content = zlib.crc32(gaps[place].tobytes(), content)
        rng = torch.Generator().manual_seed(content)
        noise[:, place] = torch.randn(samples, width, generator=rng)
    return noise


def _log_factor(ae: Autoencoder, units: str) -> Tensor | None:
    """Return the log of what each number of a sample was divided by, (*shape); None where nothing is to be taken off."""
    if units == "scaled":
        return None
    if units != "data":
        raise SettingError(f"units={units!r} is not known; use 'scaled' or 'data'.")
    scaling = getattr(ae.codec_, "scaling", None)
    if scaling is None or ae.codec_.kind != "array" or ae.model_.parts.reconstruction.needs_unit_range:
        raise SettingError("units='data' is for densities of arrays; use units='scaled'.")
    return torch.from_numpy(np.broadcast_to(np.log(scaling.factor), ae.codec_.layout.shape).copy())
