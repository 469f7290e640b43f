"""What the model folder of an autoencoder holds, and the card that tells people about it."""

from __future__ import annotations

import hashlib
import json
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import data
from isthmus.conditions import Condition
from isthmus.designs import Direct
from isthmus.errors import ModelFileError, SettingError
from isthmus.history import History
from isthmus.model import Blueprint, Parts
from isthmus.parts.networks import Modules
from isthmus.parts.part import from_json, to_json
from isthmus.parts.principal import Principal
from isthmus.persistence import Saved, versions
from isthmus.resolution import resolve_device
from isthmus.sampling import UNFITTED, Learned
from isthmus.scores import Floor
from isthmus.training import Plan

_PARTS = ("network", "bottleneck", "reconstruction", "corruptions", "penalties")


def resolved(autoencoder: Any, engine: str, device: torch.device) -> dict[str, Any]:
    """Return every setting of a fit as it was used, as plain JSON."""
    parts, seed = autoencoder.model_.parts, autoencoder.random_state
    return {
        "latent_dim": autoencoder.latent_dim_,
        **{name: to_json(getattr(parts, name)) for name in _PARTS},
        "design": to_json(autoencoder._design),
        "effort": autoencoder.effort,
        **{key: to_json(value) for key, value in autoencoder._plan._asdict().items() if key != "constant_rate"},
        "early_stopping": bool(autoencoder.early_stopping),
        "validation_fraction": float(autoencoder.validation_fraction),
        "scale": autoencoder.scale,
        "shortcut": autoencoder._has_shortcut,
        "engine": engine,
        "device": str(device),
        "random_state": int(seed) if isinstance(seed, Integral) else None,
        "seed": autoencoder.seed_,
    }


def settings_key(autoencoder: Any, weight: Tensor | None, told: Tensor | None) -> str:
    """Name data and settings of a fit: a checkpoint of others must not be taken up."""
    codec, model = autoencoder.codec_, autoencoder.model_
    described = json.dumps([autoencoder.settings_, codec.to_json(), autoencoder.fingerprint_], sort_keys=True)
    digest = hashlib.sha256(described.encode())
    start = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    for values in [
        *codec.arrays().values(),
        *start.values(),
        *(given.numpy() for given in (weight, told) if given is not None),
    ]:
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def to_saved(autoencoder: Any) -> Saved:
    """Return everything a fitted autoencoder needs to be itself in another process."""
    params = {
        name: to_json(value)
        for name, value in autoencoder.get_params(deep=False).items()
        if name not in ("callbacks", "random_state", "network")
    }
    params["network"] = to_json(autoencoder.model_.parts.network)
    params["random_state"] = autoencoder.settings_["random_state"]
    principal, history = autoencoder.principal_, autoencoder.history_
    weights = {f"model.{name}": value for name, value in autoencoder.model_.state_dict().items()}
    weights |= {
        "principal.mean": principal.mean,
        "principal.directions": principal.directions,
        "principal.variances": principal.variances,
        "principal.spread": principal.spread,
        "codes": autoencoder.codes_,
        "held_out": torch.from_numpy(autoencoder.held_out_.astype(np.int64)),
    }
    learned = autoencoder._sampling
    sampler = learned.sampler if learned.sampler is not None and learned.sampler.is_slow else None
    weights |= {} if sampler is None else {f"sampler.{name}": value for name, value in learned.state.items()}
    record = history.to_json()
    config = {
        "params": params,
        "settings": autoencoder.settings_,
        "n_features_in": autoencoder.n_features_in_,
        "feature_names_in": list(map(str, getattr(autoencoder, "feature_names_in_", []))) or None,
        "fingerprint": autoencoder.fingerprint_,
        "reading": autoencoder.reading_,
        "sampling": None if sampler is None else to_json(sampler),
        "told": None if autoencoder.condition_ is None else autoencoder.condition_.to_json(),
    }
    metrics = {
        "scores": autoencoder.scores_,
        "floor": None if autoencoder.floor_ is None else autoencoder.floor_._asdict(),
        "principal_total": principal.total,
        "n_iter": autoencoder.n_iter_,
        "training": {name: record[name] for name in ("best_epoch", "stopped", "events", "engine", "engine_note")},
    }
    codec = autoencoder.codec_
    return Saved(
        "autoencoder",
        config,
        weights,
        codec.to_json(),
        codec.arrays(),
        metrics,
        record["epochs"],
        model_card(autoencoder),
    )


