"""A network of the user's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.network import Network


@dataclass
class Modules(Network):
    """The user's own pair of modules: ``encoder_module`` maps (B, *shape) to any (B, ...), ``decoder_module`` codes to samples.

    The bottleneck's head is added between them. Each fit starts from a copy of the modules as they were given. They are
    not imported by path when a model is loaded: the caller passes them again, ``isthmus.load(path, network=Modules(..))``.
    """

    encoder_module: nn.Module | None = field(default=None, repr=False)
    decoder_module: nn.Module | None = field(default=None, repr=False)

    sees_gaps: ClassVar[bool] = False

    @property
    def keeps_place(self) -> bool:
        return False

    def encoder(self, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        body = copy.deepcopy(self._given("encoder_module"))
        with torch.no_grad():
            h = self._try(body, (2, *shape), "encoder_module")
        return body, tuple(h.shape[1:])

    def decoder(self, z_shape: tuple[int, ...], shape: tuple[int, ...]) -> nn.Module:
        body = copy.deepcopy(self._given("decoder_module"))
        with torch.no_grad():
            x_hat = self._try(body, (2, *z_shape), "decoder_module")
        if tuple(x_hat.shape[1:]) != tuple(shape):
            raise SettingError(
                f"decoder_module turns a code of shape {z_shape} into {tuple(x_hat.shape[1:])}, but a sample has the shape "
                f"{tuple(shape)}; end the decoder in that shape, or give latent_dim the size it expects."
            )
        return body

    def resolve(self, shape: tuple[int, ...], n_rows: int) -> Network:
        for name in ("encoder_module", "decoder_module"):
            self._given(name)
        return self

    def join(self, encoder: nn.Module, head: nn.Module, decoder: nn.Module) -> None:
        pass

    @property
    def ends_linearly(self) -> bool:
        return False  # nobody can see from here what stands behind its last layer

    @property
    def holds_back(self) -> bool:
        return True  # the user's own architecture may regularise in ways nobody can see from here

    def to_json(self) -> dict[str, Any]:
        return {"part": "Modules"}

    def _given(self, name: str) -> nn.Module:
        module = getattr(self, name)
        if not isinstance(module, nn.Module):
            raise SettingError(
                f"Modules({name}={module!r}) needs a torch.nn.Module; pass both modules, also to load()."
            )
        return module

    @staticmethod
    def _try(module: nn.Module, shape: tuple[int, ...], name: str) -> torch.Tensor:
        was_training = module.training
        try:
            return module.eval()(torch.zeros(shape))
        except RuntimeError as error:
            raise SettingError(f"{name} does not accept samples of the shape {shape[1:]}: {error}") from error
        finally:
            module.train(was_training)
