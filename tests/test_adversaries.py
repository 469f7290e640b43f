"""Critics: whom each gradient reaches, and what a critic says where the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Gaussian, Plain
from isthmus.parts.networks import MLP
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import CodeCritic, FactorCritic, SampleCritic
from isthmus.parts.penalties.adversaries import Critic, shuffled
from isthmus.parts.reconstructions import SquaredError
from isthmus.parts.step import Batch, normal
from isthmus.variants import variant
from steps import step_of

FLAT = Layout((6,))
CRITICS = [FactorCritic(2.0, (8,)), CodeCritic(2.0, (8,)), SampleCritic(2.0, 0.5, (8,))]


def as_critic(logit):
    """Return a critic that has no hidden layer: a function of the sample, (B,), and nothing beside it."""
    return lambda sample: torch.cat([logit(sample)[:, None], sample.flatten(1)], 1)


def model_with(part, bottleneck=None) -> Composed:
    torch.manual_seed(0)
    parts = Parts(MLP(hidden=(5,)), bottleneck or Gaussian(), SquaredError(), (), (part,))
    return Composed(Blueprint(parts, FLAT, 3, n_rows=20)).double()


# -- who learns from what


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_the_models_term_never_moves_the_critic_nor_the_critics_term_the_model(part, rng: torch.Generator) -> None:
    model = model_with(part)
    terms = model.terms(Batch(torch.randn(9, 6, generator=rng, dtype=torch.float64)), rng)
    name = type(part).__name__.lower()
    critic = {key: value for key, value in model.named_parameters() if key.startswith("critics.")}
    others = {key: value for key, value in model.named_parameters() if not key.startswith("critics.")}
    assert terms[name].shape == terms[f"{name}_critic"].shape == (9,)

    def moved(term: torch.Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, bool]:
        gradients = torch.autograd.grad(term.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
        return {
            key: gradient is not None and bool(gradient.any())
            for key, gradient in zip(parameters, gradients, strict=True)
        }

    assert not any(moved(terms[name], critic).values())
    assert not any(moved(terms[f"{name}_critic"], others).values())
    assert all(moved(terms[f"{name}_critic"], critic).values())
    assert any(value for key, value in moved(terms[name], others).items() if key.startswith("encoder."))


def test_being_found_out_teaches_the_decoder_alone_and_likeness_the_encoder_too(rng: torch.Generator) -> None:
    for part, is_taught in ((SampleCritic(1.0, 0.0, (8,)), False), (SampleCritic(0.0, 1.0, (8,)), True)):
        model = model_with(part)
        term = model.terms(Batch(torch.randn(9, 6, generator=rng, dtype=torch.float64)), rng)["samplecritic"].sum()
        term.backward()
        encoder = [p.grad for p in model.encoder.parameters()]
        assert any(g is not None and g.any() for g in encoder) == is_taught
        assert any(p.grad is not None and p.grad.any() for p in model.decoder.parameters())


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_judging_held_out_rows_asks_no_critic(part, rng: torch.Generator) -> None:
    terms = model_with(part).eval().terms(Batch(torch.randn(4, 6, generator=rng, dtype=torch.float64)), rng)
    assert set(terms) == {"reconstruction", "kl"}


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_a_critic_bears_gaps_and_a_batch_of_one_row(part, rng: torch.Generator) -> None:
    model = model_with(part)
    for rows in (1, 5):
        x = torch.randn(rows, 6, generator=rng, dtype=torch.float64)
        observed = torch.rand(rows, 6, generator=rng) > 0.4
        for term in model.terms(Batch(x * observed, observed), rng).values():
            assert torch.isfinite(term).all()


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_the_weight_of_an_adversary_is_not_the_critics(part, rng: torch.Generator) -> None:
    x = torch.randn(9, 6, generator=rng, dtype=torch.float64)
    name = type(part).__name__.lower()
    double = from_json(to_json(part)).set_params(weight=2 * part.weight)
    if isinstance(double, SampleCritic):
        double.set_params(similarity=2 * double.similarity)
    one, two = (model_with(p).terms(Batch(x), torch.Generator().manual_seed(1)) for p in (part, double))
    torch.testing.assert_close(two[name], 2 * one[name])
    torch.testing.assert_close(two[f"{name}_critic"], one[f"{name}_critic"])


# -- what the critic says


def test_a_critic_that_cannot_tell_loses_log_two_a_row(rng: torch.Generator) -> None:
    z = torch.randn(7, 3, generator=rng)
    step = step_of(z, critic=as_critic(lambda sample: torch.zeros(len(sample))))
    for part in CRITICS:
        torch.testing.assert_close(part.critic_term(step), torch.full((7,), math.log(2)))
    assert torch.equal(FactorCritic(5.0)(step), torch.zeros(7))
    torch.testing.assert_close(CodeCritic(5.0)(step), torch.full((7,), 5 * math.log(2)))
    torch.testing.assert_close(SampleCritic(5.0, 0.0)(step), torch.full((7,), 5 * math.log(2)))


def test_the_best_critic_of_two_numbers_finds_their_total_correlation(rng: torch.Generator) -> None:
    """Two numbers of correlation r say -1/2 log(1 - r^2) nats of each other."""
    r, n = 0.8, 200_000
    joint = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, r], [r, 1.0]]))
    raw = torch.randn(n, 2, generator=rng)
    z = torch.stack([raw[:, 0], r * raw[:, 0] + math.sqrt(1 - r**2) * raw[:, 1]], 1)
    ratio = as_critic(lambda z: joint.log_prob(z) - Normal(0.0, 1.0).log_prob(z).sum(1))
    found = FactorCritic(3.0)(step_of(z, critic=ratio))
    assert abs(found.mean() - 3 * -0.5 * math.log(1 - r**2)) < 5 * found.std() / math.sqrt(n)


def test_the_best_critic_of_codes_reaches_the_jensen_shannon_divergence(rng: torch.Generator) -> None:
    """At the true density ratio the critic's term is log 2 - JS, and no other critic has a lower one."""
    n, prior, codes = 200_000, Normal(0.0, 1.0), Normal(1.0, 0.5)
    z = 1 + 0.5 * torch.randn(n, 1, generator=rng)

    def lost(best: float) -> torch.Tensor:
        logit = as_critic(lambda z: best * (prior.log_prob(z) - codes.log_prob(z))[:, 0])
        return CodeCritic().critic_term(step_of(z, critic=logit))

    grid = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    p, q = prior.log_prob(grid).exp(), codes.log_prob(grid).exp()
    middle = (p + q) / 2
    divergence = 0.5 * torch.trapezoid(torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle), grid)
    assert abs(lost(1.0).mean() - (math.log(2) - divergence)) < 5 * lost(1.0).std() / math.sqrt(n)
    for worse in (0.5, 2.0, -1.0):
        assert lost(worse).mean() > lost(1.0).mean()


