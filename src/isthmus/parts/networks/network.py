"""A network: the two seas around the isthmus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from isthmus.parts.part import Part


class Network(Part, ABC):
    """Build the encoder's body and the decoder.

    ``encoder(shape) -> (Module, h_shape)`` maps (B, *shape) to (B, *h_shape); ``decoder(z_shape, shape) -> Module`` maps
    (B, *z_shape) to (B, *shape). Both end in a linear layer or an activation that the bottleneck's head can follow.
    """

    sees_gaps: ClassVar[bool]
    """Is the encoder's body called with the mask too, ``body(x, observed)``? Else it sees 0 where a value is missing."""

    @property
    @abstractmethod
    def keeps_place(self) -> bool:
        """Is h a map (channels, *positions), and the code one too? Else h is flattened to one vector."""

    @abstractmethod
    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]: ...

    @abstractmethod
    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module: ...

    @abstractmethod
    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        """Return a network whose sizes are numbers, where "auto" stood; errors name a size that does not fit ``shape``."""

    @property
    @abstractmethod
    def ends_linearly(self) -> bool:
        """Is the decoder's last layer linear, with nothing behind it? Then setting it to zero silences the decoder."""

    @property
    @abstractmethod
    def holds_back(self) -> bool:
        """Does it regularise by itself (dropout, an architecture of the user's), so that a large code is defensible?"""

    @abstractmethod
    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        """Let encoder body, head and decoder share weights where the network says so; most share none."""
