"""Networks for series and patches, the corruption that hides patches, and the variants made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import isthmus as ist
from isthmus.errors import SettingError
from isthmus.parts.networks import Recurrent, Temporal, Transformer
from isthmus.parts.networks.patches import Grid, default_patch
from isthmus.parts.networks.recurrent import GRU, LSTM, Stack
from isthmus.parts.networks.transformer import Block, Grouped, attention
from isthmus.parts.part import from_json, to_json
from isthmus.parts.patch_masking import PatchMasking
from isthmus.parts.step import Batch

QUICK = {"random_state": 0, "verbose": False, "effort": "quick"}
SHAPES = [(1,), (3,), (10,), (64,), (1, 1), (7, 2), (24, 1), (1, 1, 1), (1, 8, 8), (3, 7, 5), (2, 3, 5, 4)]
NETWORKS = [
    (Recurrent(hidden=5), (7, 2)),
    (Recurrent(hidden=4, layers=2, cell="lstm", bidirectional=True), (6, 3)),
    (Temporal(channels=(3, 4), activation="tanh"), (7, 2)),
    (Temporal(channels=(3,), causal=True, pool=1), (5, 1)),
    (Transformer(width=6, depth=1, heads=2, patch=2), (7,)),
    (Transformer(width=6, depth=2, heads=3, patch=3), (7, 2)),
    (Transformer(width=4, depth=1, heads=1, patch=2, code="mean"), (2, 3, 5)),
    (Transformer(width=4, depth=1, heads=2, patch=2, code="map"), (1, 5, 4)),
    (Transformer(width=4, depth=0, heads=2, patch=2, code="map"), (5,)),
]


def windows(count: int = 300, length: int = 24, seed: int = 0) -> ist.Series:
    """Return a series of sine waves of random frequency, phase and size, one wave a window."""
    rng = np.random.default_rng(seed)
    frequency, phase, size = (
        rng.uniform(0.05, 0.2, count),
        rng.uniform(0, 2 * np.pi, count),
        rng.uniform(0.5, 1.5, count),
    )
    waves = size[:, None] * np.sin(2 * np.pi * frequency[:, None] * np.arange(length) + phase[:, None])
    return ist.Series((waves + 0.05 * rng.normal(size=waves.shape)).reshape(-1, 1), length, length)


# -- what every network keeps


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=repr)
def test_gradients_pass_the_numerical_check_with_gaps_and_without(network, shape, rng: torch.Generator) -> None:
    encoder, h_shape = network.encoder(shape)
    z_shape = (2, *h_shape[1:]) if network.keeps_place else (2,)
    decoder = network.decoder(z_shape, shape).double()
    x = torch.randn(2, *shape, generator=rng, dtype=torch.float64, requires_grad=True)
    z = torch.randn(2, *z_shape, generator=rng, dtype=torch.float64, requires_grad=True)
    observed = torch.rand(2, *shape, generator=rng) > 0.3
    assert encoder(x.float(), None).shape == (2, *h_shape)
    assert decoder(z).shape == (2, *shape)
    encoder = encoder.double()
    assert torch.autograd.gradcheck(lambda x: encoder(x, None), (x,))
    assert torch.autograd.gradcheck(lambda x: encoder(x, observed), (x,))
    assert torch.autograd.gradcheck(decoder, (z,))


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=repr)
def test_what_lies_in_a_gap_does_not_matter(network, shape, rng: torch.Generator) -> None:
    encoder, _ = network.encoder(shape)
    x = torch.randn(4, *shape, generator=rng)
    observed = torch.rand(4, *shape, generator=rng) > 0.5
    spoiled = torch.where(observed, x, torch.tensor(float("nan")))
    assert torch.equal(encoder(x, observed), encoder(spoiled, observed))


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=repr)
def test_a_mask_without_gaps_is_no_mask(network, shape, rng: torch.Generator) -> None:
    encoder, _ = network.encoder(shape)
    for values in encoder.parameters():  # also those that start at 0
        nn.init.normal_(values, generator=rng)
    x = torch.randn(4, *shape, generator=rng)
    assert torch.equal(encoder(x, None), encoder(x, torch.ones_like(x, dtype=torch.bool)))


@pytest.mark.parametrize(("network", "shape"), NETWORKS, ids=repr)
def test_an_encoder_can_be_differentiated_twice(network, shape, rng: torch.Generator) -> None:
    encoder, _ = network.encoder(shape)
    x = torch.randn(2, *shape, generator=rng, requires_grad=True)
    (slope,) = torch.autograd.grad(encoder(x, None).square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "part", [*[network for network, _ in NETWORKS], PatchMasking(), PatchMasking(0.2, 3)], ids=repr
)
def test_parts_survive_json(part) -> None:
    assert from_json(to_json(part)) == part


@pytest.mark.parametrize(
    ("network", "shape", "sentence"),
    [
        (Recurrent(), (6,), "needs series"),
        (Temporal(), (1, 8, 8), "needs series"),
        (Recurrent(cell="elman"), (6, 1), "'gru' or 'lstm'"),  # pyright: ignore[reportArgumentType]
        (Recurrent(hidden=0), (6, 1), "hidden=0"),
        (Temporal(channels=()), (6, 1), "at least one block"),
        (Temporal(pool=0), (6, 1), "pool=0"),
        (Transformer(width=10, heads=4), (6,), "try width=8"),
        (Transformer(patch=0), (6,), "patch=0"),
        (Transformer(code="words"), (6,), "'vector', 'mean' or 'map'"),  # pyright: ignore[reportArgumentType]
        (Transformer(depth=-1), (6,), "depth=-1"),
    ],
    ids=repr,
)
def test_networks_that_do_not_fit_are_refused_in_a_sentence(network, shape, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        network.resolve(shape, 100)


# -- patches


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("patch", [1, 2, 3, 4])
def test_joining_patches_undoes_the_cut(shape, patch: int, rng: torch.Generator) -> None:
    x = torch.randn(3, *shape, generator=rng)
    cut = Grid(shape, patch)
    patches = cut.split(x)
    assert patches.shape == (3, cut.count, cut.width)
    assert torch.equal(cut.join(patches), x)
    assert patches.sum().item() == pytest.approx(x.sum().item(), abs=1e-4)  # padding is 0


def test_a_patch_holds_the_pixels_of_its_square() -> None:
    image = torch.arange(2 * 4 * 6).view(1, 2, 4, 6)
    patches = Grid((2, 4, 6), 2).split(image)
    square = image[0, :, 2:4, 2:4]  # second row of patches, second of three
    assert torch.equal(patches[0, 4], square.movedim(0, -1).flatten())


def test_default_patches_are_few_enough_to_attend_to() -> None:
    assert [default_patch(shape) for shape in [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224)]] == [2, 4, 4, 32]
    assert [default_patch(shape) for shape in [(1,), (13,), (64,), (24, 1), (100, 3), (1, 1, 1)]] == [1, 1, 4, 2, 7, 1]


# -- recurrent


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_cell_steps_as_torchs_own_does(cell: str, rng: torch.Generator) -> None:
    ours = (GRU if cell == "gru" else LSTM)(3, 5)
    theirs = nn.GRUCell(3, 5) if cell == "gru" else nn.LSTMCell(3, 5)
    # torch orders an LSTM's gates i, f, n, o; ours are i, f, o, n
    order = (
        torch.arange(15) if cell == "gru" else torch.cat([torch.arange(10), torch.arange(15, 20), torch.arange(10, 15)])
    )
    with torch.no_grad():
        for source, weight, bias in (
            (ours.read, theirs.weight_ih, theirs.bias_ih),
            (ours.recall, theirs.weight_hh, theirs.bias_hh),
        ):
            weight[order] = source.weight
            bias[order] = source.bias
    x, h, c = (torch.randn(4, width, generator=rng) for width in (3, 5, 5))
    new_h, new_c = ours(ours.read(x), (h, c))
    expected = (theirs(x, h), c) if cell == "gru" else theirs(x, (h, c))
    torch.testing.assert_close(new_h, expected[0])
    torch.testing.assert_close(new_c, expected[1])


def test_layers_and_directions_run_as_torchs_own_do(rng: torch.Generator) -> None:
    ours, theirs = Stack(3, 4, 2, "gru", True), nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
    names = [f"l{layer}{side}" for layer in range(2) for side in ("", "_reverse")]
    with torch.no_grad():
        for cell, name in zip(ours.cells, names, strict=True):
            for source, end in ((cell.read, "ih"), (cell.recall, "hh")):
                getattr(theirs, f"weight_{end}_{name}").copy_(source.weight)
                getattr(theirs, f"bias_{end}_{name}").copy_(source.bias)
    x = torch.randn(5, 6, 3, generator=rng)
    outputs, last = ours(x, None)
    expected, states = theirs(x)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(last, states.movedim(0, 1).flatten(1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_padded_window_has_the_code_of_the_shorter_one(cell, bidirectional, rng: torch.Generator) -> None:
    encoder, _ = Recurrent(hidden=6, layers=2, cell=cell, bidirectional=bidirectional).encoder((9, 2))
    short = torch.randn(4, 5, 2, generator=rng)
    padded = torch.cat([short, torch.randn(4, 4, 2, generator=rng)], 1)
    observed = torch.arange(9)[None, :, None].expand(4, 9, 2) < 5
    torch.testing.assert_close(encoder(padded, observed), encoder(short, None), atol=1e-6, rtol=0)
    gap = torch.cat(
        [short[:, :2], torch.zeros(4, 4, 2), short[:, 2:]], 1
    )  # the same in the middle: nothing is read there
    observed = torch.tensor([True] * 2 + [False] * 4 + [True] * 3)[None, :, None].expand(4, 9, 2)
    torch.testing.assert_close(encoder(gap, observed), encoder(short, None), atol=1e-6, rtol=0)


def test_a_window_of_which_nothing_is_observed_has_the_state_nothing_was_read_into() -> None:
    encoder, _ = Recurrent(hidden=6).encoder((4, 2))
    nothing = torch.zeros(3, 4, 2, dtype=torch.bool)
    assert torch.equal(encoder(torch.ones(3, 4, 2), nothing), torch.zeros(3, 6))


# -- temporal


def test_a_causal_network_does_not_look_ahead(rng: torch.Generator) -> None:
    encoder, _ = Temporal(channels=(4, 4, 4), causal=True, pool=1).encoder((30, 2))
    gap_free = torch.randn(1, 30, 2, generator=rng)
    for changed in (0, 7, 29):
        other = gap_free.clone()
        other[:, changed] += 1.0
        differs = (encoder(gap_free, None) != encoder(other, None)).any(1)[0]  # (length,)
        reach = min(30, changed + 1 + 2 * (1 + 2 + 4))
        assert not differs[:changed].any()
        assert differs[changed:reach].all()
        assert not differs[reach:].any()


def test_a_centred_network_looks_as_far_ahead_as_back(rng: torch.Generator) -> None:
    encoder, _ = Temporal(channels=(4, 4, 4), pool=1).encoder((41, 1))
    x = torch.randn(1, 41, 1, generator=rng)
    other = x.clone()
    other[:, 20] += 1.0
    differs = (encoder(x, None) != encoder(other, None)).any(1)[0]
    assert differs.nonzero()[:, 0].tolist() == list(range(20 - 7, 20 + 8))


@pytest.mark.parametrize("length", [1, 2, 7, 24, 65])
@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_a_temporal_network_returns_the_length_that_went_in(length: int, kernel: int) -> None:
    network = Temporal(channels=(2, 3), kernel=kernel).resolve((length, 2), 100)
    encoder, h_shape = network.encoder((length, 2))
    assert h_shape[1] <= 8
    assert encoder(torch.zeros(2, length, 2), None).shape == (2, *h_shape)
    assert network.decoder((3,), (length, 2))(torch.zeros(2, 3)).shape == (2, length, 2)


# -- transformer


def test_attention_is_the_average_that_softmax_weighs(rng: torch.Generator) -> None:
    query, key, value = (torch.randn(2, 3, 5, 4, generator=rng, dtype=torch.float64) for _ in range(3))
    torch.testing.assert_close(attention(query, key, value), F.scaled_dot_product_attention(query, key, value))
    for i in range(5):
        weight = [math.exp(float(query[1, 2, i] @ key[1, 2, j]) / 2) for j in range(5)]
        expected = sum(w * value[1, 2, j] for j, w in enumerate(weight)) / sum(weight)
        torch.testing.assert_close(attention(query, key, value)[1, 2, i], expected)


def test_blocks_know_no_order(rng: torch.Generator) -> None:
    blocks = nn.Sequential(Block(8, 2), Block(8, 4)).double()
    tokens = torch.randn(3, 7, 8, generator=rng, dtype=torch.float64)
    order = torch.randperm(7, generator=rng)
    torch.testing.assert_close(blocks(tokens[:, order]), blocks(tokens)[:, order])


def test_patches_that_move_with_their_positions_move_the_map(rng: torch.Generator) -> None:
    encoder, _ = Transformer(width=8, depth=2, heads=2, patch=2, code="map").encoder((12, 1))
    x, order = torch.randn(3, 12, 1, generator=rng), torch.randperm(6, generator=rng)
    before = encoder(x, None)
    with torch.no_grad():
        encoder.position.copy_(encoder.position[order].clone())
    moved = x.view(3, 6, 2)[:, order].reshape(3, 12, 1)
    torch.testing.assert_close(encoder(moved, None), before[:, :, order], atol=1e-5, rtol=0)


def test_a_linear_map_for_each_position_is_that_many_linear_maps(rng: torch.Generator) -> None:
    grouped = Grouped(3, 5, 2)
    x = torch.randn(4, 3, 5, generator=rng)
    for place in range(3):
        expected = x[:, place] @ grouped.weight[place] + grouped.bias[place]
        torch.testing.assert_close(grouped(x)[:, place], expected)
        with torch.inference_mode():
            torch.testing.assert_close(grouped(x)[:, place], expected)


def test_the_mean_is_taken_over_observed_patches_alone(rng: torch.Generator) -> None:
    network = Transformer(width=8, depth=0, heads=2, patch=2, code="mean")
    encoder, _ = network.encoder((6, 1))
    x = torch.randn(2, 6, 1, generator=rng)
    observed = torch.tensor([True, True, False, False, True, True])[None, :, None].expand(2, 6, 1)
    tokens = encoder.norm(encoder.embed(x.view(2, 3, 2)) + encoder.position)
    torch.testing.assert_close(encoder(x, observed), tokens[:, [0, 2]].mean(1))


# -- hidden patches


@pytest.mark.parametrize(("shape", "patch"), [((1, 8, 8), 2), ((3, 7, 5), 2), ((12, 2), 3), ((8,), 2)])
def test_whole_patches_are_hidden_and_marked(shape, patch: int, rng: torch.Generator) -> None:
    masked = PatchMasking(0.5, patch)(Batch(torch.ones(50, *shape)), rng)
    assert masked.observed is not None
    assert torch.equal(masked.x != 0, masked.observed)
    cut = Grid(shape, patch)
    real = cut.split(torch.ones(50, *shape, dtype=torch.bool))  # not the padding
    seen = cut.split(masked.observed)
    whole = (seen == real).all(-1)
    assert (whole | ~seen.any(-1)).all()
    share = cut.count / 2
    assert set(whole.sum(1).tolist()) == {math.floor(share), math.ceil(share)}


def test_the_share_of_hidden_patches_is_right_on_average(rng: torch.Generator) -> None:
    hidden = PatchMasking(0.3, 1)(Batch(torch.ones(20_000, 5)), rng).x.eq(0).float()
    assert hidden.mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(hidden.mean(0), torch.full((5,), 0.3), atol=0.02, rtol=0)
    single = PatchMasking(0.3)(Batch(torch.ones(20_000, 1)), rng).x.eq(0).float()
    assert single.mean().item() == pytest.approx(0.3, abs=0.01)


def test_cells_of_a_table_are_hidden_whole(rng: torch.Generator) -> None:
    cells = torch.tensor([0, 0, 1, 1, 1, 2])
    masked = PatchMasking(1 / 3)(Batch(torch.ones(500, 6), cells=cells), rng)
    assert masked.observed is not None
    assert torch.equal(masked.observed[:, 0], masked.observed[:, 1])
    assert torch.equal(masked.observed[:, 2], masked.observed[:, 4])
    assert (masked.observed[:, [0, 2, 5]].sum(1) == 2).float().mean() > 0.99  # rounding of 3 * (1 / 3) aside


def test_what_is_a_gap_already_stays_one(rng: torch.Generator) -> None:
    observed = torch.rand(50, 1, 8, 8, generator=rng) > 0.3
    masked = PatchMasking(0.5)(Batch(torch.randn(50, 1, 8, 8, generator=rng) * observed, observed), rng)
    assert masked.observed is not None
    assert not (masked.observed & ~observed).any()
    assert (masked.x[~masked.observed] == 0).all()


def test_hidden_patches_depend_on_the_generator_alone() -> None:
    batch = Batch(torch.ones(7, 1, 8, 8))
    first = PatchMasking()(batch, torch.Generator().manual_seed(3)).x
    torch.manual_seed(99)
    assert torch.equal(first, PatchMasking()(batch, torch.Generator().manual_seed(3)).x)
    assert not torch.equal(first, PatchMasking()(batch, torch.Generator().manual_seed(4)).x)


def test_hiding_everything_is_refused() -> None:
    with pytest.raises(SettingError, match=r"PatchMasking\(rate=1.0\)"):
        PatchMasking(1.0)(Batch(torch.ones(2, 3)), torch.Generator())


# -- in the house


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (Recurrent(hidden=5), "series"),
        (Recurrent(hidden=6, cell="lstm", layers=2, bidirectional=True), "series"),
        (Temporal(channels=(3, 5)), "series"),
        (Transformer(width=6, heads=2, patch=5), "series"),
        (Transformer(width=10, heads=2, patch=3), "images"),
        (Transformer(width=6, heads=3, code="mean"), "images"),
        (Transformer(width=6, heads=3, code="map"), "images"),
        (Transformer(width=6, heads=2, patch=3), "array"),
    ],
    ids=repr,
)
def test_equal_rows_get_equal_codes_wherever_they_lie(network, kind: str) -> None:
    shape = {"series": (11, 3), "images": (7, 7), "array": (17,)}[kind]
    X = np.random.default_rng(0).normal(size=(300, *shape))
    latent_dim = 5 if kind != "series" else 3
    fitted = ist.Series(X.reshape(-1, 3), 11, 11) if kind == "series" else X
    ae = ist.Autoencoder(latent_dim=latent_dim, network=network, max_epochs=1, **QUICK).fit(fitted)
    repeated = np.repeat(X[:1], 300, axis=0)
    for answer in (ae.transform, ae.score_samples, ae.reconstruct):
        values = answer(repeated)
        assert np.array_equal(values, np.repeat(values[:1], 300, axis=0))
    gaps = X.copy()
    gaps[::3, 2:5] = np.nan
    for answer in (ae.transform, ae.score_samples):
        together = answer(gaps)
        for row in (0, 1, 299):  # alone, a row without gaps has no mask at all
            assert np.array_equal(together[row : row + 1], answer(gaps[row : row + 1]))


@pytest.mark.parametrize("network", ["recurrent", "temporal", "transformer"])
def test_networks_for_series_start_at_pca(network: str) -> None:
    X = windows()
    ae = ist.Autoencoder(network=network, latent_dim=3, max_epochs=1, learning_rate=1e-30, **QUICK).fit(X)
    assert ae.scores_["model"]["squared_error"] == pytest.approx(ae.scores_["pca"]["squared_error"], rel=1e-4)


@pytest.mark.parametrize("name", ["recurrent", "temporal", "transformer", "masked"])
def test_variants_for_series_learn_more_than_pca_at_the_same_size(name: str) -> None:
    ae = ist.variant(name, latent_dim=3, max_epochs=40, random_state=0, verbose=False).fit(windows())
    assert ae.floor_.kept
    scores = ae.scores_
    assert scores["model"]["squared_error"] < scores["pca"]["squared_error"] < scores["mean"]["squared_error"]


def with_gaps(X: np.ndarray, share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Return X with gaps, and which numbers became gaps."""
    hidden = np.random.default_rng(1).random(X.shape) < share
    return np.where(hidden, np.nan, X), hidden


