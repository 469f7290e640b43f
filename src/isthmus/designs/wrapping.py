"""What designs share that change the objective or the prior, but neither encoder nor decoder."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch
from torch import Tensor

from isthmus.designs.composed import Composed
from isthmus.designs.draws import Weighable
from isthmus.model import Blueprint, Model
from isthmus.parts.principal import Principal
from isthmus.parts.step import Batch


class Wrapping(Model, Weighable, ABC):
    """A composed model inside another one, which answers for everything that the other one leaves as it is."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        self.blueprint = blueprint
        self.composed = Composed(blueprint)
        self.z_shape = self.composed.z_shape

    @property
    def encoder(self) -> Any:
        return self.composed.encoder

    @property
    def decoder(self) -> Any:
        return self.composed.decoder

    @property
    def noise_width(self) -> int:
        return self.composed.noise_width

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.composed.decode(z, condition)

    def cells(self, batch: Batch) -> Tensor:
        return self.composed.cells(batch)

    @torch.no_grad()
    def become_linear(self, floor: Principal) -> None:
        self.composed.become_linear(floor)
