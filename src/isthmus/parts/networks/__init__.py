"""Networks: the two seas around the isthmus."""

from isthmus.parts.networks.conv import Conv
from isthmus.parts.networks.mlp import MLP
from isthmus.parts.networks.modules import Modules
from isthmus.parts.networks.network import Network
from isthmus.parts.networks.pair import Pair
from isthmus.parts.networks.recurrent import Recurrent
from isthmus.parts.networks.temporal import Temporal
from isthmus.parts.networks.transformer import Transformer

__all__ = ["MLP", "Conv", "Modules", "Network", "Pair", "Recurrent", "Temporal", "Transformer"]
