"""Search by code: which rows are most like this one."""

from isthmus.apps.retrieval.index import Index
from isthmus.apps.retrieval.neighbours import Neighbours

__all__ = ["Index", "Neighbours"]
