"""Greedy layer-wise pre-training: every layer learns to reconstruct the one below, before all learn together."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from isthmus.data.rows import DenseRows, Rows
from isthmus.designs.composed import Composed
from isthmus.designs.design import Design
from isthmus.errors import SettingError
from isthmus.history import History
from isthmus.inference import map_rows
from isthmus.layout import Layout
from isthmus.model import Blueprint, Model, Parts
from isthmus.parts.bottlenecks import Bare, Bottleneck
from isthmus.parts.networks import MLP, Modules
from isthmus.parts.networks.activations import activation, dropout
from isthmus.parts.reconstructions import Normal, SquaredError
from isthmus.parts.step import Batch
from isthmus.training import Data, Run, seed_globals, train


@dataclass
class Stacked(Design):
    """Pre-train an MLP layer by layer, then all of it together (Hinton & Salakhutdinov 2006; Bengio 2007).

    Stage i trains r_i = s(W r_{i-1} + b) and its mirror image s(V r_i + c) to give r_{i-1} back, where r_0 = x; the last
    stage is the code. Each trains for ``share`` of the epochs. The first stage has the reconstruction and the corruptions
    of the whole; the ones above compare squares, or, under a random code, a likelihood. ``history_.events`` tells how far
    the loss of each stage fell.
    """

    share: float = 0.2
    carries_shortcut: ClassVar[bool] = False  # whoever starts from PCA needs no other start

    def build(self, blueprint: Blueprint) -> Model:
        network = blueprint.parts.network
        if not isinstance(network, MLP):
            raise SettingError(
                f"Stacked trains the layers of an MLP one by one, but the network is {type(network).__name__}; use "
                f"network=MLP(hidden=(256, 128)), or design='direct'."
            )
        unfit = {
            "tied": network.tied,
            "spectral_norm": network.spectral_norm,
            "norm": network.norm != "none",
            "decoder_hidden": network.decoder_hidden is not None,
            "output_activation": network.output_activation != "identity",
        }
        for name in (name for name, is_set in unfit.items() if is_set):
            raise SettingError(
                f"Stacked trains each layer with a mirror image of its own, which MLP({name}={getattr(network, name)!r}) does "
                f"not have; leave {name} out, or use design='direct'."
            )
        if not 0 < self.share <= 1:
            raise SettingError(f"Stacked(share={self.share}) must be above 0 and at most 1; try 0.2.")
        return Composed(blueprint)

    def prepare(self, run: Run) -> None:
        pretrain(run, self.share)


class Layer(NamedTuple):
    """One layer of the whole and its mirror image."""

    width: int
    """How many numbers it makes."""
    up: nn.Module
    """The layer itself; for the last stage it is empty, and the bottleneck's head takes its place."""
    down: nn.Module
    """Its mirror image in the decoder, activation and all."""
    bottleneck: Bottleneck


def pretrain(run: Run, share: float) -> list[History]:
    """Train every layer of ``run.model`` alone, from the data up, and return how each stage went."""
    model, data, shape = run.model, run.data, run.model.layout.shape
    assert isinstance(model, Composed), "Stacked prepares what it has built"
    histories = []
    layers = layers_of(model)
    for place, layer in enumerate(layers):
        is_code = place == len(layers) - 1
        small = _alone(model, layer, shape, place == 0, is_code, run.seed)
        told = data if is_code else data._replace(train_condition=None, held_out_condition=None)
        plan = run.plan._replace(epochs=max(1, math.ceil(share * run.plan.epochs)))
        history = train(Run(small, told, plan, run.seed + 1 + place, engine=run.engine))
        _take_over(model, layer, small, place == 0, is_code)
        histories.append(history)
        if history.stopped == "interrupted":
            break
        run.history.events.append(_sentence(place, math.prod(shape), layer.width, history))
        if not is_code:
            data, shape = _above(small, data), (layer.width,)
    return histories


