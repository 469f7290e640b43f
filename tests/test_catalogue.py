"""The common suite: what every variant of the catalogue promises, on every family of networks that takes it."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

import isthmus as ist
from isthmus.catalogue import VARIANTS, Entry
from isthmus.data.rows import DenseRows, Rows
from isthmus.engine.eager import average
from isthmus.errors import SettingError
from isthmus.inference import map_rows
from isthmus.model import Model
from isthmus.parts.part import from_json, to_json
from isthmus.parts.reconstructions import cells_of
from isthmus.parts.step import Batch
from samples import data_for, gappy

QUICK = {"max_epochs": 2, "random_state": 0, "verbose": False, "effort": "quick"}
NETWORKS: dict[str, Any] = {
    "own": None,
    "mlp": ist.MLP(hidden=(16,)),
    "conv": ist.Conv(channels=(4, 8)),
    "maps": ist.Conv(channels=(4, 8), code="map"),
    "transformer": ist.Transformer(width=16, heads=2),
    "temporal": ist.Temporal(channels=(8, 8)),
    "recurrent": ist.Recurrent(hidden=8),
}
"""Every family of networks, small; "own" is what the variant brings, or the default for the data."""
TAKES = {"any": ("own", *list(NETWORKS)[1:])}
"""What a variant without a network of its own is joined with; variants of one kind of data come as they are."""
LEARNS_FROM = {"conv": "images", "maps": "images", "transformer": "images", "temporal": "series", "recurrent": "series"}
FEW_ROWS = {("jump_relu", "conv"): {"random_state": 6}}
"""What learns nothing of so few rows otherwise: behind convolutions most seeds close every gate."""
BY_NAME = {entry.name: entry for entry in VARIANTS}


def cases() -> list[Any]:
    """Every variant with every network that takes it; one that is made of a network of its own comes with that one."""
    found = []
    for entry in VARIANTS:
        owns = ist.variant(entry.name).network != "auto"
        for network in ("own",) if owns else TAKES.get(entry.inputs, ("own",)):
            found.append(pytest.param(entry.name, network, id=f"{entry.name}-{network}"))
    return found


def data_of(name: str, network: str) -> tuple[Any, Any]:
    entry: Entry = BY_NAME[name]
    return data_for(LEARNS_FROM.get(network, entry.inputs))


def made(name: str, network: str, **settings: Any) -> ist.Autoencoder:
    own = {} if NETWORKS[network] is None else {"network": NETWORKS[network]}
    return ist.variant(name, **(QUICK | own | FEW_ROWS.get((name, network), {}) | settings))


@cache
def fitted(name: str, network: str) -> ist.Autoencoder:
    return made(name, network).fit(*data_of(name, network))


def rows_of(ae: ist.Autoencoder, name: str, network: str) -> tuple[Rows, torch.Tensor | None]:
    X, y = data_of(name, network)
    rows = ae.codec_.encode(X)
    return rows, ae._told(X, y, len(rows))


def batch_of(ae: ist.Autoencoder, name: str, network: str, index: slice, double: bool = False) -> Batch:
    rows, told = rows_of(ae, name, network)
    x, observed = rows.take(index)
    told = None if told is None else told[index]
    kind = torch.float64 if double else torch.float32
    return Batch(x.to(kind), observed, cells_of(ae.codec_.layout.blocks), None, None if told is None else told.to(kind))


def terms_of(model: Model, batch: Batch, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return the terms of training, dropout and all, with the randomness of ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model.terms(batch, torch.Generator().manual_seed(seed), 0.9)


@pytest.mark.parametrize(("name", "network"), cases())
def test_codes_and_reconstructions_have_the_form_they_promise(name: str, network: str) -> None:
    ae, (X, _) = fitted(name, network), data_of(name, network)
    Z = ae.transform(X)
    assert Z.dtype == np.float32
    assert Z.shape == (len(ae.codec_.encode(X)), int(np.prod(ae.model_.z_shape)))
    assert ae.latent_dim_ == ae.model_.z_shape[0]
    assert np.isfinite(Z).all()
    assert np.isfinite(ae.score_samples(X)).all()
    assert np.shape(ae.sample(3, random_state=0))[1:] == np.shape(ae.inverse_transform(Z))[1:]


@pytest.mark.parametrize(("name", "network"), cases())
def test_the_same_seed_gives_the_same_result_and_another_seed_another(name: str, network: str) -> None:
    X, y = data_of(name, network)
    first = fitted(name, network)
    again = made(name, network).fit(X, y)
    assert np.array_equal(first.transform(X), again.transform(X))
    other = made(name, network, random_state=1).fit(X, y)
    assert first.history_.curve() != other.history_.curve()


@pytest.mark.parametrize(("name", "network"), cases())
def test_it_comes_back_from_disk_to_the_bit(name: str, network: str, tmp_path) -> None:
    ae, (X, _) = fitted(name, network), data_of(name, network)
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(loaded.transform(X), ae.transform(X))
    assert np.array_equal(loaded.score_samples(X), ae.score_samples(X))
    assert np.array_equal(np.asarray(loaded.sample(4, 1)), np.asarray(ae.sample(4, 1)))
    assert loaded.settings_ == ae.settings_


@pytest.mark.parametrize(("name", "network"), cases())
def test_terms_are_one_number_a_sample_and_finite(name: str, network: str) -> None:
    ae = fitted(name, network)
    batch = batch_of(ae, name, network, slice(0, 20))
    for training in (True, False):
        model = copy.deepcopy(ae.model_).train(training)
        for term, values in terms_of(model, batch).items():
            assert values.shape in ((20,), ()), f"{term} has the shape {tuple(values.shape)}"
            assert torch.isfinite(values).all(), f"{term} is not finite"


@pytest.mark.parametrize(("name", "network"), cases())
def test_every_weight_moves_a_term(name: str, network: str) -> None:
    """Three times a weight makes some term larger or smaller, and what a weight says nothing of stays as it is."""
    ae = fitted(name, network)
    batch = batch_of(ae, name, network, slice(0, 20))
    parts = ae.model_.parts
    owners = [parts.bottleneck, *parts.penalties]
    weighted = [(o, f) for o in owners for f in ("weight", "beta", "commitment") if getattr(o, f, None)]
    before = terms_of(copy.deepcopy(ae.model_).train(), batch)
    if list(before) == ["bound"]:
        pytest.skip("one bound of the likelihood; its design refuses any weight but 1")
    for owner, field in weighted:
        model = copy.deepcopy(ae.model_).train()
        twins = [model.parts.bottleneck, *model.parts.penalties]
        own = twins[owners.index(owner)]
        setattr(own, field, 3 * getattr(owner, field))
        after = terms_of(model, batch)
        moved = [term for term in before if not torch.allclose(before[term], after[term])]
        assert moved, f"{owner}.{field} moves no term of {sorted(before)}"
        assert "reconstruction" not in moved


@pytest.mark.parametrize(("name", "network"), cases())
def test_nothing_is_random_after_training(name: str, network: str) -> None:
    ae, (X, _) = fitted(name, network), data_of(name, network)
    batch = batch_of(ae, name, network, slice(0, 20))
    assert np.array_equal(ae.transform(X), ae.transform(X))
    assert np.array_equal(ae.reconstruct(X), ae.reconstruct(X))
    code = ae.model_.encode(batch)
    assert torch.equal(code.z, code.embedding)


@pytest.mark.parametrize(("name", "network"), cases())
def test_a_rows_result_does_not_depend_on_its_neighbours(name: str, network: str) -> None:
    ae, (X, _) = fitted(name, network), data_of(name, network)
    if isinstance(X, ist.Series):
        windows = np.repeat(ae.codec_.encode(X).take(slice(0, 1))[0].numpy(), 70, axis=0)
        Z = map_rows(lambda batch: ae.model_.encode(batch).embedding, DenseRows(windows), ae.model_)
        assert np.array_equal(Z, np.repeat(Z[:1], 70, axis=0))
        return
    assert np.array_equal(ae.transform(X[5:9]), ae.transform(X)[5:9])
    repeated = np.repeat(X[:1], 70, axis=0)
    for answer in (ae.transform, ae.score_samples):
        values = answer(repeated)
        assert np.array_equal(values, np.repeat(values[:1], 70, axis=0))


@pytest.mark.parametrize(("name", "network"), cases())
def test_gaps_are_ignored(name: str, network: str) -> None:
    """What lies in a gap changes neither code nor loss; a row of gaps still has a code."""
    X, y = data_of(name, network)
    if isinstance(X, ist.Series):
        X = ist.Series(gappy(np.asarray(X.values)), length=24, step=1)
    else:
        X = gappy(X)
    ae = made(name, network, max_epochs=1).fit(X, y)
    assert np.isfinite(ae.transform(X)).all()
    rows = ae.codec_.encode(X)
    x, observed = rows.take(slice(0, 20))
    assert observed is not None
    told = ae._told(X, y, len(rows))
    told = None if told is None else told[:20]
    with torch.no_grad():
        one = ae.model_.terms(Batch(x, observed, cells_of(ae.codec_.layout.blocks), condition=told))
        spoiled = torch.where(observed, x, torch.full_like(x, 77.0))
        error = ae.model_.parts.reconstruction
        x_hat = ae.model_.decode(ae.model_.encode(Batch(x, observed, condition=told)).z, told)
        inner = getattr(ae.model_, "composed", ae.model_)  # what a design wraps
        layout, scale = inner.layout, inner.scale
        torch.testing.assert_close(
            error(x_hat, Batch(spoiled, observed), layout, scale), error(x_hat, Batch(x, observed), layout, scale)
        )
    assert all(torch.isfinite(values).all() for values in one.values())


@pytest.mark.parametrize(("name", "network"), cases())
def test_settings_survive_clone_and_json(name: str, network: str) -> None:
    ae = fitted(name, network)
    assert repr(clone(ae)) == repr(made(name, network))
    for part in (ae.model_.parts.network, ae.model_.parts.bottleneck, *ae.model_.parts.penalties):
        assert from_json(json.loads(json.dumps(to_json(part)))) == part


@pytest.mark.parametrize(("name", "network"), cases())
def test_a_batch_may_be_a_single_row(name: str, network: str) -> None:
    ae = fitted(name, network)
    model = copy.deepcopy(ae.model_).train()
    terms = terms_of(model, batch_of(ae, name, network, slice(0, 1)))
    loss = average(terms, None)["loss"]
    loss.backward()
    model.after_step(torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(("name", "network"), cases())
def test_the_gradient_is_that_of_the_loss(name: str, network: str) -> None:
    """Along a random direction of all weights, in float64, without penalties: as held-out rows are judged.

    Codes that are rounded pass gradients on by decree; there the numbers cannot agree, and their own tests say what holds.
    """
    ae = fitted(name, network)
    model = copy.deepcopy(ae.model_).double().eval()
    if model.parts.bottleneck.is_rounded:
        pytest.skip("a rounded code passes gradients on by decree")
    batch = batch_of(ae, name, network, slice(0, 10), double=True)
    weights = [p for p in model.parameters() if p.requires_grad]
    rng = torch.Generator().manual_seed(3)
    direction = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in weights]

    # A draw by rejection is as reproducible as any, but jumps when a weight moves: such codes are checked without noise.
    rejects = model.parts.bottleneck.is_distribution and model.encode(batch).posterior is None

    def loss() -> torch.Tensor:
        return average(model.terms(batch) if rejects else terms_of(model, batch), None)["loss"]

    gradient = torch.autograd.grad(loss(), weights, allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True) if g is not None)
    ends, eps = [], 1e-6
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(weights, direction, strict=True):
                p.add_(sign * eps * d)
            ends.append(loss())
            for p, d in zip(weights, direction, strict=True):
                p.sub_(sign * eps * d)
    numeric = (ends[0] - ends[1]) / (2 * eps)
    torch.testing.assert_close(numeric, torch.as_tensor(slope), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [entry.name for entry in VARIANTS])
def test_it_learns(name: str) -> None:
    """After a short training, held-out rows are reconstructed better than by their mean."""
    X, y = data_for(BY_NAME[name].inputs, 1000)
    ae = ist.variant(name, max_epochs=30, random_state=0, verbose=False).fit(X, y)
    scores = ae.scores_
    assert scores["held_out"]
    assert scores["model"]["squared_error"] < 0.8 * scores["mean"]["squared_error"]


@pytest.mark.parametrize(
    "name", ["deep", "tied", "undercomplete", "stacked", "regularised", "denoising", "convolutional"]
)
def test_what_only_reconstructs_beats_pca_at_a_small_code(name: str) -> None:
    X, _ = data_for(BY_NAME[name].inputs, 1000)
    ae = ist.variant(name, latent_dim=4, max_epochs=60, random_state=0, verbose=False).fit(X)
    assert ae.scores_["model"]["squared_error"] < ae.scores_["pca"]["squared_error"]


def test_a_setting_that_nobody_has_is_refused_by_name() -> None:
    with pytest.raises(SettingError, match="There is no setting 'kk': neither this variant"):
        ist.top_k(kk=3)
    with pytest.raises(SettingError, match="There is no variant 'topk'; did you mean top_k"):
        ist.variant("topk")


REFUSED = [
    ({"network": ist.MLP((8,), norm="batch"), "penalties": ist.Contractive()}, "norm='batch' mixes rows in training"),
    ({"network": ist.MLP((8,), norm="batch"), "penalties": ist.DecoderGradient()}, "norm='batch' mixes rows"),
    ({"network": ist.MLP((8,), tied=True), "design": ist.Stacked()}, r"MLP\(tied=True\)"),
    ({"network": ist.MLP((8,), norm="batch"), "design": ist.Stacked()}, r"MLP\(norm='batch'\)"),
    (
        {"bottleneck": ist.Gaussian(free_bits=0.5), "design": ist.Hierarchical()},
        r"Gaussian\(free_bits=0.5\) does not bend",
    ),
    ({"bottleneck": ist.Gaussian(capacity=9.0), "design": ist.VampPrior()}, r"Gaussian\(capacity=9.0\) does not bend"),
    ({"bottleneck": ist.Gaussian(capacity=9.0), "design": ist.ImportanceWeighted()}, "does not bend"),
    ({"bottleneck": ist.Matryoshka(ist.Binary())}, "0 is no value of such a code"),
]


@pytest.mark.parametrize(("settings", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_parts_that_would_silently_mean_nothing_together_are_refused(settings, sentence: str) -> None:
    X, _ = data_for("any", 60)
    with pytest.raises(SettingError, match=sentence):
        ist.Autoencoder(latent_dim=4, **settings, max_epochs=1, verbose=False).fit(X)


def test_a_penalty_called_like_a_term_of_the_model_is_refused() -> None:
    class Kl(ist.L1.__mro__[1]):
        def get_params(self, deep: bool = True) -> dict:
            return {}

        def __call__(self, step) -> torch.Tensor:
            return 0 * step.x_hat.flatten(1).sum(1)

    X, _ = data_for("any", 60)
    with pytest.raises(SettingError, match="called like the term 'kl'"):
        ist.variational(latent_dim=2, penalties=Kl(), **QUICK).fit(X)


def test_penalties_that_the_floor_overruled_are_named_in_the_history() -> None:
    X = np.random.default_rng(0).normal(size=(300, 8))
    ae = ist.regularised(latent_dim=3, random_state=0, max_epochs=10, verbose=False).fit(X)
    assert ae.floor_ is not None
    assert not ae.floor_.kept
    assert any("had no part" in event for event in ae.history_.events)


def test_balanced_classes_stay_balanced_through_pre_training() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300), "kind": ["x"] * 280 + ["y"] * 20})
    mixed = ist.Mixed(class_weight="balanced")
    settings = {"network": ist.MLP((6,)), "reconstruction": mixed, "latent_dim": 2, "max_epochs": 1}
    ae = ist.Autoencoder(**settings, design=ist.Stacked(), random_state=0, verbose=False).fit(frame)
    direct = ist.Autoencoder(**settings, shortcut=False, random_state=0, verbose=False).fit(frame)
    torch.testing.assert_close(ae.model_.scale.yes, direct.model_.scale.yes)
    assert not torch.equal(ae.model_.scale.yes, torch.ones_like(ae.model_.scale.yes))
