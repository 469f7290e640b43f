"""Sparse codes: what is kept, what teaches the thresholds, what brings the dead to life, and what is said of the codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

import isthmus
from isthmus.codestats import number_statistics
from isthmus.designs import Composed
from isthmus.engine.adam import Adam
from isthmus.engine.eager import Eager
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import BatchTopK, Bottleneck, Gated, Gaussian, JumpReLU, Matryoshka, Plain, TopK
from isthmus.parts.bottlenecks.gates import jump
from isthmus.parts.networks import MLP
from isthmus.parts.part import from_json, to_json
from isthmus.parts.penalties import L1, KLSparsity
from isthmus.parts.principal import principal
from isthmus.parts.reconstructions import SquaredError
from isthmus.parts.step import Batch, Settling, Step
from isthmus.variants import sparsity
from steps import step_of

FLAT = Layout((6,))
EVERY = [TopK(2), BatchTopK(2), JumpReLU(), Gated(), Matryoshka(), Matryoshka(TopK(2), (1, 3))]


def model_of(
    bottleneck: Bottleneck, *penalties: L1 | KLSparsity, latent_dim: int = 4, shortcut: bool = False
) -> Composed:
    torch.manual_seed(0)
    parts = Parts(MLP(hidden=(5,), activation="tanh"), bottleneck, SquaredError(), (), penalties)
    return Composed(Blueprint(parts, FLAT, latent_dim, shortcut))


def step_in(model: Composed, x: Tensor, rng: torch.Generator) -> Step:
    """Return the step of a model's training, as its auxiliary terms see it."""
    batch = Batch(x)
    code = model.encode(batch, rng)
    return model._step(batch, batch, code, model.decode(code.z), rng, 1.0, ())


def settle(module: nn.Module, rng: torch.Generator) -> None:
    for inner in module.modules():
        if isinstance(inner, Settling):
            inner.after_step(rng)


# -- every bottleneck of the family


@pytest.mark.parametrize("part", EVERY, ids=repr)
def test_gradients_with_respect_to_the_input_pass_the_numerical_check(part, rng: torch.Generator) -> None:
    head, _ = part.head((5,), 4)
    head = head.double()
    h = torch.randn(3, 5, generator=rng, dtype=torch.float64, requires_grad=True)

    def code(h: Tensor) -> tuple[Tensor, ...]:
        result = part(head, h, torch.Generator().manual_seed(1))
        return (result.z, *result.terms.values())

    assert torch.autograd.gradcheck(code, (h,))


@pytest.mark.parametrize("part", EVERY, ids=repr)
def test_a_map_is_coded_as_its_positions_are_one_by_one(part, rng: torch.Generator) -> None:
    head, z_shape = part.head((5, 2, 3), 4)
    assert z_shape == (4, 2, 3)
    h = torch.randn(3, 5, 2, 3, generator=rng)
    rows = h.movedim(1, -1).reshape(-1, 5)
    for draw in (None, rng):
        code, alone = part(head, h, draw), part(head, rows, draw)
        torch.testing.assert_close(code.z.movedim(1, -1).reshape(-1, 4), alone.z)
        for name, term in alone.terms.items():
            torch.testing.assert_close(code.terms[name], term.view(3, -1).sum(1))


@pytest.mark.parametrize("part", EVERY, ids=repr)
def test_a_code_in_inference_does_not_depend_on_its_neighbours(part, rng: torch.Generator) -> None:
    head, _ = part.head((8,), 4)
    part(head, torch.randn(50, 8, generator=rng), rng)
    settle(head, rng)
    head.eval()
    h = torch.randn(50, 8, generator=rng)
    together = part(head, h, None).z
    torch.testing.assert_close(torch.cat([part(head, row[None], None).z for row in h]), together)


@pytest.mark.parametrize("part", EVERY, ids=repr)
def test_nothing_settles_in_inference(part, rng: torch.Generator) -> None:
    head, _ = part.head((8,), 4)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    part(head.eval(), torch.randn(9, 8, generator=rng), rng)
    settle(head, rng)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


@pytest.mark.parametrize("part", [*EVERY, KLSparsity(), L1(layers="all")], ids=repr)
def test_a_sparse_part_survives_json_and_clone(part) -> None:
    assert from_json(to_json(part)) == part
    assert clone(part) == part
    assert clone(part) is not part


# -- penalties


