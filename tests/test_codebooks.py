"""Discrete codes: every rule held against brute force, a closed form or the paper's formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn

import isthmus as ist
from isthmus.designs import Composed
from isthmus.errors import SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Binary, FiniteScalar, VectorQuantized
from isthmus.parts.bottlenecks.finite import pack, unpack
from isthmus.parts.bottlenecks.quantized import SMOOTHING, gathered, nearest, perplexity
from isthmus.parts.networks import MLP
from isthmus.parts.part import from_json, to_json
from isthmus.parts.reconstructions import SquaredError
from isthmus.parts.step import Batch

DISCRETE = [
    VectorQuantized(codes=5, groups=2),
    VectorQuantized(codes=5, learn="gradient", levels=3),
    FiniteScalar(5),
    FiniteScalar((4, 3, 8)),
    Binary(),
]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def built(part, h_shape=(6,), latent_dim: int = 4):
    torch.manual_seed(0)
    head, z_shape = part.head(h_shape, latent_dim)
    return head.double(), z_shape


def gap(z: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (z - q).square().flatten(1).sum(1)


# -- every discrete code


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
@pytest.mark.parametrize("positions", [(), (3,), (2, 3)])
def test_a_map_is_quantised_position_by_position(part, positions: tuple[int, ...], rng: torch.Generator) -> None:
    head, z_shape = built(part, (6, *positions))
    head.eval()
    h = randn(7, 6, *positions)
    code = part(head, h, None)
    assert code.z.shape == (7, *z_shape)
    assert code.indices is not None
    assert code.indices.shape[2:] == positions
    assert len(part.sizes(z_shape)) == code.indices.shape[1]
    assert torch.equal(code.z, code.embedding)
    if positions:
        for index in itertools.product(*map(range, positions)):
            vectors, _ = built(part) if not isinstance(part, VectorQuantized) else (head, None)
            vectors.load_state_dict(head.state_dict())
            place = (slice(None), slice(None), *index)
            alone = part(vectors, h[place], None)
            torch.testing.assert_close(alone.z, code.z[place])
            assert torch.equal(alone.indices, code.indices[place])


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
def test_the_gradient_of_the_code_goes_straight_through_the_rounding(part) -> None:
    head, z_shape = built(part)
    h, weight = randn(7, 6).requires_grad_(), randn(7, *z_shape, seed=1)
    (through,) = torch.autograd.grad((part(head, h, None).z * weight).sum(), h)
    if isinstance(part, VectorQuantized):
        soft = head.project(h)
    elif isinstance(part, FiniteScalar):
        soft = part.bounded(head(h)) / torch.tensor([size // 2 for size in part.sizes(z_shape)])
    else:
        soft = torch.sigmoid(head(h))
    (expected,) = torch.autograd.grad((soft * weight).sum(), h)
    torch.testing.assert_close(through, expected)


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
def test_a_part_of_the_family_survives_json(part) -> None:
    assert from_json(to_json(part)) == part


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
def test_nothing_moves_in_eval_and_nothing_is_noted(part, rng: torch.Generator) -> None:
    model = Composed(Blueprint(Parts(MLP(hidden=(5,)), part, SquaredError()), Layout((6,)), 4)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for given in (None, rng):
        model.terms(Batch(randn(9, 6).float()), given)
        model.after_step(rng)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
def test_one_row_trains_too(part, rng: torch.Generator) -> None:
    model = Composed(Blueprint(Parts(MLP(hidden=(5,)), part, SquaredError()), Layout((6,)), 4))
    for step in range(3):
        terms = model.terms(Batch(randn(1, 6, seed=step).float()), rng)
        torch.stack([value.sum() for value in terms.values()]).sum().backward()
        model.after_step(rng)
        assert all(torch.isfinite(value).all() and value.shape == (1,) for value in terms.values())
    assert all(torch.isfinite(value).all() for value in model.encoder.head.state_dict().values())


@pytest.mark.parametrize("part", DISCRETE, ids=repr)
def test_a_jacobian_of_the_code_can_be_taken_by_transforms(part) -> None:
    head, _ = built(part)
    head.eval()
    h = randn(3, 6)
    rows = torch.func.vmap(torch.func.jacrev(lambda one: part(head, one[None], None).embedding[0]))(h)
    whole = torch.autograd.functional.jacobian(lambda h: part(head, h, None).embedding.sum(0), h)
    torch.testing.assert_close(rows, whole.movedim(1, 0))


@pytest.mark.parametrize("part", DISCRETE[:4], ids=repr)
def test_indices_and_codes_are_one_to_one(part, rng: torch.Generator) -> None:
    for positions in ((), (2, 3)):
        head, _ = built(part, (6, *positions))
        h = randn(50, 6, *positions)
        code, indices = part(head, h, None), part.indices_of(head, h)
        assert torch.equal(indices, code.indices)
        assert torch.equal(part.decode_indices(head, indices), code.embedding)


# -- vector quantisation


def test_the_nearest_code_is_that_of_brute_force() -> None:
    rows, codes = randn(3, 40, 5), randn(3, 17, 5, seed=1)
    expected = torch.cdist(rows, codes, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
    assert torch.equal(nearest(rows, codes), expected)


def test_the_nearest_code_is_found_far_from_zero() -> None:
    rows, codes = (
        1e5 + randn(1, 40, 2).round(decimals=1).float(),
        1e5 + randn(1, 17, 2, seed=1).round(decimals=1).float(),
    )
    expected = torch.cdist(rows.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")
    chosen = expected.gather(-1, nearest(rows, codes)[..., None])[..., 0]
    torch.testing.assert_close(chosen, expected.amin(-1))


@pytest.mark.parametrize("width", [1, 3, 4, 7])
@pytest.mark.parametrize("rows", [2, 33, 128, 1000])
def test_equal_rows_get_equal_codes_wherever_they_stand(width: int, rows: int) -> None:
    """On the very border of two codes, where any difference in rounding would show."""
    codes = randn(2, 9, width).float()
    border = (codes[:, :1] + codes[:, 1:2]) / 2
    index = nearest(border.expand(2, rows, width).contiguous(), codes)
    assert torch.equal(index, index[:, :1].expand(2, rows))


def test_the_terms_are_those_of_the_paper() -> None:
    part = VectorQuantized(codes=5, commitment=0.7, learn="gradient", groups=1)
    head, _ = built(part, (6, 3))
    h = randn(7, 6, 3)
    z = head.project(h).detach().requires_grad_()
    quantised = head.quantise(z)
    q = head.join(quantised.picked, h)
    terms = part(head, h, None).terms
    torch.testing.assert_close(terms["commitment"], 0.7 * gap(z, q))
    torch.testing.assert_close(terms["codebook"], gap(z, q))
    # the commitment moves the encoder only, the codebook term the codes only
    codes = head.codebook.codes
    weight, code_gradient = torch.autograd.grad(
        terms["commitment"].sum(), (head.project.linear.weight, codes), allow_unused=True
    )
    assert weight is not None
    assert code_gradient is None
    terms = part(head, h, None).terms
    weight, code_gradient = torch.autograd.grad(
        terms["codebook"].sum(), (head.project.linear.weight, codes), allow_unused=True
    )
    assert weight is None
    by_hand = torch.zeros_like(codes)
    for row, index in zip(z.movedim(1, -1).reshape(-1, 4), quantised.indices[0, 0], strict=True):
        by_hand[0, 0, index] += 2 * (codes[0, 0, index] - row)
    torch.testing.assert_close(code_gradient, by_hand.detach())


def test_the_commitment_has_the_gradient_that_differences_give() -> None:
    part = VectorQuantized(codes=5, groups=2, levels=2)
    head, _ = built(part)
    head.eval()
    h = randn(3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: part(head, h, None).terms["commitment"], (h,), eps=1e-7)


def placed(part: VectorQuantized, rows: torch.Tensor, rng: torch.Generator):
    """Return a codebook of one group whose codes lie on some of the rows (N, width)."""
    torch.manual_seed(0)
    head, _ = part.head((rows.shape[1],), rows.shape[1])
    codebook = head.double().codebook
    codebook(rows[None])
    codebook.after_step(rng)
    return codebook


def test_codes_start_on_different_samples_of_the_first_batches(rng: torch.Generator) -> None:
    rows = randn(6, 3)
    codebook = placed(VectorQuantized(codes=10, groups=1), rows, rng)
    codes = codebook.codes[0, 0]
    assert sorted(codes[:6].tolist()) == sorted(rows.tolist())
    assert codebook.unused[0, 0].tolist() == [0] * 6 + [-1] * 4
    more = randn(6, 3, seed=1)
    codebook(more[None])
    codebook.after_step(rng)
    assert (codebook.unused >= 0).all()
    assert all(code.tolist() in more.tolist() for code in codebook.codes[0, 0, 6:])


def test_the_running_mean_is_the_formula_by_hand(rng: torch.Generator) -> None:
    codebook = placed(VectorQuantized(codes=3, groups=1, decay=0.9), randn(8, 2), rng)
    counts, sums = codebook.counts[0, 0].clone(), codebook.sums[0, 0].clone()
    rows = randn(20, 2, seed=1)
    index = codebook(rows[None]).indices[0, 0]
    codebook.after_step(rng)
    for k in range(3):
        counts[k] = 0.9 * counts[k] + 0.1 * (index == k).sum()
        sums[k] = 0.9 * sums[k] + 0.1 * rows[index == k].sum(0)
    total = counts.sum()
    expected = sums / ((counts + SMOOTHING) / (total + 3 * SMOOTHING) * total)[:, None]
    torch.testing.assert_close(codebook.codes[0, 0], expected)
    torch.testing.assert_close(codebook.counts[0, 0], counts)


def test_without_a_memory_each_step_is_one_of_k_means(rng: torch.Generator) -> None:
    rows = randn(200, 3)
    codebook = placed(VectorQuantized(codes=7, groups=1, decay=0.0), rows, rng)
    start = codebook.codes[0, 0].clone()
    for _ in range(60):
        codebook(rows[None])
        codebook.after_step(rng)
    means = KMeans(7, init=start.numpy(), n_init=1, max_iter=60, tol=0).fit(rows.numpy())
    np.testing.assert_allclose(codebook.codes[0, 0].numpy(), means.cluster_centers_, atol=1e-5)


def test_sums_of_chosen_rows_are_those_of_a_one_hot_product() -> None:
    rows, indices = randn(2, 3, 40, 5), torch.randint(7, (2, 3, 40), generator=torch.Generator().manual_seed(0))
    counts, sums = gathered(rows, indices, 7)
    chosen = nn.functional.one_hot(indices, 7).double()
    torch.testing.assert_close(counts, chosen.sum(2))
    torch.testing.assert_close(sums, chosen.mT @ rows)


def test_each_level_leaves_no_more_than_the_one_before(rng: torch.Generator) -> None:
    """Where codes are the means of what chose them, the sum of squares around them is at most that around 0."""
    rows = randn(300, 4)
    codebook = placed(VectorQuantized(codes=6, groups=1, levels=4, decay=0.0), rows, rng)
    for _ in range(300):
        codebook(rows[None])
        codebook.after_step(rng)
    quantised = codebook(rows[None])
    left = [rows - quantised.picked[:level, 0].sum(0) for level in range(5)]
    for before, after, own in zip(left, left[1:], quantised.left[:, 0], strict=False):
        torch.testing.assert_close(before, own)
        assert after.square().sum() <= before.square().sum()


def test_groups_are_codebooks_of_their_own() -> None:
    """Eight numbers in three groups: what one group gets does not matter to another."""
    part = VectorQuantized(codes=5, groups=3)
    head, _ = built(part, latent_dim=8)
    head.eval()
    z = randn(9, 8)
    quantised = head.quantise(z)
    q = head.join(quantised.picked, z)
    first = 0
    for group, width in enumerate((3, 3, 2)):
        mine = slice(first, first + width)
        codes = head.codebook.codes[0, group, :, :width]
        index = torch.cdist(z[:, mine], codes).argmin(1)
        assert torch.equal(quantised.indices[0, group], index)
        assert torch.equal(q[:, mine], codes[index])
        first += width
    assert (head.codebook.codes[0, 2, :, 2] == 0).all()


def test_a_vector_is_quantised_in_pairs_and_a_map_in_one_piece() -> None:
    assert VectorQuantized().n_groups((7,)) == 4
    assert VectorQuantized().n_groups((7, 4, 4)) == 1


def test_a_code_that_nobody_chose_is_revived_on_a_sample(rng: torch.Generator) -> None:
    for learn in ("ema", "gradient"):
        part = VectorQuantized(codes=4, groups=1, learn=learn, revive_after=3)
        codebook = placed(part, randn(8, 2), rng)
        with torch.no_grad():
            codebook.codes[0, 0, 2] = 1e3
            if learn == "ema":
                codebook.sums[0, 0, 2] = 1e3
        for step in range(3):
            assert codebook.codes[0, 0, 2].norm() > 100, step
            rows = randn(8, 2, seed=step)
            codebook(rows[None])
            codebook.after_step(rng)
        assert codebook.codes[0, 0, 2].tolist() in rows.tolist()
        assert codebook.unused[0, 0, 2] == 0


def test_a_code_may_be_left_for_dead(rng: torch.Generator) -> None:
    codebook = placed(VectorQuantized(codes=4, groups=1, revive_after=0), randn(8, 2), rng)
    codebook.codes[0, 0, 2] = codebook.sums[0, 0, 2] = 1e3
    for step in range(200):
        codebook(randn(8, 2, seed=step)[None])
        codebook.after_step(rng)
    assert codebook.unused[0, 0, 2] == 200


def test_only_the_first_pass_of_a_step_is_noted(rng: torch.Generator) -> None:
    codebook = placed(VectorQuantized(codes=4, groups=1), randn(8, 2), rng)
    codebook(randn(8, 2, seed=1)[None])
    codebook(randn(8, 2, seed=2)[None])
    assert torch.equal(codebook.noted[0][0, 0], randn(8, 2, seed=1))


def test_perplexity_counts_the_codes_in_use() -> None:
    assert perplexity(torch.arange(12) % 6, 8).item() == pytest.approx(6)
    assert perplexity(torch.full((12,), 3), 8).item() == pytest.approx(1)
    columns = torch.stack([torch.arange(8), torch.zeros(8).long()], 1)[:, :, None].expand(8, 2, 5)
    torch.testing.assert_close(perplexity(columns, 8), torch.tensor([8.0, 1.0], dtype=torch.float64))
    share = torch.tensor([0.5, 0.25, 0.25])
    entropy = torch.distributions.Categorical(share).entropy()
    assert perplexity(torch.tensor([0, 0, 1, 2]), 3).item() == pytest.approx(entropy.exp().item())


@pytest.mark.parametrize(
    "part",
    [
        VectorQuantized(codes=1),
        VectorQuantized(levels=0),
        VectorQuantized(groups=9),
        VectorQuantized(groups="two"),
        VectorQuantized(decay=1.0),
        VectorQuantized(learn="luck"),  # pyright: ignore[reportArgumentType]
        FiniteScalar(2),
        FiniteScalar((8, 2)),
        FiniteScalar(()),
    ],
    ids=repr,
)
def test_what_cannot_be_built_says_so(part) -> None:
    with pytest.raises(SettingError, match=type(part).__name__):
        part.head((6,), 4)


# -- finite scalars


@pytest.mark.parametrize("levels", [(3, 4, 5), (8, 5, 5), (7, 6)])
def test_every_combination_of_levels_is_a_code_and_stays_itself(levels: tuple[int, ...]) -> None:
    part = FiniteScalar(levels)
    head, z_shape = built(part)
    assert z_shape == (len(levels),)
    indices = torch.tensor(list(itertools.product(*map(range, levels))))
    codes = part.decode_indices(head, indices)
    assert len(codes.unique(dim=0)) == np.prod(levels)
    assert codes.abs().max() <= 1
    # the h that the bounding map sends onto each code, by its formula, comes back as that code
    count = torch.tensor(levels, dtype=torch.float64)
    half, offset = 1.001 * (count - 1) / 2, torch.where(count % 2 == 0, 0.5, 0.0)
    h = torch.atanh((codes * (count // 2) + offset) / half) - torch.atanh(offset / half)
    code = part(nn.Identity(), h, None)
    assert torch.equal(code.indices, indices)
    assert torch.equal(code.z, codes)


def test_zero_is_a_level_in_the_middle() -> None:
    for levels in range(3, 12):
        z = FiniteScalar(levels)(nn.Identity(), torch.zeros(1, 2), None).z
        assert (z == 0).all()


def test_one_level_in_a_tuple_counts_for_every_number() -> None:
    assert FiniteScalar((6,)).sizes((3,)) == FiniteScalar(6).sizes((3,)) == (6, 6, 6)


# -- bits


def test_bits_are_coins_in_training_and_thresholds_afterwards(rng: torch.Generator) -> None:
    part, h = Binary(noise=0.5), torch.tensor([[-0.7, 0.2, 1.0]])
    assert part(nn.Identity(), h, None).z.tolist() == [[0.0, 1.0, 1.0]]
    code = part(nn.Identity(), h.expand(100_000, 3), rng)
    error = 5 * 0.5 / 100_000**0.5
    torch.testing.assert_close(code.z.mean(0), torch.sigmoid(h[0] / 0.5), atol=error, rtol=0)
    assert torch.equal(code.embedding[0], part(nn.Identity(), h, None).z[0])
    sure = Binary(noise=0.0)(nn.Identity(), h, rng)
    assert torch.equal(sure.z, sure.embedding)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64])
def test_packed_bits_are_those_of_numpy_and_come_back(n: int) -> None:
    bits = (randn(5, n) > 0).float()
    packed = pack(bits)
    assert packed.dtype == torch.uint8
    np.testing.assert_array_equal(packed.numpy(), np.packbits(bits.numpy().astype(bool), axis=1))
    assert torch.equal(unpack(packed, n), bits)


def test_more_bits_than_there_are_cannot_be_unpacked() -> None:
    with pytest.raises(SettingError, match="n=9"):
        unpack(torch.zeros(2, 1, dtype=torch.uint8), 9)


# -- the variants


@pytest.fixture(scope="module", params=["vector_quantized", "finite_scalar", "binary"])
def fitted(request: pytest.FixtureRequest, digits: np.ndarray) -> ist.Autoencoder:
    options = {"codes": 32} if request.param == "vector_quantized" else {}
    return ist.variant(request.param, latent_dim=16, max_epochs=30, random_state=0, **options).fit(digits)


def indices_of(fitted: ist.Autoencoder, X: np.ndarray) -> torch.Tensor:
    x, _ = fitted.codec_.encode(X).take(slice(None))
    with torch.no_grad():
        indices = fitted.model_.encode(Batch(x)).indices
    assert indices is not None
    return indices


def test_a_variant_learns_digits_and_uses_its_codes(fitted: ist.Autoencoder, digits: np.ndarray) -> None:
    assert fitted.scores_["model"]["explained"] > 0.6
    sizes = fitted.model_.parts.bottleneck.sizes(fitted.model_.z_shape)
    used = perplexity(indices_of(fitted, digits), sizes[0])
    assert (used > sizes[0] / 2).all()


def test_samples_are_made_of_codes_that_exist(fitted: ist.Autoencoder, digits: np.ndarray) -> None:
    assert fitted.sample(20, random_state=0).shape == (20, 64)
    rows = {row.tobytes() for row in fitted.transform(digits)}
    assert {code.numpy().tobytes() for code in fitted.codes_} <= rows


def test_a_saved_variant_gives_the_same_bits(fitted: ist.Autoencoder, digits: np.ndarray, tmp_path) -> None:
    fitted.save(tmp_path / "model")
    again = ist.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(digits), fitted.transform(digits))
    np.testing.assert_array_equal(again.reconstruct(digits), fitted.reconstruct(digits))
    buffers = dict(again.model_.named_buffers())
    assert all(torch.equal(value, buffers[name]) for name, value in fitted.model_.named_buffers())


def test_a_code_does_not_depend_on_the_rows_around_it(fitted: ist.Autoencoder, digits: np.ndarray) -> None:
    codes = fitted.transform(digits[:50])
    np.testing.assert_array_equal(fitted.transform(digits[7:8]), codes[7:8])
    np.testing.assert_array_equal(fitted.transform(digits[:50][::-1]), codes[::-1])


@pytest.mark.parametrize("learn", ["ema", "gradient"])
def test_a_resumed_run_has_the_codebook_of_the_uninterrupted_one(learn: str, digits: np.ndarray, tmp_path) -> None:
    class Crash:
        def on_epoch_end(self, run) -> None:
            if run.epoch == 3:
                raise RuntimeError("power cut")

    def fit(*callbacks) -> ist.Autoencoder:
        settings = {"max_epochs": 5, "random_state": 0, "verbose": False, "callbacks": callbacks}
        return ist.variant("vector_quantized", codes=300, learn=learn, latent_dim=4, **settings).fit(digits[:400])

    whole, checkpoint = fit(), ist.Checkpoint(tmp_path / "run")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(checkpoint, Crash())
    resumed = fit(checkpoint).model_.state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.model_.state_dict().items())


@pytest.mark.parametrize("name", ["vector_quantized", "finite_scalar", "binary"])
def test_small_data_with_gaps_and_constant_columns_is_learned(name: str) -> None:
    for columns in (1, 3):
        X = np.random.default_rng(0).normal(size=(10, columns))
        X[3, 0] = np.nan
        X[:, -1] = X[:, -1] if columns == 1 else 1.0
        ae = ist.variant(name, max_epochs=2, random_state=0).fit(X)
        assert np.isfinite(ae.reconstruct(X)).all()
        assert np.isfinite(ae.sample(3, random_state=0)).all()


def test_a_tuple_of_levels_sets_the_size_of_the_code(digits: np.ndarray, tmp_path) -> None:
    ae = ist.variant("finite_scalar", levels=(8, 5, 5), max_epochs=1, random_state=0).fit(digits)
    assert ae.latent_dim_ == 3
    assert ae.transform(digits).shape == (len(digits), 3)
    ae.save(tmp_path / "model")
    np.testing.assert_array_equal(ist.load(tmp_path / "model").transform(digits), ae.transform(digits))
