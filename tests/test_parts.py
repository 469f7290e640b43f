"""The mathematics of every part, as equalities wherever there is something to be equal to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Categorical, Normal, kl_divergence

from isthmus.designs import Composed
from isthmus.errors import ModelFileError, SettingError
from isthmus.layout import Block, Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts import networks, reconstructions
from isthmus.parts.bottlenecks import Gaussian, Plain
from isthmus.parts.corruptions import GaussianNoise, Masking
from isthmus.parts.networks import MLP, Conv, Modules
from isthmus.parts.part import Part, from_json, to_json
from isthmus.parts.penalties import L1
from isthmus.parts.reconstructions import Bernoulli, Huber, Mixed, SquaredError, cells_of
from isthmus.parts.reconstructions import Normal as NormalLikelihood
from isthmus.parts.step import Batch
from steps import step_of

FLAT = Layout((6,))
TABLE = Layout(
    (7,),
    (
        Block("numeric", 0, 1, "age"),
        Block("numeric", 1, 1, "fare"),
        Block("boolean", 2, 1, "fare", gap=True),
        Block("category", 3, 3, "port"),
        Block("boolean", 6, 1, "alone"),
    ),
)


def table_batch(rows: int, rng: torch.Generator, gaps: bool = False) -> Batch:
    x = torch.randn(rows, 7, generator=rng, dtype=torch.float64)
    x[:, 3:6] = torch.eye(3, dtype=torch.float64)[torch.randint(3, (rows,), generator=rng)]
    x[:, 6] = torch.randint(2, (rows,), generator=rng).double()
    x[:, 2] = 0.0
    observed = None
    if gaps:
        observed = torch.ones(rows, 7, dtype=torch.bool)
        observed[::2, 1] = False
        x[::2, 1], x[::2, 2] = 0.0, 1.0
    return Batch(x, observed, cells_of(TABLE.blocks))


ALL_RECONSTRUCTIONS = [
    (SquaredError(), FLAT),
    (Huber(0.7), FLAT),
    (Bernoulli(), FLAT),
    (NormalLikelihood(), FLAT),
    (Mixed(), TABLE),
    (Mixed(variance="learned"), TABLE),
]


def batch_for(layout: Layout, rows: int, rng: torch.Generator) -> Batch:
    if layout is TABLE:
        return table_batch(rows, rng, gaps=True)
    return Batch(torch.rand(rows, 6, generator=rng, dtype=torch.float64))


# -- bottlenecks


def test_the_gaussian_term_equals_the_kl_divergence_of_torch_distributions(rng: torch.Generator) -> None:
    part = Gaussian(beta=1.7)
    head, _ = part.head((5,), 3)
    h = torch.randn(8, 5, generator=rng)
    mu, log_var = part.posterior(head, h)
    expected = kl_divergence(Normal(mu, (0.5 * log_var).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(part(head, h, rng).terms["kl"], 1.7 * expected)


def test_gaussian_codes_are_distributed_as_the_posterior_says(rng: torch.Generator) -> None:
    part = Gaussian()
    head, _ = part.head((2,), 1)
    h = torch.randn(1, 2, generator=rng).expand(200_000, 2)
    mu, log_var = part.posterior(head, h[:1])
    z = part(head, h, rng).z
    assert abs(z.mean() - mu.item()) < 5 * math.exp(0.5 * log_var.item()) / math.sqrt(len(z))
    assert z.var().item() == pytest.approx(log_var.exp().item(), rel=0.02)


def test_a_gaussian_code_without_a_generator_is_its_mean(rng: torch.Generator) -> None:
    part = Gaussian()
    head, _ = part.head((5,), 3)
    code = part(head, torch.randn(4, 5, generator=rng), None)
    assert torch.equal(code.z, code.embedding)


def test_the_kl_weight_grows_linearly_during_warm_up(rng: torch.Generator) -> None:
    head, _ = Gaussian().head((5,), 3)
    h = torch.randn(4, 5, generator=rng)
    full = Gaussian()(head, h, None).terms["kl"]
    part = Gaussian(warm_up=0.5)
    torch.testing.assert_close(part(head, h, None, progress=0.25).terms["kl"], full / 2)
    torch.testing.assert_close(part(head, h, None, progress=0.9).terms["kl"], full)


def test_a_rectified_plain_code_is_the_rectified_head(rng: torch.Generator) -> None:
    part = Plain("relu")
    head, _ = part.head((5,), 3)
    h = torch.randn(9, 5, generator=rng)
    linear = head[0].linear
    torch.testing.assert_close(part(head, h, None).z, (h @ linear.weight.T + linear.bias).clamp(min=0))


# -- reconstructions


def test_squared_error_is_the_sum_of_squared_differences(rng: torch.Generator) -> None:
    x, x_hat = torch.randn(4, 6, generator=rng), torch.randn(4, 6, generator=rng)
    torch.testing.assert_close(SquaredError()(x_hat, Batch(x), FLAT), ((x - x_hat) ** 2).sum(1))


def test_huber_is_quadratic_inside_and_linear_outside() -> None:
    x_hat = torch.tensor([[0.5, 3.0]])
    value = Huber(delta=1.0)(x_hat, Batch(torch.zeros(1, 2)), Layout((2,)))
    assert value.item() == pytest.approx(0.5 * 0.25 + 1.0 * (3.0 - 0.5))


def test_bernoulli_is_the_negative_log_likelihood(rng: torch.Generator) -> None:
    x, x_hat = torch.randint(2, (4, 6), generator=rng).float(), torch.randn(4, 6, generator=rng)
    expected = -BernoulliDistribution(logits=x_hat).log_prob(x).sum(1)
    torch.testing.assert_close(Bernoulli()(x_hat, Batch(x), FLAT), expected)


def test_normal_is_the_negative_log_likelihood_with_its_variance(rng: torch.Generator) -> None:
    part = NormalLikelihood()
    scale = part.module(FLAT)
    assert isinstance(scale, reconstructions.LogVariance)
    nn.init.constant_(scale.log_var, -1.3)
    x, x_hat = torch.randn(4, 6, generator=rng), torch.randn(4, 6, generator=rng)
    expected = -Normal(x_hat, math.exp(-0.65)).log_prob(x).sum(1)
    torch.testing.assert_close(part(x_hat, Batch(x), FLAT, scale), expected)


def test_mixed_is_the_sum_of_one_likelihood_per_column(rng: torch.Generator) -> None:
    batch, x_hat = table_batch(5, rng), torch.randn(5, 7, generator=rng, dtype=torch.float64)
    expected = 4 * (batch.x[:, :2] - x_hat[:, :2]).square().sum(1)
    expected -= BernoulliDistribution(logits=x_hat[:, [2, 6]]).log_prob(batch.x[:, [2, 6]]).sum(1)
    expected -= Categorical(logits=x_hat[:, 3:6]).log_prob(batch.x[:, 3:6].argmax(1))
    torch.testing.assert_close(Mixed()(x_hat, batch, TABLE), expected)


def test_mixed_cells_add_up_to_the_term_of_the_sample(rng: torch.Generator) -> None:
    batch, x_hat = table_batch(5, rng, gaps=True), torch.randn(5, 7, generator=rng, dtype=torch.float64)
    part = Mixed(variance="learned")
    scale = part.module(TABLE)
    cells = part.cells(x_hat, batch, TABLE, scale)
    assert cells.shape == (5, len(TABLE.blocks))
    torch.testing.assert_close(cells.sum(1), part(x_hat, batch, TABLE, scale))


@pytest.mark.parametrize(("part", "layout"), ALL_RECONSTRUCTIONS, ids=lambda value: type(value).__name__)
def test_what_the_normaliser_leaves_is_zero_for_a_perfect_reconstruction(part, layout, rng: torch.Generator) -> None:
    batch = batch_for(layout, 5, rng)
    batch = batch._replace(x=batch.x.round() if layout is FLAT else batch.x)
    scale = part.module(layout)
    if scale is not None:
        nn.init.constant_(scale.log_var, -1.7)
    certain = 200 * (batch.x - 0.5)  # a logit that leaves no doubt
    for block in layout.blocks:
        if block.kind == "numeric":
            certain[:, block.features] = batch.x[:, block.features]
    perfect = batch.x if layout is FLAT and not isinstance(part, Bernoulli) else certain
    cells = part.cells(perfect, batch, layout, scale)
    normaliser = part.normaliser(layout, scale)
    observed = torch.ones_like(cells, dtype=torch.bool)
    if batch.observed is not None:
        observed = batch.observed[:, [block.start for block in layout.blocks]]
    left = (cells if normaliser is None else cells - normaliser)[observed]
    torch.testing.assert_close(left, torch.zeros_like(left), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("part", "layout"), ALL_RECONSTRUCTIONS[:4], ids=lambda value: type(value).__name__)
def test_a_masked_loss_equals_the_loss_on_the_sub_vector(part, layout, rng: torch.Generator) -> None:
    x, x_hat = torch.rand(4, 6, generator=rng), torch.randn(4, 6, generator=rng)
    observed = torch.tensor([True, False, True, True, False, True]).expand(4, 6)
    spoiled = torch.where(observed, x, torch.tensor(float("nan")))  # whatever lies in a gap must not matter
    masked = part(x_hat, Batch(spoiled, observed), layout, part.module(layout))
    keep = [0, 2, 3, 5]
    small = Layout((4,))
    torch.testing.assert_close(masked, part(x_hat[:, keep], Batch(x[:, keep]), small, part.module(small)))


def test_a_gap_in_a_table_adds_nothing_but_its_indicator(rng: torch.Generator) -> None:
    batch, x_hat = table_batch(4, rng, gaps=True), torch.randn(4, 7, generator=rng, dtype=torch.float64)
    other = x_hat.clone()
    other[::2, 1] += 10.0  # another guess for a cell that was never seen
    part = Mixed()
    assert torch.equal(part(x_hat, batch, TABLE), part(other, batch, TABLE))
    other[:, 2] += 1.0
    assert not torch.equal(part(x_hat, batch, TABLE), part(other, batch, TABLE))


@pytest.mark.parametrize(("part", "layout"), ALL_RECONSTRUCTIONS, ids=lambda value: type(value).__name__)
def test_the_mean_of_a_reconstruction_is_a_sample(part, layout, rng: torch.Generator) -> None:
    x_hat = torch.randn(5, layout.size, generator=rng)
    mean = part.mean(x_hat, layout)
    assert mean.shape == x_hat.shape
    for block in layout.blocks:
        if block.kind == "category":
            torch.testing.assert_close(mean[:, block.features].sum(1), torch.ones(5))


@pytest.mark.parametrize(("part", "layout"), ALL_RECONSTRUCTIONS, ids=lambda value: type(value).__name__)
def test_gradients_of_reconstructions_pass_the_numerical_check(part, layout, rng: torch.Generator) -> None:
    batch = batch_for(layout, 3, rng)
    scale = part.module(layout)
    scale = None if scale is None else scale.double()
    x_hat = torch.randn(3, layout.size, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda out: part(out, batch, layout, scale), (x_hat,))


@pytest.mark.parametrize("part", [Plain(), Plain("tanh"), Gaussian(beta=0.5)], ids=repr)
def test_gradients_of_bottlenecks_pass_the_numerical_check(part, rng: torch.Generator) -> None:
    head, _ = part.head((5,), 3)
    head = head.double()
    h = torch.randn(3, 5, generator=rng, dtype=torch.float64, requires_grad=True)

    def code(h: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = part(head, h, torch.Generator().manual_seed(1))
        return (result.z, *result.terms.values())

    assert torch.autograd.gradcheck(code, (h,))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (MLP(hidden=(4,), activation="tanh"), (6,)),
        (Conv(channels=(2, 3), activation="tanh"), (1, 5, 7)),
        (Conv(channels=(2,), down="pool", up="resize", activation="tanh"), (2, 4, 3)),
    ],
    ids=repr,
)
def test_gradients_of_networks_pass_the_numerical_check(network, shape, rng: torch.Generator) -> None:
    encoder, h_shape = network.encoder(shape)
    decoder = network.decoder((2,), shape)
    x = torch.randn(2, *shape, generator=rng, dtype=torch.float64, requires_grad=True)
    z = torch.randn(2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert encoder(x.float()).shape == (2, *h_shape)
    assert torch.autograd.gradcheck(encoder.double(), (x,))
    assert torch.autograd.gradcheck(decoder.double(), (z,))


# -- penalties and corruptions


def test_l1_is_its_weight_times_the_sum_of_absolute_values(rng: torch.Generator) -> None:
    z = torch.randn(4, 3, generator=rng)
    torch.testing.assert_close(L1(0.3)(step_of(z)), 0.3 * z.abs().sum(1))
    z64 = torch.randn(3, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: L1(0.3)(step_of(z)), (z64,))


def test_gaussian_noise_has_the_standard_deviation_it_was_given(rng: torch.Generator) -> None:
    noisy = GaussianNoise(0.4)(Batch(torch.zeros(1000, 50)), rng)
    assert noisy.x.std().item() == pytest.approx(0.4, rel=0.02)


def test_noise_leaves_gaps_alone(rng: torch.Generator) -> None:
    observed = torch.rand(20, 6, generator=rng) > 0.5
    noisy = GaussianNoise(0.4)(Batch(torch.zeros(20, 6), observed), rng)
    assert (noisy.x[~observed] == 0).all()
    assert (noisy.x[observed] != 0).all()


def test_masking_hides_its_share_of_cells_and_marks_them(rng: torch.Generator) -> None:
    masked = Masking(0.3)(Batch(torch.ones(1000, 50)), rng)
    assert masked.observed is not None
    assert (masked.x == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert torch.equal(masked.x != 0, masked.observed)


def test_masking_a_table_hides_whole_cells(rng: torch.Generator) -> None:
    batch = table_batch(500, rng)
    masked = Masking(0.5)(batch, rng)
    assert masked.observed is not None
    shown = masked.observed[:, 3:6]
    assert (shown.all(1) | (~shown).all(1)).all()
    assert torch.equal(masked.observed[:, 1], masked.observed[:, 2])  # a value and its gap indicator are one cell


@pytest.mark.parametrize("part", [GaussianNoise(), Masking()], ids=repr)
def test_corruptions_depend_on_the_generator_alone(part) -> None:
    batch = Batch(torch.ones(7, 5))
    first = part(batch, torch.Generator().manual_seed(3)).x
    torch.manual_seed(99)
    assert torch.equal(first, part(batch, torch.Generator().manual_seed(3)).x)
    assert not torch.equal(first, part(batch, torch.Generator().manual_seed(4)).x)


def test_a_corruption_passes_gradients_through_what_it_shows(rng: torch.Generator) -> None:
    x = torch.randn(2, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    for part in (GaussianNoise(), Masking()):
        assert torch.autograd.gradcheck(lambda x, part=part: part(Batch(x), torch.Generator().manual_seed(0)).x, (x,))


# -- networks


@pytest.mark.parametrize("down", ["strided", "pool"])
@pytest.mark.parametrize("up", ["transposed", "resize"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (8, 8), (13, 28), (33, 32)])
def test_a_convolutional_decoder_returns_the_size_that_went_in(down, up, size) -> None:
    for channels, stages in ((1, (3,)), (3, (2, 3)), (4, (2, 3, 4, 5))):
        network = Conv(channels=stages, down=down, up=up)
        encoder, h_shape = network.encoder((channels, *size))
        assert encoder(torch.zeros(2, channels, *size)).shape == (2, *h_shape)
        assert network.decoder((3,), (channels, *size))(torch.zeros(2, 3)).shape == (2, channels, *size)


def test_default_stages_halve_an_image_to_seven_pixels_or_less() -> None:
    assert networks.conv.default_channels((1, 28, 28)) == (32, 64)
    assert networks.conv.default_channels((3, 8, 100)) == (32,)


def test_a_users_own_modules_stand_in_for_the_network(rng: torch.Generator) -> None:
    encoder, decoder = nn.Sequential(nn.Linear(6, 5), nn.Tanh()), nn.Linear(2, 6)
    parts = Parts(Modules(encoder, decoder), Plain(), SquaredError())
    model = Composed(Blueprint(parts, FLAT, 2))
    x = torch.randn(3, 6, generator=rng)
    torch.testing.assert_close(model.encoder.body(x), encoder(x))
    assert model.terms(Batch(x), rng)["reconstruction"].shape == (3,)


def test_own_modules_that_do_not_fit_are_refused_in_one_sentence() -> None:
    with pytest.raises(SettingError, match=r"does not accept samples of the shape \(6,\)"):
        Modules(nn.Linear(5, 2), nn.Linear(2, 6)).encoder((6,))
    with pytest.raises(SettingError, match=r"turns a code of shape \(2,\) into \(5,\)"):
        Modules(nn.Linear(6, 2), nn.Linear(2, 5)).decoder((2,), (6,))


# -- parts as data


@pytest.mark.parametrize(
    "part",
    [
        MLP(hidden=(3, 2)),
        Conv(),
        Plain("relu"),
        Gaussian(2.0),
        GaussianNoise(0.1),
        Masking(),
        L1(),
        Huber(2.0),
        Mixed(),
    ],
    ids=repr,
)
def test_a_part_survives_json_and_clone(part) -> None:
    from sklearn.base import clone

    assert from_json(to_json(part)) == part
    assert clone(part) == part
    assert clone(part) is not part


def test_nested_parameters_are_set_by_name() -> None:
    part = Gaussian()
    part.set_params(beta=3.0)
    assert part == Gaussian(beta=3.0)
    with pytest.raises(SettingError, match="has no parameter 'bta'"):
        part.set_params(bta=1)


def test_a_part_that_nobody_defined_is_named() -> None:
    with pytest.raises(ModelFileError, match="'Wormhole'"):
        from_json({"part": "Wormhole"})


def test_every_part_that_can_be_built_says_what_it_is() -> None:
    for cls in Part.registry.values():  # other tests define parts of their own
        assert cls.__doc__ or not cls.__module__.startswith("isthmus."), f"{cls.__name__} has no docstring"


# -- the model


def every_model() -> list[tuple[Composed, Layout]]:
    flat = [
        Parts(MLP(hidden=(5,)), Plain(), SquaredError(), (GaussianNoise(),), (L1(0.1),)),
        Parts(MLP(hidden=(5,)), Gaussian(), NormalLikelihood(), (Masking(),)),
        Parts(MLP(hidden=(5,)), Gaussian(), Bernoulli()),
    ]
    models: list[tuple[Composed, Layout]] = [(Composed(Blueprint(parts, FLAT, 2)), FLAT) for parts in flat]
    table = Parts(MLP(hidden=(5,)), Plain(), Mixed(), (Masking(),))
    return [*models, (Composed(Blueprint(table, TABLE, 2, shortcut=True)), TABLE)]


@pytest.mark.parametrize(("model", "layout"), every_model(), ids=lambda value: type(value).__name__)
def test_terms_of_a_model_are_one_number_per_sample_and_add_up_to_the_loss(model, layout, rng) -> None:
    from isthmus.engine.eager import average

    batch = batch_for(layout, 9, rng)
    terms = model.double().terms(batch, rng)
    assert all(value.shape == (9,) for value in terms.values())
    means = average(terms, None)
    torch.testing.assert_close(means["loss"], sum(terms.values()).mean())
    weight = torch.rand(9, dtype=torch.float64, generator=rng)
    torch.testing.assert_close(average(terms, weight)["loss"], (sum(terms.values()) * weight).mean())


def test_every_loss_term_moves_when_its_weight_moves(rng: torch.Generator) -> None:
    x = torch.randn(5, 6, generator=rng)

    def terms(bottleneck, penalty) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = Composed(Blueprint(Parts(MLP(hidden=(5,)), bottleneck, NormalLikelihood(), (), (penalty,)), FLAT, 2))
        return model.terms(Batch(x), torch.Generator().manual_seed(1))

    one, two = terms(Gaussian(beta=1.0), L1(0.1)), terms(Gaussian(beta=2.0), L1(0.3))
    torch.testing.assert_close(two["kl"], 2 * one["kl"])
    torch.testing.assert_close(two["l1"], 3 * one["l1"])
    assert (one["kl"] > 0).all()
    assert (one["l1"] > 0).all()


def test_scoring_leaves_out_corruptions_and_penalties(rng: torch.Generator) -> None:
    model = Composed(
        Blueprint(Parts(MLP(hidden=(5,)), Plain(), SquaredError(), (GaussianNoise(9.0),), (L1(9.0),)), FLAT, 2)
    )
    x = torch.randn(5, 6, generator=rng)
    terms = model.terms(Batch(x))
    assert list(terms) == ["reconstruction"]
    torch.testing.assert_close(terms["reconstruction"], (model.decoder(model.encoder(x)) - x).square().sum(1))


def test_the_evidence_lower_bound_is_below_the_exact_log_likelihood_of_a_linear_gaussian_model() -> None:
    """x = W z + noise has a known density; minus the loss at beta = 1 bounds it, and the exact posterior reaches it."""
    torch.manual_seed(0)
    model = Composed(Blueprint(Parts(MLP(hidden=()), Gaussian(), NormalLikelihood()), FLAT, 2)).double()
    x = torch.randn(4, 6, dtype=torch.float64)
    weight, variance = model.decoder.body[1].weight.detach().clone(), torch.tensor(0.5, dtype=torch.float64)
    nn.init.zeros_(model.decoder.body[1].bias)
    nn.init.constant_(model.scale.log_var, variance.log().item())
    marginal = torch.distributions.MultivariateNormal(
        torch.zeros(6, dtype=torch.float64), weight @ weight.T + variance * torch.eye(6, dtype=torch.float64)
    )
    exact = marginal.log_prob(x)
    many = x.repeat_interleave(20_000, 0)
    with torch.no_grad():
        bound = -sum(model.terms(Batch(many), torch.Generator().manual_seed(0)).values()).view(4, -1).mean(1)
        assert (bound < exact).all()
        # the mean-field posterior is exact when W^T W is diagonal: rotate the code to its axes
        values, rotation = torch.linalg.eigh(weight.T @ weight)
        model.decoder.body[1].weight.copy_(weight @ rotation)
        posterior = 1 / (1 + values / variance)
        head = model.encoder.head.linear
        head.weight.zero_()
        head.weight[:2] = posterior[:, None] * (weight @ rotation).T / variance
        head.bias.copy_(torch.cat([torch.zeros(2, dtype=torch.float64), posterior.log()]))
        terms = model.terms(Batch(many), torch.Generator().manual_seed(0))
        bound = -sum(terms.values()).view(4, -1).mean(1)
    torch.testing.assert_close(bound, exact, atol=0.05, rtol=0)


def test_parts_never_draw_from_the_global_generator() -> None:
    x = torch.rand(5, 6)
    state = torch.get_rng_state()
    for module in (GaussianNoise(), Masking()):
        module(Batch(x), torch.Generator().manual_seed(0))
    head = nn.Linear(6, 4)
    torch.set_rng_state(state)
    Gaussian()(head, x, torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.get_rng_state())
