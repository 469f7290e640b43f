"""Activations by name."""

from __future__ import annotations

from torch import nn

from isthmus.errors import SettingError
from isthmus.parts.networks.dropout import Dropout

_BY_NAME: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "elu": nn.ELU,
    "celu": nn.CELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh,
    "softsign": nn.Softsign,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
    "softplus": nn.Softplus,
}


def activation(name: str) -> nn.Module:
    """Return the activation called ``name``."""
    if isinstance(name, nn.Module):
        raise SettingError(
            f"activation={name!r} is a module, which no saved model could name; give its name, one of "
            f"{', '.join(_BY_NAME)}, or a network of your own, Modules(encoder, decoder)."
        )
    if name not in _BY_NAME:
        raise SettingError(f"There is no activation {name!r}; choose one of {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]()


def output(name: str) -> list[nn.Module]:
    """Return the layer behind a decoder's last one: none for the identity, so that the last layer stays the last."""
    return [] if name == "identity" else [activation(name)]


def refuse_dropout(part: str, rate: float) -> None:
    """Refuse a rate of dropout that is none."""
    if not 0 <= rate < 1:
        raise SettingError(f"{part}(dropout={rate}) must be at least 0 and below 1; try 0.1.")


def dropout(rate: float) -> list[nn.Module]:
    """Return a layer that drops numbers in training (Srivastava 2014); none at a rate of 0."""
    return [Dropout(rate)] if rate else []