def test_l1_of_hidden_layers_sums_what_their_activations_put_out(rng: torch.Generator) -> None:
    x = torch.randn(7, 6, generator=rng)
    expected: dict[str, Tensor] = {}
    for layers in ("code", "hidden", "all"):
        model = model_of(Plain("relu"), L1(0.3, layers))
        hidden = model.encoder.body(x)  # its last layer is the activation
        code = model.encode(Batch(x)).z
        expected = {"code": 0.3 * code.abs().sum(1), "hidden": 0.3 * hidden.abs().sum(1)}
        expected["all"] = expected["code"] + expected["hidden"]
        torch.testing.assert_close(model.terms(Batch(x), rng)["l1"], expected[layers])


def test_l1_of_hidden_layers_wants_some(rng: torch.Generator) -> None:
    z = torch.randn(4, 3, generator=rng)
    with pytest.raises(SettingError, match=r"no hidden layer .* MLP\(hidden="):
        L1(0.3, "hidden")(step_of(z))
    with pytest.raises(SettingError, match="'code', 'hidden' or 'all'"):
        L1(0.3, "some")(step_of(z))  # pyright: ignore[reportArgumentType]


def test_kl_sparsity_is_the_divergence_of_coins(rng: torch.Generator) -> None:
    z = torch.rand(9, 5, generator=rng)
    expected = kl_divergence(Bernoulli(torch.tensor(0.1)), Bernoulli(z.mean(0))).sum()
    torch.testing.assert_close(KLSparsity(0.7, 0.1)(step_of(z)), 0.7 * expected)


def test_kl_sparsity_of_a_map_means_over_its_positions(rng: torch.Generator) -> None:
    z = torch.rand(4, 5, 2, 3, generator=rng)
    flat = z.movedim(1, -1).reshape(-1, 5)
    torch.testing.assert_close(KLSparsity()(step_of(z)), KLSparsity()(step_of(flat)))


def test_a_row_of_weight_two_counts_as_two_rows_for_kl_sparsity(rng: torch.Generator) -> None:
    z = torch.rand(4, 5, generator=rng)
    weighted = step_of(z, batch=Batch(z, weight=torch.tensor([2.0, 1.0, 0.0, 1.0])))
    torch.testing.assert_close(KLSparsity()(weighted), KLSparsity()(step_of(z[[0, 0, 1, 3]])))


def test_kl_sparsity_passes_the_numerical_check_and_is_finite_where_a_sigmoid_saturates(rng: torch.Generator) -> None:
    z = torch.rand(3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: KLSparsity()(step_of(z)), (z,))
    assert KLSparsity()(step_of(torch.tensor([[0.0, 1.0]]))).isfinite()


def test_kl_sparsity_refuses_what_is_no_share(rng: torch.Generator) -> None:
    with pytest.raises(SettingError, match=r"Plain\('sigmoid'\)"):
        KLSparsity()(step_of(torch.randn(4, 3, generator=rng)))
    with pytest.raises(SettingError, match="between 0 and 1"):
        KLSparsity(rate=1.0)(step_of(torch.rand(4, 3, generator=rng)))


# -- top k


def test_top_k_with_k_equal_to_latent_dim_is_a_plain_relu(rng: torch.Generator) -> None:
    head, _ = TopK(4).head((5,), 4)
    h = torch.randn(9, 5, generator=rng)
    plain = nn.Sequential(head.linear, nn.ReLU())
    assert torch.equal(TopK(4)(head, h, None).z, Plain("relu")(plain, h, None).z)


def test_top_k_keeps_the_largest_of_each_sample(rng: torch.Generator) -> None:
    head, _ = TopK(3).head((5,), 8)
    h = torch.randn(20, 5, generator=rng)
    code = TopK(3)(head, h, None)
    rectified = F.relu(head(h))
    for row, z in zip(rectified, code.z, strict=True):
        kept = sorted(range(8), key=lambda j: -row[j].item())[:3]
        expected = torch.zeros(8)
        expected[kept] = row[kept]
        assert torch.equal(z, expected)
    assert code.before is not None
    assert torch.equal(code.before, head(h))


def test_k_auto_is_the_square_root_of_the_code() -> None:
    for latent_dim, k in ((1, 1), (2, 1), (21, 5), (64, 8)):
        head, _ = TopK().head((100,), latent_dim)
        nn.init.ones_(head.linear.linear.weight)
        assert (TopK()(head, torch.rand(1, 100), None).z != 0).sum() == k


