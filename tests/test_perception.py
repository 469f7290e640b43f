"""How alike images look: resemblance and the perceptual penalty, held against scipy, and plain loops."""

from __future__ import annotations

import sys
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

import isthmus as ist
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties.perceptual import Perceptual, random_features, random_weights
from isthmus.parts.reconstructions import SSIM, MultiScaleSSIM
from isthmus.parts.step import Batch
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


def test_equal_images_remind_of_the_same(rng: torch.Generator) -> None:
    x = torch.rand(3, 2, 9, 7, generator=rng)
    own = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.5))
    for part in (Perceptual(), Perceptual(features=own)):
        assert torch.equal(part(seen(x, x.clone())), torch.zeros(3))
        assert (part(seen(x, x.flip(3))) > 0).all()


def test_the_distance_is_the_mean_square_over_feature_maps_times_the_pixels(rng: torch.Generator) -> None:
    x, x_hat = torch.rand(3, 1, 9, 7, generator=rng), torch.rand(3, 1, 9, 7, generator=rng)
    weights = random_weights(1)
    maps = zip(random_features(x, weights), random_features(x_hat, weights), strict=True)
    expected = sum((a - b).square().mean((1, 2, 3)) for a, b in maps) / 3 * 63
    torch.testing.assert_close(Perceptual(0.7)(seen(x, x_hat)), 0.7 * expected)
    own = nn.Conv2d(1, 2, 3)
    expected = 63 * (own(x) - own(x_hat)).square().mean((1, 2, 3))
    torch.testing.assert_close(Perceptual(features=own)(seen(x, x_hat)), expected)


def test_the_gradient_reaches_the_reconstruction_only_and_passes_the_numerical_check(rng: torch.Generator) -> None:
    x, x_hat = uniform(2, 1, 5, 5, rng=rng), uniform(2, 1, 5, 5, rng=rng).requires_grad_()
    own = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh()).train()
    before = [value.clone() for value in own.state_dict().values()]
    for part in (Perceptual(), Perceptual(features=own)):
        assert torch.autograd.gradcheck(lambda out, part=part: part(seen(x, out)), (x_hat,))
    assert all(parameter.grad is None for parameter in own.parameters())
    assert own.training
    assert all(torch.equal(a, b) for a, b in zip(before, own.state_dict().values(), strict=True))


def test_what_lies_in_a_gap_reminds_of_nothing(rng: torch.Generator) -> None:
    x, x_hat = torch.rand(2, 1, 6, 6, generator=rng), torch.rand(2, 1, 6, 6, generator=rng)
    observed = torch.rand(2, 1, 6, 6, generator=rng) > 0.3
    terms = [Perceptual()(seen(torch.where(observed, x, fill), x_hat, observed)) for fill in (0.0, 9.0)]
    assert torch.equal(*terms)
    assert torch.equal(Perceptual()(seen(x, x_hat, torch.zeros_like(observed))), torch.zeros(2))


def test_the_random_network_is_always_the_same_and_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first = random_weights(1)
    random_weights.cache_clear()
    assert all(torch.equal(a, b) for a, b in zip(first, random_weights(1), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_perceptual_penalty_is_for_images(rng: torch.Generator) -> None:
    x = torch.rand(3, 6, generator=rng)
    with pytest.raises(SettingError, match=r"Perceptual compares images, but a sample has the shape \(6,\)"):
        Perceptual()(seen(x, x))


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