def test_a_masked_autoencoder_fills_gaps_better_than_the_mean_and_than_pca() -> None:
    from sklearn.datasets import load_wine
    from sklearn.preprocessing import StandardScaler

    X = StandardScaler().fit_transform(load_wine().data)
    seen, hidden = with_gaps(X)
    ae = ist.masked(max_epochs=40, random_state=0, verbose=False).fit(seen)
    filled = ae.inverse_transform(ae.transform(seen))
    x, observed = ae.codec_.encode(seen).take(slice(None))
    linear = ae.codec_.decode(ae.principal_.project(x, observed).numpy())
    mean = np.broadcast_to(np.nanmean(seen, 0), X.shape)
    errors = [np.square(guess - X)[hidden].mean() for guess in (filled, linear, mean)]
    assert errors[0] < errors[1] < errors[2]


def test_a_masked_autoencoder_fills_categories() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=400)
    frame = pd.DataFrame(
        {
            "kind": np.array(["a", "b", "c"])[kind],
            "size": kind + 0.1 * rng.normal(size=400),
            "noise": rng.normal(size=400),
            "heavy": kind == 2,
        }
    )
    hidden = rng.random(400) < 0.3
    seen = frame.assign(kind=frame["kind"].where(~hidden))
    ae = ist.masked(latent_dim=3, max_epochs=15, random_state=0, verbose=False).fit(seen)
    block = next(block for block in ae.codec_.layout.blocks if block.column == "kind" and block.kind == "category")
    x, observed = ae.codec_.encode(seen).take(slice(None))
    with torch.inference_mode():
        guess = ae.model_.expected(Batch(x, observed))[:, block.features].argmax(1)[hidden].numpy()
    truth = ae.codec_.encode(frame).take(slice(None))[0][:, block.features].argmax(1)[hidden].numpy()
    assert (guess == truth).mean() > np.bincount(truth).max() / len(truth)


