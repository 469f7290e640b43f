"""Filling gaps: every missing cell of a table from the observed ones of its row."""

from __future__ import annotations

from isthmus.apps.imputation.imputer import Imputer
from isthmus.apps.imputation.results import ColumnResult, Imputation

__all__ = ["ColumnResult", "Imputation", "Imputer"]
