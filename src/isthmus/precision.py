"""Half precision in training: taken where it promises to pay, and where a probe shows that it costs nothing."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from isthmus.engine.choice import maker
from isthmus.engine.dense import Dense
from isthmus.errors import SettingError
from isthmus.inference import map_rows
from isthmus.training import Run, train

PRECISIONS = ("auto", "float32", "bfloat16")
PROMISING = 2.5e8
"""Floating-point operations in the products of a step from which bfloat16 gains a fifth, more than the probe costs
(``python benchmarks/precision.py``)."""
FEWEST_STEPS = 400
"""Shorter trainings are over before a probe has paid."""
SHARE, MOST = 0.05, 200
"""The probe is a training of its own over so large a share of the steps, but never more steps than this."""
TOLERATED = 1.005
"""How far the held-out error of the probe in half precision may exceed that in float32."""


class Verdict(NamedTuple):
    """In which precision the layers multiply, and why."""

    dtype: torch.dtype | None
    """None: that of the weights."""
    why: str
    """A sentence; "" where nothing was tried."""


def asked(setting: str) -> torch.dtype | None:
    """Return what ``precision`` asks for without a probe."""
    return torch.bfloat16 if setting == "bfloat16" else None


def settle(run: Run, setting: str, engine: str) -> Verdict:
    """Return the precision of a run: what is asked for, or what the rule promises and the probe confirms."""
    if setting not in PRECISIONS:
        raise SettingError(f"precision={setting!r} is not known; use 'auto', 'float32' or 'bfloat16'.")
    refusal = f"engine={engine!r} was asked for" if engine not in ("auto", "dense") else Dense.refuses(run.model)
    if setting == "bfloat16" and refusal:
        raise SettingError(f"precision='bfloat16' cannot be computed here: {refusal}; use precision='auto'.")
    if setting == "bfloat16":
        return Verdict(torch.bfloat16, "bfloat16 was asked for.")
    if setting == "float32" or refusal or not promises(run) or run.data.held_out is None:
        return Verdict(None, "")
    steps = probe_steps(run)
    exact, half = (_error(run, steps, dtype, engine) for dtype in (None, torch.bfloat16))
    change = f"{100 * (half / exact - 1):+.2f} %" if exact > 0 else "no less"
    said = f"In a probe of {steps} steps the held-out error in bfloat16 was {change} beside float32"
    if half <= TOLERATED * exact:
        return Verdict(torch.bfloat16, f"{said}: the layers multiply in bfloat16.")
    return Verdict(None, f"{said}: training stayed in float32.")


def promises(run: Run) -> bool:
    """Say whether half precision is likely to pay: a function of processor, shapes and length alone."""
    operations = 6.0 * run.plan.batch_size * _numbers(p for p in run.model.parameters() if p.dim() > 1)
    return computes_bfloat16() and operations >= PROMISING and _all_steps(run) >= FEWEST_STEPS


def computes_bfloat16() -> bool:
    """Has this processor instructions for products of bfloat16?"""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def probe_steps(run: Run) -> int:
    """Return how many steps the probe of a run takes."""
    return min(MOST, int(SHARE * _all_steps(run)))


def _all_steps(run: Run) -> int:
    return run.plan.epochs * -(-len(run.data.train) // run.plan.batch_size)


def _numbers(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _error(run: Run, steps: int, dtype: torch.dtype | None, engine: str) -> float:
    """Return the mean held-out error after a short training of a copy, judged in float32 both times."""
    data, count = run.data, min(steps * run.plan.batch_size, len(run.data.train))
    some = torch.from_numpy(np.random.default_rng(run.seed).permutation(len(data.train))[:count])
    little = data._replace(
        train=data.train.subset(some),
        train_weight=None if data.train_weight is None else data.train_weight[some],
        train_condition=None if data.train_condition is None else data.train_condition[some],
    )
    epochs = max(1, round(steps * run.plan.batch_size / count))
    plan = run.plan._replace(epochs=epochs, patience=None)
    probe = Run(copy.deepcopy(run.model), little, plan, run.seed, engine=maker(engine, dtype))
    train(probe)
    assert data.held_out is not None, "settle() asks for held-out rows first"
    return float(map_rows(probe.model.cells, data.held_out, probe.model, cells=data.cells).mean(dtype=np.float64))
