"""Penalties: what training asks of a code beyond a good reconstruction."""

from isthmus.parts.penalties.adversaries import CodeCritic, FactorCritic, SampleCritic
from isthmus.parts.penalties.contraction import Contractive
from isthmus.parts.penalties.divergences import MMD, TotalCorrelation
from isthmus.parts.penalties.penalty import Adversary, Onlooker, Penalty
from isthmus.parts.penalties.perceptual import Perceptual
from isthmus.parts.penalties.regularisation import CodeNorm, DecoderGradient
from isthmus.parts.penalties.sparsity import L1, KLSparsity

__all__ = [
    "L1",
    "MMD",
    "Adversary",
    "CodeCritic",
    "CodeNorm",
    "Contractive",
    "DecoderGradient",
    "FactorCritic",
    "KLSparsity",
    "Onlooker",
    "Penalty",
    "Perceptual",
    "SampleCritic",
    "TotalCorrelation",
]
