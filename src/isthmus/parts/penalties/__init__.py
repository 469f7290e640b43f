"""Penalties: what training asks of a code beyond a good reconstruction."""

from isthmus.parts.penalties.penalty import Adversary, Penalty
from isthmus.parts.penalties.sparsity import L1, KLSparsity

__all__ = ["L1", "Adversary", "KLSparsity", "Penalty"]
