"""The engines of pictures: exact through whole numbers, the same for any number of rows, and smaller than xz."""

from __future__ import annotations

import lzma

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.datasets import load_digits

from isthmus.apps.compression.coder import Decoder, Encoder
from isthmus.apps.compression.compressor import Compressor
from isthmus.apps.compression.engines import integers, mixture
from isthmus.apps.compression.engines.context import Context
from isthmus.apps.compression.engines.context_training import nats
from isthmus.apps.compression.engines.engine import UnsuitedError
from isthmus.apps.compression.engines.integers import IntegerNet, Layer
from isthmus.apps.compression.engines.latent import Latent
from isthmus.apps.compression.engines.mixture import Tally
from isthmus.apps.compression.engines.neighbours import neighbourhood, window
from isthmus.errors import DataError


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return load_digits().images.astype(np.int64)


@pytest.fixture(scope="module")
def context(digits: np.ndarray) -> Context:
    engine = Context.learn(digits, 1, 0, "quick")
    assert engine is not None
    return engine


@pytest.fixture(scope="module")
def latent(digits: np.ndarray) -> Latent:
    engine = Latent.learn(digits, 0, 0, "quick")
    assert engine is not None
    return engine


def test_pictures_come_back_to_the_bit_by_a_model_read_from_its_bytes(digits: np.ndarray, context: Context) -> None:
    payload, again = context.encode(digits, 1)
    reader = Context.from_bytes(context.to_bytes())
    assert reader.to_bytes() == context.to_bytes()
    assert np.array_equal(again, digits)
    assert np.array_equal(reader.decode(payload, len(digits), 1), digits)


def test_real_bytes_are_what_the_chances_say(digits: np.ndarray, context: Context) -> None:
    payload, _ = context.encode(digits, 1)
    assert 8 * len(payload) == pytest.approx(context.cost(digits), rel=0.01)


def test_payload_and_model_are_smaller_than_xz(digits: np.ndarray, context: Context) -> None:
    payload, _ = context.encode(digits, 1)
    xz = lzma.compress(digits.astype(np.uint8).tobytes(), preset=9 | lzma.PRESET_EXTREME)
    assert len(payload) + len(context.to_bytes()) < len(xz)


def test_a_row_alone_gets_the_chances_it_gets_among_others(digits: np.ndarray, context: Context) -> None:
    few = digits[:7]
    assert sum(context.cost(few[i : i + 1]) for i in range(7)) == pytest.approx(context.cost(few), rel=1e-12)
    for i in range(7):
        payload, _ = context.encode(few[i : i + 1], 1)
        assert np.array_equal(context.decode(payload, 1, 1), few[i : i + 1])


def test_learning_twice_gives_the_same_model(digits: np.ndarray, context: Context) -> None:
    again = Context.learn(digits, 1, 0, "quick")
    assert again is not None
    assert again.to_bytes() == context.to_bytes()


def test_a_stride_is_kept_to_and_saves_bits(digits: np.ndarray, context: Context) -> None:
    engine = Context.learn(digits, 3, 0, "quick")
    assert engine is not None
    payload, again = engine.encode(digits, 3)
    assert np.abs(again - digits).max() <= 1
    assert np.array_equal(engine.decode(payload, len(digits), 3), again)
    assert len(payload) < len(context.encode(digits, 1)[0])
    with pytest.raises(UnsuitedError, match="steps of 3, not 1"):
        engine.encode(digits, 1)


def test_values_beyond_those_learned_are_kept_apart_and_many_are_declined(digits: np.ndarray, context: Context) -> None:
    strange = digits[:50].copy()
    strange[3, 4, 5], strange[49, 7, 7] = -1000, 2**40
    payload, again = context.encode(strange, 1)
    assert np.array_equal(again, strange)
    assert np.array_equal(context.decode(payload, 50, 1), strange)
    with pytest.raises(UnsuitedError, match="beyond those learned"):
        context.encode(digits + 20, 1)


