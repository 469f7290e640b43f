"""Activations by name."""

from __future__ import annotations

import re
from inspect import signature
from typing import Any

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
    """Return the activation called ``name``, which may carry settings: "leaky_relu", "leaky_relu(negative_slope=0.2)"."""
    found = re.fullmatch(r"(\w+)(?:\((.*)\))?", name) if isinstance(name, str) else None
    if found is None or found[1] not in _BY_NAME:
        raise SettingError(f"There is no activation {name!r}; choose one of {', '.join(_BY_NAME)}.")
    kind, settings = _BY_NAME[found[1]], {}
    defaults = _defaults(kind)
    try:
        for pair in found[2].split(",") if found[2] else ():
            key, value = (side.strip() for side in pair.split("="))
            settings[key] = value.strip("'\"") if isinstance(defaults[key], str) else float(value)
        return kind(**settings)
    except (KeyError, ValueError) as error:
        known = ", ".join(f"{each}={value!r}" for each, value in defaults.items()) or "none"
        raise SettingError(f"The activation {name!r} has settings that cannot be read; it knows {known}.") from error


def named(module: nn.Module) -> str:
    """Return the name of one of torch's activations, with the settings that are not the defaults."""
    name = next((name for name, kind in _BY_NAME.items() if kind is type(module)), None)
    if name is None or (isinstance(module, nn.PReLU) and module.weight.tolist() != [0.25]):
        raise SettingError(
            f"activation={module!r} is a module that no saved model could name; give one of {', '.join(_BY_NAME)}, or a "
            f"network of your own, Modules(encoder, decoder)."
        )
    own = {key: getattr(module, key) for key, value in _defaults(type(module)).items() if getattr(module, key) != value}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in own.items())})" if own else name


class Activated:
    """What a part with activations is, besides: one of torch's modules is kept by its name, as a saved model says it."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, named(value) if isinstance(value, nn.Module) else value)


def _defaults(kind: type[nn.Module]) -> dict[str, Any]:
    """Return the settings that change what an activation computes, with their defaults."""
    parameters = signature(kind).parameters.values()
    return {
        each.name: each.default for each in parameters if isinstance(each.default, (float, str)) and each.name != "init"
    }


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
