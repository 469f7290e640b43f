"""How alike images look: resemblance and the perceptual penalty, held against scipy, and plain loops."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

import isthmus as ist
from isthmus.data.rows import DenseRows
from isthmus.designs import Direct
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Plain
from isthmus.parts.networks import MLP
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import Perceptual
from isthmus.parts.penalties.features import WIDTHS, Discrimination, FeatureNetwork, random_weights, view
from isthmus.parts.reconstructions import SSIM, MultiScaleSSIM, SquaredError
from isthmus.parts.step import Batch
from isthmus.training import Data, Run, plan, pretrain
from steps import step_of

DOUBLE = torch.float64


def uniform(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.rand(*shape, generator=rng, dtype=DOUBLE)


def gaussian(*shape: int, rng: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=DOUBLE)


def ssim_by_scipy(x: np.ndarray, y: np.ndarray, window: int, sigma: float) -> np.ndarray:
    """The formula of Wang 2004 as it is printed, on one channel."""

    def blur(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, sigma, mode="mirror", truncate=(window // 2) / sigma)

    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y, cov = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mu_x * mu_y + c1) * (2 * cov + c2) / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2))


def contrast_by_scipy(x: np.ndarray, y: np.ndarray, window: int, sigma: float) -> np.ndarray:
    mu_x, mu_y = (ndimage.gaussian_filter(v, sigma, mode="mirror", truncate=(window // 2) / sigma) for v in (x, y))
    c1 = 0.01**2
    return ssim_by_scipy(x, y, window, sigma) * (mu_x**2 + mu_y**2 + c1) / (2 * mu_x * mu_y + c1)


@pytest.mark.parametrize(("window", "sigma", "size"), [(11, 1.5, (20, 17)), (5, 0.8, (9, 12)), (11, 1.5, (7, 8))])
def test_ssim_equals_the_printed_formula(window, sigma, size, rng: torch.Generator) -> None:
    x, y = uniform(2, 3, *size, rng=rng), uniform(2, 3, *size, rng=rng)
    layout, fits = Layout((3, *size)), min(window, *size) - (min(window, *size) + 1) % 2
    cells = SSIM(window, sigma, squared_error=0.5).cells(y, Batch(x), layout)
    for i, c in product(range(2), range(3)):
        a, b = x[i, c].numpy(), y[i, c].numpy()
        expected = (1 - ssim_by_scipy(a, b, fits, sigma)) / 2 + 0.5 * (a - b) ** 2
        np.testing.assert_allclose(cells[i, c].numpy(), expected, atol=1e-6)


def test_multi_scale_ssim_equals_the_product_over_scales(rng: torch.Generator) -> None:
    window, sigma, size = 5, 1.0, (22, 25)
    x = uniform(2, 2, *size, rng=rng)
    y = (x + 0.2 * gaussian(2, 2, *size, rng=rng)).clamp(0, 1)
    part = MultiScaleSSIM(window, sigma, squared_error=0.0)
    cells = part.cells(y, Batch(x), Layout((2, *size)))
    weights = np.array([0.0448, 0.2856, 0.3001])  # 22, 11 and 5 pixels hold the window, 2 do not
    weights /= weights.sum()
    for i, c in product(range(2), range(2)):
        a, b, product_of_scales = x[i, c].numpy(), y[i, c].numpy(), 1.0
        for scale, weight in enumerate(weights):
            if scale:
                a, b = (v[: v.shape[0] // 2 * 2, : v.shape[1] // 2 * 2] for v in (a, b))
                a, b = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2).mean((1, 3)) for v in (a, b))
            by_scipy = ssim_by_scipy if scale == len(weights) - 1 else contrast_by_scipy
            product_of_scales *= by_scipy(a, b, window, sigma).mean() ** weight
        np.testing.assert_allclose(cells[i, c].numpy(), (1 - product_of_scales) / 2, atol=1e-6)


@pytest.mark.parametrize("part", [SSIM(), MultiScaleSSIM(), SSIM(window=3)], ids=repr)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (28, 28), (50, 31)])
def test_identical_images_have_exactly_no_error(part, size, rng: torch.Generator) -> None:
    layout = Layout((3, *size))
    x = torch.rand(2, *layout.shape, generator=rng)
    x_hat = x.clone().requires_grad_()
    cells = part.cells(x_hat, Batch(x), layout)
    assert torch.equal(cells, torch.zeros_like(cells))
    cells.sum().backward()
    assert x_hat.grad is not None
    assert torch.isfinite(x_hat.grad).all()


def test_a_gap_in_an_image_counts_as_rebuilt_perfectly(rng: torch.Generator) -> None:
    layout = Layout((1, 12, 12))
    x, x_hat = uniform(1, 1, 12, 12, rng=rng), uniform(1, 1, 12, 12, rng=rng)
    observed = torch.rand(1, 1, 12, 12, generator=rng) > 0.3
    filled = torch.where(observed, x, x_hat)
    for part in (SSIM(5), SSIM(5, squared_error=0.0)):
        cells = part.cells(x_hat, Batch(x, observed), layout)
        torch.testing.assert_close(cells, torch.where(observed, part.cells(x_hat, Batch(filled), layout), 0.0))


@pytest.mark.parametrize("part", [SSIM(), MultiScaleSSIM()], ids=repr)
def test_similarity_is_for_images(part) -> None:
    with pytest.raises(SettingError, match=r"compares images, but a sample has the shape \(6,\)"):
        part.module(Layout((6,)))
    with pytest.raises(SettingError, match="compares images"):
        ist.Autoencoder(reconstruction=part, latent_dim=2, verbose=False).fit(np.random.default_rng(0).random((30, 6)))
    with pytest.raises(SettingError, match=r"sigma=0\.0\) must be positive"):
        type(part)(sigma=0.0).module(Layout((1, 8, 8)))


@pytest.mark.parametrize("name", ["ssim", "multi_scale_ssim", "discretized_logistic", "absolute_error", "log_cosh"])
def test_digits_are_learned_better_than_by_their_mean(name: str, digits: np.ndarray) -> None:
    X = digits[:400].reshape(-1, 8, 8)
    settings = {"latent_dim": 8, "max_epochs": 20, "random_state": 0, "verbose": False}
    ae = ist.Autoencoder(reconstruction=name, shortcut=False, **settings).fit(X)
    assert ae.scores_["model"]["squared_error"] < 0.75 * ae.scores_["mean"]["squared_error"]
    assert np.isfinite(ae.score_samples(X)).all()


# -- the perceptual penalty


def seen(x: Tensor, x_hat: Tensor, observed: Tensor | None = None):
    step = step_of(torch.zeros(len(x), 2), x=x, x_hat=x_hat)
    return step if observed is None else type(step)(**{**vars(step), "batch": Batch(x, observed)})


def random() -> Perceptual:
    return Perceptual(features="random")


def layer_by_layer(images: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Convolve, rectify, halve: as torch's layers do it."""
    maps = []
    for place, weight in enumerate(weights):
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=biases is not None)
        layer.load_state_dict({"weight": weight} | ({} if biases is None else {"bias": biases[place]}))
        with torch.no_grad():
            images = layer.to(images)(nn.AvgPool2d(2)(images) if place else images).clamp(min=0)
        maps.append(images)
    return maps


