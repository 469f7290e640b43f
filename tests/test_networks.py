"""Networks: dense and convolutional, in every shape they can take."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import isthmus as ist
from isthmus.data import learn
from isthmus.designs import Composed
from isthmus.errors import DataError, SettingError
from isthmus.layout import Layout
from isthmus.model import Blueprint, Parts
from isthmus.parts.bottlenecks import Bare, Gaussian, Plain
from isthmus.parts.networks import MLP, Conv
from isthmus.parts.networks.activations import activation
from isthmus.parts.networks.dropout import Dropout
from isthmus.parts.networks.linear import Linear, Spectral, Transposed
from isthmus.parts.networks.norms import BatchNorm, norm
from isthmus.parts.networks.places import PixelShuffle, convolution, transposed_convolution
from isthmus.parts.part import from_json, to_json
from isthmus.parts.principal import Principal
from isthmus.parts.reconstructions import Normal, SquaredError
from isthmus.parts.step import Batch
from isthmus.training import Run

QUICK = {"random_state": 0, "verbose": False, "max_epochs": 2, "shortcut": False}
DOWNS, UPS = ("strided", "pool", "patches"), ("transposed", "resize", "upsample", "pixel_shuffle", "patches")


def composed(network, shape, bottleneck=None, latent_dim=2) -> Composed:
    layout = Layout(shape)
    parts = Parts(network.resolve(shape, 100), bottleneck or Plain(), SquaredError())
    return Composed(Blueprint(parts, layout, latent_dim))


def counted(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def held(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, name)))


# -- dense networks


@pytest.mark.parametrize("name", ["selu", "celu", "mish", "hardswish", "leaky_relu", "softsign", "hardtanh", "prelu"])
def test_an_activation_is_torchs_own(name: str) -> None:
    x = torch.linspace(-3, 3, 31)
    theirs = {"prelu": lambda x: nn.functional.prelu(x, torch.tensor([0.25]))}.get(name, getattr(nn.functional, name))
    torch.testing.assert_close(activation(name)(x), theirs(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(0.5), nn.GELU("tanh"), nn.Hardtanh(-2, 0.5), nn.Softplus(2.0), nn.PReLU()],
)
def test_an_activation_may_be_given_as_a_module_and_is_kept_by_name(module: nn.Module) -> None:
    x = torch.linspace(-3, 3, 31)
    for part in (MLP(activation=module), Conv(activation=module), ist.Temporal(activation=module), Plain(module)):  # type: ignore[arg-type]
        assert isinstance(part.activation, str)
        torch.testing.assert_close(activation(part.activation)(x), module(x), rtol=0, atol=0)
        assert from_json(to_json(part)) == part == copy.deepcopy(part)
    assert MLP().set_params(activation=module) == MLP(activation=module)  # type: ignore[arg-type]


def test_an_activation_that_no_saved_model_could_name_is_refused() -> None:
    for own in (nn.Sequential(), nn.PReLU(init=0.1), nn.PReLU(3)):
        with pytest.raises(SettingError, match="is a module that no saved model could name"):
            MLP(activation=own)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="There is no activation 'rleu'; choose one of identity"):
        MLP(output_activation="rleu").resolve((4,), 10)
    for wrong in ("leaky_relu(3)", "leaky_relu(slope=1)", "elu(alpha=)", "elu(alpha=print)"):
        with pytest.raises(SettingError, match="has settings that cannot be read; it knows"):
            MLP(activation=wrong).resolve((4,), 10)


def test_a_decoder_may_have_widths_of_its_own() -> None:
    decoder = MLP(hidden=(7, 5), decoder_hidden=(3,)).decoder((2,), (6,))
    assert [tuple(p.shape) for p in decoder.parameters()] == [(3, 2), (3,), (6, 3), (6,)]


def test_an_output_activation_bounds_the_output_and_ends_the_linear_end() -> None:
    network = MLP(hidden=(4,), output_activation="sigmoid")
    x_hat = network.decoder((2,), (6,))(100 * torch.randn(50, 2, generator=held("output")))
    assert x_hat.min() >= 0
    assert x_hat.max() <= 1
    assert not network.ends_linearly
    assert MLP(hidden=(4,)).ends_linearly


def test_layer_and_batch_norm_stand_between_linear_map_and_activation() -> None:
    for kind, kept in (("layer", nn.LayerNorm), ("batch", BatchNorm)):
        body, _ = MLP(hidden=(4, 3), norm=kind).encoder((6,))
        kinds = [type(layer) for layer in body]
        assert kinds == [nn.Flatten, *[Linear, kept, nn.SiLU] * 2]


@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 5), (8, 3, 4, 5), (2, 3, 2, 2, 2)])
def test_batch_norm_is_torchs_in_training_and_in_inference(shape) -> None:
    ours = BatchNorm(3)
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}[len(shape)](3)
    rng = held("batch")
    for _ in range(3):
        x = 2 * torch.randn(shape, generator=rng) + 1
        torch.testing.assert_close(ours(x), theirs(x))
        ours(torch.randn(shape, generator=rng))  # a penalty may look again; the step counts once
        ours.after_step(rng)
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_batch_norm_of_one_row_in_training_uses_the_running_statistics() -> None:
    layer, x = BatchNorm(3), torch.tensor([[1.0, 2.0, 3.0]])
    layer.mean += 1
    torch.testing.assert_close(layer(x), x - 1, rtol=1e-4, atol=1e-4)
    layer.after_step(held("none"))
    torch.testing.assert_close(layer.mean, torch.ones(3))


def test_batch_norm_in_inference_only_reads() -> None:
    layer = BatchNorm(2).eval()
    layer(torch.randn(5, 2, generator=held("read")))
    layer.after_step(held("read"))
    assert torch.equal(layer.mean, torch.zeros(2))


@pytest.mark.parametrize(
    "network", [MLP((6,), norm="batch"), MLP((6,), norm="layer"), MLP((6, 5), tied=True)], ids=repr
)
def test_it_trains_one_row_at_a_time(network) -> None:
    X = np.random.default_rng(0).normal(size=(12, 3))
    ae = ist.Autoencoder(network=network, latent_dim=2, batch_size=1, **QUICK).fit(X)
    assert np.isfinite(ae.transform(X)).all()


def test_an_unknown_norm_is_refused_in_a_sentence() -> None:
    assert norm("none", 3) == []
    for network in (MLP(norm="bach"), Conv(norm="bach")):
        with pytest.raises(SettingError, match="norm='bach'"):
            network.resolve((1, 8, 8), 10)


# -- tied weights


def test_a_tied_decoder_is_the_encoder_transposed_with_biases_of_its_own(rng: torch.Generator) -> None:
    model = composed(MLP(hidden=(5, 4), activation="tanh", tied=True), (7,), latent_dim=3)
    first, second, head = (m for m in model.encoder.modules() if isinstance(m, Linear))
    last = [m for m in model.decoder.modules() if isinstance(m, Transposed)]
    z = torch.randn(6, 3, generator=rng)
    by_hand = torch.tanh(torch.tanh(z @ head.weight + last[0].bias) @ second.weight + last[1].bias)
    torch.testing.assert_close(model.decode(z), by_hand @ first.weight + last[2].bias)


def test_tied_weights_halve_the_parameters_but_for_the_biases() -> None:
    free, tied = (composed(MLP(hidden=(5, 4), tied=tied), (7,), latent_dim=3) for tied in (False, True))
    weights = 7 * 5 + 5 * 4 + 4 * 3
    assert counted(free) - counted(tied) == weights
    assert counted(tied) == weights + (5 + 4 + 3) + (4 + 5 + 7)


def test_the_gradient_of_a_tied_weight_is_the_sum_of_both_uses(rng: torch.Generator) -> None:
    tied = composed(MLP(hidden=(5,), activation="tanh", tied=True), (7,), latent_dim=3).double()
    free = composed(MLP(hidden=(5,), activation="tanh"), (7,), latent_dim=3).double()
    state = tied.state_dict()
    for name in [name for name in state if name.startswith("decoder.body") and name.endswith("weight")]:
        state[name] = state[name].T
    free.load_state_dict(state)
    x = torch.randn(4, 7, generator=rng, dtype=torch.float64)
    for model in (tied, free):
        model.terms(Batch(x))["reconstruction"].sum().backward()
    there = [m.weight.grad for m in free.encoder.modules() if isinstance(m, Linear)]
    back = [m.weight.grad for m in free.decoder.modules() if isinstance(m, Linear)]
    both = [m.weight.grad for m in tied.encoder.modules() if isinstance(m, Linear)]
    for sum_of_both, one, other in zip(both, there, reversed(back), strict=True):
        assert sum_of_both is not None
        assert one is not None
        assert other is not None
        torch.testing.assert_close(sum_of_both, one + other.T)


def tie_holds(model: nn.Module) -> bool:
    there = [m.weight for m in model.encoder.modules() if isinstance(m, Linear)]  # type: ignore[union-attr]
    back = [m.weight for m in model.decoder.modules() if isinstance(m, Transposed)]  # type: ignore[union-attr]
    return len(there) == len(back) > 0 and all(a is b for a, b in zip(there, reversed(back), strict=True))


def test_ties_survive_training_copying_pickling_and_saving(digits: np.ndarray, tmp_path) -> None:
    ae = ist.Autoencoder(network=MLP(hidden=(9,), tied=True), latent_dim=3, **QUICK).fit(digits)
    ae.save(tmp_path / "model")
    for other in (copy.deepcopy(ae), pickle.loads(pickle.dumps(ae)), ist.load(tmp_path / "model")):
        assert tie_holds(ae.model_)
        assert tie_holds(other.model_)
        assert np.array_equal(other.transform(digits), ae.transform(digits))
        assert np.array_equal(other.reconstruct(digits), ae.reconstruct(digits))
        other.partial_fit(digits[:200])
        assert tie_holds(other.model_)


def test_a_tied_network_may_start_from_pca(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(network=MLP(hidden=(9,), tied=True), latent_dim=3, **(QUICK | {"shortcut": True})).fit(digits)
    assert ae.scores_["model"]["squared_error"] <= 1.001 * ae.scores_["pca"]["squared_error"]


def test_an_encoder_without_a_head_ties_to_a_decoder_that_mirrors_it() -> None:
    model = composed(MLP(hidden=(5, 3), decoder_hidden=(5,), tied=True), (7,), Bare())
    assert tie_holds(model)


@pytest.mark.parametrize(
    ("network", "bottleneck"),
    [
        (MLP((5,), tied=True), Gaussian()),
        (MLP((5,), tied=True), Bare()),
        (MLP((5,), decoder_hidden=(4,), tied=True), Plain()),
    ],
    ids=repr,
)
def test_what_cannot_be_tied_is_refused_in_a_sentence(network, bottleneck) -> None:
    with pytest.raises(SettingError, match="tied weights need a bottleneck of one linear map"):
        composed(network, (7,), bottleneck)


def test_tied_weights_have_nothing_to_normalise() -> None:
    with pytest.raises(SettingError, match="no weights of its own to normalise"):
        MLP((5,), tied=True, spectral_norm=True).resolve((7,), 10)


# -- spectral norm


def test_a_spectral_layer_is_torchs_with_the_same_singular_vectors(rng: torch.Generator) -> None:
    ours, theirs = Spectral(6, 4), nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))
    theirs.load_state_dict(
        {
            "bias": ours.linear.bias,
            "parametrizations.weight.original": ours.linear.weight,
            "parametrizations.weight.0._u": ours.u,
            "parametrizations.weight.0._v": ours.v,
        }
    )
    x = torch.randn(5, 6, generator=rng)
    torch.testing.assert_close(ours(x), theirs.eval()(x))


def test_the_steepness_of_a_spectral_layer_settles_at_one(rng: torch.Generator) -> None:
    layer = Spectral(6, 4)
    for _ in range(200):
        layer.after_step(rng)
    slope = torch.func.jacrev(layer)(torch.zeros(6))
    torch.testing.assert_close(torch.linalg.matrix_norm(slope, 2), torch.tensor(1.0), rtol=1e-4, atol=1e-4)


def test_the_forward_pass_of_a_spectral_layer_changes_nothing(rng: torch.Generator) -> None:
    layer = Spectral(6, 4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.train()(torch.randn(5, 6, generator=rng))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_a_spectral_decoder_is_nowhere_steeper_than_one_and_comes_back(digits: np.ndarray, tmp_path) -> None:
    settings = QUICK | {"max_epochs": 20}
    network = MLP(hidden=(32,), activation="relu", spectral_norm=True)
    ae = ist.Autoencoder(network=network, latent_dim=3, **settings).fit(digits)
    z = torch.from_numpy(ae.transform(digits[:20]))
    slopes = torch.func.vmap(torch.func.jacrev(lambda z: ae.decoder_(z[None])[0]))(z)
    assert torch.linalg.matrix_norm(slopes, 2).max() < 1.01
    ae.save(tmp_path / "model")
    assert np.array_equal(ist.load(tmp_path / "model").reconstruct(digits), ae.reconstruct(digits))
    pickle.loads(pickle.dumps(ae))


# -- convolutions of any number of sides


SHAPES = [(7, 2), (12, 1), (2, 1, 1), (1, 9, 6), (3, 8, 8), (2, 3, 5, 4), (1, 8, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("down", "up"), [*itertools.product(DOWNS, UPS)])
def test_every_pairing_gives_back_the_shape_that_went_in(down, up, shape) -> None:
    x = torch.randn(2, *shape, generator=held(down + up))
    for code, final, strides in itertools.product(("vector", "map"), (True, False), (2, (3, 1))):
        network = Conv((3, 4), down, up, strides=strides, code=code, final=final, residual=1, norm="layer").resolve(
            shape, 9
        )
        encoder, h_shape = network.encoder(shape)
        h = encoder(x)
        assert h.shape == (2, *h_shape)
        z_shape = (5, *h_shape[1:]) if network.keeps_place else (5,)
        assert network.decoder(z_shape, shape)(torch.randn(2, *z_shape)).shape == x.shape


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_kernels_of_any_size_shrink_and_grow_by_the_stride(kernel: int, stride: int) -> None:
    for side in range(1, 14):
        x = torch.zeros(1, 1, side)
        small = nn.Sequential(*convolution(1, 1, kernel, (side,), stride))(x)
        assert small.shape[2] == -(-side // stride)
        grown = transposed_convolution(1, 1, kernel, 1, stride)(x)
        assert grown.shape[2] >= side * stride
        assert grown.shape[2] == side * stride or kernel > stride


def test_patches_are_rows_of_one_matrix_product(rng: torch.Generator) -> None:
    encoder, _ = Conv((5,), "patches", activation="identity").encoder((3, 4, 6))
    x = torch.randn(2, 3, 4, 6, generator=rng)
    layer = encoder[0]
    for row, column in itertools.product(range(2), range(3)):
        patch = x[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten(1)
        torch.testing.assert_close(
            encoder(x)[:, :, row, column], patch @ layer.weight.flatten(1).T + layer.bias, rtol=1e-4, atol=1e-5
        )
    decoder = Conv((4, 5), up="patches", final=False).decoder((2,), (1, 8, 8))
    assert [m.kernel_size for m in decoder if isinstance(m, nn.Conv2d)] == [(1, 1), (3, 3)]


def test_pixel_shuffle_is_torchs_for_images_and_the_same_for_each_side(rng: torch.Generator) -> None:
    x = torch.randn(2, 18, 4, 5, generator=rng)
    assert torch.equal(PixelShuffle(3)(x), nn.PixelShuffle(3)(x))
    # a series is an image of one column whose places repeat sideways
    series = torch.randn(2, 6, 7, generator=rng)
    assert torch.equal(PixelShuffle(2)(series), series.view(2, 3, 2, 7).transpose(2, 3).reshape(2, 3, 14))
    # a volume shuffles as its planes do, once depth has been shuffled
    volume = torch.randn(1, 8, 2, 3, 4, generator=rng)
    found = PixelShuffle(2)(volume)
    for d, h, w in itertools.product(range(4), range(6), range(8)):
        channel = 4 * (d % 2) + 2 * (h % 2) + w % 2
        assert found[0, 0, d, h, w] == volume[0, channel, d // 2, h // 2, w // 2]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (Conv((2, 3), "strided", "pixel_shuffle", residual=1, norm="layer", activation="tanh"), (5, 2)),
        (Conv((2,), "pool", "upsample", activation="tanh", output_activation="sigmoid"), (1, 3, 4)),
        (Conv((2,), up_kernel=3, final=False, code="map", activation="tanh"), (1, 4, 3)),
        (Conv((2,), "pool", "resize", activation="tanh"), (1, 3, 2, 3)),
        (MLP((4,), activation="tanh", norm="layer", spectral_norm=True, output_activation="tanh"), (5,)),
        (MLP((4,), activation="tanh", norm="batch"), (5,)),
    ],
    ids=repr,
)
def test_gradients_pass_the_numerical_check(network, shape, rng: torch.Generator) -> None:
    encoder, h_shape = network.encoder(shape)
    z_shape = (2, *h_shape[1:]) if network.keeps_place else (2,)
    x = torch.randn(3, *shape, generator=rng, dtype=torch.float64, requires_grad=True)
    z = torch.randn(3, *z_shape, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encoder.double(), (x,))
    assert torch.autograd.gradcheck(network.decoder(z_shape, shape).double(), (z,))


@pytest.mark.parametrize("down", DOWNS)
@pytest.mark.parametrize(("shape", "side"), [((48, 1), 1), ((1, 48, 8), 2), ((1, 32, 4, 4), 2)])
def test_the_map_of_a_shifted_sample_is_the_shifted_map(down, shape, side, rng: torch.Generator) -> None:
    model = composed(Conv((3, 4), down, code="map"), shape)
    x = torch.randn(2, *shape, generator=rng)
    dim = 1 if len(shape) == 2 else 2  # a series has its places first, all others behind the channels
    z, moved = model.encoder(x), model.encoder(x.roll(4, dim))  # 4 points are one place after two halvings
    n = z.shape[2]
    torch.testing.assert_close(moved.narrow(2, 3, n - 5), z.narrow(2, 2, n - 5))


@pytest.mark.parametrize("bottleneck", [Plain(), Gaussian()], ids=repr)
def test_bottlenecks_work_at_each_position_of_a_map(bottleneck, rng: torch.Generator) -> None:
    model = composed(Conv((4,), code="map"), (1, 6, 6), bottleneck)
    x = torch.randn(3, 1, 6, 6, generator=rng)
    code = model.encode(Batch(x), rng)
    assert code.z.shape == code.embedding.shape == (3, 2, 3, 3)
    h = model.encoder.body(x)
    linear = next(m for m in model.encoder.head.modules() if isinstance(m, Linear))
    for i, j in itertools.product(range(3), range(3)):
        torch.testing.assert_close(code.embedding[:, :, i, j], linear(h[:, :, i, j])[:, :2])


def test_a_map_as_wide_as_the_first_layer_enters_the_decoder_as_it_is() -> None:
    network = Conv((3, 4), up="transposed", code="map")
    assert isinstance(network.decoder((4, 2, 2), (1, 8, 8))[0], nn.ConvTranspose2d)
    entry = network.decoder((5, 2, 2), (1, 8, 8))[0]
    assert isinstance(entry, nn.Conv2d)
    assert entry.kernel_size == (1, 1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"down": "dawn"}, "down='dawn'.*strided, pool"),
        ({"up": "op"}, "up='op'.*pixel_shuffle"),
        ({"code": "mop"}, "code='mop'.*vector, map"),
        ({"strides": (2, 2, 2)}, "one for each of the 2 stages"),
        ({"strides": 0}, "at least 1"),
        ({"kernel": 0}, r"kernel=0\) must be at least 1"),
        ({"up_kernel": 0}, "up_kernel=0"),
        ({"up_kernel": "big"}, "up_kernel='big'"),
        ({"residual": -1}, "residual=-1"),
        ({"channels": ()}, "at least one stage"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(settings, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        Conv(**({"channels": (3, 4)} | settings)).resolve((1, 8, 8), 10)


def test_a_row_of_a_table_has_no_places() -> None:
    with pytest.raises(SettingError, match=r"volumes .* or a Series, but one sample has the shape"):
        Conv().resolve((8,), 10)


@pytest.mark.parametrize(
    "part",
    [
        MLP((3, 2), norm="batch", decoder_hidden=(4,), tied=True, output_activation="sigmoid"),
        Conv((3, 4), strides=(2, 1), up_kernel=3, code="map", final=False, residual=2),
    ],
    ids=repr,
)
def test_networks_survive_json(part) -> None:
    assert from_json(to_json(part)) == part


# -- end to end


def test_a_series_with_gaps_is_learned_by_convolutions(tmp_path) -> None:
    t = np.arange(600)
    values = np.stack([np.sin(t / 5), np.cos(t / 9)], 1) + 0.05 * np.random.default_rng(0).normal(size=(600, 2))
    values[40:43, 0] = np.nan
    series = ist.Series(values, length=30, step=3)
    for code in ("vector", "map"):
        network = Conv((8, 8), up="pixel_shuffle", code=code)
        ae = ist.Autoencoder(network=network, latent_dim=3, **(QUICK | {"max_epochs": 100})).fit(series)
        assert ae.scores_["model"]["squared_error"] < 0.5 * ae.scores_["mean"]["squared_error"]
        ae.save(tmp_path / code)
        assert np.array_equal(ist.load(tmp_path / code).transform(series), ae.transform(series))


def test_a_convolutional_encoder_sees_zero_at_gaps(rng: torch.Generator) -> None:
    model = composed(Conv((3,)), (6, 2))
    x, observed = torch.randn(2, 6, 2, generator=rng), torch.ones(2, 6, 2, dtype=torch.bool)
    observed[0, 2] = False
    x[0, 2] = 0
    assert torch.equal(model.encoder(x, observed), model.encoder(x))


@pytest.mark.parametrize(
    "network",
    [
        MLP((7, 5), tied=True),
        MLP((7, 5), norm="batch", spectral_norm=True),
        MLP((7, 5), norm="layer", output_activation="sigmoid"),
        Conv((3, 5), residual=1, norm="batch", up="pixel_shuffle"),
        Conv((3, 5), "pool", "upsample", norm="layer", code="map"),
    ],
    ids=repr,
)
def test_a_rows_result_does_not_depend_on_the_rows_around_it(network, digits: np.ndarray) -> None:
    X = digits.reshape(-1, 8, 8)[:300]
    ae = ist.Autoencoder(network=network, latent_dim=3, **QUICK).fit(X)
    whole, scores = ae.transform(X), ae.score_samples(X)
    for index in (slice(7, 8), slice(100, 131), [299, 0, 5]):
        assert np.array_equal(ae.transform(X[index]), whole[index])
        assert np.array_equal(ae.score_samples(X[index]), scores[index])


# -- volumes


def blobs(n: int, dtype: str = "f4") -> np.ndarray:
    """Draw volumes (n, 1, 8, 8, 8) with one ball each, whose place and size differ."""
    rng = np.random.default_rng(0)
    centre, radius = rng.uniform(2, 5, size=(n, 3, 1, 1, 1)), rng.uniform(1.5, 3, size=(n, 1, 1, 1))
    distance = np.sqrt(((np.indices((8, 8, 8)) - centre) ** 2).sum(1))
    volumes = 1 / (1 + np.exp(3 * (distance - radius)))
    return (255 * volumes if dtype == "u1" else volumes)[:, None].astype(dtype)


@pytest.mark.parametrize(
    "settings", [{}, {"network": Conv((8,), up="resize")}, {"network": Conv((8,), code="map")}], ids=str
)
def test_volumes_are_learned_and_kept(settings, tmp_path) -> None:
    X = blobs(200)
    ae = ist.Autoencoder(latent_dim=4, random_state=0, verbose=False, max_epochs=15, **settings).fit(X)
    assert ae.codec_.layout.shape == (1, 8, 8, 8)
    assert ae.scores_["model"]["squared_error"] < 0.5 * ae.scores_["mean"]["squared_error"]
    assert ae.reconstruct(X[:3]).shape == (3, 1, 8, 8, 8)
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(loaded.transform(X), ae.transform(X))
    assert np.array_equal(loaded.inverse_transform(ae.transform(X)), ae.reconstruct(X))
    assert np.array_equal(ae.transform(X[5:6]), ae.transform(X)[5:6])


def test_volumes_come_back_in_their_units_with_gaps_hidden() -> None:
    X = blobs(5, "u1")
    codec = learn(X)
    x, observed = codec.encode(X).take(slice(None))
    assert observed is None
    np.testing.assert_allclose(x.numpy(), X / 255, rtol=1e-6)
    assert np.array_equal(codec.decode(x.numpy()), X)
    assert torch.equal(learn(torch.from_numpy(X)).decode(x.numpy()), torch.from_numpy(X))
    gappy = X.astype("f4")
    gappy[1, 0, 2, 3, 4] = np.nan
    x, observed = learn(gappy).encode(gappy).take(slice(None))
    assert observed is not None
    assert (~observed).nonzero().tolist() == [[1, 0, 2, 3, 4]]
    assert x[1, 0, 2, 3, 4] == 0


def test_volumes_that_do_not_fit_are_refused_in_a_sentence() -> None:
    X = blobs(30)
    ae = ist.Autoencoder(latent_dim=2, network=MLP((4,)), **QUICK).fit(X)
    with pytest.raises(DataError, match=r"the shape \(1, 8, 8, 7\), the model was trained on \(1, 8, 8, 8\)"):
        ae.transform(X[..., :7])
    with pytest.raises(DataError, match="The model expects volumes of the shape"):
        ae.transform(X.reshape(30, -1))
    X[2, 0, 1, 1, 1] = np.inf
    with pytest.raises((DataError, ValueError), match="infinity"):
        ae.fit(X)
    with pytest.raises(DataError, match="nothing is in it"):
        learn(X[:0])


# -- variants


def test_a_linear_autoencoder_finds_the_subspace_of_pca_by_itself() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 8)) * 3 + 0.1 * rng.normal(size=(1000, 8))
    ae = ist.linear(latent_dim=3, random_state=0, verbose=False, validation_fraction=0.0).fit(X)
    directions = ae.inverse_transform(np.eye(3)) - ae.inverse_transform(np.zeros((1, 3)))
    learned = np.linalg.qr(directions.T.astype(float))[0]
    cosines = np.linalg.svd(learned.T @ PCA(3).fit(X).components_.T)[1]
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 1.0


def test_an_undercomplete_code_as_large_as_the_input_is_refused(digits: np.ndarray) -> None:
    with pytest.raises(SettingError, match="latent_dim=64 is not smaller than the 64 input numbers"):
        ist.undercomplete(latent_dim=64, **QUICK).fit(digits)


def test_an_overcomplete_code_is_larger_than_the_input_and_must_be_held(digits: np.ndarray) -> None:
    ae = ist.overcomplete(**QUICK).fit(digits)
    assert ae.transform(digits[:2]).shape == (2, 128)
    with pytest.raises(SettingError, match=r"nothing would be compressed.* or add a corruption, a penalty"):
        ist.overcomplete(corruptions=(), **QUICK).fit(digits)
    ist.overcomplete(latent_dim=70, corruptions=(), penalties=ist.L1(), **QUICK).fit(digits)


@pytest.mark.parametrize(("setting", "size"), [("2x", 128), ("1.5x", 96), ("0.1x", 7)])
def test_a_code_may_be_a_multiple_of_the_input(setting: str, size: int, digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=setting, corruptions=ist.Masking(), network=MLP((8,)), **QUICK).fit(digits)
    assert ae.latent_dim_ == size


def test_a_multiple_that_is_none_is_refused(digits: np.ndarray) -> None:
    for setting in ("x", "-1x", "two"):
        with pytest.raises(SettingError, match="must be a whole number, 'auto', or a multiple"):
            ist.Autoencoder(latent_dim=setting, **QUICK).fit(digits)
    with pytest.raises(SettingError, match="must be at least 1"):
        ist.Autoencoder(latent_dim="0x", **QUICK).fit(digits)


@pytest.mark.parametrize("options", [{"code": "map", "residual": 1}, {"down": "pool", "up": "upsample"}], ids=str)
def test_the_convolutional_variant_reads_series_images_and_volumes(options) -> None:
    rng = np.random.default_rng(0)
    series = ist.Series(rng.normal(size=(60, 2)), length=10, step=2)
    for X in (series, rng.normal(size=(30, 6, 7)), rng.normal(size=(30, 1, 4, 5, 3))):
        ae = ist.convolutional(latent_dim=2, **options, **(QUICK | {"max_epochs": 1})).fit(X)
        assert np.isfinite(ae.transform(X)).all()


# -- resuming


class Stop:
    """End the training after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_epoch_end(self, run: Run) -> bool:
        return run.epoch >= self.epochs


