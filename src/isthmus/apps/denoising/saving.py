"""A denoiser as a model folder: JSON and safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from isthmus import data
from isthmus.apps.denoising.linear import Gaps, Linear, Prior, Regression
from isthmus.apps.denoising.networks import correction
from isthmus.apps.denoising.restoring import Restorer
from isthmus.apps.denoising.results import SAID
from isthmus.data.scaling import Scaling
from isthmus.errors import ModelFileError
from isthmus.parts.part import from_json as part_from_json
from isthmus.persistence import Saved

_LINEAR: dict[str, type[Linear]] = {"prior": Prior, "regression": Regression, "gaps": Gaps}
_FIELDS = {
    "prior": ("mean", "basis", "variance"),
    "regression": ("mean_in", "mean_out", "matrix"),
    "gaps": ("mean", "weights", "unique", "smoother"),
}


def to_saved(denoiser: Any) -> Saved:
    """Return everything a fitted denoiser needs to be itself in another process."""
    seed, noise = denoiser.random_state, denoiser.noise
    params = denoiser.get_params(deep=False) | {"noise": noise if isinstance(noise, str) else noise.to_json()}
    params["random_state"] = int(seed) if isinstance(seed, (int, np.integer)) else None
    params = {name: value.item() if isinstance(value, np.generic) else value for name, value in params.items()}
    config = {"params": params, "kind_of_data": denoiser.kind_, "seed": denoiser.seed_}
    config |= {"answer": denoiser.answer_, "sigma": None if denoiser.sigma_ is None else float(denoiser.sigma_)}
    config["n_features_in"] = getattr(denoiser, "n_features_in_", None)
    config["feature_names_in"] = list(map(str, getattr(denoiser, "feature_names_in_", []))) or None
    config["reading"] = getattr(denoiser, "reading_", {})
    arrays: dict[str, np.ndarray] = {}
    weights: dict[str, torch.Tensor] = {}
    preprocess: dict[str, Any] = {}
    if denoiser.kind_ != "single":
        restorer = denoiser.restorer_
        kind = next(name for name, each in _LINEAR.items() if isinstance(restorer.linear, each))
        config |= {"shape": list(denoiser.shape_), "linear": kind, "levels": [restorer.low, restorer.high]}
        config["is_mirrored"] = restorer.is_mirrored
        config["planes"] = 0
        fields = _FIELDS[kind]
        arrays |= {f"linear.{name}": getattr(restorer.linear, name).numpy() for name in fields}
        if restorer.network is not None:
            config["planes"] = 3 if kind == "gaps" else 2
            weights = dict(restorer.network.state_dict())
    if denoiser.kind_ == "pictures":
        config["dtype"] = denoiser.dtype_.str
        arrays |= {f"scaling.{name}": np.asarray(value) for name, value in denoiser.scaling_._asdict().items()}
    if denoiser.kind_ == "rows":
        preprocess["codec"] = denoiser.codec_.to_json()
        arrays |= {f"codec.{name}": value for name, value in denoiser.codec_.arrays().items()}
    return Saved("denoiser", config, weights, preprocess, arrays, {"errors": denoiser.errors_}, card=_card(denoiser))


def restore(denoiser: Any, saved: Saved) -> None:
    """Make an unfitted denoiser the one that was saved."""
    config, arrays = saved.config, saved.arrays
    denoiser.kind_, denoiser.seed_ = config["kind_of_data"], config["seed"]
    denoiser.answer_, denoiser.sigma_, denoiser.errors_ = config["answer"], config["sigma"], saved.metrics["errors"]
    denoiser.reading_ = config["reading"]
    if config["n_features_in"] is not None:
        denoiser.n_features_in_ = config["n_features_in"]
    if config["feature_names_in"]:
        denoiser.feature_names_in_ = np.array(config["feature_names_in"], object)
    if denoiser.kind_ == "single":
        return
    denoiser.shape_ = tuple(config["shape"])
    linear = _LINEAR[config["linear"]](
        **{name: torch.from_numpy(value).clone() for name, value in _under(arrays, "linear")}
    )
    network = None
    if config["planes"]:
        network = correction(denoiser.shape_, config["planes"], torch.Generator().manual_seed(0))
        try:
            network.load_state_dict(saved.weights)
        except RuntimeError as error:
            raise ModelFileError(
                "the weights in model.safetensors do not fit config.json; copy the model again."
            ) from error
        network.eval().requires_grad_(False)
    low, high = config["levels"]
    denoiser.restorer_ = Restorer(linear, network, denoiser.answer_, low, high, config["is_mirrored"])
    if denoiser.kind_ == "pictures":
        denoiser.dtype_, denoiser.scaling_ = np.dtype(config["dtype"]), Scaling(**dict(_under(arrays, "scaling")))
    else:
        denoiser.codec_ = data.codec_from(saved.preprocess["codec"], dict(_under(arrays, "codec")))


def noise_from(state: Any) -> Any:
    """Return the setting ``noise`` as it was."""
    return state if isinstance(state, str) else part_from_json(state)


def _under(arrays: dict[str, np.ndarray], name: str) -> list[tuple[str, np.ndarray]]:
    return [(key.removeprefix(f"{name}."), value) for key, value in arrays.items() if key.startswith(f"{name}.")]


def _card(denoiser: Any) -> str:
    lines = ["# A denoiser", "", f"regime: {denoiser.regime}. {SAID[denoiser.answer_]}."]
    lines += [f"* held-out error of {name}: {error:.4g}" for name, error in denoiser.errors_.items()]
    return "\n".join([*lines, "", "Load it with `isthmus.load(folder)`.", ""])
