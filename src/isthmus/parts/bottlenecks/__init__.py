"""Bottlenecks: how the width h of a network becomes a code z. Each owns its head, so networks and bottlenecks multiply."""

from isthmus.parts.bottlenecks.bottleneck import Auxiliary, Bottleneck, Discrete, Head
from isthmus.parts.bottlenecks.finite import Binary, FiniteScalar
from isthmus.parts.bottlenecks.gates import Gated, JumpReLU
from isthmus.parts.bottlenecks.gaussian import Gaussian
from isthmus.parts.bottlenecks.nested import Matryoshka
from isthmus.parts.bottlenecks.plain import Bare, Plain
from isthmus.parts.bottlenecks.quantized import VectorQuantized
from isthmus.parts.bottlenecks.sparse import BatchTopK, TopK
from isthmus.parts.bottlenecks.spherical import Spherical

__all__ = [
    "Auxiliary",
    "Bare",
    "BatchTopK",
    "Binary",
    "Bottleneck",
    "Discrete",
    "FiniteScalar",
    "Gated",
    "Gaussian",
    "Head",
    "JumpReLU",
    "Matryoshka",
    "Plain",
    "Spherical",
    "TopK",
    "VectorQuantized",
]