@pytest.mark.parametrize("network", [MLP((6,), norm="batch", spectral_norm=True), MLP((6,), tied=True)], ids=repr)
def test_a_training_taken_up_again_ends_in_the_same_bits(network, digits: np.ndarray, tmp_path) -> None:
    settings = QUICK | {"latent_dim": 2, "max_epochs": 4, "network": network}
    X = digits[:200]
    whole = ist.Autoencoder(**settings).fit(X)
    ist.Autoencoder(callbacks=[ist.Checkpoint(tmp_path), Stop(2)], **settings).fit(X)
    resumed = ist.Autoencoder(callbacks=[ist.Checkpoint(tmp_path)], **settings).fit(X)
    assert np.array_equal(resumed.reconstruct(X), whole.reconstruct(X))


def test_a_report_says_what_a_volume_is(tmp_path) -> None:
    X = blobs(40)
    ae = ist.Autoencoder(latent_dim=2, network=MLP((4,)), **QUICK).fit(X)
    ist.report(ae, X).save(str(tmp_path / "report.html"))
    assert "volumes of 1 × 8 × 8 × 8 numbers" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_dense_network_starts_as_if_the_data_were_centred() -> None:
    """The first layer sees x - mean, and a code of 0 decodes to the mean, though the shapes of all weights are as they were."""
    rows = torch.rand(500, 6, generator=torch.Generator().manual_seed(0)) + 3.0
    covariance = torch.cov(rows.T, correction=0)
    values, vectors = torch.linalg.eigh(covariance)
    directions, variances = vectors.flip(1).T[:2], values.flip(0)[:2]
    floor = Principal(rows.mean(0), directions, variances, rows.std(0, correction=0), float(covariance.trace()))
    model = Composed(Blueprint(Parts(MLP(hidden=(5,)), Gaussian(), Normal()), Layout((6,)), 2))
    weight = model.encoder.body[1].weight.detach().clone()
    bias = model.encoder.body[1].bias.detach().clone()
    model.start_from(floor)
    torch.testing.assert_close(model.encoder.body[1](rows), (rows - floor.mean) @ weight.T + bias)
    torch.testing.assert_close(model.decoder.body[-2].bias, floor.mean)
    left = (rows - floor.mean) - (rows - floor.mean) @ directions.T @ directions
    torch.testing.assert_close(model.scale().exp()[0], left.square().mean(), rtol=1e-4, atol=1e-6)