def layers_of(model: Composed) -> list[Layer]:
    """Return the layers of an MLP from the data to the code, each with its mirror image."""
    network = model.parts.network
    assert isinstance(network, MLP), "only an MLP has layers to train one by one"
    ups, downs = _linears(model.encoder.body), _linears(model.decoder.body)[::-1]
    layers = []
    for place, down in enumerate(downs):
        # Below the first layer stand the data, which the decoder's last layer gives without an activation.
        mirror = (
            nn.Sequential(down, activation(network.activation))
            if place
            else nn.Sequential(down, nn.Unflatten(1, model.layout.shape))
        )
        if place < len(ups):
            noise = dropout(network.dropout)
            up = nn.Sequential(nn.Flatten(), ups[place], activation(network.activation), *noise)
            layers.append(Layer(ups[place].out_features, up, mirror, Bare()))
        else:
            layers.append(Layer(model.z_shape[0], nn.Flatten(), mirror, model.parts.bottleneck))
    return layers


def _alone(model: Composed, layer: Layer, shape: tuple[int, ...], is_first: bool, is_code: bool, seed: int) -> Composed:
    """Return a model of one layer, which starts from copies of the weights that the layer has."""
    own = model.parts
    network = Modules(copy.deepcopy(layer.up).cpu().float(), copy.deepcopy(layer.down).cpu().float())
    reconstruction = Normal() if is_code and own.bottleneck.is_distribution else SquaredError()
    parts = Parts(
        network,
        layer.bottleneck,
        own.reconstruction if is_first else reconstruction,
        own.corruptions if is_first else (),
    )
    width = model.blueprint.condition_width if is_code else 0
    layout = model.layout if is_first else Layout(shape)
    with torch.random.fork_rng([]):
        # what is drawn here is overwritten, but the user's generator must not notice
        seed_globals(seed, torch.device("cpu"))
        small = Composed(Blueprint(parts, layout, layer.width, condition_width=width, n_rows=model.blueprint.n_rows))
    small.to(next(model.parameters()))
    if is_first and model.scale is not None and small.scale is not None:
        small.scale.load_state_dict(model.scale.state_dict())
    if is_code:
        small.encoder.head.load_state_dict(model.encoder.head.state_dict())
        if small.encoder.joint is not None and model.encoder.joint is not None:
            small.encoder.joint.load_state_dict(model.encoder.joint.state_dict())
    return small


def _take_over(model: Composed, layer: Layer, small: Composed, is_first: bool, is_code: bool) -> None:
    """Copy what was learned alone into the whole."""
    layer.up.load_state_dict(small.encoder.body.state_dict())
    layer.down.load_state_dict(small.decoder.body.state_dict())
    if is_code:
        model.encoder.head.load_state_dict(small.encoder.head.state_dict())
        if small.encoder.joint is not None and model.encoder.joint is not None:
            model.encoder.joint.load_state_dict(small.encoder.joint.state_dict())
    if is_first and model.scale is not None and small.scale is not None:
        model.scale.load_state_dict(small.scale.state_dict())


def _above(small: Composed, data: Data) -> Data:
    """Return what a trained layer makes of the rows: the data of the next one."""

    def code(batch: Batch) -> Tensor:
        return small.encode(batch).embedding

    def made(rows: Rows) -> DenseRows:
        return DenseRows(torch.from_numpy(map_rows(code, rows, small, cells=data.cells)))

    held_out = None if data.held_out is None else made(data.held_out)
    return data._replace(train=made(data.train), held_out=held_out, cells=None)


def _linears(body: nn.Module) -> list[nn.Linear]:
    return [module for module in body.modules() if isinstance(module, nn.Linear)]


def _sentence(place: int, inside: int, outside: int, history: History) -> str:
    losses = history.curve()
    return (
        f"Layer {place + 1} ({inside} -> {outside} numbers) was trained alone first: its loss fell from {losses[0]:.4g} to "
        f"{losses[-1]:.4g} in {len(losses)} epoch{'' if len(losses) == 1 else 's'}."
    )