def test_equal_images_remind_of_the_same(rng: torch.Generator) -> None:
    x = torch.rand(3, 2, 9, 7, generator=rng)
    own = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5))
    for part in (random(), Perceptual(features=own)):
        assert torch.equal(part(seen(x, x.clone())), torch.zeros(3))
        assert (part(seen(x, x.flip(3))) > 0).all()


def test_the_distance_is_the_mean_square_over_feature_maps_times_the_pixels(rng: torch.Generator) -> None:
    x, x_hat = torch.rand(3, 1, 9, 7, generator=rng), torch.rand(3, 1, 9, 7, generator=rng)
    maps = zip(layer_by_layer(x, random_weights(1)), layer_by_layer(x_hat, random_weights(1)), strict=True)
    expected = sum((a - b).square().mean((1, 2, 3)) for a, b in maps) / 3 * 63
    torch.testing.assert_close(Perceptual(0.7, "random")(seen(x, x_hat)), 0.7 * expected)
    own = nn.Conv2d(1, 2, 3)
    expected = 63 * (own(x) - own(x_hat)).square().mean((1, 2, 3))
    torch.testing.assert_close(Perceptual(features=own)(seen(x, x_hat)), expected)


def test_the_gradient_reaches_the_reconstruction_only_and_passes_the_numerical_check(rng: torch.Generator) -> None:
    x, x_hat = uniform(2, 1, 5, 5, rng=rng), uniform(2, 1, 5, 5, rng=rng).requires_grad_()
    own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh()).train()
    before = [value.clone() for value in own.state_dict().values()]
    for part in (random(), Perceptual(features=own)):
        assert torch.autograd.gradcheck(lambda out, part=part: part(seen(x, out)), (x_hat,))
    assert all(parameter.grad is None for parameter in own.parameters())
    assert own.training
    assert all(torch.equal(a, b) for a, b in zip(before, own.state_dict().values(), strict=True))