@pytest.mark.parametrize("shape", [(6, 7, 3), (3, 6, 7), (120,), (12, 10)])
def test_colours_series_and_bright_grounds_come_back(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    X = np.cumsum(rng.integers(-3, 4, (500, *shape)), axis=-1) + 500
    X[:, : shape[0] // 2] = X.max()
    engine = Context.learn(X, 1, 0, "quick")
    assert engine is not None
    payload, _ = engine.encode(X[:40], 1)
    assert np.array_equal(Context.from_bytes(engine.to_bytes()).decode(payload, 40, 1), X[:40])


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 9, (200, 20, 20))
    assert Context.learn(pictures[:50], 1, 0, "quick") is None  # few
    assert Context.learn(pictures * 10_000, 1, 0, "quick") is None  # of too many values
    assert Context.learn(pictures * 0, 1, 0, "quick") is None  # constant
    assert Context.learn(pictures.reshape(200, 4, 10, 2, 5), 1, 0, "quick") is None  # no pictures
    assert Context.learn(pictures, 0, 0, "quick") is None  # no bound: for the other engine
    assert Latent.learn(pictures, 1, 0, "quick") is None  # a bound


def test_damaged_models_are_refused_or_are_other_models(context: Context, latent: Latent) -> None:
    rng = np.random.default_rng(0)
    for engine in (context, latent):
        data, refused = engine.to_bytes(), 0
        for _ in range(60):
            broken = bytearray(data[: rng.integers(0, len(data))] if rng.random() < 0.3 else data)
            for place in rng.integers(0, min(40, len(broken)), 3) if broken else ():
                broken[place] ^= 1 << rng.integers(8)
            try:
                assert type(engine).from_bytes(bytes(broken)).to_bytes() != data
            except DataError:
                refused += 1
        assert refused > 30


def test_drawn_pictures_do_not_depend_on_their_company(digits: np.ndarray, latent: Latent) -> None:
    payload, drawn = latent.encode(digits, 0)
    reader = Latent.from_bytes(latent.to_bytes())
    assert reader.to_bytes() == latent.to_bytes()
    assert np.array_equal(reader.decode(payload, len(digits), 0), drawn)
    for i in range(5):
        alone, picture = latent.encode(digits[i : i + 1], 0)
        assert np.array_equal(picture[0], drawn[i])
        assert np.array_equal(reader.decode(alone, 1, 0)[0], drawn[i])


def test_the_network_draws_better_than_levels_alone(digits: np.ndarray, latent: Latent) -> None:
    _, drawn = latent.encode(digits, 0)
    symbols = latent.prior.symbols(digits)
    levels = np.array([digits.reshape(len(digits), -1).T[symbols == k].mean() for k in range(latent.prior.count + 1)])
    assert ((drawn - digits) ** 2).mean() < ((levels[symbols].T.reshape(digits.shape) - digits) ** 2).mean()


def test_chances_of_all_symbols_add_up_to_one() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 3, 16, 255):
        outputs = rng.normal(0, 2, (mixture.OUTPUTS, 1)) * 2.0**integers.OUTPUT_FRACTION
        guess, total = np.array([count // 2]), 0.0
        for symbol in range(count + 1):
            tally = Tally()
            mixture.transfer(np.floor(outputs), guess, 8, count, tally, np.array([symbol]))
            total += 2.0**-tally.bits
        assert total == pytest.approx(1, abs=2**-10)  # what is cut off: chances below 2^-16 of a half


def test_whole_chances_are_those_of_the_trained_mixture() -> None:
    rng, depth, count = np.random.default_rng(1), 8, 255
    outputs = rng.normal(0, 1, (mixture.OUTPUTS, 400))
    outputs[10:15] += 3
    guess, value = rng.integers(0, 256, 400), rng.integers(0, 256, 400)
    tally = Tally()
    mixture.transfer(np.round(outputs * 2.0**integers.OUTPUT_FRACTION), guess, depth, count, tally, value)
    as_tensors = (torch.from_numpy(part).double() for part in (outputs.T, guess, value))
    floats = nats(*as_tensors, count, depth).sum().item() / np.log(2)  # pyright: ignore[reportCallIssue]
    assert tally.bits == pytest.approx(floats, rel=0.005)


def test_gradient_of_the_mixture_is_that_of_its_formula() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(30, mixture.OUTPUTS, dtype=torch.float64)
    outputs[:, 10:15] += 4
    outputs.requires_grad_()
    value = torch.randint(0, 256, (30,)).double()
    value[:4] = torch.tensor([0, 1, 255, 255])
    guess = torch.randint(0, 256, (30,)).double()
    share, mean = torch.softmax(outputs[:, :5], 1), guess[:, None] + 32 * outputs[:, 5:10]
    scale, v = torch.exp2(outputs[:, 10:15].clamp(-3, 7)), value[:, None]
    upper = torch.where(v == 255, 1.0, torch.sigmoid((v + 0.5 - mean) / scale))
    lower = torch.where(v == 1, 0.0, torch.sigmoid((v - 0.5 - mean) / scale))
    inner = -torch.log((share * (upper - lower)).sum(1) + 2**-10 / 255) - torch.nn.functional.logsigmoid(
        -outputs[:, -1]
    )
    plain = torch.where(value == 0, -torch.nn.functional.logsigmoid(outputs[:, -1]), inner)
    ours = nats(outputs, guess, value, 255, 8)
    torch.testing.assert_close(ours, plain)
    (expected,) = torch.autograd.grad(plain.sum(), outputs, retain_graph=True)
    (found,) = torch.autograd.grad(ours.sum(), outputs)
    torch.testing.assert_close(found, expected)


def test_networks_of_whole_numbers_are_exact_in_either_float() -> None:
    rng = np.random.default_rng(0)
    for size in (20, 200_000):  # sums below and beyond what float32 holds
        layers = [
            Layer(rng.integers(-size, size, (9, 30)), rng.integers(-size, size, 9), 4),
            Layer(rng.integers(-size, size, (3, 9)), rng.integers(-size, size, 3), 0),
        ]
        x = rng.integers(0, 256, (30, 50))
        h = np.clip((layers[0].weight @ x + layers[0].bias[:, None]) >> 4, 0, integers.HIGHEST)
        assert np.array_equal(
            IntegerNet(layers, 255)(x.astype(np.float32)), layers[1].weight @ h + layers[1].bias[:, None]
        )
    with pytest.raises(DataError, match="cannot hold"):
        IntegerNet([Layer(np.full((1, 1), 1 << 50), np.zeros(1, np.int64), 0)], 255)


def test_the_table_of_the_sigmoid_is_the_sigmoid_and_rises() -> None:
    table = integers.sigmoid_table()
    u = (np.arange(len(table)) - len(table) // 2) / 2.0**integers.SIGMOID_STEP
    assert np.abs(table - expit(u) * 2.0**integers.SIGMOID_BITS).max() <= 1
    assert (np.diff(table) >= 0).all()


def test_arrays_of_whole_numbers_come_back() -> None:
    rng = np.random.default_rng(0)
    arrays = [
        np.round(rng.laplace(0, 20, (30, 7))).astype(np.int64),
        np.zeros((3, 4), np.int64),
        np.array([2**40, -7]),
        np.zeros((0, 5), np.int64),
    ]
    encoder = Encoder()
    for array in arrays:
        integers.put_array(encoder, array)
    decoder = Decoder(encoder.to_bytes())
    for array in arrays:
        assert np.array_equal(integers.get_array(decoder, array.shape), array)


@pytest.mark.parametrize("shape", [(9, 11), (4, 5, 3), (3, 4, 5), (30,)])
def test_neighbours_come_earlier_and_windows_are_centred(shape: tuple[int, ...]) -> None:
    near = neighbourhood(shape)
    places = int(np.prod(shape))
    t = np.arange(places)[:, None]
    assert sorted(near.order) == list(range(places))
    for known in (near.around, near.west_north_both):
        assert ((known < t) | (known == places)).all()
    around = window(shape)
    assert (np.sort(around, 1)[:, 0] >= 0).all()
    assert (around == t).sum() == places  # each sees itself, once


def test_what_codes_alone_lose_is_stated(digits: np.ndarray) -> None:
    compressor = Compressor(latent=True, effort="quick", random_state=0, chunk_values=20_000)
    again = compressor.decompress(compressor.compress(digits.astype("f4")))  # pyright: ignore[reportArgumentType]
    distance = compressor.account_.distance
    assert distance is not None
    assert distance.rms == pytest.approx(np.sqrt(((again - digits) ** 2).mean()))
    assert distance.psnr == pytest.approx(10 * np.log10(16**2 / ((again - digits) ** 2).mean()))
    assert f"{np.abs(again - digits).max():.4g}" in compressor.account_.loss()
    assert 0 < distance.rms < 4
    assert "codes alone" in compressor.account_.verdict()
