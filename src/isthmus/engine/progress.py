"""The progress of a training as a number that notices whether anybody depends on it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


class Progress:
    """The share of the training that is done; ``matters`` says whether what was made of it would come out otherwise later.

    The share only grows, and ends at 1: that it has passed a threshold stays true, and a ramp that is over is a constant.
    It is no float on purpose: whoever wants its value has to ask for it.
    """

    def __init__(self, share: float) -> None:
        self.share, self.matters = share, False

    def __ge__(self, bound: float) -> bool:
        self.matters |= self.share < bound <= 1
        return self.share >= bound

    def __gt__(self, bound: float) -> bool:
        self.matters |= self.share <= bound < 1
        return self.share > bound

    def __le__(self, bound: float) -> bool:
        return not self > bound

    def __lt__(self, bound: float) -> bool:
        return not self >= bound

    def __float__(self) -> float:
        self.matters = True
        return self.share


def _asking(function: Callable[[Any, Any], Any], is_first: bool) -> Callable[[Progress, Any], Any]:
    def operation(self: Progress, other: Any) -> Any:
        return function(float(self), other) if is_first else function(other, float(self))

    return operation


for _function in (operator.add, operator.sub, operator.mul, operator.truediv, operator.pow):
    setattr(Progress, f"__{_function.__name__}__", _asking(_function, True))
    setattr(Progress, f"__r{_function.__name__}__", _asking(_function, False))
Progress.__eq__ = _asking(operator.eq, True)
