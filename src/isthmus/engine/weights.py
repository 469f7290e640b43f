"""The weights as hand-written steps see them: flat, and each with a place for its gradient."""

from __future__ import annotations

from collections import Counter

from torch import Tensor, nn

from isthmus.engine.adam import Adam


class Weights:
    """Every trained parameter of a model by itself: ``value`` to multiply with, ``gradient`` to write to."""

    def __init__(self, model: nn.Module, optimizer: Adam) -> None:
        self.optimizer = optimizer
        named = dict(model.named_parameters())
        gradients = optimizer.flatten()
        self.value: dict[Tensor, Tensor] = {named[name]: named[name].detach() for name in gradients}
        self.gradient: dict[Tensor, Tensor] = {named[name]: view for name, view in gradients.items()}
        self._uses = Counter[Tensor](parameter for _, parameter in model.named_parameters(remove_duplicate=False))

    def is_shared(self, parameter: Tensor) -> bool:
        """Do two layers go through this parameter?"""
        return self._uses[parameter] > 1

    def step(self, learning_rate: float) -> None:
        """Let Adam move the weights by the gradients that were written."""
        self.optimizer.step(learning_rate)
