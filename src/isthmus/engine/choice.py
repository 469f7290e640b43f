"""Which engine computes the steps: a pure function of model, shape and device, so that results do not depend on the weather."""

from __future__ import annotations

from functools import partial

from isthmus.engine.adam import Adam
from isthmus.engine.compiled import Compiled, is_at_hand
from isthmus.engine.convolutional import Convolutional
from isthmus.engine.dense import Dense
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Engine, Maker
from isthmus.engine.graphs import Graphs
from isthmus.engine.maps import is_plain
from isthmus.errors import SettingError
from isthmus.model import Model

FAST: dict[str, type[Dense] | type[Compiled] | type[Convolutional] | type[Graphs]] = {
    "dense": Dense,
    "compiled": Compiled,
    "convolutional": Convolutional,
    "graphs": Graphs,
}
ENGINES = ("auto", "eager", *FAST)

MOST = 2**19
"""Weights beyond which nothing is gained by compiling: matrix products are all there is to do, and the loop may give a step
several threads, of which the compiled engine uses one."""
START = 0.5
"""Seconds that the compiled engine takes to begin: to import numba and load its machine code."""
SAVED, SAVED_BY_WEIGHT = 70e-6, 1.7e-9
"""Seconds it saves a step at least, and for each weight (``python benchmarks/engines.py``)."""
STACKED, STACKED_BY_WEIGHT = 10e-6, 4e-9
"""The same beside a step of one member in a stack (``python benchmarks/many.py``)."""


def maker(setting: str, precision: str = "float32") -> Maker:
    """Return what picks the engine that ``setting`` asks for: "auto", or one by name; it multiplies in ``precision``."""
    return partial(chosen, setting, precision=precision)


def chosen(setting: str, model: Model, optimizer: Adam, steps: int, precision: str = "float32") -> tuple[Engine, str]:
    """Return the engine, and why it is not a faster one ("" when it is the fastest there is)."""
    if setting == "eager":
        return Eager(model, optimizer, precision), "engine='eager' was asked for"
    name = fastest(model, steps, precision) if setting == "auto" else setting
    why_not = FAST[name].refuses(model)
    if name == "compiled" and precision == "bfloat16":
        why_not = "it multiplies in float32 only"
    if why_not:
        if setting != "auto":
            raise SettingError(f"engine={setting!r} cannot compute this model: {why_not}; use engine='auto'.")
        return Eager(model, optimizer, precision), why_not
    if name == "compiled":
        return Compiled(model, optimizer), ""
    made = {"dense": Dense, "convolutional": Convolutional, "graphs": Graphs}[name]
    return made(model, optimizer, precision), ""


def fastest(model: Model, steps: int, precision: str) -> str:
    """Return the name of the engine to ask first."""
    if next(model.parameters()).device.type == "cuda":
        return "graphs"
    if any(is_plain(module) for module in model.modules()):
        return "convolutional"
    return "compiled" if precision != "bfloat16" and is_compiled(model, steps) else "dense"


def is_compiled(model: Model, steps: int) -> bool:
    """Is the compiled engine at hand for this model, and do so many steps save more than it takes to begin?"""
    return compiling_pays(model, steps) and is_at_hand() and not Compiled.refuses(model)


def compiling_pays(model: Model, steps: int) -> bool:
    """Do so many steps save more than the compiled engine takes to begin?"""
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights <= MOST and steps * (SAVED + SAVED_BY_WEIGHT * weights) > START


def outpaces_stack(model: Model, steps: int, members: int) -> bool:
    """Do so many members, compiled one after the other, save more beside a stack of them than it takes to begin?"""
    weights = sum(parameter.numel() for parameter in model.parameters())
    saved = members * steps * (STACKED + STACKED_BY_WEIGHT * weights)
    return weights <= MOST and saved > START and is_at_hand() and not Compiled.refuses(model)
