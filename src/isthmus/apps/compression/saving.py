"""A compressor as a model folder, and its models out of one without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus.apps.compression.engines.engine import CLASSICAL, LEARNED, engine_class
from isthmus.apps.compression.forms import form_from
from isthmus.persistence import Saved

_PREFIX = "engine."


def to_saved(compressor: Any) -> Saved:
    """Return everything a fitted compressor needs to be itself in another process."""
    params = compressor.get_params(deep=False) | {"random_state": compressor.seed_}
    params["engines"] = params["engines"] if isinstance(params["engines"], str) else list(params["engines"])
    params |= {name: dict(params[name]) for name in ("abs", "rel") if hasattr(params[name], "items")}
    learned = {name: engine for name, engine in compressor.engines_.items() if name in LEARNED}
    arrays = {f"{_PREFIX}{name}": np.array(bytearray(engine.to_bytes()), np.uint8) for name, engine in learned.items()}
    sizes = [f"* {name}: {len(arrays[_PREFIX + name]):,} bytes" for name in learned]
    card = "\n".join(
        ["# A compressor", "", "What it has learned:", "", *(sizes or ["* nothing: its engines are classical"])]
    )
    return Saved(
        "compressor", {"params": params, "seed": compressor.seed_}, {}, compressor.form_.to_json(), arrays, card=card
    )


def restore(compressor: Any, saved: Saved) -> None:
    """Give a compressor of the saved settings what it had learned."""
    compressor.form_, compressor.seed_ = form_from(saved.preprocess), saved.config["seed"]
    learned = {name.removeprefix(_PREFIX): data for name, data in saved.arrays.items() if name.startswith(_PREFIX)}
    compressor.engines_ = {name: engine_class(name)(compressor.form_.shape) for name in CLASSICAL}
    compressor.engines_ |= {name: engine_class(name).from_bytes(data.tobytes()) for name, data in learned.items()}
