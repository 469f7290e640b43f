"""The convolutional engine: eager training whose image networks keep their channels side by side in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import nn

from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.engine.chains import Chain
from isthmus.engine.curious import looks_beyond
from isthmus.engine.eager import Eager
from isthmus.engine.engine import Block, Engine
from isthmus.engine.maps import is_plain
from isthmus.model import Model

KEPT = 31 * 2**20
"""Bytes; the C library of Linux lets a process keep twice the largest block it has freed, up to 32 MiB."""


class Convolutional(Engine):
    """Serves models with image convolutions whose penalties look at the code only, on the CPU.

    With ``precision="bfloat16"`` convolutions multiply and pass on half precision; the weights, the sums of their gradients,
    Adam, everything dense, the code and the losses stay in the model's own type.
    """

    name: ClassVar[str] = "convolutional"

    def __init__(self, model: Model, optimizer: Adam, precision: str = "float32") -> None:
        assert isinstance(model, Composed), "refuses() was asked first"
        own = next(model.parameters()).dtype
        dtype = torch.bfloat16 if precision == "bfloat16" else own
        self.eager = Eager(model, optimizer)
        self.terms = self.eager.terms
        self._chains = [(body, Chain(body, dtype, own)) for body in (model.encoder.body, model.decoder.body)]
        keep_freed_memory()

    @staticmethod
    def refuses(model: Model) -> str:
        """Say why this engine cannot compute a model; "" when it can."""
        if type(model) is not Composed:
            return "its parts are joined in a way of their own"
        if next(model.parameters()).device.type != "cpu":
            return "it is not on the CPU"
        bodies = model.encoder.body, model.decoder.body
        if not all(type(body) is nn.Sequential for body in bodies) or not any(map(is_plain, model.modules())):
            return "its network has no plain convolutions of images"
        return looks_beyond(model.parts)

    def run(self, block: Block, rng: torch.Generator) -> dict[str, float]:
        with standing_in(self._chains):
            return self.eager.run(block, rng)


@contextmanager
def standing_in(chains: list[tuple[nn.Module, Chain]]) -> Iterator[None]:
    """Let each chain compute what its module would, while the block runs."""
    for body, layers in chains:
        body.forward = layers
    try:
        yield
    finally:
        for body, _ in chains:
            del body.forward


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one.

    It returns freed memory to the system beyond twice the largest block it has seen freed; each step would get its maps anew,
    page by page, which takes a third of its time. Once it has seen a block of the largest size it heeds, it keeps them.
    """
    torch.empty(KEPT, dtype=torch.uint8)
