"""Codes on the sphere, and codes beside a label."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from isthmus.errors import SettingError
from isthmus.loading import load
from isthmus.parts.bottlenecks import Spherical
from isthmus.parts.bottlenecks.spherical import AT_FIRST, LEAST_SURE, MOST_SURE, divergence
from isthmus.parts.part import from_json, to_json
from isthmus.variants import variant


def says(mu: torch.Tensor, kappa: float) -> torch.Tensor:
    """Return what a head must put out, (B, d + 1), for directions mu (B, d) of one concentration."""
    width = mu.shape[1]
    return torch.cat([mu, mu.new_full((len(mu), 1), math.log(kappa) - math.log(AT_FIRST * width))], 1)


def drawn(mu: torch.Tensor, kappa: float, rows: int, rng: torch.Generator) -> torch.Tensor:
    return Spherical()(torch.nn.Identity(), says(mu, kappa).expand(rows, -1), rng).z


def direction(d: int, rng: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(1, d, generator=rng, dtype=torch.float64), dim=1)


# -- the divergence


@pytest.mark.parametrize("d", [2, 3, 4, 7])
@pytest.mark.parametrize("kappa", [0.01, 0.7, 5.0, 60.0])
def test_the_divergence_equals_the_integral_of_its_definition(d, kappa) -> None:
    """Around mu both densities are uniform, so the angle between z and mu, whose area is sin^(d - 2), says it all."""

    def integral(function) -> float:
        return integrate.quad(function, 0, math.pi, epsabs=1e-12, epsrel=1e-12, limit=200)[0]

    def area(angle: float) -> float:
        return math.sin(angle) ** (d - 2)

    def height(angle: float) -> float:
        return math.exp(kappa * math.log(max((1 + math.cos(angle)) / 2, 1e-300)))

    normaliser, whole = integral(lambda a: height(a) * area(a)), integral(area)

    def weighed(angle: float) -> float:
        p = height(angle) / normaliser
        return p * area(angle) * math.log(max(p * whole, 1e-300))

    found = divergence(torch.tensor([kappa], dtype=torch.float64), d)
    assert found.item() == pytest.approx(integral(weighed), abs=1e-8)


def test_the_divergence_starts_at_zero_and_rises_with_the_concentration() -> None:
    kappa = torch.cat([torch.zeros(1), torch.logspace(-2, 4, 50)])
    for d in (2, 3, 10, 64):
        values = divergence(kappa, d)
        assert abs(values[0]) < 1e-6
        assert (values.diff() > 0).all()
        torch.testing.assert_close(values, divergence(kappa.double(), d).float(), rtol=1e-5, atol=1e-6)


# -- the draws


@pytest.mark.parametrize("d", [2, 3, 8])
@pytest.mark.parametrize("kappa", [0.3, 4.0, 300.0])
def test_codes_are_distributed_as_the_power_spherical_law_says(d, kappa, rng: torch.Generator) -> None:
    mu = direction(d, rng)
    z = drawn(mu, kappa, 20_000, rng)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    along = (z @ mu[0]).numpy()
    law = stats.beta((d - 1) / 2 + kappa, (d - 1) / 2, loc=-1, scale=2)
    assert stats.kstest(along, law.cdf).pvalue > 1e-4
    # what is left beside mu points nowhere: every direction across has mean 0
    across = z - (z @ mu[0])[:, None] * mu
    assert (across.mean(0).abs() < 5 * across.std(0) / math.sqrt(20_000) + 1e-12).all()


def test_the_mean_code_is_mu_shortened_by_its_concentration(rng: torch.Generator) -> None:
    mu, kappa = direction(5, rng), 6.0
    z = drawn(mu, kappa, 100_000, rng)
    expected = kappa / (kappa + 4) * mu[0]
    assert ((z.mean(0) - expected).abs() < 5 * z.std(0) / math.sqrt(100_000)).all()


@pytest.mark.parametrize("d", [2, 3, 6])
def test_the_gradient_of_a_draw_is_in_the_mean_the_gradient_of_the_mean(d, rng: torch.Generator) -> None:
    """E[c . z] = A c . mu with A = kappa / (kappa + d - 1), through which kappa and the unnormalised direction are known."""
    rows, kappa = 200_000, 3.0
    c = torch.randn(d, generator=rng, dtype=torch.float64)
    mu = direction(d, rng)
    values = (2 * says(mu, kappa))[:, :d]  # of length two: the head's direction need not be of length one
    h = torch.cat([values, says(mu, kappa)[:, d:]], 1).expand(rows, -1).clone().requires_grad_()
    z = Spherical()(torch.nn.Identity(), h, rng).z
    (gradient,) = torch.autograd.grad((z @ c).sum(), h)
    shorter = kappa / (kappa + d - 1)
    of_direction = shorter * (c - (c @ mu[0]) * mu[0]) / 2
    of_log_kappa = kappa * (d - 1) / (kappa + d - 1) ** 2 * (c @ mu[0])
    expected = torch.cat([of_direction, of_log_kappa[None]])
    assert ((gradient.mean(0) - expected).abs() < 6 * gradient.std(0) / math.sqrt(rows) + 1e-9).all()


def test_a_direction_along_the_first_axis_needs_no_reflection(rng: torch.Generator) -> None:
    for first in (1.0, -1.0):
        mu = torch.tensor([[first, 0.0, 0.0]])
        h = says(mu, 1e3).expand(50, -1).clone().requires_grad_()
        z = Spherical()(torch.nn.Identity(), h, rng).z
        assert (z @ mu[0] > 0.9).all()
        assert torch.isfinite(torch.autograd.grad(z.square()[:, 0].sum(), h)[0]).all()


def test_the_concentration_stays_between_its_bounds_with_finite_gradients() -> None:
    for value, bound in ((-1e3, LEAST_SURE), (1e3, MOST_SURE)):
        h = torch.tensor([[1.0, 2.0, value]], requires_grad=True)
        code = Spherical()(torch.nn.Identity(), h, torch.Generator().manual_seed(0))
        expected = divergence(torch.tensor([[bound]]), 2)[0]
        torch.testing.assert_close(code.terms["kl"], expected, rtol=1e-4, atol=1e-4)
        (gradient,) = torch.autograd.grad(code.terms["kl"].sum() + code.z.sum(), h)
        assert torch.isfinite(gradient).all()


def test_the_prior_is_uniform_on_the_sphere(rng: torch.Generator) -> None:
    z = Spherical().prior(50_000, (4,), rng)
    assert z is not None
    torch.testing.assert_close(z.norm(dim=1), torch.ones(50_000))
    assert (z.mean(0).abs() < 5 * 0.5 / math.sqrt(50_000)).all()
    torch.testing.assert_close(z.T @ z / 50_000, torch.eye(4) / 4, atol=0.01, rtol=0)


def test_every_position_of_a_map_has_a_direction_of_its_own(rng: torch.Generator) -> None:
    part = Spherical(beta=2.0)
    head, z_shape = part.head((5, 2, 3), 4)
    assert z_shape == (4, 2, 3)
    h = torch.randn(6, 5, 2, 3, generator=rng)
    code = part(head, h, rng)
    torch.testing.assert_close(code.z.norm(dim=1), torch.ones(6, 2, 3))
    places = [part(head, h[:, :, i, j], None) for i in range(2) for j in range(3)]
    torch.testing.assert_close(code.terms["kl"], torch.stack([place.terms["kl"] for place in places]).sum(0))
    torch.testing.assert_close(code.embedding[:, :, 1, 2], places[-1].embedding)


def test_without_a_generator_a_code_is_its_direction(rng: torch.Generator) -> None:
    part = Spherical()
    head, _ = part.head((5,), 3)
    h = torch.randn(4, 5, generator=rng)
    code = part(head, h, None)
    assert torch.equal(code.z, code.embedding)
    assert torch.equal(part(head, h, rng).embedding, code.embedding)


def test_spherical_codes_depend_on_the_generator_alone(rng: torch.Generator) -> None:
    part = Spherical()
    head, _ = part.head((5,), 3)
    h, state = torch.randn(4, 5, generator=rng), torch.get_rng_state()
    one, same, other = (part(head, h, torch.Generator().manual_seed(seed)).z for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("d", [2, 3, 5])
def test_the_gradients_of_direction_and_divergence_pass_the_numerical_check(d, rng: torch.Generator) -> None:
    part = Spherical(beta=0.7)
    head = part.head((5,), d)[0].double()
    h = torch.randn(3, 5, generator=rng, dtype=torch.float64, requires_grad=True)

    def code(h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = part(head, h, None)
        return result.embedding, result.terms["kl"]

    assert torch.autograd.gradcheck(code, (h,))


def test_a_spherical_part_survives_json() -> None:
    assert from_json(to_json(Spherical(2.0))) == Spherical(2.0)


# -- the variant


def test_a_code_of_one_number_is_refused_and_auto_takes_two(rng: torch.Generator) -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(SettingError, match="latent_dim=1 leaves a Spherical code two points"):
        variant("spherical", latent_dim=1, max_epochs=1, verbose=False).fit(X)
    ae = variant("spherical", max_epochs=1, random_state=0, verbose=False).fit(X[:, :1])
    assert ae.transform(X[:, :1]).shape == (30, 2)


def test_spherical_learns_and_its_codes_are_directions(digits, tmp_path) -> None:
    ae = variant("spherical", latent_dim=4, max_epochs=15, random_state=0, verbose=False).fit(digits)
    assert ae.scores_["model"]["squared_error"] < ae.scores_["mean"]["squared_error"]
    Z = ae.transform(digits)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, atol=1e-5)
    assert list(ae.history_)[-1]["train"]["kl"] > 1
    ae.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(again.transform(digits[:50]), Z[:50])
    assert np.array_equal(again.sample(5, random_state=0), ae.sample(5, random_state=0))


# -- a code beside a label


@pytest.fixture(scope="module")
def told(digits):
    from sklearn.datasets import load_digits

    y = load_digits().target
    return variant("conditional", latent_dim=6, max_epochs=30, random_state=0, verbose=False).fit(digits, y), y


def test_samples_of_a_label_are_taken_for_it(told, digits) -> None:
    from sklearn.linear_model import LogisticRegression

    ae, y = told
    judge = LogisticRegression(max_iter=200).fit(digits / 16, y)
    for label in (0, 3, 7):
        samples = np.asarray(ae.sample(100, random_state=0, condition=label))
        assert (judge.predict(samples / 16) == label).mean() > 0.5
    free = judge.predict(np.asarray(ae.sample(200, random_state=0)) / 16)
    assert len(set(free)) > 1


def test_a_conditional_model_does_without_its_label_and_better_with_it(told, digits) -> None:
    ae, y = told
    error = [((ae.reconstruct(digits, condition) - digits) ** 2).sum(1).mean() for condition in (None, y)]
    mean = ((digits - digits.mean(0)) ** 2).sum(1).mean()
    assert error[1] < error[0] < mean


def test_a_wrong_label_makes_a_row_less_normal(told, digits) -> None:
    ae, y = told
    right, wrong = ae.score_samples(digits, y), ae.score_samples(digits, (y + 1) % 10)
    assert (right > wrong).mean() > 0.5


def test_a_saved_conditional_model_answers_as_before(told, digits, tmp_path) -> None:
    ae, y = told
    ae.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(ae.transform(digits[:50], y[:50]), again.transform(digits[:50], y[:50]))
    assert np.array_equal(ae.transform(digits[:50]), again.transform(digits[:50]))
    assert np.array_equal(ae.sample(5, random_state=1, condition=3), again.sample(5, random_state=1, condition=3))


def test_a_conditional_model_can_be_told_a_column(rng: torch.Generator) -> None:
    import pandas as pd

    values = np.random.default_rng(0).normal(size=(80, 3))
    frame = pd.DataFrame(values, columns=["a", "b", "c"]).assign(kind=np.where(values[:, 0] > 0, "up", "down"))
    ae = variant("conditional", latent_dim=2, condition="kind", max_epochs=3, random_state=0, verbose=False).fit(frame)
    assert list(ae.sample(4, random_state=0, condition={"kind": "up"}).columns) == ["a", "b", "c", "kind"]
