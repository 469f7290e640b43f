"""Designs: how the parts are joined to a model. Most variants join them one after the other; a coupled one stands here."""

from isthmus.designs.composed import Composed, Direct
from isthmus.designs.design import Design
from isthmus.designs.draws import Weighable
from isthmus.designs.hierarchical import Hierarchical
from isthmus.designs.importance import ImportanceWeighted
from isthmus.designs.mixture import VampPrior
from isthmus.designs.stacked import Stacked

__all__ = [
    "Composed",
    "Design",
    "Direct",
    "Hierarchical",
    "ImportanceWeighted",
    "Stacked",
    "VampPrior",
    "Weighable",
]
