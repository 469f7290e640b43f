"""Which engine computes the steps: a pure function of model, shape and device, so that results do not depend on the weather."""

from __future__ import annotations

from functools import partial

from isthmus.engine.adam import Adam
from isthmus.engine.dense import Dense
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Engine, Maker
from isthmus.engine.graphs import Graphs
from isthmus.errors import SettingError
from isthmus.model import Model

FAST: dict[str, type[Dense] | type[Graphs]] = {"dense": Dense, "graphs": Graphs}
ENGINES = ("auto", "eager", *FAST)


def maker(setting: str, precision: str = "float32") -> Maker:
    """Return what picks the engine that ``setting`` asks for: "auto", or one by name; it multiplies in ``precision``."""
    return partial(chosen, setting, precision=precision)


def chosen(setting: str, model: Model, optimizer: Adam, precision: str = "float32") -> tuple[Engine, str]:
    """Return the engine, and why it is not a faster one ("" when it is the fastest there is)."""
    if setting == "eager":
        return Eager(model, optimizer, precision), "engine='eager' was asked for"
    is_on_gpu = next(model.parameters()).device.type == "cuda"
    name = ("graphs" if is_on_gpu else "dense") if setting == "auto" else setting
    if why_not := FAST[name].refuses(model):
        if setting != "auto":
            raise SettingError(f"engine={setting!r} cannot compute this model: {why_not}; use engine='auto'.")
        return Eager(model, optimizer, precision), why_not
    return FAST[name](model, optimizer, precision), ""