@pytest.mark.parametrize("part", [TopK, BatchTopK])
@pytest.mark.parametrize("k", [0, 5, 1.5, "few", True])
def test_a_k_that_fits_no_code_is_refused(part, k) -> None:
    with pytest.raises(SettingError, match="from 1 to latent_dim=4, or 'auto'"):
        part(k).head((5,), 4)


def test_usage_counts_the_steps_since_each_number_was_not_zero(rng: torch.Generator) -> None:
    head, _ = TopK(1).head((2,), 2)
    with torch.no_grad():
        head.linear.linear.weight.copy_(torch.eye(2))
        head.linear.linear.bias.zero_()
    for h, silent in (([[1.0, 0.0]], [0, 1]), ([[1.0, 0.5]], [0, 2]), ([[1.0, 0.0], [0.0, 1.0]], [0, 0])):
        TopK(1)(head, torch.tensor(h), rng)
        settle(head, rng)
        assert head.usage.silent.tolist() == silent
    TopK(1)(head, torch.tensor([[0.0, 1.0]]), None)  # a penalty that encodes once more is no step
    settle(head, rng)
    assert head.usage.silent.tolist() == [0, 0]


def test_revival_is_the_squared_distance_of_the_residual_from_what_the_dead_add(rng: torch.Generator) -> None:
    part = TopK(1, auxiliary_weight=0.25, dead_after=3)
    model = model_of(part)
    head = model.encoder.head
    head.usage.silent.copy_(torch.tensor([0, 3, 5, 0]))
    x = torch.randn(5, 6, generator=rng)
    step = step_in(model, x, rng)
    z = torch.zeros(5, 4)
    z[:, 1:3] = head(model.encoder.body(x))[:, 1:3]
    added = model.decode(z) - model.decode(torch.zeros(1, 4))
    expected = 0.25 * ((x - step.x_hat).detach() - added).square().sum(1)
    torch.testing.assert_close(part.auxiliary(head, step)["revival"], expected)
    head.usage.silent.zero_()
    assert torch.equal(part.auxiliary(head, step)["revival"], torch.zeros(5))


def test_revival_teaches_the_dead_and_leaves_the_living_alone(rng: torch.Generator) -> None:
    part = TopK(2, dead_after=1)
    model = model_of(part)
    head = model.encoder.head
    head.usage.silent.copy_(torch.tensor([0, 9, 0, 0]))
    step = step_in(model, torch.randn(5, 6, generator=rng), rng)
    part.auxiliary(head, step)["revival"].sum().backward()
    moved = head.linear.linear.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, True, False, False]


@pytest.mark.parametrize("part", [TopK(2, dead_after=10), BatchTopK(2, dead_after=10)], ids=repr)
def test_a_number_made_dead_on_purpose_comes_alive_again(part) -> None:
    def lives(part: Bottleneck) -> bool:
        model = model_of(part, latent_dim=2)
        with torch.no_grad():
            model.encoder.head.linear.linear.bias[1] = -2.0  # below zero for every sample
        engine = Eager(model, Adam(model.named_parameters(), 0.0))
        draw = torch.Generator().manual_seed(1)
        x = torch.randn(64, 3, generator=draw) @ torch.randn(3, 6, generator=draw)
        assert not model.encode(Batch(x)).embedding[:, 1].any()
        model.train()
        for step in range(300):
            engine.step(Batch(x), draw, step / 300, 1e-2)
        return bool(model.encode(Batch(x)).embedding[:, 1].any())

    assert lives(part)
    assert not lives(clone(part).set_params(dead_after=1000))  # without revival it stays dead


# -- batch top k


def test_batch_top_k_keeps_the_largest_of_the_batch_in_training(rng: torch.Generator) -> None:
    part = BatchTopK(2)
    head, _ = part.head((8,), 6)
    h = torch.randn(10, 8, generator=rng)
    rectified = F.relu(head(h))
    least = rectified.flatten().sort(descending=True).values[2 * 10 - 1]
    z = part(head, h, rng).z
    assert torch.equal(z, torch.where(rectified >= least, rectified, torch.zeros(())))
    assert (z != 0).sum() == 20


