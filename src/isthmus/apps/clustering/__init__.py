"""Groups of rows, found among their codes."""

from isthmus.apps.clustering.clusterer import Clusterer
from isthmus.apps.clustering.summary import Clustering

__all__ = ["Clusterer", "Clustering"]