def test_a_model_that_varied_what_it_hid_knows_whole_samples(digits: np.ndarray) -> None:
    """With a fixed share hidden, the linear shortcut grows to make up for it, and overshoots on whole samples."""
    X = digits[:600].reshape(-1, 8, 8)
    explained = {}
    for vary in (False, True):
        corruption = PatchMasking(0.75, vary=vary)
        ae = ist.masked(latent_dim=8, corruptions=corruption, max_epochs=8, random_state=0, verbose=False).fit(X)
        explained[vary] = ae.scores_["model"]["explained"]
    assert explained[True] > explained[False]


def test_a_varied_share_lies_anywhere_up_to_the_rate(rng: torch.Generator) -> None:
    hidden = PatchMasking(0.5, 1, vary=True)(Batch(torch.ones(20_000, 10)), rng).x.eq(0).float().mean(1)
    assert hidden.mean().item() == pytest.approx(0.25, abs=0.01)
    assert hidden.max().item() == 0.5
    assert (hidden == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)  # where 5 u + u' < 1


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (1, 1), (3, 5)], ids=str)
@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_ten_small_samples_are_enough_even_one_at_a_time(shape, batch_size) -> None:
    X = np.random.default_rng(0).normal(size=(10, *shape))
    if X[0].size > 1:
        X[:, 0] = 1.0
    ae = ist.masked(max_epochs=2, batch_size=batch_size, shortcut=False, **QUICK).fit(X)
    assert ae.n_iter_ == 2
    assert np.isfinite(ae.reconstruct(X)).all()