def test_the_signs_are_right_for_either_player(rng: torch.Generator) -> None:
    """A logit of +3 for the first of the two and -3 for the second is what the critic wants, and the model does not."""
    z, x = torch.randn(400, 2, generator=rng), torch.full((400, 2), 3.0)

    def sure(sign: float):
        return as_critic(lambda sample: sign * torch.where((sample == 3.0).all(1), 3.0, -3.0))

    data = step_of(z, x, x_hat=z, critic=sure(1.0))
    wrong = step_of(z, x, x_hat=z, critic=sure(-1.0))
    softplus = torch.nn.functional.softplus
    low, high = softplus(torch.tensor(-3.0)), softplus(torch.tensor(3.0))
    part = SampleCritic(1.0, 0.0)
    torch.testing.assert_close(part.critic_term(data), low.expand(400))  # it knows data, and what was made
    torch.testing.assert_close(part.critic_term(wrong), high.expand(400))
    torch.testing.assert_close(part(data), high.expand(400))  # the model was found out
    torch.testing.assert_close(part(wrong), low.expand(400))
    codes = step_of(x, critic=sure(1.0))  # the critic takes the codes for draws
    torch.testing.assert_close(CodeCritic(1.0)(codes), low.expand(400))
    torch.testing.assert_close(CodeCritic(1.0).critic_term(codes), high.expand(400))


def test_the_likeness_term_is_half_the_squared_distance_in_the_hidden_layer(rng: torch.Generator) -> None:
    critic = Critic(4, (8, 3))
    z, x, x_hat = torch.randn(3, 5, 4, generator=rng).unbind()
    step = step_of(z, x, x_hat=x_hat, critic=critic)
    expected = 0.7 * 0.5 * (critic.body(x) - critic.body(x_hat)).square().sum(1)
    torch.testing.assert_close(SampleCritic(0.0, 0.7)(step), expected)
    assert critic(x).shape == (5, 1 + 3)


def test_a_sample_critic_judges_what_decoder_makes_of_codes_and_of_the_prior(rng: torch.Generator) -> None:
    z = torch.randn(4, 3, generator=rng)
    seen: list[torch.Tensor] = []

    def decode(codes: torch.Tensor) -> torch.Tensor:
        seen.append(codes)
        return 10 * codes

    logit = as_critic(lambda sample: sample.sum(1))
    term = SampleCritic(1.0, 0.0)(step_of(z, decode=decode, mean=lambda x: x / 5, critic=logit))
    drawn = normal(z, torch.Generator().manual_seed(0))
    assert torch.equal(seen[0], torch.cat([z, drawn]))
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(term, 0.5 * (softplus(-2 * z.sum(1)) + softplus(-2 * drawn.sum(1))))