def test_batch_top_k_cuts_in_inference_where_training_did_on_average(rng: torch.Generator) -> None:
    part = BatchTopK(2)
    head, _ = part.head((8,), 6)
    smallest = []
    for _ in range(5):
        z = part(head, torch.randn(10, 8, generator=rng), rng).z
        smallest.append(z[z > 0].min())
        settle(head, rng)
    cut = torch.stack(smallest).mean()
    torch.testing.assert_close(head.cut.value, cut)
    h = torch.randn(10, 8, generator=rng)
    rectified = F.relu(head(h))
    expected = torch.where(rectified > cut, rectified, torch.zeros(()))
    torch.testing.assert_close(part(head.eval(), h, None).z, expected)
    torch.testing.assert_close(part(head.train(), h, rng).embedding, expected)


def test_batch_top_k_with_k_equal_to_latent_dim_is_a_plain_relu_in_training(rng: torch.Generator) -> None:
    head, _ = BatchTopK(4).head((5,), 4)
    h = torch.randn(9, 5, generator=rng)
    assert torch.equal(BatchTopK(4)(head, h, rng).z, F.relu(head(h)))


def test_the_cut_of_batch_top_k_is_saved_with_the_model(tmp_path: Path, digits: np.ndarray) -> None:
    model = isthmus.Autoencoder(bottleneck=BatchTopK(2), latent_dim=8, max_epochs=2, random_state=0).fit(digits[:200])
    model.save(str(tmp_path / "m"))
    loaded = isthmus.load(tmp_path / "m")
    assert model.model_.encoder.head.cut.value > 0
    assert np.array_equal(loaded.transform(digits[:50]), model.transform(digits[:50]))


# -- thresholds and gates


def test_jump_relu_is_the_number_above_its_threshold_and_the_term_their_count(rng: torch.Generator) -> None:
    part = JumpReLU(weight=0.5, bandwidth=0.4)
    head, _ = part.head((5,), 4)
    h = torch.randn(30, 5, generator=rng)
    code, before = part(head, h, None), head(h)
    torch.testing.assert_close(head.log_threshold.exp(), torch.full((4,), 0.4))
    assert torch.equal(code.z, torch.where(before > 0.4, before, torch.zeros(())))
    torch.testing.assert_close(code.terms["l0"], 0.5 * (code.z != 0).sum(1).float())
    torch.testing.assert_close(part(head, h, None, 0.1).terms["l0"], 0.5 * code.terms["l0"])  # half of the warm-up


def test_gradients_of_jump_relu_thresholds_are_those_of_the_rectangle_kernel(rng: torch.Generator) -> None:
    part = JumpReLU(weight=0.5, bandwidth=0.4)
    head, _ = part.head((5,), 4)
    head = head.double()
    nn.init.uniform_(head.log_threshold, -1.5, -0.5, generator=rng)
    h = torch.randn(200, 5, generator=rng, dtype=torch.float64)
    upstream = torch.randn(200, 4, generator=rng, dtype=torch.float64)
    code = part(head, h, None)
    theta, before = head.log_threshold.detach().exp(), head(h).detach()
    kernel = (((before - theta) / 0.4).abs() < 0.5).double()
    assert kernel.sum(0).min() > 0
    # d theta / d log theta = theta
    (of_z,) = torch.autograd.grad((upstream * code.z).sum(), head.log_threshold, retain_graph=True)
    torch.testing.assert_close(of_z, theta * (upstream * -theta / 0.4 * kernel).sum(0))
    (of_l0,) = torch.autograd.grad(code.terms["l0"].sum(), head.log_threshold)
    torch.testing.assert_close(of_l0, theta * (0.5 * -1 / 0.4 * kernel).sum(0))


def test_the_gradient_of_the_count_is_that_of_its_expectation(rng: torch.Generator) -> None:
    """Over normal pre-activations the expected count is 1 - Phi(theta); the kernel estimates its slope, -phi(theta)."""
    standard = torch.distributions.Normal(0.0, 1.0)
    h = torch.randn(400_000, 1, generator=rng)
    theta = torch.tensor([0.7], requires_grad=True)
    _, is_open = jump(h, theta, 0.2)
    is_open.mean().backward()
    assert theta.grad is not None
    torch.testing.assert_close(theta.grad, -standard.log_prob(theta.detach()).exp(), rtol=0.02, atol=0)


def test_a_jump_relu_without_a_window_is_refused() -> None:
    with pytest.raises(SettingError, match=r"bandwidth=0\.0"):
        JumpReLU(bandwidth=0.0).head((5,), 4)