def test_what_lies_in_a_gap_reminds_of_nothing(rng: torch.Generator) -> None:
    x, x_hat = torch.rand(2, 1, 6, 6, generator=rng), torch.rand(2, 1, 6, 6, generator=rng)
    observed = torch.rand(2, 1, 6, 6, generator=rng) > 0.3
    terms = [random()(seen(torch.where(observed, x, fill), x_hat, observed)) for fill in (0.0, 9.0)]
    assert torch.equal(*terms)
    assert torch.equal(random()(seen(x, x_hat, torch.zeros_like(observed))), torch.zeros(2))


def test_the_random_network_is_always_the_same_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first = random_weights(1)
    random_weights.cache_clear()
    assert all(torch.equal(a, b) for a, b in zip(first, random_weights(1), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_perceptual_penalty_is_for_images(rng: torch.Generator) -> None:
    x = torch.rand(3, 6, generator=rng)
    for part in (Perceptual(), random()):
        with pytest.raises(SettingError, match=r"Perceptual compares images, but a sample has the shape \(6,\)"):
            part(seen(x, x))
        with pytest.raises(SettingError, match="Perceptual compares images"):
            ist.Autoencoder(penalties=part, latent_dim=2, verbose=False).fit(np.random.default_rng(0).random((30, 6)))


def test_a_model_trained_with_an_own_network_is_loaded_without_it(digits: np.ndarray, tmp_path) -> None:
    X = digits[:60].reshape(-1, 8, 8)
    own = nn.Conv2d(1, 4, 3)
    part = Perceptual(0.5, own)
    ae = ist.Autoencoder(latent_dim=4, penalties=part, max_epochs=2, random_state=0, verbose=False).fit(X)
    assert ae.history_.epochs[0]["train"]["perceptual"] > 0
    ae.save(str(tmp_path / "m"))
    again = ist.load(str(tmp_path / "m"))
    np.testing.assert_array_equal(again.transform(X), ae.transform(X))
    with pytest.raises(SettingError, match="fit again with penalties=Perceptual"):
        again.partial_fit(X)
    assert from_json(to_json(Perceptual(0.5))) == Perceptual(0.5)


def test_a_network_of_timm_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, rng: torch.Generator) -> None:
    x, x_hat = torch.rand(2, 1, 6, 6, generator=rng), torch.rand(2, 1, 6, 6, generator=rng)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingError, match="pip install timm"):
        Perceptual(features="resnet18")(seen(x, x_hat))
    net = nn.Conv2d(3, 2, 3)
    fake = SimpleNamespace(create_model=lambda name, pretrained, features_only: net)
    monkeypatch.setitem(sys.modules, "timm", fake)
    scaled = (
        net((v.expand(-1, 3, -1, -1) - photo(0.485, 0.456, 0.406)) / photo(0.229, 0.224, 0.225)) for v in (x, x_hat)
    )
    a, b = scaled
    torch.testing.assert_close(Perceptual(features="resnet18")(seen(x, x_hat)), 36 * (a - b).square().mean((1, 2, 3)))


def photo(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None]


# -- the network that learns before the training


