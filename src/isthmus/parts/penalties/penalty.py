"""The penalty: what training asks of a code beyond a good reconstruction."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from isthmus.layout import Layout
from isthmus.parts.part import Part
from isthmus.parts.step import Pretrained, Step


class Penalty(Part, ABC):
    """Map a step to one number per sample, (B,), or one for the batch, ().

    A penalty that a step cannot serve (no posterior, no image) says so in a SettingError: no term vanishes in silence.
    """

    @property
    def of_code_only(self) -> bool:
        """Does it look at the batch and its code, and neither at the networks nor at what they rebuild?"""
        return False

    @abstractmethod
    def __call__(self, step: Step) -> Tensor: ...


class Adversary(Penalty, ABC):
    """A penalty with a critic, a network of its own that learns against the model.

    Two terms, one backward pass: in ``adversary(step)`` the critic is frozen, so the gradient reaches the model only;
    :meth:`critic_term` must detach what the model made, so its gradient reaches the critic only. Together they are
    simultaneous gradient descent of both players.
    """

    @abstractmethod
    def critic(self, layout: Layout, z_shape: tuple[int, ...]) -> nn.Module:
        """Build the critic."""

    @abstractmethod
    def critic_term(self, step: Step) -> Tensor:
        """Return what the critic minimises, (B,) or (); ``step.critic`` learns here."""


class Onlooker(Penalty, ABC):
    """A penalty that looks through a network of its own, which has learned from the rows before the training."""

    @abstractmethod
    def network(self, layout: Layout) -> Pretrained | None:
        """Build the network, which steps show as ``step.features``; None where it is not needed."""