def test_a_gated_code_is_its_magnitude_where_its_gate_is_open(rng: torch.Generator) -> None:
    part = Gated(weight=0.5)
    head, _ = part.head((5,), 4)
    for bias in (head.gate_bias, head.bias, head.log_scale):
        nn.init.normal_(bias, generator=rng)
    h = torch.randn(30, 5, generator=rng)
    shared = h @ head.linear.linear.weight.T
    gate = shared + head.gate_bias
    magnitude = F.relu(shared * head.log_scale.exp() + head.bias)
    code = part(head, h, None)
    torch.testing.assert_close(code.z, torch.where(gate > 0, magnitude, torch.zeros(())))
    torch.testing.assert_close(code.terms["sparsity"], 0.5 * gate.clamp(min=0).sum(1))


def test_each_path_of_a_gated_code_pays_for_itself_only(rng: torch.Generator) -> None:
    model = model_of(Gated())
    head, x = model.encoder.head, torch.randn(9, 6, generator=rng)
    terms = model.terms(Batch(x), rng)
    step = step_in(model, x, rng)
    expected = (x - model.decode(F.relu(head(model.encoder.body(x))[0]))).square().sum(1)
    torch.testing.assert_close(model.parts.bottleneck.auxiliary(head, step)["gate"], expected)

    def reached(term: str, parameters: list[nn.Parameter]) -> bool:
        found = torch.autograd.grad(terms[term].sum(), parameters, retain_graph=True, allow_unused=True)
        return any(gradient is not None and bool(gradient.any()) for gradient in found)

    of_the_size, of_the_gate = [head.bias, head.log_scale], [head.gate_bias]
    assert reached("reconstruction", of_the_size)
    assert not reached("reconstruction", of_the_gate)
    for term in ("sparsity", "gate"):
        assert reached(term, of_the_gate)
        assert not reached(term, of_the_size)
        assert not reached(term, list(model.decoder.parameters()))


# -- nested codes


def test_every_prefix_of_a_matryoshka_code_reconstructs(rng: torch.Generator) -> None:
    x = torch.randn(9, 6, generator=rng)
    for prefixes, lengths in (("auto", (1, 2)), ((3,), (3,))):
        part = Matryoshka(Plain("relu"), prefixes)
        model = model_of(part)
        step = step_in(model, x, rng)
        expected = torch.zeros(9)
        for length in lengths:
            kept = (torch.arange(4) < length) * step.code.z
            expected = expected + (x - model.decode(kept)).square().sum(1)
        torch.testing.assert_close(part.auxiliary(model.encoder.head, step)["prefixes"], expected)


@pytest.mark.parametrize(
    ("latent_dim", "lengths"), [(1, ()), (2, (1,)), (5, (1, 2, 4)), (8, (1, 2, 4)), (9, (1, 2, 4, 8))]
)
def test_auto_prefixes_are_the_powers_of_two_below_the_code(latent_dim, lengths) -> None:
    z = torch.ones(1, latent_dim)
    seen: list[Tensor] = []
    step = step_of(z, x=torch.zeros(1, latent_dim), decode=lambda prefix: seen.append(prefix) or prefix)
    term = Matryoshka().auxiliary(nn.Identity(), step)["prefixes"]
    assert tuple(int(prefix.sum()) for prefix in seen) == lengths
    assert term.tolist() == [sum(lengths)]


def test_prefixes_of_a_model_that_starts_from_pca_are_pca_of_fewer_components(rng: torch.Generator) -> None:
    x = torch.randn(200, 6, generator=rng) * torch.arange(1.0, 7.0)
    floor = principal(lambda: [(x, None, None)], 6, 200, 4, rng)
    part = Matryoshka(Plain(), (1, 3))
    model = model_of(part, shortcut=True)
    model.start_from(floor)
    expected = sum((x - floor.leading(m).project(x)).square().sum(1) for m in (1, 3))
    step = step_in(model, x, rng)
    torch.testing.assert_close(part.auxiliary(model.encoder.head, step)["prefixes"], expected, rtol=1e-4, atol=1e-3)


def test_a_matryoshka_code_asks_what_its_inner_code_asks(rng: torch.Generator) -> None:
    x = torch.randn(9, 6, generator=rng)
    assert {"revival", "prefixes"} <= set(model_of(Matryoshka(TopK(2))).terms(Batch(x), rng))
    assert {"l0", "prefixes"} <= set(model_of(Matryoshka(JumpReLU())).terms(Batch(x), rng))
    model = model_of(Matryoshka(TopK(2)))
    assert torch.equal(model.encode(Batch(x)).z, model_of(TopK(2)).encode(Batch(x)).z)


