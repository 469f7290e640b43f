"""A network: the two seas around the isthmus."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from isthmus.parts.part import Part


class Network(Part, ABC):
    """Build the encoder's body and the decoder.

    ``encoder(shape) -> (Module, h_shape)`` maps (B, *shape) to (B, *h_shape); ``decoder(z_shape, shape) -> Module`` maps
    (B, *z_shape) to (B, *shape). Both end in a linear layer or an activation that the bottleneck's head can follow.
    """

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
