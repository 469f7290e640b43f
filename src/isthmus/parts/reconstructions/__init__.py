"""Reconstructions: how far x_hat is from x, one number per cell, summed to one number per sample."""

from isthmus.parts.reconstructions.errors import Huber, SquaredError
from isthmus.parts.reconstructions.likelihoods import Bernoulli, LogVariance, Normal
from isthmus.parts.reconstructions.reconstruction import Reconstruction
from isthmus.parts.reconstructions.tables import Mixed, cells_of

__all__ = ["Bernoulli", "Huber", "LogVariance", "Mixed", "Normal", "Reconstruction", "SquaredError", "cells_of"]
