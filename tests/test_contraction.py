"""How steep encoder and decoder are: exact, estimated, in closed form, and after training."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

from isthmus import Autoencoder
from isthmus.designs import Composed
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Gaussian, Plain
from isthmus.parts.corruptions import GaussianNoise, Masking
from isthmus.parts.jacobian import squared_jacobian, twice_differentiable
from isthmus.parts.networks import MLP, Conv, Network
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import CodeNorm, Contractive, DecoderGradient, Penalty
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import SquaredError
from isthmus.parts.step import Batch
from isthmus.variants.noise import contractive, regularised
from steps import step_of

FLAT, IMAGE = (6,), (1, 5, 4)
FIT = {"random_state": 0, "max_epochs": 15, "verbose": False}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(
    *penalties: Penalty,
    network: Network | None = None,
    bottleneck: Plain | Gaussian | None = None,
    shape: tuple[int, ...] = FLAT,
    latent_dim: int = 3,
    shortcut: bool = False,
    condition_width: int = 0,
    corruptions: tuple = (),
) -> Composed:
    parts = Parts(
        network or MLP(hidden=(5,), activation="tanh"), bottleneck or Plain(), SquaredError(), corruptions, penalties
    )
    torch.manual_seed(0)
    return Composed(Blueprint(parts, Layout(shape), latent_dim, shortcut, condition_width)).double()


def samples(rows: int, shape: tuple[int, ...] = FLAT) -> Tensor:
    return torch.randn(rows, *shape, generator=seeded(1), dtype=torch.float64)


def steepness(function, inputs: Tensor) -> Tensor:
    """Return the squared Frobenius norm of the Jacobian of each sample, by torch.func, sample by sample."""
    jacobian = vmap(jacrev(lambda x: function(x[None])[0]))(inputs)
    return jacobian.flatten(1).square().sum(1)


# -- the Jacobian of the code


@pytest.mark.parametrize("latent_dim", [1, 3, 9])  # fewer numbers than the sample, and more
@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(hidden=(5,), activation="tanh"), FLAT),
        (MLP(hidden=(7, 5), activation="relu"), FLAT),
        (Conv(channels=(3,)), IMAGE),
        (Conv(channels=(2, 3), down="pool", activation="relu"), IMAGE),
    ],
    ids=repr,
)
@pytest.mark.parametrize("bottleneck", [Plain(), Plain("sigmoid"), Gaussian()], ids=repr)
def test_the_exact_penalty_is_the_jacobian_of_torch_func(network, shape, bottleneck, latent_dim: int) -> None:
    model = model_of(Contractive(0.7), network=network, bottleneck=bottleneck, shape=shape, latent_dim=latent_dim)
    x = samples(4, shape)
    term = model.terms(Batch(x), seeded())["contractive"]
    torch.testing.assert_close(term, 0.7 * steepness(model.encoder, x), atol=1e-10, rtol=1e-10)


def test_one_sigmoid_layer_has_the_closed_form_of_the_paper() -> None:
    """|J|^2 = sum_j (h_j (1 - h_j))^2 sum_i W_ji^2 (Rifai 2011), in value and in gradient."""
    model = model_of(Contractive(1.0), network=MLP(hidden=()), bottleneck=Plain("sigmoid"))
    x, layer = samples(5), model.encoder.head[0].linear
    h = torch.sigmoid(x @ layer.weight.T + layer.bias)
    expected = (h * (1 - h)).square() @ layer.weight.square().sum(1)
    term = model.terms(Batch(x), seeded())["contractive"]
    torch.testing.assert_close(term, expected)
    for ours, theirs in zip(
        torch.autograd.grad(term.sum(), [layer.weight, layer.bias]),
        torch.autograd.grad(expected.sum(), [layer.weight, layer.bias]),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_linear_shortcut_counts() -> None:
    model = model_of(Contractive(1.0), shortcut=True)
    directions = torch.linalg.qr(samples(6)).Q[:3]
    zero, one = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    model.start_from(Principal(zero, directions, one[:3], one, 6.0))
    x = samples(4)
    term = model.terms(Batch(x), seeded())["contractive"]
    torch.testing.assert_close(term, torch.full((4,), 3.0, dtype=torch.float64))  # PCA: |U|^2 = k
    nn.init.normal_(model.encoder.head[0].linear.weight)
    term = model.terms(Batch(x), seeded())["contractive"]
    assert (term - 3).abs().min() > 0.01
    torch.testing.assert_close(term, steepness(model.encoder, x))


def test_the_penalty_is_taken_at_the_clean_sample() -> None:
    x = samples(4)
    noisy = model_of(Contractive(1.0), corruptions=(GaussianNoise(3.0),))
    torch.testing.assert_close(noisy.terms(Batch(x), seeded())["contractive"], steepness(noisy.encoder, x))


def test_a_number_that_is_a_gap_or_hidden_moves_no_code() -> None:
    x, observed = samples(4), torch.rand(4, 6, generator=seeded()) > 0.4
    for corruptions in ((), (Masking(0.5),)):
        model = model_of(Contractive(1.0), corruptions=corruptions)
        seen = model.corrupted(Batch(x * observed, observed), seeded())
        jacobian = torch.stack([jacrev(lambda row, m=model: m.encoder(row[None])[0])(row) for row in x * seen.observed])
        expected = (jacobian.square().sum(1) * seen.observed).sum(1)
        term = model.terms(Batch(x * observed, observed), seeded())["contractive"]
        torch.testing.assert_close(term, expected)


def test_the_condition_is_told_and_does_not_count() -> None:
    model, x = model_of(Contractive(1.0), condition_width=2), samples(40)
    told = torch.rand(40, 2, generator=seeded(), dtype=torch.float64)
    seen = model.corrupted(Batch(x, condition=told), seeded()).condition
    term = model.terms(Batch(x, condition=told), seeded())["contractive"]
    expected = torch.cat(
        [
            steepness(lambda row, c=c: model.encoder(row, None, c[None]), one[None])
            for one, c in zip(x, seen, strict=True)
        ]
    )
    torch.testing.assert_close(term, expected)


@pytest.mark.parametrize("projections", ["exact", 2, 50])
def test_the_gradient_of_the_penalty_passes_the_numerical_check(projections) -> None:
    for latent_dim in (3, 8):
        model, x = model_of(bottleneck=Plain("sigmoid"), latent_dim=latent_dim), samples(2)
        names, weights = zip(*model.encoder.named_parameters(), strict=True)

        def penalty(*weights: Tensor, model=model, names=names, x=x) -> Tensor:
            def encode(x: Tensor) -> Tensor:
                return functional_call(model.encoder, dict(zip(names, weights, strict=True)), (x,))

            return Contractive(0.5, projections)(step_of(encode(x), x, encode=encode, rng=seeded()))

        assert torch.autograd.gradcheck(penalty, weights)


def test_rows_do_not_know_their_neighbours() -> None:
    model, x = model_of(Contractive(1.0)), samples(5)
    together = model.terms(Batch(x), seeded())["contractive"]
    alone = torch.cat([model.terms(Batch(row[None]), seeded())["contractive"] for row in x])
    torch.testing.assert_close(together, alone)


# -- the estimate


@pytest.mark.parametrize("projections", [1, 2, 4])
@pytest.mark.parametrize("penalty", [Contractive, DecoderGradient])
def test_projections_are_right_on_average(penalty, projections: int) -> None:
    x, draws = samples(3), 4000
    exact = model_of(penalty(1.0, "exact"), latent_dim=5).terms(Batch(x), seeded())[penalty.__name__.lower()]
    model = model_of(penalty(1.0, projections), latent_dim=5)
    estimates = model.terms(Batch(x.repeat(draws, 1)), seeded())[penalty.__name__.lower()].view(draws, 3)
    error = estimates.std(0) / math.sqrt(draws)
    assert (error > 0).all()
    assert ((estimates.mean(0) - exact).abs() < 4 * error).all()


def test_twice_the_projections_halve_the_variance() -> None:
    x = samples(1).repeat(4000, 1)
    one, two = (
        model_of(Contractive(1.0, m), latent_dim=5).terms(Batch(x), seeded())["contractive"].var() for m in (1, 2)
    )
    assert (one / two).item() == pytest.approx(2, rel=0.2)


def test_as_many_projections_as_numbers_are_exact() -> None:
    x = samples(3)
    exact = model_of(Contractive(1.0)).terms(Batch(x), seeded())["contractive"]
    many = model_of(Contractive(1.0, 3)).terms(Batch(x), seeded())["contractive"]
    assert torch.equal(exact, many)


def test_projections_come_from_the_generator_of_the_step() -> None:
    x, model = samples(3), model_of(Contractive(1.0, 1))
    state = torch.get_rng_state()
    first, again, other = (model.terms(Batch(x), seeded(seed))["contractive"] for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_jacobian_of_a_map_is_that_of_all_its_numbers() -> None:
    body, x = nn.Conv2d(1, 2, 3, padding=1).double(), samples(3, IMAGE).requires_grad_()
    wide = squared_jacobian(body(x), x, "exact", seeded())  # (B, 2, 5, 4) of (B, 1, 5, 4): by columns
    torch.testing.assert_close(wide, steepness(body, x.detach()))
    narrow = squared_jacobian(body(x)[:, :1, :2], x, "exact", seeded())  # by rows
    torch.testing.assert_close(narrow, steepness(lambda x: body(x)[:, :1, :2], x.detach()))


def test_attention_can_be_penalised() -> None:
    mix = torch.randn(4, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    x = samples(2, (3, 4)).requires_grad_()

    def attend(x: Tensor) -> Tensor:
        query = (x @ mix)[:, None]
        return F.scaled_dot_product_attention(query, query, x[:, None])

    with twice_differentiable():
        value = squared_jacobian(attend(x), x, "exact", seeded())
        torch.testing.assert_close(value, steepness(attend, x.detach()))
    assert torch.autograd.grad(value.sum(), mix)[0].abs().sum() > 0


@pytest.mark.parametrize("projections", [0, -1, "some", 1.5])
def test_projections_that_make_no_sense_are_refused(projections) -> None:
    for penalty in (Contractive(1.0, projections), DecoderGradient(1.0, projections)):
        with pytest.raises(SettingError, match=r"must be 'exact' or a whole number of at least 1; try 4"):
            penalty(step_of(samples(2)))


def test_a_code_without_a_gradient_is_refused() -> None:
    for encode in (lambda x: x.detach().round(), lambda x: x.detach() * torch.ones(6, requires_grad=True)):
        with pytest.raises(SettingError, match="needs a code through which gradients flow"):
            Contractive(1.0)(step_of(samples(2), encode=encode))


@pytest.mark.parametrize("part", [Contractive(0.3), Contractive(0.3, 2), CodeNorm(0.1), DecoderGradient(0.1, "exact")])
def test_a_penalty_survives_json_and_clone(part: Penalty) -> None:
    assert from_json(to_json(part)) == part
    assert clone(part) == part


# -- codes and decoders


def test_the_code_norm_is_half_the_squared_length() -> None:
    z = samples(4, (3, 2, 2)).requires_grad_()
    torch.testing.assert_close(CodeNorm(0.3)(step_of(z)), 0.15 * z.flatten(1).norm(dim=1).square())
    assert torch.autograd.gradcheck(lambda z: CodeNorm(0.3)(step_of(z)), (z,))


@pytest.mark.parametrize("latent_dim", [1, 3, 9])
@pytest.mark.parametrize(
    ("network", "shape"), [(MLP(hidden=(5,), activation="tanh"), FLAT), (Conv(channels=(3,)), IMAGE)], ids=repr
)
def test_the_exact_decoder_gradient_is_the_jacobian_of_torch_func(network, shape, latent_dim: int) -> None:
    model = model_of(DecoderGradient(0.7, "exact"), network=network, shape=shape, latent_dim=latent_dim)
    x = samples(4, shape)
    term = model.terms(Batch(x), seeded())["decodergradient"]
    torch.testing.assert_close(term, 0.7 * steepness(model.decode, model.encoder(x).detach()), atol=1e-10, rtol=1e-10)


def test_the_gradient_of_a_linear_decoder_is_the_norm_of_its_weights() -> None:
    model = model_of(DecoderGradient(2.0, "exact"), network=MLP(hidden=()))
    term = model.terms(Batch(samples(3)), seeded())["decodergradient"]
    torch.testing.assert_close(term, (2 * model.decoder.body[1].weight.square().sum()).expand(3))


def test_the_decoder_gradient_teaches_both_networks() -> None:
    model = model_of(DecoderGradient(1.0, "exact"))
    model.terms(Batch(samples(3)), seeded())["decodergradient"].sum().backward()
    assert model.decoder.body[1].weight.grad.abs().sum() > 0
    assert model.encoder.head[0].linear.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("projections", ["exact", 2])
def test_the_gradient_of_the_decoder_gradient_passes_the_numerical_check(projections) -> None:
    model = model_of(latent_dim=3)
    z = samples(2, (3,)).requires_grad_()

    def penalty(z: Tensor) -> Tensor:
        return DecoderGradient(0.5, projections)(step_of(z, decode=model.decode, rng=seeded()))

    assert torch.autograd.gradcheck(penalty, (z,))


# -- after training


def contraction(ae: Autoencoder, X: np.ndarray) -> tuple[float, float]:
    """Return the mean squared Jacobian of the code, and that of the code divided by its standard deviation."""
    x = ae.codec_.encode(X).take(slice(None))[0]
    jacobian = vmap(jacrev(lambda row: ae.encoder_(row[None])[0]))(x).square().sum(2).mean(0)  # (k,)
    return jacobian.sum().item(), (jacobian / ae.encoder_(x).var(0)).sum().item()


def test_a_contractive_code_moves_less_on_rows_it_has_not_seen(digits: np.ndarray) -> None:
    train, rest = digits[:800], digits[800:1000]
    plain = Autoencoder(latent_dim=12, bottleneck=Plain("sigmoid"), **FIT).fit(train)
    for ae in (contractive(12, **FIT), contractive(12, projections=12, **FIT)):
        held, loose = contraction(ae.fit(train), rest), contraction(plain, rest)
        assert held[0] < loose[0]
        assert held[1] < loose[1]  # not by shrinking the code alone
        assert (ae.transform(rest).std(0) > 0).all()
        assert ((ae.reconstruct(rest) - rest) ** 2).mean() < 0.7 * rest.var(0).mean()
        assert ae.history_.epochs[-1]["train"]["contractive"] > 0


def test_a_regularised_autoencoder_draws_samples_from_a_mixture_on_its_codes(digits: np.ndarray) -> None:
    for kind in ("l2", "gradient"):
        ae = regularised(8, kind=kind, **FIT).fit(digits[:800])
        drawn = ae.sample(300, random_state=0)
        assert drawn.shape == (300, 64)
        assert np.isfinite(drawn).all()
        nearest = ((drawn[:, None] - digits[None, :800]) ** 2).sum(2).min(1)
        assert np.median(nearest) < digits[:800].var(0).sum()  # nearer to some digit than digits are to their mean
        assert ae.history_.epochs[-1]["train"]["codenorm"] > 0


def test_the_kinds_of_regularised_are_what_they_say() -> None:
    l2, gradient = regularised(4, 0.2, 0.5), regularised(4, 0.2, 0.5, "gradient")
    assert l2.penalties == (CodeNorm(0.2),)
    assert l2.weight_decay == 0.5
    assert gradient.penalties == (CodeNorm(0.2), DecoderGradient(0.5))
    assert gradient.weight_decay == 0
    with pytest.raises(SettingError, match="kind='spectral' is not known; use 'l2' or 'gradient'"):
        regularised(4, kind="spectral")  # pyright: ignore[reportArgumentType]


def test_a_short_code_and_a_flat_decoder_are_what_their_penalties_make(digits: np.ndarray) -> None:
    train, rest = digits[:600], digits[600:800]

    def fitted(*penalties: Penalty) -> Autoencoder:
        return Autoencoder(latent_dim=6, penalties=penalties, shortcut=False, **FIT).fit(train)

    def slope(ae: Autoencoder) -> float:
        return steepness(ae.decoder_, torch.from_numpy(ae.transform(rest))).mean().item()

    free = fitted()
    assert (
        np.square(fitted(CodeNorm(1.0)).transform(rest)).sum(1).mean() < np.square(free.transform(rest)).sum(1).mean()
    )
    assert slope(fitted(DecoderGradient(0.1))) < slope(free)
