"""An imputer as a model folder: JSON and safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from isthmus import data
from isthmus.apps.columns import Conditionals, Dependencies, Dependency
from isthmus.apps.columns.saving import coding_from, coding_state, network_from, network_state
from isthmus.apps.imputation.boosting import Boosted
from isthmus.apps.imputation.filling import Column, Filling
from isthmus.apps.imputation.kernel import Kernel
from isthmus.apps.imputation.location import Groups, Location
from isthmus.apps.imputation.reconstructing import Reconstructing
from isthmus.apps.imputation.results import ColumnResult
from isthmus.data.tables import TableCodec
from isthmus.folder import to_saved as autoencoder_to_saved
from isthmus.persistence import Saved, rebuild

_INSIDE = "autoencoder"
_RULE = ("keys", "exact", "values")


def to_saved(imputer: Any) -> Saved:
    """Return everything a fitted imputer needs to be itself in another process."""
    seed = imputer.random_state
    params = imputer.get_params(deep=False) | {"autoencoder": None}
    params["random_state"] = int(seed) if isinstance(seed, (int, np.integer)) else None
    config = {
        "params": params,
        "seed": imputer.seed_,
        "n_features_in": imputer.n_features_in_,
        "feature_names_in": list(map(str, getattr(imputer, "feature_names_in_", []))) or None,
        "columns": [vars(column) for column in imputer.columns_],
    }
    metrics = {"losses": imputer.losses_}
    filling = imputer.filling_
    if isinstance(filling, Reconstructing):
        inside = {_INSIDE: autoencoder_to_saved(filling.autoencoder)}
        config["rounds"] = filling.rounds
        return Saved("imputer", config, {}, {}, {}, metrics, card=_card(imputer), inside=inside)
    coding, network = filling.coding, filling.model.network
    config["network"] = network_state(network)
    state, arrays = coding_state(coding)
    preprocess = {"codec": coding.codec.to_json(), "judged": []} | state
    for place, column in enumerate(filling.columns):
        errors = [column.error, column.plain] if column.judged else [None, None]
        preprocess["judged"].append([*errors, column.judged])
        arrays |= {f"{place}.weights": column.weights, f"{place}.misses": column.misses}
        for name, part in (("kernel", column.kernel), ("trees", column.trees)):
            if part is not None:
                arrays |= {f"{place}.{name}.{key}": np.asarray(value) for key, value in vars(part).items()}
    for each in filling.dependencies.found:
        arrays |= {f"follows.{each.target}.{each.source}.{name}": getattr(each, name) for name in _RULE}
    if filling.location is not None:
        arrays |= {f"groups.{name}": value for name, value in filling.location.groups._asdict().items()}
    return Saved("imputer", config, dict(network.state_dict()), preprocess, arrays, metrics, card=_card(imputer))


def restore(imputer: Any, saved: Saved) -> None:
    """Make an unfitted imputer the one that was saved."""
    config = saved.config
    imputer.seed_, imputer.n_features_in_ = config["seed"], config["n_features_in"]
    imputer.losses_ = saved.metrics["losses"]
    imputer.columns_ = tuple(ColumnResult(**column) for column in config["columns"])
    if config["feature_names_in"]:
        imputer.feature_names_in_ = np.array(config["feature_names_in"], object)
    if _INSIDE in saved.inside:
        imputer.autoencoder = rebuild(saved.inside[_INSIDE], _INSIDE)
        imputer.filling_ = Reconstructing(imputer.autoencoder, config["rounds"])
        return
    codec = data.codec_from(saved.preprocess["codec"], {})
    assert isinstance(codec, TableCodec)
    coding = coding_from(codec, saved.preprocess, saved.arrays)
    imputer.filling_ = Filling(
        Conditionals(coding, network_from(coding, config["network"], saved.weights)),
        tuple(_column(saved.arrays, place, state) for place, state in enumerate(saved.preprocess["judged"])),
        _dependencies(saved.arrays, len(coding.columns)),
        _location(saved.arrays),
    )


def _dependencies(arrays: dict[str, np.ndarray], count: int) -> Dependencies:
    """Return what follows from what; imputers saved before that was asked know of nothing."""
    pairs = [name.split(".")[1:3] for name in arrays if name.startswith("follows.") and name.endswith(".keys")]
    found = [
        Dependency(int(source), int(target), *(arrays[f"follows.{target}.{source}.{name}"] for name in _RULE))
        for target, source in sorted(pairs, key=lambda pair: (int(pair[1]), int(pair[0])))
    ]
    return Dependencies(tuple(found), count)


def _location(arrays: dict[str, np.ndarray]) -> Location | None:
    """Return the groups; large tables have none, nor have imputers saved before there were any."""
    names = [f"groups.{name}" for name in Groups._fields]
    if names[0] not in arrays:
        return None
    groups = Groups(*(arrays[name] for name in names))
    if groups.shares.ndim == 2:  # saved when each member had one mixture
        groups = Groups(*(values[None] for values in groups))
    return Location(groups)


def _column(arrays: dict[str, np.ndarray], place: int, state: list[Any]) -> Column:
    error, plain, judged = state[:3]
    kernel, trees = _part(arrays, f"{place}.kernel."), _part(arrays, f"{place}.trees.")
    if kernel:
        kernel["spread"] = kernel["spread"].item()
    return Column(
        arrays[f"{place}.weights"],
        np.nan if error is None else error,
        np.nan if plain is None else plain,
        judged,
        arrays[f"{place}.misses"],
        Kernel(**kernel) if kernel else None,
        Boosted(**trees) if trees else None,
    )


def _part(arrays: dict[str, np.ndarray], start: str) -> dict[str, Any]:
    return {name.removeprefix(start): value for name, value in arrays.items() if name.startswith(start)}


def _card(imputer: Any) -> str:
    lines = [
        "# An imputer",
        "",
        "Fills the gaps of tables with these columns. What that is worth, on hidden cells:",
        "",
    ]
    lines += [f"* {column.sentence()}" for column in imputer.columns_]
    return "\n".join([*lines, "", "Load it with `isthmus.load(folder)`.", ""])
