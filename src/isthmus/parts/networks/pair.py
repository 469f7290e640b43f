"""The encoder of one network beside the decoder of another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.mlp import MLP
from isthmus.parts.networks.network import Network


@dataclass
class Pair(Network):
    """Two networks in place of one and its mirror image: ``Pair(Conv(down="pool"), MLP())``."""

    encoder_network: Network = field(default_factory=MLP)
    decoder_network: Network = field(default_factory=MLP)

    @property
    def sees_gaps(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - of a pair, the instance says it
        return self.encoder_network.sees_gaps

    @property
    def keeps_place(self) -> bool:
        return self.encoder_network.keeps_place

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        return self.encoder_network.encoder(shape)

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        return self.decoder_network.decoder(z_shape, shape)

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        for name in ("encoder_network", "decoder_network"):
            if not isinstance(getattr(self, name), Network):
                raise SettingError(f"Pair({name}={getattr(self, name)!r}) must be a network such as MLP().")
            if getattr(getattr(self, name), "tied", False):
                raise SettingError("Pair joins two networks, which cannot be tied; use MLP(tied=True) alone.")
        if self.decoder_network.keeps_place and not self.encoder_network.keeps_place:
            raise SettingError(
                f"The decoder {type(self.decoder_network).__name__} wants a code that is a map, but the encoder "
                f"{type(self.encoder_network).__name__} gives a vector; use code='map' in both, or in none."
            )
        first, second = (network.resolve(shape, n_rows) for network in (self.encoder_network, self.decoder_network))
        return replace(self, encoder_network=first, decoder_network=second)

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return self.decoder_network.ends_linearly

    @property
    def holds_back(self) -> bool:
        return self.encoder_network.holds_back or self.decoder_network.holds_back
