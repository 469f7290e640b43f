"""Designs that couple their parts, held against distributions of torch, brute force and closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

import isthmus as ist
from isthmus.data.rows import DenseRows
from isthmus.designs import Composed, Design, Direct, Hierarchical, ImportanceWeighted, Stacked, VampPrior
from isthmus.designs.draws import log_mean, noise_for
from isthmus.designs.hierarchical import Ladder, joined
from isthmus.designs.importance import Weighted
from isthmus.designs.mixture import Mixture
from isthmus.designs.stacked import layers_of, pretrain
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Model, Parts
from isthmus.parts.bottlenecks import Bottleneck, Gaussian, Plain
from isthmus.parts.corruptions import Corruption
from isthmus.parts.networks import MLP, Conv, Network
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import L1
from isthmus.parts.reconstructions import Bernoulli, Reconstruction, SquaredError
from isthmus.parts.reconstructions import Normal as NormalLikelihood
from isthmus.parts.step import Batch, Posterior
from isthmus.training import Data, Run, plan

FLAT = Layout((6,))
VARIANTS = ["importance_weighted", "hierarchical", "mixture_prior", "stacked"]
PROBABLE: list[Design] = [ImportanceWeighted(3), Hierarchical(2, hidden=5), VampPrior(4)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(
    design: Design,
    bottleneck: Bottleneck | None = None,
    network: Network | None = None,
    reconstruction: Reconstruction | None = None,
    corruptions: tuple = (),
    condition_width: int = 0,
) -> Model:
    """Return a model in float64 whose weights follow from a fixed seed."""
    parts = Parts(
        network or MLP(hidden=(5,)), bottleneck or Gaussian(), reconstruction or NormalLikelihood(), corruptions
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return design.build(Blueprint(parts, FLAT, 3, condition_width=condition_width)).double()


def batch_of(rows: int, gaps: bool = False, condition: int = 0) -> Batch:
    x = torch.randn(rows, 6, generator=seeded(1), dtype=torch.float64)
    observed = torch.rand(rows, 6, generator=seeded(2)) > 0.3 if gaps else None
    told = torch.randn(rows, condition, generator=seeded(4), dtype=torch.float64) if condition else None
    return Batch(x if observed is None else x * observed, observed, condition=told)


def mean_and_error(values: Tensor) -> tuple[float, float]:
    return values.mean().item(), values.std().item() / math.sqrt(values.numel())


# -- importance weighted


def test_with_one_sample_the_bound_is_reconstruction_plus_log_q_minus_log_p_of_the_same_noise() -> None:
    batch, model, plain = batch_of(9), built(ImportanceWeighted(1)), built(Direct())
    assert isinstance(model, Weighted)
    plain.load_state_dict(model.composed.state_dict())
    code = plain.encode(batch, seeded(7))
    reconstruction = plain.terms(batch, seeded(7))["reconstruction"]
    assert code.posterior is not None
    log_q = Normal(code.posterior.mu, (0.5 * code.posterior.log_var).exp()).log_prob(code.z).sum(1)
    log_p = Normal(0.0, 1.0).log_prob(code.z).sum(1)
    torch.testing.assert_close(model.terms(batch, seeded(7))["bound"], reconstruction + log_q - log_p)


def test_with_one_sample_the_bound_is_in_expectation_the_evidence_lower_bound() -> None:
    one = batch_of(1)
    many = Batch(one.x.expand(40_000, 6))
    model, plain = built(ImportanceWeighted(1)), built(Direct())
    assert isinstance(model, Weighted)
    plain.load_state_dict(model.composed.state_dict())
    with torch.no_grad():
        bound = model.terms(many, seeded(1))["bound"]
        analytic = torch.stack(list(plain.terms(many, seeded(2)).values())).sum(0)
    (mean, error), (other, other_error) = mean_and_error(bound), mean_and_error(analytic)
    assert abs(mean - other) < 3 * math.hypot(error, other_error)


def test_the_bound_tightens_with_the_number_of_samples() -> None:
    many = Batch(batch_of(1).x.expand(4000, 6))
    with torch.no_grad():
        bounds = [mean_and_error(built(ImportanceWeighted(k)).terms(many, seeded(k))["bound"]) for k in (1, 5, 50)]
    for (looser, one), (tighter, other) in itertools.pairwise(bounds):
        assert tighter < looser + 3 * math.hypot(one, other)


@pytest.mark.parametrize("gaps", [False, True])
def test_several_samples_at_once_are_the_mean_of_weights_one_by_one(gaps: bool) -> None:
    batch = batch_of(5, gaps, condition=2)
    model = built(ImportanceWeighted(4), condition_width=2)
    assert isinstance(model, Weighted)
    noise = noise_for(batch, 4, 3, seeded())
    weights = torch.empty(4, 5, dtype=torch.float64)
    posterior = model.encode(batch).posterior
    assert posterior is not None
    q = Normal(posterior.mu, (0.5 * posterior.log_var).exp())
    for draw in range(4):
        z = q.mean + q.stddev * noise[draw]
        error = model.composed.error(model.decode(z, batch.condition), batch)
        log_weight = -error + Normal(0.0, 1.0).log_prob(z).sum(1) - q.log_prob(z).sum(1)
        weights[draw] = log_weight.exp()
    torch.testing.assert_close(model.weigh(batch, noise).log_weights().logsumexp(0), weights.sum(0).log())


def test_importance_weighting_without_a_generator_gives_the_noise_free_terms() -> None:
    batch, model = batch_of(4), built(ImportanceWeighted(4))
    assert isinstance(model, Weighted)
    terms = model.terms(batch)
    assert set(terms) == {"reconstruction", "kl"}
    torch.testing.assert_close(terms, model.composed.terms(batch))


@dataclass
class Blank(Corruption):
    def __call__(self, batch: Batch, rng: torch.Generator, progress: float = 1.0) -> Batch:
        return batch._replace(x=torch.zeros_like(batch.x))


def test_corruptions_reach_the_encoder_alone() -> None:
    batch = batch_of(4)
    blank = Batch(torch.zeros_like(batch.x))
    model = built(ImportanceWeighted(3), corruptions=(Blank(),))
    assert isinstance(model, Weighted)
    weights = model.weigh(batch, noise_for(batch, 3, 3, seeded()), blank).log_weights()
    torch.testing.assert_close(model.terms(batch, seeded())["bound"], -log_mean(weights))
    for design in (Hierarchical(2), VampPrior(4)):
        model = built(design, corruptions=(Blank(),))
        scale = model.composed.scale if isinstance(model, Mixture) else model.scale
        expected = NormalLikelihood()(model.decode(model.encode(blank, seeded()).z), batch, FLAT, scale)
        torch.testing.assert_close(model.terms(batch, seeded())["reconstruction"], expected)


def test_importance_weighting_refuses_what_has_no_log_weights() -> None:
    with pytest.raises(SettingError, match="Plain"):
        built(ImportanceWeighted(), bottleneck=Plain())
    with pytest.raises(SettingError, match="SquaredError is no likelihood"):
        built(ImportanceWeighted(), reconstruction=SquaredError())
    with pytest.raises(SettingError, match="variance='fixed'"):
        built(ImportanceWeighted(), reconstruction=ist.Mixed())
    with pytest.raises(SettingError, match="beta=4"):
        built(ImportanceWeighted(), bottleneck=Gaussian(beta=4))
    with pytest.raises(SettingError, match="samples=0"):
        built(ImportanceWeighted(0))
    for design in (Hierarchical(), VampPrior()):
        with pytest.raises(SettingError, match="bottleneck='gaussian'"):
            built(design, bottleneck=Plain())
    parts = Parts(MLP(hidden=(5,)), Gaussian(), NormalLikelihood(), (), (L1(),))
    for design in PROBABLE:
        with pytest.raises(SettingError, match="no penalties"):
            design.build(Blueprint(parts, FLAT, 3))


# -- two levels


def test_what_x_tells_joins_any_prior_as_it_would_join_the_standard_one() -> None:
    told, prior = (Posterior(*torch.randn(2, 4, 3, generator=seeded(s), dtype=torch.float64)) for s in (1, 2))
    nothing = Posterior(torch.zeros_like(told.mu), torch.zeros_like(told.mu))
    plain = joined(told, nothing)
    torch.testing.assert_close(plain.mu, told.mu)
    torch.testing.assert_close(plain.log_var.exp(), 1 / (1 + (-told.log_var).exp()))
    grid = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None, None]
    one, other, base, joint = (
        Normal(p.mu, (0.5 * p.log_var).exp()).log_prob(grid) for p in (plain, prior, nothing, joined(told, prior))
    )
    left = one - base + other - joint  # constant in z, by Bayes' rule
    torch.testing.assert_close(left, left[:1].expand_as(left))


def test_the_terms_of_a_ladder_equal_the_kl_divergences_of_torch_distributions() -> None:
    batch, model = batch_of(5), built(Hierarchical(2, hidden=4), bottleneck=Gaussian(beta=1.7))
    assert isinstance(model, Ladder)
    rungs = model.encoder.rungs(batch, seeded())
    terms = model.terms(batch, seeded())

    def as_normal(p: Posterior) -> Normal:
        return Normal(p.mu, (0.5 * p.log_var).exp())

    torch.testing.assert_close(
        terms["kl"], 1.7 * kl_divergence(as_normal(rungs.q1), as_normal(rungs.p1)).sum(1), rtol=1e-6, atol=1e-8
    )
    torch.testing.assert_close(terms["kl_top"], 1.7 * kl_divergence(as_normal(rungs.q2), Normal(0.0, 1.0)).sum(1))


def test_the_embedding_of_a_ladder_is_what_its_encoder_gives_and_needs_no_noise() -> None:
    batch, model = batch_of(5, gaps=True), built(Hierarchical())
    code = model.encode(batch)
    torch.testing.assert_close(code.embedding, model.encoder(batch.x, batch.observed))
    torch.testing.assert_close(model.encode(batch, seeded()).embedding, code.embedding)
    assert torch.equal(code.z, code.embedding)


def test_samples_of_a_linear_ladder_have_the_covariance_of_the_model() -> None:
    model = built(Hierarchical(2, hidden=0), network=MLP(hidden=()))
    assert isinstance(model, Ladder)
    down, decoder = model.encoder.down, model.decoder.body[1]
    with torch.no_grad():
        down.weight[3:] = 0.0  # the variance of z1 does not depend on z2
        x = model.float().sample(200_000, seeded())
        assert x is not None
        inner = down.weight[:3] @ down.weight[:3].T + down.bias[3:].exp().diag()
        expected = decoder.weight @ inner @ decoder.weight.T
    error = 5 * expected.diagonal().max().item() * math.sqrt(2 / 200_000)
    torch.testing.assert_close(torch.cov(x.T), expected, rtol=0, atol=error)


# -- the mixture prior


def mixture_of(model: Mixture) -> MixtureSameFamily:
    components = model.components()
    inner = Independent(Normal(components.mu, (0.5 * components.log_var).exp()), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(components.mu), dtype=components.mu.dtype)), inner)


def test_the_prior_is_the_mixture_of_torch_distributions() -> None:
    model = built(VampPrior(4))
    assert isinstance(model, Mixture)
    z = torch.randn(9, 3, generator=seeded(), dtype=torch.float64)
    torch.testing.assert_close(model.log_prior(z), mixture_of(model).log_prob(z))
    batch = batch_of(9)
    code = model.encode(batch, seeded(5))
    assert code.posterior is not None
    log_q = Normal(code.posterior.mu, (0.5 * code.posterior.log_var).exp()).log_prob(code.z).sum(1)
    torch.testing.assert_close(code.terms["kl"], log_q - mixture_of(model).log_prob(code.z))


def test_one_pseudo_input_of_standard_normal_code_is_the_standard_prior() -> None:
    model = built(VampPrior(1), network=MLP(hidden=()))
    assert isinstance(model, Mixture)
    with torch.no_grad():
        model.pseudo_inputs.zero_()
        model.encoder.head.linear.bias.zero_()
    batch = batch_of(9)
    torch.testing.assert_close(model.encode(batch).terms["kl"], model.composed.encode(batch).terms["kl"])
    code = model.encode(batch, seeded())
    assert code.posterior is not None
    log_q = Normal(code.posterior.mu, (0.5 * code.posterior.log_var).exp()).log_prob(code.z).sum(1)
    torch.testing.assert_close(code.terms["kl"], log_q - Normal(0.0, 1.0).log_prob(code.z).sum(1))


def test_the_noise_free_divergence_bounds_the_one_that_is_drawn() -> None:
    model = built(VampPrior(5))
    assert isinstance(model, Mixture)
    with torch.no_grad():
        model.pseudo_inputs.mul_(3)
        for row in batch_of(4).x:
            mean, error = mean_and_error(model.encode(Batch(row.expand(20_000, 6)), seeded()).terms["kl"])
            assert model.encode(Batch(row[None])).terms["kl"].item() > mean - 3 * error


def test_samples_come_from_the_components() -> None:
    model = built(VampPrior(3), network=MLP(hidden=()))
    assert isinstance(model, Mixture)
    with torch.no_grad():
        model.pseudo_inputs.mul_(3)
        x = model.float().sample(100_000, seeded())
        assert x is not None
        prior = mixture_of(model)
        weight, bias = model.decoder.body[1].weight, model.decoder.body[1].bias
        expected = weight @ prior.mean + bias
        variance = (weight @ torch.cov(prior.sample((100_000,)).T) @ weight.T).diagonal()
    assert ((x.mean(0) - expected).abs() < 5 * (variance / 100_000).sqrt()).all()
    torch.testing.assert_close(x.var(0), variance, rtol=0.05, atol=0)


def test_pseudo_inputs_begin_as_training_rows_and_gaps_as_the_mean() -> None:
    model = built(VampPrior(12)).float()
    assert isinstance(model, Mixture)
    with torch.no_grad():
        model.pseudo_inputs.fill_(0.5)
    x, observed = torch.arange(48.0).view(8, 6) + 1, torch.ones(8, 6, dtype=torch.bool)
    observed[:, 2] = False
    design = VampPrior(12)
    design.prepare(Run(model, Data(DenseRows(x * observed, observed), None), plan(8), 0))
    found = model.pseudo_inputs.detach()
    assert (found[:, 2] == 0.5).all()
    assert {tuple(row) for row in found[:, [0, 1, 3, 4, 5]].tolist()} == {
        tuple(row) for row in x[:, [0, 1, 3, 4, 5]].tolist()
    }


def test_pseudo_inputs_of_probabilities_stay_probabilities() -> None:
    model = built(VampPrior(4), reconstruction=Bernoulli())
    assert isinstance(model, Mixture)
    with torch.no_grad():
        model.pseudo_inputs.mul_(100)
    clamped = model.composed.encode(Batch(model.pseudo_inputs.clamp(0, 1))).posterior
    assert clamped is not None
    torch.testing.assert_close(model.components().mu, clamped.mu)


# -- layer by layer


def stacked_run(seed: int = 0, gaps: bool = False, bottleneck: Bottleneck | None = None, epochs: int = 40) -> Run:
    rng = np.random.default_rng(0)
    x = np.tanh(rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6))).astype(np.float32)
    observed = rng.random(x.shape) > 0.2 if gaps else None
    rows = DenseRows(x if observed is None else x * observed, observed)
    network = MLP(hidden=(24, 12), activation="relu")
    reconstruction = NormalLikelihood() if isinstance(bottleneck, Gaussian) else SquaredError()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Stacked().build(
            Blueprint(Parts(network, bottleneck or Plain(), reconstruction), FLAT, 3, n_rows=len(rows))
        )
    data = Data(rows.subset(slice(0, 260)), rows.subset(slice(260, 300)))
    return Run(model, data, plan(260, max_epochs=epochs), seed)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_loss_of_every_stage_falls_and_the_whole_beats_the_mean_before_it_is_trained(gaps: bool) -> None:
    run = stacked_run(gaps=gaps)
    histories = pretrain(run, share=1.0)
    assert len(histories) == len(run.history.events) == 3
    for history in histories:
        assert history.curve()[-1] < history.curve()[0]
        assert min(history.curve("held_out")) < history.curve("held_out")[0]
    x, observed = run.data.train.take(slice(None))
    known = torch.ones_like(x) if observed is None else observed.float()
    with torch.no_grad():
        left = (run.model.eval().expected(Batch(x, observed)) - x).square() * known
    mean = (x * known).sum(0) / known.sum(0)
    assert left.sum() < ((x - mean).square() * known).sum()


def test_pre_training_repeats_bit_for_bit_and_leaves_the_global_generator_alone() -> None:
    states = []
    for _ in range(2):
        run = stacked_run(epochs=5)
        before = torch.get_rng_state()
        Stacked().prepare(run)
        assert torch.equal(before, torch.get_rng_state())
        states.append(run.model.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    other = stacked_run(seed=1, epochs=5)
    Stacked().prepare(other)
    assert not torch.equal(states[0]["encoder.body.1.weight"], other.model.state_dict()["encoder.body.1.weight"])


def test_every_weight_of_the_whole_belongs_to_one_layer_and_moves_in_pre_training() -> None:
    for bottleneck in (Plain(), Gaussian()):
        run = stacked_run(bottleneck=bottleneck, epochs=10)
        before = {name: value.clone() for name, value in run.model.named_parameters()}
        pretrain(run, share=1.0)
        for name, value in run.model.named_parameters():
            assert not torch.equal(before[name], value), name


def test_the_layers_of_a_stack_are_the_layers_of_the_whole() -> None:
    run = stacked_run()
    assert isinstance(run.model, Composed)
    model = run.model
    layers = layers_of(model)
    x = torch.randn(7, 6, generator=seeded())
    with torch.no_grad():
        up: Tensor = x
        for layer in layers[:-1]:
            up = layer.up(up)
        torch.testing.assert_close(up, model.encoder.body(x))
        down: Tensor = model.encode(Batch(x)).z
        whole = model.decode(down)
        for layer in reversed(layers):
            down = layer.down(down)
        torch.testing.assert_close(down, whole)


def test_stacking_needs_an_mlp() -> None:
    parts = Parts(Conv(channels=(4,)), Plain(), SquaredError())
    with pytest.raises(SettingError, match="layers of an MLP"):
        Stacked().build(Blueprint(parts, Layout((1, 8, 8)), 3))
    with pytest.raises(SettingError, match="share=0"):
        built(Stacked(share=0))


# -- all of them


@pytest.mark.parametrize("design", PROBABLE, ids=lambda design: type(design).__name__)
def test_the_gradient_of_a_design_is_the_slope_of_its_loss(design: Design) -> None:
    model, batch = built(design, bottleneck=Gaussian(warm_up=0.5)), batch_of(4, gaps=True)
    weights = [value for _, value in model.named_parameters()]
    inward = [torch.randn(value.shape, generator=seeded(9), dtype=value.dtype) for value in weights]

    def loss() -> Tensor:
        return torch.stack([values.sum() for values in model.terms(batch, seeded(), 0.25).values()]).sum()

    gradients = torch.autograd.grad(loss(), weights)
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, inward, strict=True))
    sides = []
    for sign in (1e-5, -1e-5):
        with torch.no_grad():
            for value, direction in zip(weights, inward, strict=True):
                value.add_(sign * direction)
            sides.append(loss().item())
            for value, direction in zip(weights, inward, strict=True):
                value.sub_(sign * direction)
    assert slope == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("design", PROBABLE, ids=lambda design: type(design).__name__)
def test_what_stands_in_a_gap_changes_nothing(design: Design) -> None:
    model, batch = built(design), batch_of(6, gaps=True)
    assert batch.observed is not None
    other = batch._replace(x=torch.where(batch.observed, batch.x, torch.full_like(batch.x, 99.0)))
    for rng in (lambda: None, seeded):
        torch.testing.assert_close(model.terms(batch, rng()), model.terms(other, rng()))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_survives_what_data_bring(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(41, 3)) @ rng.normal(size=(3, 7)) + 3
    wide[rng.random(wide.shape) < 0.2] = np.nan
    wide[:, 4] = 2.0
    settings = {"max_epochs": 2, "random_state": 0, "verbose": False}
    for x, own in ((wide, {"batch_size": 1, "condition": "y"}), (rng.normal(size=(10, 2)), {})):
        y = np.arange(len(x)) % 3
        ae = ist.variant(name, **settings, **own).fit(x, y)
        given = {"condition": y} if own else {}
        codes = ae.transform(x, **given)
        assert np.isfinite(codes).all()
        assert np.isfinite(ae.score_samples(x, **given)).all()
        assert np.isfinite(np.asarray(ae.sample(4, random_state=0))).all()
        again = ist.variant(name, **settings, **own).fit(x, y)
        assert np.array_equal(codes, again.transform(x, **given))
        ae.save(str(tmp_path / name))
        loaded = ist.load(tmp_path / name)
        assert np.array_equal(codes, loaded.transform(x, **given))
        assert np.array_equal(np.asarray(ae.sample(4, random_state=0)), np.asarray(loaded.sample(4, random_state=0)))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_learns_more_than_the_mean(name: str, digits: np.ndarray) -> None:
    ae = ist.variant(name, latent_dim=8, max_epochs=8, random_state=0, verbose=False).fit(digits)
    assert ae.scores_["model"]["squared_error"] < 0.6 * ae.scores_["mean"]["squared_error"]
    assert (ae.transform(digits).std(0) > 0.01).any()
    assert ist.report(ae, digits).to_dict()


@pytest.mark.parametrize("design", [*PROBABLE, Stacked()], ids=lambda design: type(design).__name__)
def test_a_design_comes_back_from_json(design: Design) -> None:
    assert from_json(to_json(design)) == design
    assert isinstance(built(design, bottleneck=Gaussian()), nn.Module)


def test_the_first_piece_of_a_stream_is_what_a_design_learns_from_beforehand() -> None:
    X = np.random.default_rng(0).normal(size=(60, 6))
    settings = {"latent_dim": 2, "network": MLP(hidden=(8,)), "random_state": 0, "verbose": False}
    ae = ist.Autoencoder(design=Stacked(), **settings).partial_fit(X)
    assert sum("was trained alone first" in event for event in ae.history_.events) == 2
    assert sum("was trained alone first" in event for event in ae.partial_fit(X).history_.events) == 2
    assert ae.n_iter_ == 2
    mixture = ist.Autoencoder(design=VampPrior(3), bottleneck="gaussian", learning_rate=1e-9, **settings).partial_fit(X)
    x, _ = mixture.codec_.encode(X).take(slice(None))
    pseudo = mixture.model_.pseudo_inputs.detach()
    assert torch.cdist(pseudo.double(), x.double()).min(1).values.max() < 1e-3
