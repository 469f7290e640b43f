"""Every column of a table given any others: p(column | observed columns), from one network trained on random gaps."""

from __future__ import annotations

from isthmus.apps.columns.coding import Cells, Coding
from isthmus.apps.columns.conditionals import Conditionals, Predicted, sample
from isthmus.apps.columns.dependencies import Dependencies, Dependency
from isthmus.apps.columns.fitting import Recipe, learn

__all__ = ["Cells", "Coding", "Conditionals", "Dependencies", "Dependency", "Predicted", "Recipe", "learn", "sample"]
