"""Every engine computes what the eager one does: the same losses, term by term, and the same weights in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import isthmus as ist
from isthmus.catalogue import VARIANTS, Entry
from isthmus.engine import Maker, reference
from isthmus.engine.choice import maker
from isthmus.engine.dense import Dense
from isthmus.errors import SettingError
from isthmus.splitting import split
from isthmus.training import gather, train
from samples import data_for, gappy

TOLERANCE = 1e-5
"""How far a float32 engine may be from the float64 trajectory, relative to the loss, over an epoch."""
FLAT = [entry for entry in VARIANTS if entry.inputs in ("any", "counts", "labels")]


def begun(ae: ist.Autoencoder, X: Any, y: Any = None, weight: Any = None) -> Any:
    """Return the run of a fit before its first step, from a copy of the estimator."""
    from isthmus.inputs import check_weight

    ae = ae.__class__(**ae.get_params(deep=False))
    rows, told = ae._learn_codec(X, y)
    weights = check_weight(weight, len(rows))
    train_index, held_out = split(rows, np.arange(len(rows)), ae.validation_fraction, ae.seed_)
    return ae._start(rows, train_index, held_out, weights, told)


def trained(ae: ist.Autoencoder, engine: Maker, X: Any, y: Any = None, weight: Any = None, dtype=torch.float32) -> Any:
    """Return the run of one epoch by an engine; its best weights are not taken back."""
    run = begun(ae, X, y, weight)
    run.model.to(dtype)
    run.optimizer.__init__(run.model.named_parameters(), run.plan.weight_decay)
    run.engine = engine
    train(run)
    return run


def agree(ae: ist.Autoencoder, X: Any, y: Any = None, weight: Any = None, engine: str = "dense") -> None:
    """Hold one epoch of an engine against the eager one, both in float64: the same mathematics."""
    fast = trained(ae, maker(engine), X, y, weight, torch.float64)
    exact = trained(ae, reference, X, y, weight, torch.float64)
    assert fast.history.engine == engine
    close(fast, exact, 1e-10)


def close(fast: Any, exact: Any, tolerance: float) -> None:
    """Compare every term of an epoch, on training and held-out rows, relative to the loss."""
    for rows in ("train", "held_out"):
        said, known = (run.history.epochs[0][rows] for run in (fast, exact))
        assert (said is None) == (known is None)
        for term, value in (known or {}).items():
            assert said[term] == pytest.approx(value, abs=tolerance * abs(known["loss"])), f"{rows} {term}"


def small(name: str, **settings: Any) -> ist.Autoencoder:
    own = {"max_epochs": 1, "batch_size": 48, "random_state": 0, "verbose": False, "early_stopping": False}
    return ist.variant(name, **(own | settings))


@pytest.mark.parametrize("entry", FLAT, ids=lambda entry: entry.name)
def test_a_variant_the_engine_claims_walks_the_eager_path(entry: Entry) -> None:
    X, y = data_for(entry.inputs)
    ae = small(entry.name)
    refusal = Dense.refuses(begun(ae, X, y).model)
    if refusal:
        pytest.skip(refusal)
    agree(ae, X, y)
    close(trained(ae, maker("dense"), X, y), trained(ae, reference, X, y, dtype=torch.float64), TOLERANCE)


def mlp(**settings: Any) -> ist.Autoencoder:
    own = {"network": ist.MLP(hidden=(24, 12)), "max_epochs": 1, "batch_size": 48, "random_state": 0, "verbose": False}
    return ist.Autoencoder(**(own | settings))


@pytest.mark.parametrize(
    "ae",
    [
        mlp(),
        mlp(latent_dim=3, network=ist.MLP(hidden=(13, 7), activation="gelu", dropout=0.2)),
        mlp(network=ist.MLP(hidden=(13,), activation="leaky_relu", tied=True), shortcut=False),
        mlp(reconstruction="bernoulli", scale="range", bottleneck=ist.Plain("sigmoid")),
        mlp(bottleneck="gaussian", reconstruction="normal", corruptions=[ist.GaussianNoise(0.3)]),
    ],
    ids=["plain", "odd", "tied", "bernoulli", "gaussian"],
)
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
def test_models_are_judged_by_their_own_terms_to_the_last_bit(ae: ist.Autoencoder, has_gaps: bool) -> None:
    X, _ = data_for("any")
    run = trained(ae, maker("dense"), gappy(X) if has_gaps else X)
    engine, _ = maker("dense")(run.model, run.optimizer, 1)
    rng = torch.Generator()
    for rows in (slice(0, 20), slice(20, 27)):
        batch = gather(run.data.train, rows, None, run.data.cells, run.model)
        with torch.no_grad():
            known = run.model.eval().terms(batch, rng.manual_seed(1), 1.0)
            found = engine.terms(batch, rng.manual_seed(1), 1.0)
            run.model.train()
            in_training = engine.terms(batch, rng.manual_seed(1), 1.0)
        assert known.keys() == found.keys() == in_training.keys()
        assert all(torch.equal(found[name], known[name]) for name in known)
        assert all(torch.equal(in_training[name], known[name]) for name in known)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid"])
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_every_activation_has_its_derivative(activation: str, output: str) -> None:
    network = ist.MLP(hidden=(24, 12), activation=activation, output_activation=output)
    agree(mlp(network=network, shortcut=output == "identity"), *data_for("any"))


@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reconstruction": "huber", "penalties": [ist.L1(0.01), ist.L1(0.02)]},
        {"reconstruction": "absolute_error", "shortcut": False},
        {"reconstruction": "bernoulli", "scale": "range", "bottleneck": ist.Plain("sigmoid")},
        {"bottleneck": ist.Gaussian(beta=0.5, warm_up=0.5)},
        {"bottleneck": ist.Gaussian(free_bits=0.1), "penalties": ist.TotalCorrelation(2.0)},
        {
            "network": ist.MLP(hidden=(24, 12), dropout=0.3),
            "corruptions": [ist.GaussianNoise((0.1, 0.4)), ist.Swap(0.2)],
        },
        {"network": ist.MLP(hidden=(24,), tied=True), "weight_decay": 0.1, "shortcut": False},
    ],
    ids=["plain", "huber", "absolute", "bernoulli", "gaussian", "free_bits", "noisy", "tied"],
)
def test_gaps_and_weights_enter_every_engine_alike(settings: dict, has_gaps: bool, is_weighted: bool) -> None:
    X, _ = data_for("any")
    weight = np.random.default_rng(2).random(len(X)) + 0.5 if is_weighted else None
    agree(mlp(**settings), gappy(X) if has_gaps else X, weight=weight)


@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
@pytest.mark.parametrize("shape", [(5, 6), (1, 9), (2, 3, 4)], ids=str)
def test_edges_of_images_enter_every_engine_alike(shape: tuple[int, ...], has_gaps: bool, is_weighted: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.random((120, *shape))
    weight = rng.random(len(X)) + 0.5 if is_weighted else None
    agree(
        mlp(bottleneck="gaussian", reconstruction="gradient_normal", latent_dim=3),
        gappy(X) if has_gaps else X,
        weight=weight,
    )


def test_a_mixed_table_is_the_same_step() -> None:
    import pandas as pd

    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "colour": rng.choice(["red", "green", None], size=n),
            "sold": rng.random(n) < 0.3,
        }
    )
    frame["price"] = frame["size"].fillna(0.0) + frame["sold"] + 0.1 * rng.normal(size=n)
    for bottleneck in ("plain", "gaussian"):
        for weight in (None, rng.random(n) + 0.5):
            agree(mlp(bottleneck=bottleneck, corruptions=ist.Masking(0.2)), frame, weight=weight)


def test_images_and_series_are_flat_to_a_dense_network() -> None:
    agree(mlp(), load_digits().images[:150])
    agree(mlp(), data_for("series")[0])


def test_an_engine_that_cannot_compute_a_model_says_why() -> None:
    ae = mlp(engine="dense", penalties=ist.Contractive())
    with pytest.raises(
        SettingError, match="engine='dense' cannot compute this model: Contractive asks for more than the code"
    ):
        ae.fit(data_for("any")[0])
    with pytest.raises(SettingError, match="engine='warp' is not known; use 'auto', 'eager'"):
        mlp(engine="warp").fit(data_for("any")[0])


def test_the_history_tells_who_computed_and_why_not_a_faster_one() -> None:
    X, _ = data_for("any")
    assert (mlp().fit(X).history_.engine, mlp().fit(X).history_.engine_note) == ("dense", "")
    ae = mlp(penalties=ist.Contractive()).fit(X)
    assert (ae.history_.engine, ae.history_.engine_note) == ("eager", "Contractive asks for more than the code")


def test_weights_are_views_of_one_flat_buffer_and_still_save_load_and_copy(tmp_path) -> None:
    import copy

    X, _ = data_for("any")
    ae = mlp(max_epochs=3, engine="dense").fit(X)
    starts = {p.untyped_storage().data_ptr() for p in ae.model_.parameters()}
    assert len(starts) == 1
    ae.save(str(tmp_path / "model"))
    for other in (ist.load(str(tmp_path / "model")), copy.deepcopy(ae)):
        assert np.array_equal(other.transform(X), ae.transform(X))


def test_activations_with_settings_of_their_own_and_frozen_weights_are_left_to_autograd() -> None:
    from torch import nn

    X, _ = data_for("any")
    for own in (nn.LeakyReLU(0.5), nn.ELU(0.3), nn.GELU("tanh")):
        modules = (
            nn.Sequential(nn.Linear(64, 8), own, nn.Linear(8, 4)),
            nn.Sequential(nn.Linear(4, 8), own, nn.Linear(8, 64)),
        )
        assert mlp(network=modules, bottleneck=ist.Bare()).fit(X).history_.engine == "eager"
    frozen = nn.Sequential(nn.Linear(64, 8), nn.ReLU()).requires_grad_(requires_grad=False)
    ae = mlp(network=(frozen, nn.Linear(8, 64)), bottleneck=ist.Bare()).fit(X)
    assert ae.history_.engine_note == "some of its weights are not trained"


def test_the_eager_engine_goes_on_where_another_has_stepped_before() -> None:
    X, _ = data_for("any")
    both = [trained(mlp(shortcut=False), maker(engine), X, dtype=torch.float64) for engine in ("dense", "eager")]
    for run in both:
        run.plan, run.engine = run.plan._replace(epochs=2), reference
        train(run)
    first, second = (run.history.epochs[-1]["train"]["loss"] for run in both)
    assert first == pytest.approx(second, rel=1e-10)


# -- convolutions


def conv(**settings: Any) -> ist.Autoencoder:
    shape = {"channels": (5, 16)} | settings
    return ist.Autoencoder(
        network=ist.Conv(**shape), latent_dim=3, max_epochs=1, batch_size=24, random_state=0, verbose=False
    )


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random((70, *shape))


SHAPES_OF_CONVOLUTIONS = [
    {},
    {"up_kernel": 3, "final": False},
    {"up_kernel": 2, "final": False, "activation": "relu"},
    {"down": "patches", "up": "patches", "final": False, "activation": "gelu"},
    {"down": "patches", "up": "patches", "strides": (3, 2)},
    {"up": "pixel_shuffle", "code": "map"},
    {"down": "pool", "up": "upsample", "activation": "elu"},
    {"kernel": 4, "up": "resize", "final": False, "output_activation": "sigmoid"},
    {"kernel": 5, "strides": (1, 3), "up_kernel": 5, "activation": "tanh"},
    {"residual": 1, "norm": "batch", "activation": "softplus"},
    {"residual": 1, "norm": "layer", "dropout": 0.3},
]


@pytest.mark.parametrize("settings", SHAPES_OF_CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("shape", [(12, 12), (3, 9, 14)], ids=str)
def test_every_convolution_walks_the_eager_path(settings: dict, shape: tuple[int, ...]) -> None:
    agree(conv(**settings), pictures(*shape), engine="convolutional")


@pytest.mark.parametrize("bottleneck", ["plain", "gaussian", "vector_quantized", "spherical"])
def test_every_code_between_convolutions_is_the_eager_one(bottleneck: str) -> None:
    ae = conv().set_params(bottleneck=bottleneck)
    X = pictures(12, 12)
    X[:9, :4] = np.nan
    weight = np.random.default_rng(2).random(len(X)) + 0.5
    agree(ae, X, weight=weight, engine="convolutional")


def distance(run: Any, exact: Any) -> float:
    """Return how far the losses of an epoch are from the exact ones, relative to them."""
    losses = [
        (each.history.epochs[0]["train"]["loss"], each.history.epochs[0]["held_out"]["loss"]) for each in (run, exact)
    ]
    return max(abs(said / known - 1) for said, known in zip(*losses, strict=True))


@pytest.mark.parametrize("settings", SHAPES_OF_CONVOLUTIONS, ids=str)
def test_convolutions_in_float32_are_as_near_the_exact_path_as_the_eager_ones(settings: dict) -> None:
    # Adam divides rounding by itself where a gradient is next to nothing, as before a norm; there eager is no nearer
    ae, X = conv(**settings), pictures(12, 12)
    exact = trained(ae, reference, X, dtype=torch.float64)
    eager = distance(trained(ae, reference, X), exact)
    assert distance(trained(ae, maker("convolutional"), X), exact) <= max(TOLERANCE, 2 * eager)


def test_bfloat16_multiplies_in_half_the_digits_and_keeps_the_weights_in_float32() -> None:
    ae, X = conv(down="patches", up="patches", final=False, activation="relu"), pictures(12, 12)
    half = trained(ae, maker("convolutional", "bfloat16"), X)
    full = trained(ae, maker("convolutional"), X)
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    close(half, full, 2**-8)
    loss = [run.history.epochs[0]["train"]["loss"] for run in (half, full)]
    assert loss[0] != loss[1]


def test_convolutions_keep_their_modules_and_save_to_the_bit(tmp_path) -> None:
    X = pictures(12, 12)
    ae = conv().set_params(max_epochs=2).fit(X)
    assert (ae.history_.engine, ae.history_.engine_note) == ("convolutional", "")
    assert "forward" not in vars(ae.model_.encoder.body) | vars(ae.model_.decoder.body)
    ae.save(str(tmp_path / "model"))
    assert np.array_equal(ist.load(str(tmp_path / "model")).transform(X), ae.transform(X))
    assert np.array_equal(ae.transform(X[:7]), ae.transform(X)[:7])


def test_convolutions_refuse_what_looks_behind_the_code() -> None:
    ae = conv().set_params(penalties=ist.Contractive()).fit(pictures(12, 12))
    assert (ae.history_.engine, ae.history_.engine_note) == ("eager", "Contractive asks for more than the code")
    with pytest.raises(
        SettingError, match="engine='convolutional' cannot compute this model: its network has no plain"
    ):
        mlp(engine="convolutional").fit(data_for("any")[0])


def test_scatter_is_the_adjoint_of_gather() -> None:
    from isthmus.engine.maps import Window, gather, scatter

    rng = torch.Generator().manual_seed(0)
    for window in (Window(3, 2, 1, 1), Window(4, 2, 1), Window(3, 1, 1), Window(2, 3, 0, 1), Window(3, 3, 2)):
        places = (4, 5)
        sides = window.reached(places)
        x = torch.randn(2, 3, *sides, generator=rng, dtype=torch.float64)
        taps = torch.randn(window.kernel**2 * 3, 2 * 20, generator=rng, dtype=torch.float64)
        there, back = gather(x, window, places), scatter(taps, window, places, sides, 2)
        torch.testing.assert_close((there * taps).sum(), (x * back).sum())
