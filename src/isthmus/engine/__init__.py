"""Engines: how the steps of training are computed. The eager autograd engine is the reference and serves every model."""

from isthmus.engine.eager import Eager, average, reference
from isthmus.engine.engine import Block, Engine, Maker, Terms, in_use

__all__ = ["Block", "Eager", "Engine", "Maker", "Terms", "average", "in_use", "reference"]
