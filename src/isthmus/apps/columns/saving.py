"""What is learned of columns as JSON and arrays, for the model folders of the uses built on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from isthmus.apps.columns.coding import Choice, Coding, Number
from isthmus.apps.columns.network import Members
from isthmus.data.tables import TableCodec
from isthmus.errors import ModelFileError


def coding_state(coding: Coding) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return how columns are spread out, but for the codec, which whoever saves knows how to keep."""
    numbers = [[number.name, number.place.start, number.mean, number.deviation] for number in coding.numbers]
    choices = [
        [choice.name, choice.place.start, choice.place.stop, choice.width, choice.frequencies.tolist()]
        for choice in coding.choices
    ]
    supports = {f"{place}.support": number.support for place, number in enumerate(coding.numbers)}
    return {"numbers": numbers, "choices": choices}, supports


def coding_from(codec: TableCodec, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Coding:
    """Return the coding whose state this is."""
    numbers = tuple(
        Number(name, slice(start, start + 1), arrays[f"{place}.support"], mean, deviation)
        for place, (name, start, mean, deviation) in enumerate(state["numbers"])
    )
    choices = tuple(
        Choice(name, slice(start, stop), width, np.array(frequencies))
        for name, start, stop, width, frequencies in state["choices"]
    )
    return Coding(codec, numbers, choices)


def network_state(network: Members) -> dict[str, int]:
    """Return the sizes of a network; its weights are its ``state_dict``."""
    return {
        "members": len(network.loadings),
        "rank": network.loadings.shape[2],
        "width": network.enter.weight.shape[2],
        "blocks": len(network.blocks),
    }


def network_from(coding: Coding, state: Mapping[str, int], weights: Mapping[str, torch.Tensor]) -> Members:
    """Return the network with these weights, ready to be asked."""
    network = Members(coding, **state, rng=torch.Generator().manual_seed(0))
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise ModelFileError(
            "the weights in model.safetensors do not fit config.json; copy the model again."
        ) from error
    return network.eval()
