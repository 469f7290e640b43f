"""The compiled engine: for common models, a block of steps is one call of machine code that numba has made."""

from isthmus.engine.compiled.engine import Compiled, is_at_hand

__all__ = ["Compiled", "is_at_hand"]