def test_gaps_of_the_data_are_gaps_of_what_was_made(rng: torch.Generator) -> None:
    z = torch.randn(4, 3, generator=rng)
    observed = torch.rand(4, 3, generator=rng) > 0.5
    judged: list[torch.Tensor] = []

    def logit(sample: torch.Tensor) -> torch.Tensor:
        judged.append(sample)
        return sample.sum(1)

    gappy = Batch(z * observed, observed)
    SampleCritic().critic_term(step_of(z, batch=gappy, critic=as_critic(logit)))
    assert len(judged) == 3
    assert all((sample[~observed] == 0).all() for sample in judged)


def test_shuffling_keeps_every_number_in_its_column_and_breaks_the_rows(rng: torch.Generator) -> None:
    z = torch.arange(300.0).view(100, 3)
    mixed = shuffled(z, rng)
    assert torch.equal(mixed.sort(0).values, z)
    assert ((mixed[:, 1] - mixed[:, 0]) == 1).float().mean() < 0.1
    assert torch.equal(shuffled(z[:1], rng), z[:1])


def test_a_critic_trained_by_its_term_learns_the_density_ratio(rng: torch.Generator) -> None:
    """Codes of N(1, 1) against N(0, 1): the log ratio is 1/2 - z."""
    torch.manual_seed(0)
    part = CodeCritic(1.0, (16,))
    critic = part.critic(FLAT, (1,))
    optimizer = Adam(critic.named_parameters())
    for _ in range(400):
        part.critic_term(step_of(1 + torch.randn(256, 1, generator=rng), critic=critic, rng=rng)).mean().backward()
        optimizer.step(3e-3)
    grid = torch.linspace(-1.5, 2.5, 9)[:, None]
    with torch.no_grad():
        assert (critic(grid)[:, 0] - (0.5 - grid[:, 0])).abs().max() < 0.5


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_gradients_of_adversaries_pass_the_numerical_check(part, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    critic = part.critic(FLAT, (6,)).double()
    z = torch.randn(3, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    x_hat = torch.randn(3, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 6, generator=rng, dtype=torch.float64)

    def term(z: torch.Tensor, x_hat: torch.Tensor) -> torch.Tensor:
        return part(step_of(z, x, x_hat=x_hat, critic=critic)) + 0 * (z + x_hat).sum()

    if isinstance(part, SampleCritic):  # the codes are detached here on purpose
        assert torch.autograd.gradcheck(lambda x_hat: term(z.detach(), x_hat), (x_hat,))
    else:
        assert torch.autograd.gradcheck(term, (z, x_hat))


def test_a_critic_without_units_is_refused() -> None:
    with pytest.raises(SettingError, match=r"hidden=\(\) has no units to judge by"):
        CodeCritic(hidden=()).critic(FLAT, (2,))


@pytest.mark.parametrize("part", CRITICS, ids=repr)
def test_an_adversary_survives_json(part) -> None:
    assert from_json(to_json(part)) == part


# -- the variants


@pytest.mark.parametrize(
    ("name", "term"), [("factor_vae", "factorcritic"), ("adversarial", "codecritic"), ("vae_gan", "samplecritic")]
)
def test_an_adversarial_variant_learns_in_spite_of_its_critic(name, term, digits) -> None:
    ae = variant(name, latent_dim=6, max_epochs=15, random_state=0, verbose=False).fit(digits)
    assert ae.scores_["model"]["squared_error"] < ae.scores_["mean"]["squared_error"]
    last = list(ae.history_)[-1]["train"]
    assert last[term] != 0
    assert 0 < last[f"{term}_critic"] < 1.5 * math.log(2)  # neither player has run away
    assert np.isfinite(np.asarray(ae.sample(5, random_state=0))).all()


def test_an_adversarial_model_saves_its_critic_and_answers_as_before(digits, tmp_path) -> None:
    from isthmus.loading import load

    ae = variant("adversarial", latent_dim=3, max_epochs=2, random_state=0, verbose=False).fit(digits[:200])
    ae.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert np.array_equal(ae.transform(digits[:20]), again.transform(digits[:20]))
    assert np.array_equal(ae.sample(4, random_state=1), again.sample(4, random_state=1))
    assert isinstance(ae.model_.parts.bottleneck, Plain)
    for name, value in ae.model_.critics.state_dict().items():
        assert torch.equal(value, again.model_.critics.state_dict()[name])


def test_a_critic_stands_beside_a_condition(digits) -> None:
    from sklearn.datasets import load_digits

    y = load_digits().target[:200]
    ae = variant("vae_gan", latent_dim=3, condition="y", max_epochs=2, random_state=0, verbose=False).fit(
        digits[:200], y
    )
    assert math.isfinite(list(ae.history_)[-1]["train"]["samplecritic"])
    assert np.asarray(ae.sample(2, random_state=0, condition=3)).shape == (2, 64)
