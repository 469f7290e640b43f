"""What the codes of a model look like: how many of their numbers are at work, and how much they say."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from isthmus.data.rows import Rows
from isthmus.inference import map_rows
from isthmus.model import Model
from isthmus.parts.bottlenecks import Discrete, Gaussian
from isthmus.parts.bottlenecks.quantized import perplexity
from isthmus.parts.step import Batch

ACTIVE = 0.01
"""A number of the code is active when its standard deviation exceeds this share of the largest."""


def code_statistics(model: Model, codes: Tensor, rows: Rows, condition: Tensor | None) -> dict[str, float]:
    """Return what there is to say of the codes (n, k, *positions) of some rows, position by position.

    "active" is how many of the k numbers vary: their standard deviation exceeds a hundredth of the largest. Where codes hold
    exact zeros, "l0" is how many numbers of a code are not zero, on average, and "dead" the share of numbers that always are.
    Codes with a normal posterior say "kl", their mean divergence from N(0, 1) in nats a row; codes that are counted say
    "perplexity", how many values of a column are in use (the mean over the columns), and "unused", the share of values
    that never are.
    """
    statistics = number_statistics(codes)
    bottleneck = model.parts.bottleneck
    if isinstance(bottleneck, Discrete):
        # as whole numbers below 2^24, indices pass through float32 unharmed
        indices = torch.from_numpy(map_rows(lambda b: _indices(model, b), rows, model, condition=condition)).long()
        sizes = bottleneck.sizes(model.z_shape)
        columns = [indices[:, [place]] for place in range(len(sizes))]
        used = [float(perplexity(column, size)) for column, size in zip(columns, sizes, strict=True)]
        seen = sum(len(column.unique()) for column in columns)
        return statistics | {"perplexity": float(np.mean(used)), "unused": 1 - seen / sum(sizes)}
    if isinstance(bottleneck, Gaussian):
        kl = map_rows(lambda batch: divergence(model, batch), rows, model, condition=condition)
        statistics["kl"] = float(kl.astype(np.float64).sum(1).mean())
    return statistics


def divergence(model: Model, batch: Batch) -> Tensor:
    """Return KL(q(z | x) || N(0, 1)) of each number of the code, flattened, in nats."""
    posterior = model.encode(batch).posterior
    assert posterior is not None, "only a code with a normal posterior has a divergence"
    return 0.5 * (posterior.mu.square() + posterior.log_var.exp() - 1 - posterior.log_var).flatten(1)


def number_statistics(codes: Tensor) -> dict[str, float]:
    """Return "active", and "l0" and "dead" where there are exact zeros."""
    flat = codes.movedim(1, -1).flatten(0, -2).double()  # (n * positions, k)
    spread = flat.std(0, correction=0)
    statistics = {"active": float((spread > ACTIVE * spread.max()).sum())}
    is_used = flat != 0
    if not is_used.all():
        statistics["l0"] = float(is_used.sum(1).double().mean())
        statistics["dead"] = float((~is_used.any(0)).double().mean())
    return statistics


def _indices(model: Model, batch: Batch) -> Tensor:
    found = model.encode(batch).indices
    assert found is not None, "a discrete code says which values it is made of"
    return found.float()
