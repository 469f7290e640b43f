"""Designs: how the parts are joined to a model. Most variants join them one after the other; a coupled one stands here."""

from isthmus.designs.composed import Composed, Direct
from isthmus.designs.design import Design

__all__ = ["Composed", "Design", "Direct"]