def restore(autoencoder: Any, saved: Saved) -> None:
    """Make an unfitted autoencoder the one that was saved."""
    config, metrics, weights = saved.config, saved.metrics, saved.weights
    settings = config["settings"]
    codec = data.codec_from(saved.preprocess, saved.arrays)
    chosen = {name: from_json(settings[name], is_saved=True) for name in _PARTS}
    if isinstance(chosen["network"], Modules):
        given = autoencoder.network
        chosen["network"] = Modules(*given) if isinstance(given, (tuple, list)) else given
        chosen["network"].resolve(codec.layout.shape, 0)
    told = config.get("told")
    autoencoder.condition_ = None if told is None else Condition.from_json(told)
    autoencoder._design = from_json(settings["design"], is_saved=True) if "design" in settings else Direct()
    width = 0 if autoencoder.condition_ is None else autoencoder.condition_.width
    blueprint = Blueprint(Parts(**chosen), codec.layout, settings["latent_dim"], settings["shortcut"], width)
    with torch.random.fork_rng([]):  # building draws initial weights, which are overwritten at once
        model = autoencoder._design.build(blueprint)
    try:
        model.load_state_dict(
            {name.removeprefix("model."): v for name, v in weights.items() if name.startswith("model.")}
        )
    except RuntimeError as error:
        raise ModelFileError(
            "the weights in model.safetensors do not fit the settings in config.json; copy the model again."
        ) from error
    autoencoder.model_ = model.eval().to(_device(autoencoder))
    autoencoder.codec_ = codec
    autoencoder.principal_ = Principal(
        weights["principal.mean"],
        weights["principal.directions"],
        weights["principal.variances"],
        weights["principal.spread"],
        metrics["principal_total"],
    )
    # a model of the first versions kept no codes; it samples from its prior only
    autoencoder.codes_ = weights.get("codes", torch.zeros(0, *model.z_shape))
    autoencoder._sampling = _learned(config.get("sampling"), weights)
    autoencoder.held_out_ = weights["held_out"].numpy()
    autoencoder.settings_, autoencoder.seed_ = settings, settings["seed"]
    autoencoder.latent_dim_, autoencoder._has_shortcut = settings["latent_dim"], settings["shortcut"]
    autoencoder._plan = Plan(**{name: settings[name] for name in Plan._fields if name in settings})
    autoencoder._n_features_out = int(np.prod(model.z_shape))
    autoencoder.n_iter_, autoencoder.n_features_in_ = metrics["n_iter"], config["n_features_in"]
    if config["feature_names_in"]:
        autoencoder.feature_names_in_ = np.array(config["feature_names_in"], dtype=object)
    autoencoder.fingerprint_, autoencoder.reading_ = config["fingerprint"], config["reading"]
    autoencoder.scores_ = metrics["scores"]
    autoencoder.floor_ = None if metrics["floor"] is None else Floor(**metrics["floor"])
    autoencoder.history_ = History(epochs=saved.history, **metrics["training"])


def _learned(sampling: Any, weights: dict[str, Tensor]) -> Learned:
    """Return what a sampler that is slow to learn had learned when the model was saved."""
    if sampling is None:
        return UNFITTED
    state = {name.removeprefix("sampler."): value for name, value in weights.items() if name.startswith("sampler.")}
    return Learned(from_json(sampling, is_saved=True), state)


def _device(autoencoder: Any) -> torch.device:
    """Return the device the model was saved for, or the CPU where there is none."""
    try:
        return resolve_device(autoencoder.device)
    except SettingError:
        return torch.device("cpu")


def model_card(autoencoder: Any) -> str:
    """Return the README.md of a model folder: what it is, what it was learned from, how good it is, how to use it."""
    scores, settings, codec = autoencoder.scores_, autoencoder.settings_, autoencoder.codec_
    where = "held-out rows" if scores["held_out"] else "the training rows (there were too few to hold any out)"
    lines = [
        "# An Isthmus autoencoder",
        "",
        f"Learned from {codec.kind} data: each sample has the encoded shape {tuple(codec.layout.shape)} and becomes a code "
        f"of {autoencoder.code_size_} numbers ({settings['network']['part']} network, {settings['bottleneck']['part']} "
        f"bottleneck, {settings['reconstruction']['part']} reconstruction).",
        "",
        f"## How good it is, on {scores['rows']} {where}",
        "",
        "| | squared error per sample (scaled units) | variance explained | accuracy of categories |",
        "|---|---|---|---|",
    ]
    for rival, name in (("model", "this model"), ("pca", "PCA, same code size"), ("mean", "the mean")):
        row = scores[rival]
        lines.append(
            f"| {name} | {row['squared_error']:.4g} | {_percent(row['explained'])} | {_percent(row['accuracy'])} |"
        )
    if autoencoder.floor_ is not None and not autoencoder.floor_.kept:
        lines += [
            "",
            "The network did not beat PCA on held-out rows by more than the standard error, so the model *is* PCA.",
        ]
    lines += ["", "## Data schema", ""]
    if codec.layout.blocks:
        kinds = {block.column: block.kind for block in codec.layout.blocks if not block.gap}
        gaps = {block.column for block in codec.layout.blocks if block.gap}
        lines += ["| column | kind |", "|---|---|"]
        lines += [f"| {name} | {kind}{', with gaps' if name in gaps else ''} |" for name, kind in kinds.items()]
    else:
        lines.append(f"{codec.kind}, one sample is {tuple(codec.layout.shape)}.")
    lines += ["", *(f"* {note}" for note in codec.notes)] if codec.notes else []
    lines += [
        "",
        "## How to use it",
        "",
        "```python",
        "import isthmus as ist",
        'ae = ist.load("this folder")',
        "codes = ae.transform(X); X_again = ae.inverse_transform(codes); oddness = -ae.score_samples(X)",
        "```",
        "",
        "or `isthmus encode DATA -m FOLDER -o codes.csv`. The folder holds JSON and safetensors only; loading runs no code.",
        "",
        "Made with " + ", ".join(f"{name} {number}" for name, number in versions().items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
