"""The whole model as one module: what becomes the graph.

x (rows, *sample) --scale--> encoder -> codes -> decoder --unscale--> reconstruction      score: minus the terms
z (codes, latent) ----------------------------> decoder --unscale--> decoded
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from isthmus.apps.exporting.numbers import numbers_of
from isthmus.errors import SettingError
from isthmus.parts.reconstructions import cells_of
from isthmus.parts.step import Batch

if TYPE_CHECKING:
    from isthmus.estimator import Autoencoder

OPSET = 20
"""The set of ONNX operators a graph is written in."""
INPUTS = ("x", "z")
OUTPUTS = ("codes", "reconstruction", "score", "decoded")


class Answers(NamedTuple):
    """What the graph puts out."""

    codes: Tensor
    """(rows, latent): ``transform(x)``"""
    reconstruction: Tensor
    """(rows, *sample): ``reconstruct(x)``, whole numbers neither rounded nor kept in range"""
    score: Tensor
    """(rows,): ``score_samples(x)``, higher is more normal"""
    decoded: Tensor
    """(codes, *sample): ``inverse_transform(z)``, whole numbers neither rounded nor kept in range"""


class Graph(nn.Module):
    """An autoencoder with its scaling, from the user's numbers to the user's numbers."""

    def __init__(self, ae: Autoencoder) -> None:
        super().__init__()
        if ae.condition_ is not None:
            raise SettingError(
                "a conditional model is told more than its rows, for which a graph has no place; use the model folder itself "
                "(isthmus serve)."
            )
        self.numbers = numbers_of(ae.codec_)
        self.model, self.z_shape = ae.model_, ae.model_.z_shape
        cells = cells_of(ae.codec_.layout.blocks)
        self.register_buffer("cells", cells)
        self.cells: Tensor | None

    @property
    def latent(self) -> int:
        return math.prod(self.z_shape)

    def forward(self, x: Tensor, z: Tensor) -> Answers:
        values, observed = self.numbers.encode(x)
        batch = Batch(values, observed, self.cells)
        codes = self.model.encode(batch).embedding
        terms = list(self.model.terms(batch).values())
        return Answers(
            codes.flatten(1),
            self.numbers.decode(self.model.decoder(codes)),
            -torch.stack(terms).sum(0),
            self.numbers.decode(self.model.decoder(z.unflatten(1, self.z_shape))),
        )
