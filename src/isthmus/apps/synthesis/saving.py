"""A synthesizer as a model folder: JSON and safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus import data
from isthmus.apps.synthesis.coding import Coding, Column
from isthmus.apps.synthesis.drawing import Learned
from isthmus.apps.synthesis.linear import Linear
from isthmus.apps.synthesis.network import Chain
from isthmus.data.tables import TableCodec
from isthmus.errors import ModelFileError
from isthmus.persistence import Saved


def to_saved(synthesizer: Any) -> Saved:
    """Return everything a fitted synthesizer needs to be itself in another process."""
    coding, linear, chain = synthesizer.learned_
    seed = synthesizer.random_state
    config = {
        "params": {"random_state": int(seed) if isinstance(seed, (int, np.integer)) else None},
        "seed": synthesizer.seed_,
        "n_features_in": synthesizer.n_features_in_,
        "feature_names_in": list(map(str, getattr(synthesizer, "feature_names_in_", []))) or None,
        "is_array": synthesizer.is_array_,
        "n_rows": synthesizer.n_rows_,
        "network": {"members": chain.members, "width": chain.enter.weight.shape[2]},
    }
    preprocess = {"codec": coding.codec.to_json(), "columns": []}
    arrays: dict[str, np.ndarray] = {}
    for place, (column, answer) in enumerate(zip(coding.columns, linear, strict=True)):
        state = [column.name, column.place, column.number, column.smooth, column.decimals]
        preprocess["columns"].append([*state, None if answer is None else answer.scale])
        arrays |= {f"{place}.{name}": getattr(column, name) for name in ("values", "counts", "bins")}
        if answer is not None:
            arrays[f"{place}.linear"] = answer.weights
    metrics = {"losses": synthesizer.losses_}
    return Saved("synthesizer", config, dict(chain.state_dict()), preprocess, arrays, metrics, card=_card(synthesizer))


def restore(synthesizer: Any, saved: Saved) -> None:
    """Make an unfitted synthesizer the one that was saved."""
    config, arrays = saved.config, saved.arrays
    synthesizer.seed_, synthesizer.n_features_in_ = config["seed"], config["n_features_in"]
    synthesizer.is_array_, synthesizer.n_rows_ = config["is_array"], config["n_rows"]
    synthesizer.losses_ = saved.metrics["losses"]
    if config["feature_names_in"]:
        synthesizer.feature_names_in_ = np.array(config["feature_names_in"], object)
    codec = data.codec_from(saved.preprocess["codec"], {})
    assert isinstance(codec, TableCodec)
    columns, linear = [], []
    for at, (name, place, number, smooth, decimals, scale) in enumerate(saved.preprocess["columns"]):
        values, counts, bins = (arrays[f"{at}.{part}"] for part in ("values", "counts", "bins"))
        columns.append(Column(name, place, number, values, counts, bins, smooth, decimals))
        linear.append(None if scale is None else Linear(arrays[f"{at}.linear"], scale))
    coding = Coding(codec, tuple(columns))
    shape = config["network"]
    chain = Chain(coding, tuple(linear), shape["members"], shape["width"], torch.Generator().manual_seed(0))
    try:
        chain.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise ModelFileError(
            "the weights in model.safetensors do not fit config.json; copy the model again."
        ) from error
    synthesizer.learned_ = Learned(coding, tuple(linear), chain.eval())


def _card(synthesizer: Any) -> str:
    losses = synthesizer.losses_
    lines = [
        "# A synthesizer",
        "",
        f"Draws rows of a table with the columns {', '.join(map(repr, synthesizer.order_))}, in this order.",
        f"Learned from {synthesizer.n_rows_:,} rows, of which it keeps none, but which values each column takes and how often.",
        f"A held-out row costs {losses[-1]:.2f} nats; columns drawn without looking at one another {losses[0]:.2f}.",
        "",
        "Load it with `isthmus.load(folder)`.",
        "",
    ]
    return "\n".join(lines)
