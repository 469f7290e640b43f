"""The weights as hand-written steps see them: flat, and each with a place for its gradient."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isthmus.engine.adam import Adam


class Weight(NamedTuple):
    """A parameter as a layer multiplies with it."""

    value: Tensor
    gradient: Tensor
    """Where the layer writes its gradient; of the same shape and type."""


class Weights:
    """Every trained parameter of a model by itself, with a place for its gradient that Adam reads.

    With ``multiplied`` in half precision, layers see copies of the masters that Adam moves (Micikevicius 2018).
    """

    def __init__(self, model: nn.Module, optimizer: Adam, multiplied: torch.dtype | None = None) -> None:
        self.optimizer, self.multiplied = optimizer, multiplied
        named = dict(model.named_parameters())
        self.gradient: dict[Tensor, Tensor] = {named[name]: view for name, view in optimizer.flatten().items()}
        self._copies: dict[Tensor, Weight] = {}
        self._uses = Counter[Tensor](parameter for _, parameter in model.named_parameters(remove_duplicate=False))

    def of_layer(self, parameter: Tensor) -> Weight:
        """Return what a layer multiplies with, and where its gradient goes."""
        master = Weight(parameter.detach(), self.gradient[parameter])
        if self.multiplied in (None, master.value.dtype):
            return master
        if parameter not in self._copies:
            self._copies[parameter] = Weight(*(values.to(self.multiplied) for values in master))
        return self._copies[parameter]

    def is_shared(self, parameter: Tensor) -> bool:
        """Do two layers go through this parameter?"""
        return self._uses[parameter] > 1

    def step(self, learning_rate: float) -> None:
        """Let Adam move the weights by the gradients that were written."""
        for parameter, copy in self._copies.items():
            self.gradient[parameter].copy_(copy.gradient)
        self.optimizer.step(learning_rate)
        self.refresh()

    def refresh(self) -> None:
        """Take over masters that were moved."""
        for parameter, copy in self._copies.items():
            copy.value.copy_(parameter.detach())
