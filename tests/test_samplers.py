"""Samplers: new codes are distributed as the known ones, or as the prior says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import isthmus as ist
from isthmus.errors import SettingError
from isthmus.parts.flows import Flow
from isthmus.parts.samplers import Aggregated, Mixture, Prior, Sampler


def two_clouds(rng: torch.Generator) -> torch.Tensor:
    codes = torch.randn(1000, 2, generator=rng) * torch.tensor([0.5, 0.1])
    codes[::4] += 8.0
    return codes


@pytest.mark.parametrize("sampler", [Aggregated(), Aggregated(jitter=0.05), Mixture(), Mixture(2)], ids=repr)
def test_drawn_codes_are_distributed_as_the_known_ones(sampler: Sampler, rng: torch.Generator) -> None:
    codes = two_clouds(rng)
    drawn = sampler.draw(sampler.fit(codes, 0), 20_000, rng)
    assert drawn.shape == (20_000, 2)
    for known, new in ((codes, drawn), (codes[codes[:, 0] > 4], drawn[drawn[:, 0] > 4])):
        torch.testing.assert_close(new.mean(0), known.mean(0), atol=0.2, rtol=0.05)
        torch.testing.assert_close(new.std(0), known.std(0), atol=0.25, rtol=0.15)
    assert (drawn[:, 0] > 4).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_mixture_chooses_its_size_on_held_out_codes(rng: torch.Generator) -> None:
    assert len(Mixture().fit(torch.randn(500, 2, generator=rng), 0)["weights"]) == 1
    assert len(Mixture().fit(two_clouds(rng), 0)["weights"]) >= 2


def test_the_prior_is_standard_normal(rng: torch.Generator) -> None:
    drawn = Prior().draw(Prior().fit(torch.zeros(3, 2, 4, 4), 0), 5000, rng)
    assert drawn.shape == (5000, 2, 4, 4)
    assert drawn.std().item() == pytest.approx(1.0, rel=0.01)


def test_aggregated_codes_without_jitter_are_known_codes(rng: torch.Generator) -> None:
    codes = two_clouds(rng)
    drawn = Aggregated().draw(Aggregated().fit(codes, 0), 50, rng)
    assert (drawn[:, None] == codes).all(2).any(1).all()


@pytest.mark.parametrize(
    "codes", [torch.ones(30, 3), torch.randn(3, 200), torch.randn(40, 2, 3, 3)], ids=["constant", "few", "map"]
)
def test_a_mixture_fits_whatever_codes_there_are(codes: torch.Tensor, rng: torch.Generator) -> None:
    drawn = Mixture().draw(Mixture().fit(codes, 0), 7, rng)
    assert drawn.shape == (7, *codes.shape[1:])
    assert torch.isfinite(drawn).all()


def test_more_components_than_codes_are_refused() -> None:
    with pytest.raises(SettingError, match=r"Mixture\(components=9\) must be from 1 to the 5 known codes"):
        Mixture(9).fit(torch.randn(5, 2), 0)


@pytest.mark.parametrize("sampler", ["auto", "prior", "mixture", "aggregated", Aggregated(0.1)], ids=str)
def test_a_model_samples_through_any_sampler_before_and_after_saving(sampler, digits: np.ndarray, tmp_path) -> None:
    ae = ist.Autoencoder(latent_dim=3, sampler=sampler, max_epochs=2, random_state=0, verbose=False).fit(digits)
    samples = ae.sample(6, random_state=1)
    assert samples.shape == (6, 64)
    ae.save(tmp_path / "model")
    assert np.array_equal(ist.load(tmp_path / "model").sample(6, random_state=1), samples)


@pytest.mark.parametrize("bottleneck", ["vector_quantized", "finite_scalar", "binary"])
def test_discrete_codes_are_sampled_from_those_there_are(bottleneck: str, digits: np.ndarray) -> None:
    settings = {"latent_dim": 4, "max_epochs": 2, "random_state": 0, "verbose": False, "validation_fraction": 0.0}
    ae = ist.Autoencoder(bottleneck=bottleneck, **settings).fit(digits)
    known, drawn = ae.reconstruct(digits), ae.sample(20, random_state=0)
    assert all(np.isclose(known, sample, atol=1e-4).all(1).any() for sample in drawn)
    with pytest.raises(SettingError, match="codes do not follow; use sampler='aggregated'"):
        ae.set_params(sampler="prior").sample(2)


def test_nothing_is_no_number_of_samples(digits: np.ndarray) -> None:
    ae = ist.variational(latent_dim=2, max_epochs=1, verbose=False).fit(digits)
    with pytest.raises(SettingError, match=r"sample\(n=0\) must ask for at least 1 sample"):
        ae.sample(0)


def test_a_sampler_learns_once_and_anew_after_a_fit(digits: np.ndarray, monkeypatch) -> None:
    learned = []
    fit = Aggregated.fit
    monkeypatch.setattr(Aggregated, "fit", lambda self, codes, seed: learned.append(self) or fit(self, codes, seed))
    settings = {"latent_dim": 2, "max_epochs": 1, "random_state": 0, "verbose": False}
    ae = ist.Autoencoder(sampler=Aggregated(), **settings).fit(digits)
    first, again = ae.sample(3, 0), ae.sample(3, 0)
    assert np.array_equal(first, again)
    assert len(learned) == 1
    ae.set_params(sampler=Aggregated(jitter=0.1)).sample(3)
    ae.fit(digits).sample(3)
    assert len(learned) == 3


def ring(n: int, rng: torch.Generator) -> torch.Tensor:
    angle = 2 * torch.pi * torch.rand(n, generator=rng)
    return (1 + 0.03 * torch.randn(n, generator=rng))[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def test_a_flow_is_a_density_and_draws_what_it_says(rng: torch.Generator) -> None:
    codes = ring(300, rng) * torch.tensor([2.0, 0.5]) + 1
    flow = Flow(steps=200, hidden=32, layers=4)
    state = flow.fit(codes, 0)
    side = torch.linspace(-4, 6, 401), torch.linspace(-1, 3, 401)
    grid = torch.cartesian_prod(*side)
    density = flow.log_density(state, grid).exp()
    assert float(density.sum()) * 0.025 * 0.01 == pytest.approx(1, abs=0.02)
    drawn = flow.draw(state, 20_000, rng)
    # the mean of log p over draws is minus the entropy, which the grid integrates too
    entropy = -float((density * density.clamp(min=1e-30).log()).sum()) * 0.025 * 0.01
    assert -float(flow.log_density(state, drawn).mean()) == pytest.approx(entropy, abs=0.05)


def test_a_flow_begins_as_its_mixture_and_is_never_less_likely_on_codes_held_out(rng: torch.Generator) -> None:
    codes = ring(400, rng)
    untrained, trained = Flow(layers=2, hidden=4, steps=1), Flow(layers=4, hidden=32, steps=200)
    states = [sampler.fit(codes, 0) for sampler in (untrained, trained)]
    held_out = codes[torch.randperm(400, generator=torch.Generator().manual_seed(0))[:80]]
    before, after = (
        float(sampler.log_density(state, held_out).mean())
        for sampler, state in zip((untrained, trained), states, strict=True)
    )
    assert after >= before - 1e-4
    radius = trained.draw(states[1], 2000, rng).norm(dim=1)
    assert float(((radius - 1).abs() < 0.1).float().mean()) > 0.9


def test_a_flow_takes_maps_and_numbers_that_never_move(rng: torch.Generator) -> None:
    codes = torch.randn(60, 2, 2, 2, generator=rng)
    codes[:, 0, 0, 0] = 3.0
    drawn = Flow(steps=5).draw(Flow(steps=5).fit(codes, 0), 9, rng)
    assert drawn.shape == (9, 2, 2, 2)
    torch.testing.assert_close(drawn[:, 0, 0, 0], torch.full((9,), 3.0), atol=1e-2, rtol=0)
    with pytest.raises(SettingError, match=r"Flow\(layers=0\) must be at least 1"):
        Flow(layers=0).fit(codes, 0)


@pytest.mark.parametrize("sampler", [Mixture(), Flow(steps=20)], ids=["mixture", "flow"])
def test_what_a_slow_sampler_learned_is_saved_with_the_model(
    sampler, digits: np.ndarray, tmp_path, monkeypatch
) -> None:
    ae = ist.Autoencoder(latent_dim=3, sampler=sampler, max_epochs=2, random_state=0, verbose=False).fit(digits)
    samples = ae.sample(6, random_state=1)
    ae.save(tmp_path / "model")
    monkeypatch.setattr(type(sampler), "fit", None)  # nothing may be learned again
    assert np.array_equal(ist.load(tmp_path / "model").sample(6, random_state=1), samples)


def test_a_model_that_kept_no_codes_samples_from_its_prior_only(digits: np.ndarray) -> None:
    ae = ist.variational(latent_dim=2, max_epochs=1, random_state=0, verbose=False).fit(digits)
    ae.codes_ = ae.codes_[:0]
    with pytest.raises(SettingError, match=r"kept no codes .* Mixture has nothing to learn from; use sampler='prior'"):
        ae.sample(3)
    assert ae.set_params(sampler="prior").sample(3).shape == (3, 64)


def test_samples_come_in_no_order_of_components(rng: torch.Generator) -> None:
    codes = torch.cat([torch.randn(500, 2, generator=rng), 50 + torch.randn(500, 2, generator=rng)])
    is_far = Mixture(2).draw(Mixture(2).fit(codes, 0), 4000, rng)[:, 0] > 25
    # in random order neighbours agree half of the time; sorted by component they nearly always do
    assert float((is_far[1:] == is_far[:-1]).float().mean()) == pytest.approx(0.5, abs=0.04)


def test_variational_codes_are_drawn_from_where_they_lie_unless_the_prior_is_asked_for(digits: np.ndarray) -> None:
    settings = {"latent_dim": 2, "max_epochs": 1, "random_state": 0, "verbose": False}
    drawn = {}
    for make in (ist.variational, ist.hierarchical, ist.mixture_prior, ist.spherical):
        ae = make(**settings | {"latent_dim": 3}).fit(digits)
        ae.sample(1)
        drawn[make.__name__] = type(ae._sampling.sampler).__name__
    assert drawn == {"variational": "Mixture", "hierarchical": "Prior", "mixture_prior": "Prior", "spherical": "Prior"}
