"""Regularisation: what makes a decoder smooth where codes lie, so that codes near them decode well (Ghosh 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isthmus.parts.jacobian import Projections, refuse_no_projections, squared_jacobian, twice_differentiable
from isthmus.parts.penalties.penalty import Penalty
from isthmus.parts.step import Step, per_sample


@dataclass
class CodeNorm(Penalty):
    """Penalise the squared length of the code: weight * 1/2 |z|^2, which keeps codes together (Ghosh 2020)."""

    weight: float = 1e-2

    @property
    def of_code_only(self) -> bool:
        return True

    def __call__(self, step: Step) -> Tensor:
        return self.weight * 0.5 * per_sample(step.code.z.square())


@dataclass
class DecoderGradient(Penalty):
    """Penalise the squared Jacobian of the decoder: weight * |dx_hat/dz|_F^2, at the code of the sample (Ghosh 2020).

    x_hat is the decoder's output, which for booleans and categories is a logit. ``projections`` is "exact", or how many
    random directions estimate the norm.
    """

    weight: float = 1e-2
    projections: Projections = 1

    def __call__(self, step: Step) -> Tensor:
        refuse_no_projections("DecoderGradient", self.projections)
        z = step.code.z if step.code.z.requires_grad else step.code.z.detach().requires_grad_()
        with torch.enable_grad(), twice_differentiable():
            return self.weight * squared_jacobian(step.decode(z), z, self.projections, step.rng)
