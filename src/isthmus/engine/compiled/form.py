"""A model as a compiled kernel sees it: which parts it is made of, and where in the flat arrays each number lies."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.engine.compiled import records
from isthmus.engine.compiled.records import LAYER, MODEL
from isthmus.engine.dense import Dense
from isthmus.engine.layers import Spec, chain, specs_of
from isthmus.model import Model
from isthmus.parts.bottlenecks import Bare, Gaussian, Plain
from isthmus.parts.bottlenecks.bottleneck import Head
from isthmus.parts.networks.dropout import Dropout
from isthmus.parts.penalties import L1
from isthmus.parts.reconstructions import Bernoulli, Huber, Normal, SquaredError
from isthmus.parts.reconstructions.likelihoods import LogVariance

ACTIVATIONS: dict[type[nn.Module], int] = {
    nn.ReLU: records.RELU,
    nn.LeakyReLU: records.LEAKY_RELU,
    nn.ELU: records.ELU,
    nn.SiLU: records.SILU,
    nn.GELU: records.GELU,
    nn.Tanh: records.TANH,
    nn.Sigmoid: records.SIGMOID,
}
LOSSES: dict[type[Any], int] = {
    SquaredError: records.SQUARES,
    Huber: records.HUBER,
    Bernoulli: records.LOG_LOSS,
    Normal: records.NORMAL,
}
ALIGNED = 16
"""Buffers start at multiples of so many numbers: 64 bytes, one line of the cache."""
PANEL = 32
"""The most columns of a matrix that are turned at a time."""


def refuses(model: Model) -> str:
    """Say why the kernel cannot compute a model; "" when it can."""
    if why_not := Dense.refuses(model):
        return why_not
    assert isinstance(model, Composed), "Dense serves no other"
    part, reconstruction = model.parts.bottleneck, model.parts.reconstruction
    if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
        return "its weights are not float32"
    if max(Counter(weight for _, weight in model.named_parameters(remove_duplicate=False)).values()) > 1:
        return "two of its layers share their weights"
    if type(part) not in (Bare, Plain, Gaussian):
        return f"{type(part).__name__} is not compiled"
    if isinstance(part, Gaussian) and (part.capacity or part.free_bits):
        return "a Gaussian code with a capacity or free bits is not compiled"
    if type(reconstruction) not in LOSSES:
        return f"{type(reconstruction).__name__} is not compiled"
    for penalty in model.parts.penalties:
        if type(penalty) is not L1:
            return f"{type(penalty).__name__} is not compiled"
    encoder, decoder = layers_of(model)
    if not encoder or not decoder:
        return "its network is not made of plain dense layers"
    if isinstance(part, Gaussian) and model.decoder.shortcut is not None:
        return "a Gaussian code beside a shortcut is not compiled"
    if bool((model.decoder.gain != 1).any()):
        return "its shortcut goes through a link"
    return ""


def layers_of(model: Composed) -> tuple[list[Spec] | None, list[Spec] | None]:
    """Return the dense layers before and behind the code; None where there is anything else."""
    part, head = model.parts.bottleneck, model.encoder.head
    ends: list[nn.Module] = []
    if isinstance(part, Gaussian):
        ends = [cast("Head", head).linear]
    elif isinstance(part, Plain):
        linear, activation = cast("nn.Sequential", head)
        ends = [cast("Head", linear).linear, activation]
    return specs_of([*chain(model.encoder.body), *ends]), specs_of(chain(model.decoder.body))


class Form(NamedTuple):
    """A model in records, for batches of at most ``rows`` rows."""

    model: Any
    """MODEL, one record."""
    layers: Any
    """LAYER, (n_layers + 2,): encoder, decoder, and both sides of the linear shortcut."""
    work: np.ndarray
    """The work space, float32."""
    rows: int
    dropped: list[tuple[int, Dropout | nn.Dropout]]
    """Each layer of dropout, and how wide it is."""


def form_of(model: Composed, optimizer: Adam, rows: int) -> Form:
    """Say where everything lies that a step reads and writes. The weights of the optimizer are flat."""
    encoder, decoder = layers_of(model)
    assert encoder is not None, "refuses() was asked first"
    assert decoder is not None, "refuses() was asked first"
    places, space, specs = _places(optimizer), _Space(), [*encoder, *decoder]
    layers, record = np.full(len(specs) + 2, -1, LAYER), np.zeros(1, MODEL)[0]
    dropped = [(spec.linear.weight.shape[0], spec.dropout) for spec in specs if spec.dropout is not None]
    n_kept = 0
    for place, (layer, spec) in enumerate(zip(layers, specs, strict=False)):
        _describe(layer, spec, places)
        if spec.dropout is not None:
            layer["kept"], n_kept = n_kept, n_kept + layer["outside"]
        for buffer in ("output", "slope", "d_output"):
            layer[buffer] = space.take(rows * layer["outside"])
        if place:
            layer["input"], layer["d_input"] = layers[place - 1]["output"], layers[place - 1]["d_output"]
    before, after, last = layers[len(encoder) - 1], layers[len(encoder)], layers[len(specs) - 1]

    record["encoder"], record["loss"] = len(encoder), LOSSES[type(model.parts.reconstruction)]
    record["code"], record["d_code"], record["x_hat"] = before["output"], before["d_output"], last["output"]
    n_code = rows * after["inside"]
    if isinstance(model.parts.bottleneck, Gaussian):
        record["is_gaussian"] = 1
        after["input"], after["d_input"], record["spread"] = (space.take(n) for n in (n_code, n_code, 2 * n_code))
        record["code"], record["d_code"] = after["input"], after["d_input"]
    sides = model.encoder.shortcut, model.decoder.shortcut
    for layer, weight in zip(layers[-2:], sides, strict=True):
        layer["inside"], layer["outside"] = layers[0]["inside"], after["inside"]
        if weight is not None:
            (layer["outside"], layer["inside"]), (layer["group"], layer["weight"]) = weight.shape, places[weight]
    if model.decoder.shortcut is not None:
        record["has_shortcut"], record["reach"] = 1, float(model.decoder.reach)
        after["input"], after["d_input"], record["code"], record["is_inside"] = (space.take(n_code) for _ in range(4))
        record["x_hat"] = space.take(rows * last["outside"])
    record["l1"] = sum(penalty.weight for penalty in model.parts.penalties if isinstance(penalty, L1))
    if isinstance(model.parts.reconstruction, Huber):
        record["delta"] = model.parts.reconstruction.delta
    if isinstance(model.scale, LogVariance):
        record["log_var_group"], record["log_var"] = places[model.scale.log_var]

    widest = int(max(layers["inside"].max(), layers["outside"].max()))
    record["zeros"], record["one"], record["panel"] = (space.take(n) for n in (widest, 1, widest * PANEL))
    work = torch.zeros(space.size).numpy()  # torch aligns what it allocates
    work[record["one"]] = 1.0
    return Form(record, layers, work, rows, dropped)


class _Space:
    """Deals out a work space, buffer by buffer."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, n: int) -> int:
        """Return where a new buffer of n numbers begins."""
        start, self.size = self.size, self.size + -(-int(n) // ALIGNED) * ALIGNED
        return start


def _describe(layer: Any, spec: Spec, places: dict[Tensor, tuple[int, int]]) -> None:
    """Write down the widths, the activation and the weights of a dense layer."""
    linear = cast("nn.Linear", spec.linear)
    layer["outside"], layer["inside"] = linear.weight.shape
    layer["activation"] = records.IDENTITY if spec.activation is None else ACTIVATIONS[type(spec.activation)]
    layer["group"], layer["weight"] = places[linear.weight]
    if linear.bias is not None:
        layer["bias_group"], layer["bias"] = places[linear.bias]


def _places(optimizer: Adam) -> dict[Tensor, tuple[int, int]]:
    """Return where each parameter begins: the group of the optimizer, and the place in its flat buffer."""
    return {
        parameter: (number, int(parameter.storage_offset()))
        for number, group in enumerate(optimizer.groups)
        for parameter in group.parameters
    }
