"""Codes with a prior: the terms that hold them near it, against closed forms, loops and exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from isthmus.errors import SettingError
from isthmus.parts.bottlenecks import Gaussian
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import MMD, TotalCorrelation
from isthmus.parts.penalties.divergences import SCALES, log_densities
from isthmus.parts.step import Posterior, normal
from isthmus.variants import variant
from steps import step_of


def drawn_again(z: torch.Tensor) -> torch.Tensor:
    """Return what a penalty draws first from the generator of a step made by hand."""
    return normal(z, torch.Generator().manual_seed(0))


def posterior_of(rows: int, d: int, rng: torch.Generator) -> tuple[torch.Tensor, Posterior]:
    mu = torch.randn(rows, d, generator=rng, dtype=torch.float64)
    log_var = 0.5 * torch.randn(rows, d, generator=rng, dtype=torch.float64) - 1
    return mu + (0.5 * log_var).exp() * normal(mu, rng), Posterior(mu, log_var)


# -- the Gaussian code


def per_number(part: Gaussian, head: torch.nn.Module, h: torch.Tensor) -> torch.Tensor:
    mu, log_var = part.posterior(head, h)
    return kl_divergence(Normal(mu, (0.5 * log_var).exp()), Normal(0.0, 1.0))


def test_a_saved_gaussian_of_the_first_versions_is_one_without_the_new_remedies() -> None:
    assert from_json({"part": "Gaussian", "beta": 2.0, "warm_up": 0.1}) == Gaussian(2.0, 0.1, 0.0, 0.0)


def test_without_capacity_and_free_bits_the_kl_is_the_plain_one(rng: torch.Generator) -> None:
    head, _ = Gaussian().head((5,), 3)
    h = torch.randn(6, 5, generator=rng)
    expected = 1.3 * per_number(Gaussian(), head, h).sum(1)
    torch.testing.assert_close(Gaussian(1.3, capacity=0.0, free_bits=0.0)(head, h, None, 0.3).terms["kl"], expected)


@pytest.mark.parametrize(("progress", "nats"), [(0.0, 0.0), (0.1, 1.4), (0.25, 3.5), (0.5, 7.0), (1.0, 7.0)])
def test_the_capacity_rises_linearly_over_the_first_half_of_training(progress, nats, rng: torch.Generator) -> None:
    head, _ = Gaussian().head((5,), 3)
    h = torch.randn(6, 5, generator=rng)
    expected = 4 * (per_number(Gaussian(), head, h).sum(1) - nats).abs()
    torch.testing.assert_close(Gaussian(4.0, capacity=7.0)(head, h, None, progress).terms["kl"], expected)


def test_free_bits_count_each_number_of_each_sample_at_least_so_much(rng: torch.Generator) -> None:
    head, _ = Gaussian().head((5,), 3)
    h = torch.randn(6, 5, generator=rng)
    each = per_number(Gaussian(), head, h)
    assert (each < 0.1).any()
    assert (each > 0.1).any()
    expected = torch.maximum(each, torch.tensor(0.1)).sum(1)
    torch.testing.assert_close(Gaussian(free_bits=0.1)(head, h, None).terms["kl"], expected)


def test_no_gradient_pulls_a_number_that_has_bits_to_spare() -> None:
    """mu = (0.5, 2) and sigma = 1 cost 1/8 and 2 nats; with half a nat free only the second is pulled, by mu itself."""
    h = torch.tensor([[0.5, 2.0, 0.0, 0.0]], requires_grad=True)
    kl = Gaussian(free_bits=0.5)(torch.nn.Identity(), h, None).terms["kl"]
    assert kl.item() == pytest.approx(2.5)
    (gradient,) = torch.autograd.grad(kl.sum(), h)
    assert torch.equal(gradient, torch.tensor([[0.0, 2.0, 0.0, 0.0]]))


def test_below_its_capacity_a_code_is_pushed_away_from_the_prior() -> None:
    h = torch.tensor([[1.0, 0.0]], requires_grad=True)
    for capacity, direction in ((0.1, 1.0), (3.0, -1.0)):
        term = Gaussian(beta=2.0, capacity=capacity)(torch.nn.Identity(), h, None).terms["kl"]
        (gradient,) = torch.autograd.grad(term.sum(), h)
        assert gradient[0, 0].item() == pytest.approx(2 * direction)


@pytest.mark.parametrize("part", [Gaussian(capacity=2.0), Gaussian(free_bits=0.01)], ids=repr)
def test_gradients_of_the_remedies_pass_the_numerical_check(part, rng: torch.Generator) -> None:
    head = part.head((5,), 3)[0].double()
    h = torch.randn(3, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h: part(head, h, torch.Generator().manual_seed(1)).terms["kl"], (h,))


# -- the maximum mean discrepancy


def kernel_of(name: str, a: np.ndarray, b: np.ndarray, scale: float) -> float:
    squared, d = float(((a - b) ** 2).sum()), len(a)
    widths = [2 * d * scale * s for s in SCALES]
    return sum(c / (c + squared) if name == "imq" else math.exp(-squared / c) for c in widths)


@pytest.mark.parametrize("name", ["imq", "rbf"])
@pytest.mark.parametrize("shape", [(7, 3), (2, 1), (4, 2, 3)])
def test_mmd_equals_the_double_loops_of_its_definition(name, shape, rng: torch.Generator) -> None:
    z = 1.5 * torch.randn(shape, generator=rng, dtype=torch.float64) + 0.3
    drawn, codes = drawn_again(z).flatten(1).numpy(), z.flatten(1).numpy()
    n = len(z)
    pairs = list(itertools.permutations(range(n), 2))
    within = sum(kernel_of(name, codes[i], codes[j], 0.7) + kernel_of(name, drawn[i], drawn[j], 0.7) for i, j in pairs)
    across = sum(kernel_of(name, a, b, 0.7) for a in codes for b in drawn)
    expected = within / len(pairs) - 2 * across / n**2
    value = MMD(2.0, name, 0.7)(step_of(z))
    assert value.shape == ()
    assert value.item() == pytest.approx(2 * expected, abs=1e-12)


def test_mmd_of_one_sample_is_the_distance_between_two_points(rng: torch.Generator) -> None:
    z = torch.randn(1, 4, generator=rng, dtype=torch.float64)
    apart = kernel_of("imq", z[0].numpy(), drawn_again(z)[0].numpy(), 1.0)
    assert MMD(1.0)(step_of(z)).item() == pytest.approx(2 * len(SCALES) - 2 * apart, abs=1e-12)


def test_mmd_is_unbiased_zero_for_codes_drawn_from_the_prior(rng: torch.Generator) -> None:
    values = torch.stack([MMD(1.0)(step_of(torch.randn(16, 2, generator=rng), rng=rng)) for _ in range(2000)]).double()
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    shifted = torch.stack([MMD(1.0)(step_of(torch.randn(16, 2, generator=rng) + 1, rng=rng)) for _ in range(50)])
    assert shifted.mean() > 20 * values.std() / math.sqrt(50)


def test_mmd_pulls_codes_that_are_too_wide_together_and_too_narrow_apart(rng: torch.Generator) -> None:
    z = torch.randn(300, 2, generator=rng)
    for width, sign in ((2.0, 1.0), (0.5, -1.0)):
        scale = torch.tensor(width, requires_grad=True)
        (gradient,) = torch.autograd.grad(MMD(1.0)(step_of(scale * z)), scale)
        assert gradient.sign().item() == sign


@pytest.mark.parametrize("name", ["imq", "rbf"])
def test_the_gradient_of_mmd_passes_the_numerical_check(name, rng: torch.Generator) -> None:
    z = torch.randn(5, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: MMD(3.0, name)(step_of(z)), (z,))


def test_an_unknown_kernel_and_a_kernel_without_width_are_named(rng: torch.Generator) -> None:
    z = torch.randn(3, 2, generator=rng)
    with pytest.raises(SettingError, match=r"MMD\(kernel='cosine'\) is not known; use 'imq' or 'rbf'"):
        MMD(kernel="cosine")(step_of(z))
    with pytest.raises(SettingError, match="must be above 0"):
        MMD(scale=0)(step_of(z))


# -- the total correlation


def test_with_all_rows_in_the_batch_the_densities_are_those_of_the_mixture(rng: torch.Generator) -> None:
    z, posterior = posterior_of(6, 3, rng)
    rows = Normal(posterior.mu, (0.5 * posterior.log_var).exp())
    equal = Categorical(logits=torch.zeros(6, dtype=torch.float64))
    together, each = log_densities(z, posterior, 6)
    torch.testing.assert_close(together, MixtureSameFamily(equal, Independent(rows, 1)).log_prob(z), atol=1e-12, rtol=0)
    for k in range(3):
        own = Normal(rows.loc[:, k], rows.scale[:, k])
        torch.testing.assert_close(each[:, k], MixtureSameFamily(equal, own).log_prob(z[:, k]), atol=1e-12, rtol=0)


def test_the_total_correlation_equals_the_loops_of_its_definition(rng: torch.Generator) -> None:
    z, posterior = posterior_of(5, 2, rng)
    n_rows, size = 40, 5
    values = []
    for i in range(size):
        shares = [1 / n_rows if j == i else (n_rows - 1) / n_rows / (size - 1) for j in range(size)]
        density = np.array(
            [
                [
                    math.exp(-0.5 * (z[i, k] - posterior.mu[j, k]) ** 2 / math.exp(posterior.log_var[j, k]))
                    / math.sqrt(2 * math.pi * math.exp(posterior.log_var[j, k]))
                    for k in range(2)
                ]
                for j in range(size)
            ]
        )
        together = sum(share * row.prod() for share, row in zip(shares, density, strict=True))
        apart = [sum(share * row[k] for share, row in zip(shares, density, strict=True)) for k in range(2)]
        values.append(math.log(together) - sum(map(math.log, apart)))
    term = TotalCorrelation(2.5)(step_of(z, posterior=posterior, n_rows=n_rows))
    torch.testing.assert_close(term, 2.5 * torch.tensor(values, dtype=torch.float64), atol=1e-10, rtol=0)


def test_over_all_batches_that_hold_a_row_the_estimated_density_is_the_true_one(rng: torch.Generator) -> None:
    """Six rows, batches of three: the ten batches with row 0 give its code the mean density that all six rows give."""
    z, posterior = posterior_of(6, 2, rng)
    exact, exact_each = log_densities(z, posterior, 6)
    found, found_each = [], []
    for others in itertools.combinations(range(1, 6), 2):
        rows = [0, *others]
        together, each = log_densities(z[rows], Posterior(posterior.mu[rows], posterior.log_var[rows]), 6)
        found.append(together[0].exp())
        found_each.append(each[0].exp())
    torch.testing.assert_close(torch.stack(found).mean(), exact[0].exp(), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.stack(found_each).mean(0), exact_each[0].exp(), atol=1e-12, rtol=0)


def test_the_three_parts_of_the_kl_add_up_to_its_closed_form(rng: torch.Generator) -> None:
    """KL = I(x; z) + total correlation + KL of each number, with all rows in the batch and many codes of each."""
    _, few = posterior_of(4, 2, rng)
    draws = 50_000
    mu, log_var = few.mu.repeat(draws, 1), few.log_var.repeat(draws, 1)
    z = mu + (0.5 * log_var).exp() * normal(mu, rng)
    known = Normal(mu, (0.5 * log_var).exp()).log_prob(z).sum(1)
    pieces = [log_densities(part, few, 4) for part in z.split(4)[:5000]]
    together, each = torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])
    z, known = z[: len(together)], known[: len(together)]
    prior = Normal(0.0, 1.0).log_prob(z)
    information, correlation, apart = known - together, together - each.sum(1), (each - prior).sum(1)
    sampled = known - prior.sum(1)
    torch.testing.assert_close(information + correlation + apart, sampled, atol=1e-10, rtol=0)
    closed = kl_divergence(Normal(few.mu, (0.5 * few.log_var).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert abs(sampled.mean() - closed) < 5 * sampled.std() / math.sqrt(len(sampled))
    assert 0 < information.mean() < math.log(4)  # what a code says of which row it is
    assert correlation.mean() > 0


def test_a_code_of_one_number_and_a_batch_of_one_row_have_no_correlation(rng: torch.Generator) -> None:
    z, posterior = posterior_of(5, 1, rng)
    assert TotalCorrelation(1.0)(step_of(z, posterior=posterior, n_rows=9)).abs().max() < 1e-12
    z, posterior = posterior_of(1, 3, rng)
    assert TotalCorrelation(1.0)(step_of(z, posterior=posterior, n_rows=9)).abs().max() < 1e-12


def test_independent_factors_have_less_total_correlation_than_a_copied_one(rng: torch.Generator) -> None:
    grid = torch.tensor(list(itertools.product([-2.0, 0.0, 2.0], repeat=2)), dtype=torch.float64)
    narrow = torch.full_like(grid, -4.0)
    independent = TotalCorrelation(1.0)(step_of(grid, posterior=Posterior(grid, narrow), n_rows=9))
    copied = grid[:, :1].expand(-1, 2)
    same = TotalCorrelation(1.0)(step_of(copied, posterior=Posterior(copied, narrow), n_rows=9))
    assert independent.abs().max() < 1e-6
    torch.testing.assert_close(same, torch.full_like(same, math.log(3)), atol=1e-6, rtol=0)  # one of three values


def test_the_gradient_of_the_total_correlation_passes_the_numerical_check(rng: torch.Generator) -> None:
    z, (mu, log_var) = posterior_of(4, 2, rng)

    def term(z: torch.Tensor, mu: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
        return TotalCorrelation(2.0)(step_of(z, posterior=Posterior(mu, log_var), n_rows=20))

    inputs = tuple(value.detach().requires_grad_() for value in (z, mu, log_var))
    assert torch.autograd.gradcheck(term, inputs)


def test_a_code_without_a_posterior_has_no_total_correlation(rng: torch.Generator) -> None:
    with pytest.raises(SettingError, match="use bottleneck='gaussian'"):
        TotalCorrelation()(step_of(torch.randn(3, 2, generator=rng)))


# -- the variants


@pytest.mark.parametrize(
    ("name", "term"), [("beta_vae", "kl"), ("wasserstein", "mmd"), ("info_vae", "mmd"), ("tc_vae", "totalcorrelation")]
)
def test_a_variant_of_the_family_learns_and_its_own_term_is_there(name, term, digits) -> None:
    ae = variant(name, latent_dim=6, max_epochs=15, random_state=0, verbose=False).fit(digits)
    assert ae.scores_["model"]["squared_error"] < ae.scores_["mean"]["squared_error"]
    last = list(ae.history_)[-1]
    assert math.isfinite(last["train"][term])
    assert last["train"][term] != 0
    assert (term in last["held_out"]) == (term == "kl")
    assert np.isfinite(np.asarray(ae.sample(5, random_state=0))).all()


def test_info_vae_splits_its_weights_as_the_paper_does() -> None:
    ae = variant("info_vae", alpha=0.3, scaling=10.0)
    assert ae.bottleneck == Gaussian(beta=0.7)
    assert ae.penalties == (MMD(pytest.approx(9.3)),)


def test_a_total_correlation_weighed_less_than_the_bound_allows_is_refused(digits) -> None:
    with pytest.raises(SettingError, match=r"TotalCorrelation\(weight=-0.5\) must be a number of at least 0"):
        variant("tc_vae", beta=0.5, max_epochs=1, verbose=False).fit(digits[:60])


@pytest.mark.parametrize("part", [MMD(), MMD(1.0, "rbf", 2.0), TotalCorrelation(), Gaussian(capacity=3.0)], ids=repr)
def test_the_parts_survive_json(part) -> None:
    assert from_json(to_json(part)) == part
