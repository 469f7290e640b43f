"""Which engine computes the steps: a pure function of model, shape and device, so that results do not depend on the weather."""

from __future__ import annotations

from functools import partial

from isthmus.engine.adam import Adam
from isthmus.engine.compiled import Compiled, is_at_hand
from isthmus.engine.dense import Dense
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Engine, Maker
from isthmus.errors import SettingError
from isthmus.model import Model

ENGINES = ("auto", "eager", "dense", "compiled")

MOST = 2**19
"""Weights beyond which nothing is gained by compiling: matrix products are all there is to do, and the loop may give a step
several threads, of which the compiled engine uses one."""
START = 0.5
"""Seconds that the compiled engine takes to begin: to import numba and load its machine code."""
SAVED, SAVED_BY_WEIGHT = 70e-6, 1.7e-9
"""Seconds it saves a step at least, and for each weight (``python benchmarks/engines.py``)."""


def maker(setting: str) -> Maker:
    """Return what picks the engine that ``setting`` asks for: "auto", or one by name."""
    return partial(chosen, setting)


def chosen(setting: str, model: Model, optimizer: Adam, steps: int) -> tuple[Engine, str]:
    """Return the engine, and why it is not a faster one ("" when it is the fastest there is)."""
    if setting == "compiled" or (setting == "auto" and compiling_pays(model, steps) and is_at_hand()):
        why_not = Compiled.refuses(model)
        if not why_not:
            return Compiled(model, optimizer), ""
        if setting == "compiled":
            raise SettingError(f"engine='compiled' cannot compute this model: {why_not}; use engine='auto'.")
    why_not = "it was asked for" if setting == "eager" else Dense.refuses(model)
    if setting == "dense" and why_not:
        raise SettingError(f"engine='dense' cannot compute this model: {why_not}; use engine='auto'.")
    if why_not:
        return Eager(model, optimizer), why_not
    return Dense(model, optimizer), ""


def compiling_pays(model: Model, steps: int) -> bool:
    """Do so many steps save more than the compiled engine takes to begin?"""
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights <= MOST and steps * (SAVED + SAVED_BY_WEIGHT * weights) > START