def test_prefixes_that_are_none_are_refused() -> None:
    for prefixes in ((), (0,), (4,), (1.5,), "some"):
        with pytest.raises(SettingError, match="latent_dim=4"):
            Matryoshka(prefixes=prefixes).head((5,), 4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingError, match="random code"):
        Matryoshka(Gaussian()).head((5,), 4)
    with pytest.raises(SettingError, match="weight=-1"):
        isthmus.Autoencoder(bottleneck=Matryoshka(JumpReLU(weight=-1.0))).fit(
            np.random.default_rng(0).normal(size=(9, 3))
        )


# -- what is said of codes


def test_number_statistics_count_what_is_there() -> None:
    codes = torch.tensor([[0.0, 1.0, 0.0, 5.0], [0.0, 0.0, 0.0, 5.0], [0.0, 3.0, 0.0, 5.0], [0.0, 0.0, 2.0, 5.0]])
    assert number_statistics(codes) == {"active": 2.0, "l0": 7 / 4, "dead": 1 / 4}
    spread = codes.T.reshape(4, 2, 2).movedim(1, 0)  # two samples, each a map of two positions
    assert number_statistics(spread) == number_statistics(codes)


def test_dense_codes_have_no_zeros_to_count(rng: torch.Generator) -> None:
    codes = torch.randn(100, 3, generator=rng) * torch.tensor([1.0, 0.2, 0.001])
    assert number_statistics(codes) == {"active": 2.0}


def test_codes_that_never_move_have_no_active_number() -> None:
    assert number_statistics(torch.ones(5, 3)) == {"active": 0.0}


# -- variants


VARIANTS = [
    (sparsity.sparse, "l1"),
    (sparsity.sparse_kl, "klsparsity"),
    (sparsity.top_k, "revival"),
    (sparsity.batch_top_k, "revival"),
    (sparsity.jump_relu, "l0"),
    (sparsity.gated, "sparsity"),
    (sparsity.matryoshka, "prefixes"),
]


@pytest.mark.parametrize(("variant", "term"), VARIANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_sparse_variant_learns_and_its_term_is_there(variant, term, digits: np.ndarray) -> None:
    model = variant(max_epochs=8, random_state=0, verbose=False).fit(digits[:600])
    assert model.scores_["model"]["squared_error"] < model.scores_["mean"]["squared_error"]
    assert term in model.history_.epochs[-1]["train"]
    code = model.scores_["code"]
    assert code["active"] > 1
    if variant not in (sparsity.sparse_kl, sparsity.matryoshka):  # which have no exact zeros
        assert 0 < code["l0"] < model.latent_dim_


def test_the_sparse_autoencoder_of_the_textbooks_has_one_hidden_layer_larger_than_the_input() -> None:
    x = np.random.default_rng(0).random((30, 28, 28))
    model = sparsity.sparse(latent_dim=1000, network=MLP(hidden=()), max_epochs=1, random_state=0).fit(x)
    shapes = [tuple(p.shape) for p in model.model_.parameters()]
    assert shapes == [(1000, 784), (1000,), (784, 1000), (784,)]
    assert "l1" in model.history_.epochs[-1]["train"]


def test_each_prefix_of_a_matryoshka_code_is_worth_more_than_as_many_principal_components(digits: np.ndarray) -> None:
    from sklearn.decomposition import PCA

    model = sparsity.matryoshka(max_epochs=15, random_state=0, verbose=False).fit(digits)
    held_out, rest = digits[model.held_out_], np.delete(digits, model.held_out_, axis=0)
    codes = model.transform(held_out)
    for length in (1, 2, 4, 8):
        cut = np.where(np.arange(codes.shape[1]) < length, codes, 0)
        pca = PCA(length).fit(rest)
        linear = pca.inverse_transform(pca.transform(held_out))
        assert np.square(held_out - model.inverse_transform(cut)).sum() < np.square(held_out - linear).sum(), length


def test_a_matryoshka_variant_with_k_of_zero_is_dense() -> None:
    assert sparsity.matryoshka(8, prefixes=[2, 4], k=0).bottleneck == Matryoshka(Plain(), (2, 4))
    assert sparsity.matryoshka().bottleneck == Matryoshka()
    assert sparsity.matryoshka(8, k=3).bottleneck == Matryoshka(TopK(3), "auto")
