"""The design: how the parts are joined to a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from isthmus.model import Blueprint, Model
from isthmus.parts.part import Part
from isthmus.training import Run


class Design(Part, ABC):
    """Join the parts of a blueprint to a model: ``design.build(blueprint) -> Model``."""

    carries_shortcut: ClassVar[bool]
    """Can its models start from PCA?"""

    @abstractmethod
    def build(self, blueprint: Blueprint) -> Model: ...

    @abstractmethod
    def prepare(self, run: Run) -> None:
        """Do what comes before the training proper (layer-wise pre-training, say); most designs do nothing."""
