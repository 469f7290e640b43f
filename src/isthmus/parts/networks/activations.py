"""Activations by name."""

from __future__ import annotations

from torch import nn

from isthmus.errors import SettingError

_BY_NAME: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


def activation(name: str) -> nn.Module:
    """Return the activation called ``name``."""
    if name not in _BY_NAME:
        raise SettingError(f"There is no activation {name!r}; choose one of {', '.join(_BY_NAME)}.")
    return _BY_NAME[name]()
