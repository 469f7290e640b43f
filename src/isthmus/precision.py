"""Half precision in training: taken where it promises to pay, and where a probe shows that it costs nothing."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.engine.choice import FAST, fastest, is_compiled, maker
from isthmus.errors import SettingError
from isthmus.inference import map_rows
from isthmus.model import Model
from isthmus.parts.step import Batch
from isthmus.training import Run, train

PRECISIONS = ("auto", "float32", "bfloat16")
PROMISING = 2.5e8
"""Floating-point operations in the products of a step from which bfloat16 gains a fifth, more than the probe costs
(``python benchmarks/precision.py``)."""
COMPILED = 5e8
"""The same where the compiled engine, which is faster than the dense one in float32, would serve the model."""
FEWEST_STEPS = 400
"""Shorter trainings are over before a probe has paid."""
SHARE, MOST = 0.05, 200
"""The probe is a training of its own over so large a share of the steps, but never more steps than this."""
TOLERATED = 1.005
"""How far the held-out error of the probe in half precision may exceed that in float32."""


class Verdict(NamedTuple):
    """In which precision the layers multiply, and why."""

    precision: str
    """As ``engine.choice.maker`` takes it."""
    why: str
    """A sentence; "" where nothing was tried."""


def settle(run: Run, setting: str, engine: str) -> Verdict:
    """Return the precision of a run: what is asked for, or what the rule promises and the probe confirms."""
    if setting not in PRECISIONS:
        raise SettingError(f"precision={setting!r} is not known; use 'auto', 'float32' or 'bfloat16'.")
    if next(run.model.parameters()).device.type == "cuda":
        return Verdict(setting, "")  # there, "auto" is TF32
    refusal = _refusal(run, engine)
    if setting == "bfloat16" and refusal:
        raise SettingError(f"precision='bfloat16' cannot be computed here: {refusal}; use precision='auto'.")
    if setting == "bfloat16":
        return Verdict("bfloat16", "bfloat16 was asked for.")
    if setting == "float32" or refusal or not promises(run) or run.data.held_out is None:
        return Verdict("float32", "")
    steps = probe_steps(run)
    exact, half = (_error(run, steps, precision, engine) for precision in ("float32", "bfloat16"))
    change = f"{100 * (half / exact - 1):+.2f} %" if exact > 0 else "no less"
    said = f"In a probe of {steps} steps the held-out error in bfloat16 was {change} beside float32"
    if half <= TOLERATED * exact:
        return Verdict("bfloat16", f"{said}: the layers multiply in bfloat16.")
    return Verdict("float32", f"{said}: training stayed in float32.")


def _refusal(run: Run, engine: str) -> str:
    """Say why no engine that may be taken multiplies in half precision; "" when one does."""
    if engine not in ("auto", "dense", "convolutional"):
        return f"engine={engine!r} was asked for"
    name = fastest(run.model, _all_steps(run), "bfloat16") if engine == "auto" else engine
    return FAST[name].refuses(run.model)


def promises(run: Run) -> bool:
    """Say whether half precision is likely to pay: a function of processor, shapes and length alone."""
    operations, steps = 3.0 * run.plan.batch_size * forward_operations(run.model), _all_steps(run)
    least = COMPILED if is_compiled(run.model, steps) else PROMISING
    return computes_bfloat16() and operations >= least and steps >= FEWEST_STEPS


def computes_bfloat16() -> bool:
    """Has this processor instructions for products of bfloat16?"""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def probe_steps(run: Run) -> int:
    """Return how many steps the probe of a run takes."""
    return min(MOST, int(SHARE * _all_steps(run)))


def _all_steps(run: Run) -> int:
    return run.plan.epochs * -(-len(run.data.train) // run.plan.batch_size)


def forward_operations(model: Model) -> float:
    """Return the floating-point operations of the products of one sample: two a weight, at every position of a convolution."""
    total = 2.0 * sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        map_ = (
            inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        )  # where each weight is used once a position
        assert isinstance(weight, Tensor), "a convolution has a weight"
        total += 2.0 * weight.numel() * (math.prod(map_.shape[2:]) - 1)

    layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        if layers:
            was_training = model.training
            with torch.inference_mode():
                model.eval().expected(Batch(torch.zeros(1, *model.layout.shape)))
            model.train(was_training)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _error(run: Run, steps: int, precision: str, engine: str) -> float:
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
    probe = Run(copy.deepcopy(run.model), little, plan, run.seed, engine=maker(engine, precision))
    train(probe)
    assert data.held_out is not None, "settle() asks for held-out rows first"
    return float(map_rows(probe.model.cells, data.held_out, probe.model, cells=data.cells).mean(dtype=np.float64))
