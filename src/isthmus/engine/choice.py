"""Which engine computes the steps: a pure function of model, shape and device, so that results do not depend on the weather."""

from __future__ import annotations

from functools import partial

import torch

from isthmus.engine.adam import Adam
from isthmus.engine.dense import Dense
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Engine, Maker
from isthmus.errors import SettingError
from isthmus.model import Model

ENGINES = ("auto", "eager", "dense")


def maker(setting: str, multiplied: torch.dtype | None = None) -> Maker:
    """Return what picks the engine that ``setting`` asks for: "auto", or one by name; layers multiply in ``multiplied``."""
    return partial(chosen, setting, multiplied)


def chosen(setting: str, multiplied: torch.dtype | None, model: Model, optimizer: Adam) -> tuple[Engine, str]:
    """Return the engine, and why it is not a faster one ("" when it is the fastest there is)."""
    why_not = "engine='eager' was asked for" if setting == "eager" else Dense.refuses(model)
    if setting == "dense" and why_not:
        raise SettingError(f"engine='dense' cannot compute this model: {why_not}; use engine='auto'.")
    if why_not:
        return Eager(model, optimizer), why_not
    return Dense(model, optimizer, multiplied), ""