SHAPES = {"images": (1, 8, 8), "series": (12, 2)}
DROPPING = [
    (MLP(hidden=(9,), dropout=0.5), "images"),
    (Conv(channels=(4, 5), dropout=0.5), "images"),
    (Conv(channels=(4, 5), dropout=0.5), "series"),
    (ist.Transformer(width=8, heads=2, dropout=0.5), "images"),
    (ist.Temporal(channels=(4, 4), dropout=0.5), "series"),
    (ist.Recurrent(hidden=5, dropout=0.5), "series"),
]


@pytest.mark.parametrize(("network", "kind"), DROPPING, ids=str)
def test_every_network_drops_numbers_in_training_only(network, kind: str) -> None:
    layout = Layout(SHAPES[kind])
    model = Composed(Blueprint(Parts(network.resolve(layout.shape, 100), Plain(), SquaredError()), layout, 3))
    x = torch.rand(6, *layout.shape, generator=torch.Generator().manual_seed(0))
    z = torch.rand(6, 3, generator=torch.Generator().manual_seed(1))
    for module, inputs in ((model.encoder, x), (model.decoder, z)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert not torch.equal(module.train()(inputs), module(inputs))
        assert torch.equal(module.eval()(inputs), module(inputs))
    assert network.holds_back
    with pytest.raises(SettingError, match=r"\(dropout=1.0\) must be at least 0 and below 1"):
        type(network)(**{**network.get_params(deep=False), "dropout": 1.0}).resolve(layout.shape, 100)


def test_a_pair_is_the_encoder_of_one_network_and_the_decoder_of_another() -> None:
    pair = ist.Pair(Conv(channels=(4,)), MLP(hidden=(9,))).resolve((1, 8, 8), 100)
    torch.manual_seed(0)
    encoder, h_shape = pair.encoder((1, 8, 8))
    torch.manual_seed(0)
    expected, _ = Conv(channels=(4,)).encoder((1, 8, 8))
    assert h_shape == (4, 4, 4)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(encoder(x), expected(x))
    assert [type(layer) for layer in pair.decoder((3,), (1, 8, 8))] == [
        type(layer) for layer in MLP(hidden=(9,)).decoder((3,), (1, 8, 8))
    ]


def test_a_pair_learns_comes_back_and_refuses_what_cannot_meet(tmp_path) -> None:
    X = np.random.default_rng(0).random((60, 8, 8))
    pair = ist.Pair(ist.Transformer(width=8, heads=2), Conv(channels=(4,)))
    ae = ist.Autoencoder(network=pair, latent_dim=3, max_epochs=2, random_state=0, verbose=False).fit(X)
    ae.save(tmp_path / "model")
    assert np.array_equal(ist.load(tmp_path / "model").transform(X), ae.transform(X))
    maps = ist.Pair(Conv(channels=(4,), code="map"), Conv(channels=(6,), code="map"))
    assert ist.Autoencoder(network=maps, max_epochs=1, latent_dim=2, verbose=False).fit(X).transform(X).shape == (
        60,
        32,
    )
    with pytest.raises(SettingError, match="wants a code that is a map, but the encoder MLP gives a vector"):
        ist.Autoencoder(network=ist.Pair(MLP(), Conv(code="map")), verbose=False).fit(X)
    with pytest.raises(SettingError, match="cannot be tied"):
        ist.Autoencoder(network=ist.Pair(MLP(tied=True), MLP()), verbose=False).fit(X)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer, x = Dropout(0.3), torch.ones(400, 501)
    torch.manual_seed(0)
    y = layer(x)
    share = (y == 0).float().mean()
    # binomial: 200,400 numbers, so a standard error of .001
    assert share == pytest.approx(0.3, abs=0.005)
    assert y.max() == pytest.approx(1 / 0.7, rel=1e-4)
    assert y.mean() == pytest.approx(1, abs=0.008)
    assert torch.equal(layer.eval()(x), x)


def test_dropout_follows_the_global_generator_and_nothing_else() -> None:
    layer, x = Dropout(0.5), torch.ones(7, 9)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x.double()), first.double())
    assert not torch.equal(layer(x), first)
    rows = torch.stack([layer(x) for _ in range(2000)]).flatten(1).double()
    assert np.abs(np.corrcoef(rows.T.numpy()) - np.eye(63)).max() < 0.12  # five standard errors of 2,000 draws
