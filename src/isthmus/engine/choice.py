"""Which engine computes the steps: a pure function of model, shape and device, so that results do not depend on the weather."""

from __future__ import annotations

from functools import partial

from isthmus.engine.adam import Adam
from isthmus.engine.convolutional import Convolutional
from isthmus.engine.dense import Dense
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Engine, Maker
from isthmus.engine.maps import is_plain
from isthmus.errors import SettingError
from isthmus.model import Model

ENGINES = ("auto", "eager", "dense", "convolutional")


def maker(setting: str) -> Maker:
    """Return what picks the engine that ``setting`` asks for: "auto", or one by name."""
    return partial(chosen, setting)


def chosen(setting: str, model: Model, optimizer: Adam) -> tuple[Engine, str]:
    """Return the engine, and why it is not a faster one ("" when it is the fastest there is)."""
    if setting == "eager":
        return Eager(model, optimizer), "it was asked for"
    convolves = any(is_plain(module) for module in model.modules())
    fast = Convolutional if setting == "convolutional" or (setting == "auto" and convolves) else Dense
    why_not = fast.refuses(model)
    if why_not and setting != "auto":
        raise SettingError(f"engine={setting!r} cannot compute this model: {why_not}; use engine='auto'.")
    return (Eager(model, optimizer), why_not) if why_not else (fast(model, optimizer), "")
