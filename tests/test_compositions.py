"""Parts compose: any network, bottleneck, corruptions, reconstruction and penalties train together, and every term counts."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import isthmus as ist
from isthmus.errors import SettingError
from isthmus.parts.bottlenecks import Bottleneck
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks import Network
from isthmus.parts.part import Part
from isthmus.parts.penalties import Penalty
from isthmus.parts.reconstructions import Reconstruction
from samples import data_for


def registered(family: type[Part]) -> list[type[Part]]:
    """Return the house's own parts of a family that can be made without a word."""
    return sorted(
        (
            cls
            for cls in Part.registry.values()
            if issubclass(cls, family) and not inspect.isabstract(cls) and cls.__module__.startswith("isthmus.")
        ),
        key=lambda cls: cls.__name__,
    )


SMALL: dict[str, dict[str, Any]] = {
    "MLP": {"hidden": (16,)},
    "Conv": {"channels": (4, 8)},
}
NEEDS_OTHERS = {"Modules": "a pair of the user's own modules"}


def made(cls: type[Part]) -> Part:
    return cls(**SMALL.get(cls.__name__, {}))


def one_of(family: type[Part]) -> st.SearchStrategy[Part]:
    return st.sampled_from([cls for cls in registered(family) if cls.__name__ not in NEEDS_OTHERS]).map(made)


def some_of(family: type[Part]) -> st.SearchStrategy[list[Part]]:
    return st.lists(one_of(family), max_size=2, unique_by=lambda part: type(part).__name__)


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    network=one_of(Network),
    bottleneck=one_of(Bottleneck),
    corruptions=some_of(Corruption),
    reconstruction=one_of(Reconstruction),
    penalties=some_of(Penalty),
)
def test_any_composition_trains_and_no_term_is_silent(
    network, bottleneck, corruptions, reconstruction, penalties
) -> None:
    X, _ = data_for("images", 64)
    if reconstruction.needs_counts:
        X = np.round(X * 16)
    ae = ist.Autoencoder(
        network=network,
        bottleneck=bottleneck,
        corruptions=tuple(corruptions),
        reconstruction=reconstruction,
        penalties=tuple(penalties),
        latent_dim=4,
        max_epochs=2,
        batch_size=16,
        random_state=0,
        verbose=False,
    )
    try:
        ae.fit(X)
    except SettingError:
        reject()  # a sentence says why these do not go together: not a composition
    last = ae.history_.epochs[-1]["train"] if len(ae.history_) else {}
    assert all(math.isfinite(value) for value in last.values())
    for penalty in penalties:
        name = type(penalty).__name__.lower()
        values = [epoch["train"][name] for epoch in ae.history_]
        assert any(value != 0 for value in values), f"{name} is always 0: {values}"
    assert np.isfinite(ae.transform(X)).all()
