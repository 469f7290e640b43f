"""Penalties: what training asks of a code beyond a good reconstruction."""

from isthmus.parts.penalties.contraction import Contractive
from isthmus.parts.penalties.penalty import Adversary, Penalty
from isthmus.parts.penalties.regularisation import CodeNorm, DecoderGradient
from isthmus.parts.penalties.sparsity import L1

__all__ = ["L1", "Adversary", "CodeNorm", "Contractive", "DecoderGradient", "Penalty"]