def run_on(x: Tensor, seed: int = 0, observed: Tensor | None = None) -> tuple[Run, FeatureNetwork]:
    """Return a run whose feature network has learned from images x."""
    parts = Parts(MLP(hidden=(8,)), Plain(), SquaredError(), penalties=(Perceptual(),))
    model = Direct().build(Blueprint(parts, Layout(tuple(x.shape[1:])), 2, n_rows=len(x)))
    run = Run(model, Data(DenseRows(x, observed), None), plan(len(x), max_epochs=2), seed)
    network = model.get_submodule("features.perceptual")
    assert isinstance(network, FeatureNetwork)
    pretrain(run)
    return run, network


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it learn for a moment only, where the test is not about how well it learns."""
    monkeypatch.setattr(FeatureNetwork, "steps", 10)


def as_images(digits: np.ndarray) -> Tensor:
    return torch.tensor(digits, dtype=torch.float32).view(-1, 1, 8, 8) / 16


@pytest.mark.usefixtures("briefly")
def test_a_trained_network_sees_the_feature_maps_of_its_layers_as_large_as_centred_pixels(digits: np.ndarray) -> None:
    x = as_images(digits)
    run, network = run_on(x[:300])
    model = run.model.double()
    a, b = x[300:305].double(), x[305:310].double()
    weights, biases = ([value.double() for value in values] for values in (network.weights, network.biases))
    mean, spread, gains = network.mean.double(), network.spread.double(), network.gains.double()
    maps = [layer_by_layer((images - mean) / spread, weights, biases) for images in (a, b)]
    expected = sum((g * (s - t)).square().mean((1, 2, 3)) for g, s, t in zip(gains, *maps, strict=True)) / 3 * 64
    step = seen(a, b)
    step = type(step)(**{**vars(step), "features": network})
    torch.testing.assert_close(Perceptual(0.7)(step), 0.7 * expected)
    terms = model.train().terms(Batch(a), torch.Generator().manual_seed(0))
    x_hat = model.expected(Batch(a))
    again = type(step)(**{**vars(seen(a, x_hat)), "features": network})
    torch.testing.assert_close(terms["perceptual"], Perceptual()(again))
    for values in network(x[:300].double()):
        ratio = values.square().mean() / (x[:300].double() - mean).square().mean()
        assert 0.5 < ratio < 2  # measured on 64 of the 300 images


def test_it_tells_images_it_has_never_seen_apart_better_than_before_it_learned(digits: np.ndarray) -> None:
    x = as_images(digits)
    _, network = run_on(x[:1200])
    before = FeatureNetwork(1)
    before.mean.copy_(network.mean)
    before.spread.copy_(network.spread)

    def found(net: FeatureNetwork, projected: Tensor) -> float:
        """The share of 64 new images that are found again, over batches."""
        task, rng = Discrimination(net, torch.Generator().manual_seed(1)), torch.Generator().manual_seed(2)
        with torch.no_grad():
            task.projection = nn.Parameter(projected)
        return float(np.mean([task.share_found(Batch(part), rng) for part in x[1200:1776].split(64)]))

    everything = torch.eye(sum(WIDTHS))  # no projection: the features themselves are compared
    chance = 1 / 64
    untrained, trained = found(before, everything), found(network, everything)
    assert trained > untrained > chance
    assert trained - untrained > 4 * np.sqrt(0.25 / 576)  # four standard errors of a share, at its largest


@pytest.mark.usefixtures("briefly")
def test_the_main_training_never_moves_it_and_one_seed_gives_one_network(digits: np.ndarray) -> None:
    X = digits[:150].reshape(-1, 8, 8)

    class Watch:
        def __init__(self) -> None:
            self.states: list[dict[str, Tensor]] = []

        def on_train_begin(self, run: Run) -> None:
            self.on_epoch_end(run)

        def on_epoch_end(self, run: Run) -> None:
            self.states.append({k: v.clone() for k, v in run.model.state_dict().items() if k.startswith("features.")})

    def fitted(seed: int, weight_decay: float = 0.0) -> tuple[ist.Autoencoder, Watch]:
        watch = Watch()
        ae = ist.Autoencoder(
            latent_dim=4,
            penalties=Perceptual(),
            weight_decay=weight_decay,
            shortcut=False,
            max_epochs=3,
            random_state=seed,
            verbose=False,
            callbacks=[watch],
        )
        state = torch.get_rng_state()
        ae.fit(X)
        assert torch.equal(state, torch.get_rng_state())
        return ae, watch

    ae, watch = fitted(0, weight_decay=0.1)
    assert len(watch.states) == 4
    assert len(watch.states[0]) == 2 * len(WIDTHS) + 3
    for state in [*watch.states, {f"features.{k}": v for k, v in ae.model_.features.state_dict().items()}]:
        assert all(torch.equal(state[name], value) for name, value in watch.states[0].items())
    assert not list(ae.model_.features.parameters())
    assert not torch.equal(watch.states[0]["features.perceptual.weight_0"], random_weights(1)[0])
    assert "of 64 images" in ae.history_.events[0]
    same, other = fitted(0)[1].states[0], fitted(1)[1].states[0]
    assert all(torch.equal(same[name], value) for name, value in watch.states[0].items())
    assert not torch.equal(other["features.perceptual.weight_0"], same["features.perceptual.weight_0"])


@pytest.mark.usefixtures("briefly")
def test_a_loaded_model_keeps_its_network_and_is_trained_on_with_it(digits: np.ndarray, tmp_path) -> None:
    X = digits[:150].reshape(-1, 8, 8)
    settings = {"latent_dim": 4, "penalties": Perceptual(), "shortcut": False, "random_state": 0, "verbose": False}
    ae = ist.Autoencoder(max_epochs=2, **settings).fit(X)
    ae.save(str(tmp_path / "m"))
    again = ist.load(str(tmp_path / "m"))
    kept = {name: value.clone() for name, value in ae.model_.features.state_dict().items()}
    for model in (ae, again):
        model.partial_fit(X)
        assert all(torch.equal(kept[name], value) for name, value in model.model_.features.state_dict().items())
    np.testing.assert_array_equal(again.transform(X), ae.transform(X))


@pytest.mark.usefixtures("briefly")
def test_the_first_piece_of_a_stream_is_what_it_learns_from(digits: np.ndarray) -> None:
    X = digits[:300].reshape(-1, 8, 8)
    settings = {"latent_dim": 4, "penalties": Perceptual(), "shortcut": False, "random_state": 0, "verbose": False}
    stream = ist.Autoencoder(**settings).partial_fit(X[:150])
    first = {name: value.clone() for name, value in stream.model_.features.state_dict().items()}
    whole = ist.Autoencoder(max_epochs=1, validation_fraction=0.0, **settings).fit(X[:150])
    assert all(torch.equal(first[name], value) for name, value in whole.model_.features.state_dict().items())
    stream.partial_fit(X[150:])
    assert all(torch.equal(first[name], value) for name, value in stream.model_.features.state_dict().items())


@pytest.mark.usefixtures("briefly")
def test_an_interrupted_training_is_resumed_with_the_same_network(digits: np.ndarray, tmp_path) -> None:
    X = digits[:150].reshape(-1, 8, 8)

    class Stop:
        def on_epoch_end(self, run: Run) -> bool:
            return run.epoch == 2

    settings = {"latent_dim": 4, "penalties": Perceptual(), "shortcut": False, "max_epochs": 4, "random_state": 0}
    whole = ist.Autoencoder(verbose=False, **settings).fit(X)
    ist.Autoencoder(verbose=False, callbacks=[ist.Checkpoint(tmp_path), Stop()], **settings).fit(X)
    resumed = ist.Autoencoder(verbose=False, callbacks=[ist.Checkpoint(tmp_path)], **settings).fit(X)
    assert all(torch.equal(value, resumed.model_.state_dict()[k]) for k, value in whole.model_.state_dict().items())
    assert resumed.history_.events == whole.history_.events


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 3), (1, 5, 1), (1, 9, 40), (3, 41, 50)])
@pytest.mark.usefixtures("briefly")
def test_it_learns_from_images_of_any_size_and_scale_with_gaps_or_without(shape, rng: torch.Generator) -> None:
    x = 1e4 * torch.rand(20, *shape, generator=rng) + 1e5
    observed = torch.rand(x.shape, generator=rng) > 0.3
    for known in (None, observed):
        run, network = run_on(x if known is None else x * known, observed=known)
        assert all(value.isfinite().all() for value in network.state_dict().values())
        assert len(network(x)) == len(WIDTHS)
        assert len(run.history.events) == 1


@pytest.mark.usefixtures("briefly")
def test_images_without_any_contrast_leave_it_finite() -> None:
    _, network = run_on(torch.ones(20, 1, 6, 6))
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_where_two_views_of_each_image_are_alike_the_loss_is_the_symmetric_cross_entropy(rng: torch.Generator) -> None:
    x = torch.rand(6, 1, 9, 9, generator=rng)
    task = Discrimination(FeatureNetwork(1), rng)
    weight = torch.tensor([0.5, 0.5, 2.0, 1.0, 1.0, 1.0])
    logits = task.logits(Batch(x), torch.Generator().manual_seed(3))
    own = torch.arange(6)
    expected = sum(nn.functional.cross_entropy(v, own, reduction="none") for v in (logits, logits.T)) / 2
    for given, mean in ((None, expected.mean()), (weight, (weight * expected).mean())):
        torch.testing.assert_close(task(Batch(x, weight=given), torch.Generator().manual_seed(3)), mean)
    assert logits.abs().max() <= 5.0 + 1e-5  # cosines over the temperature


def test_a_view_of_an_even_image_is_even_but_for_the_noise(rng: torch.Generator) -> None:
    x = torch.full((4000, 1, 16, 8), 2.0)
    views = view(x, rng)
    assert views.shape == (4000, 1, 14, 7)
    contrast = views.mean((1, 2, 3)) / 2
    assert 0.75 < contrast.min() < 0.85
    assert 1.15 < contrast.max() < 1.25
    spread = views.std((1, 2, 3))
    assert spread.max() < 0.2 * 1.3
