"""What the model folder of a detector holds: its autoencoders as folders within it, all else as arrays."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch

from isthmus import data, persistence
from isthmus.apps.anomaly.calibration import Calibration
from isthmus.apps.anomaly.cells import Columns
from isthmus.apps.anomaly.conditional import Conditional
from isthmus.apps.anomaly.decisions import Cut
from isthmus.apps.anomaly.frequencies import Frequencies
from isthmus.apps.anomaly.given import CodeDistance
from isthmus.apps.anomaly.judge import Head, Judge
from isthmus.apps.anomaly.neighbours import Neighbours
from isthmus.apps.anomaly.plausibility import PLAUSIBILITY, Plausibility
from isthmus.apps.anomaly.residuals import Residuals
from isthmus.apps.anomaly.series import Stuck
from isthmus.apps.anomaly.tails import Tail
from isthmus.apps.columns import Conditionals
from isthmus.apps.columns.saving import coding_from, coding_state, network_from, network_state
from isthmus.estimator import Autoencoder
from isthmus.folder import to_saved as autoencoder_to_saved
from isthmus.layout import Layout


def to_saved(detector: Any) -> persistence.Saved:
    """Return everything a fitted detector needs to be itself in another process."""
    judge, seed = detector.judge_, detector.random_state
    params = {name: value for name, value in detector.get_params(deep=False).items() if name != "autoencoder"}
    params["random_state"] = int(seed) if isinstance(seed, Integral) else None
    arrays: dict[str, np.ndarray] = {"calibration": detector.calibration_.scores, "reference": detector.reference_}
    arrays |= {} if detector.batch_ is None else {"batch": detector.batch_}
    if hasattr(detector, "point_calibration_"):
        arrays["point_calibration"] = detector.point_calibration_.scores
    members = judge.heads["residual"].members if "residual" in judge.heads else []
    for name, head in judge.heads.items():
        tail = judge.tails[name]
        mine = _arrays(head) | {
            "knots": tail.knots,
            "heights": tail.heights,
            "slope": np.array([tail.slope]),
            "typical": judge.typical[name],
        }
        arrays |= {f"{name}.{key}": value for key, value in mine.items()}
    config = {
        "params": params,
        "is_given": detector.autoencoder is not None,
        "heads": list(judge.heads),
        "one_suffices": judge.one_suffices,
        "members": len(members),
        "n_features_in": detector.n_features_in_,
        "feature_names_in": list(map(str, getattr(detector, "feature_names_in_", []))) or None,
        "reading": detector.reading_,
        "n_seen": detector.n_seen_,
    }
    codec = detector.codec_
    plausible = judge.heads.get(PLAUSIBILITY)
    if isinstance(plausible, Plausibility):
        coding, network = plausible.model.coding, plausible.model.network
        config[PLAUSIBILITY] = coding_state(coding)[0] | {"network": network_state(network)}
    return persistence.Saved(
        "detector",
        config,
        {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()},
        codec.to_json(),
        codec.arrays(),
        {"cut": detector.cut_.to_dict()},
        card=_card(detector),
        inside={f"member_{place}": autoencoder_to_saved(member) for place, member in enumerate(members)},
    )


def restore(detector: Any, saved: persistence.Saved) -> None:
    """Make an unfitted detector the one that was saved."""
    config = saved.config
    arrays = {name: value.numpy() for name, value in saved.weights.items()}
    detector.codec_ = data.codec_from(saved.preprocess, saved.arrays)
    members = [
        persistence.rebuild(saved.inside[f"member_{place}"], f"member_{place}") for place in range(config["members"])
    ]
    columns = Columns.of_codec(detector.codec_)
    heads: dict[str, Head] = {}
    tails, typical = {}, {}
    for name in config["heads"]:
        mine = _under(f"{name}.", arrays)
        if name == PLAUSIBILITY:
            heads[name] = _plausibility(detector.codec_, config[name], mine, columns)
        else:
            heads[name] = _head(name, mine, members, columns)
        tails[name] = Tail(mine["knots"], mine["heights"], float(mine["slope"][0]))
        typical[name] = mine["typical"]
    detector.judge_ = Judge(heads, tails, typical, columns, config.get("one_suffices", False))
    detector.autoencoder = members[0] if config["is_given"] else None
    detector.n_features_in_, detector.reading_ = config["n_features_in"], config["reading"]
    if config["feature_names_in"]:
        detector.feature_names_in_ = np.array(config["feature_names_in"], dtype=object)
    detector.reference_, detector.n_seen_ = arrays["reference"], config["n_seen"]
    detector.calibration_, detector.batch_ = Calibration(arrays["calibration"]), arrays.get("batch")
    if "point_calibration" in arrays:
        detector.point_calibration_ = Calibration(arrays["point_calibration"])
    detector.cut_ = Cut(**saved.metrics["cut"])
    detector.threshold_, detector.offset_ = detector.cut_.score, -detector.cut_.score


def _arrays(head: Any) -> dict[str, np.ndarray]:
    if isinstance(head, Residuals):
        found = {"scale": head.scale} | {f"group_{place}": group for place, group in enumerate(head.groups)}
        return found | ({} if head.weight is None else {"weight": head.weight})
    if isinstance(head, (Frequencies, Stuck)):
        return head.arrays()
    if isinstance(head, Plausibility):
        return coding_state(head.model.coding)[1] | {f"network.{name}": value for name, value in head.weights().items()}
    if isinstance(head, Conditional):
        sizes = np.array([head.group, head.channels])
        return {"means": head.means, "precisions": head.precisions, "sizes": sizes}
    near = head.neighbours if isinstance(head, CodeDistance) else head
    found = {"samples": near.samples.astype(np.float32), "weight": near.weight}
    found |= {} if near.observed is None else {"observed": near.observed}
    return found | ({"spread": head.spread} if isinstance(head, CodeDistance) else {})


def _under(start: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)}


def _plausibility(codec: Any, state: dict[str, Any], arrays: dict[str, np.ndarray], columns: Columns) -> Plausibility:
    coding = coding_from(codec, state, arrays)
    weights = {key: torch.from_numpy(value) for key, value in _under("network.", arrays).items()}
    return Plausibility(Conditionals(coding, network_from(coding, state["network"], weights)), columns)


def _head(name: str, arrays: dict[str, np.ndarray], members: list[Autoencoder], columns: Columns) -> Head:
    if name == "residual":
        groups = [arrays[f"group_{place}"] for place in range(len(members)) if f"group_{place}" in arrays]
        head = Residuals(members, columns, groups, arrays.get("weight"))
        head.scale = arrays["scale"]
        return head
    if name == "rarity":
        return Frequencies.from_arrays(arrays, columns)
    if name in ("stuck", "stuck alone"):
        return Stuck.from_arrays(arrays)
    if name == "conditional":
        return Conditional(arrays["means"], arrays["precisions"], *arrays["sizes"].tolist())
    samples = arrays["samples"]
    of_what = columns if name == "distance" else Columns.of(Layout((samples.shape[2],)))
    near = Neighbours(samples, arrays.get("observed"), of_what, arrays.get("weight"))
    if name == "distance":
        return near
    return CodeDistance(members[0].model_, arrays["spread"], near)


def _card(detector: Any) -> str:
    """Return the README.md of a model folder."""
    made = ", ".join(f"{name} {number}" for name, number in persistence.versions().items())
    return "\n".join(
        [
            "# An Isthmus anomaly detector",
            "",
            f"{detector.cut_.sentence} Expected false alarms: {detector.cut_.false_alarm_rate:.2%} of normal rows.",
            "",
            "```python",
            "import isthmus as ist",
            'detector = ist.load("this folder")',
            "detector.predict(X); detector.p_values(X); detector.anomaly_score(X)",
            "```",
            "",
            "or `isthmus detect DATA -m FOLDER -o flagged.csv`. The folder holds JSON and safetensors; loading runs no code.",
            "",
            f"Made with {made}.",
            "",
        ]
    )
