"""What the codes of a model look like: how many of their numbers are at work, and how much they say."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from isthmus.data.rows import Rows
from isthmus.inference import map_rows
from isthmus.model import Model
from isthmus.parts.bottlenecks import Discrete, Gaussian
from isthmus.parts.bottlenecks.quantized import perplexity
from isthmus.parts.step import Batch, Code

ACTIVE = 0.01
"""A number of the code is active when its standard deviation exceeds this share of the largest."""


def codes_of(model: Model, rows: Rows, condition: Tensor | None) -> tuple[Tensor, dict[str, float]]:
    """Return the noise-free codes of rows, (n, k, *positions), and what there is to say of them, position by position.

    "active" is how many of the k numbers vary: their standard deviation exceeds a hundredth of the largest. Where codes hold
    exact zeros, "l0" is how many numbers of a code are not zero, on average, and "dead" the share of numbers that always are.
    Codes with a normal posterior say "kl", their mean divergence from N(0, 1) in nats a row; codes that are counted say
    "perplexity", how many values of a column are in use (the mean over the columns), and "unused", the share of values
    that never are.
    """
    bottleneck, size = model.parts.bottleneck, math.prod(model.z_shape)

    def encoded(batch: Batch) -> Tensor:
        code = model.encode(batch)
        beside = [_indices(code)] if isinstance(bottleneck, Discrete) else []
        beside += [divergence(code)] if isinstance(bottleneck, Gaussian) else []
        return torch.cat([code.embedding.flatten(1), *beside], 1)  # in one pass

    found = torch.from_numpy(map_rows(encoded, rows, model, condition=condition))
    codes, beside = found[:, :size].reshape(-1, *model.z_shape), found[:, size:]
    statistics = number_statistics(codes)
    if isinstance(bottleneck, Discrete):
        # as whole numbers below 2^24, indices pass through float32 unharmed
        sizes = bottleneck.sizes(model.z_shape)
        columns = [column.flatten() for column in beside.long().view(len(beside), len(sizes), -1).unbind(1)]
        used = [float(perplexity(column, size)) for column, size in zip(columns, sizes, strict=True)]
        seen = sum(len(column.unique()) for column in columns)
        statistics |= {"perplexity": float(np.mean(used)), "unused": 1 - seen / sum(sizes)}
    if isinstance(bottleneck, Gaussian):
        statistics["kl"] = float(beside.double().sum(1).mean())
    return codes, statistics


def divergence(code: Code) -> Tensor:
    """Return KL(q(z | x) || N(0, 1)) of each number of the codes, flattened, in nats."""
    assert code.posterior is not None, "only a code with a normal posterior has a divergence"
    mu, log_var = code.posterior.mu, code.posterior.log_var
    return 0.5 * (mu.square() + log_var.exp() - 1 - log_var).flatten(1)


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


def _indices(code: Code) -> Tensor:
    assert code.indices is not None, "a discrete code says which values it is made of"
    return code.indices.float().flatten(1)
