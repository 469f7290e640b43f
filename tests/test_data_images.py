"""Pictures keep their axes, their dtype and their size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from isthmus.data import Images, codec_from, learn, memory
from isthmus.errors import DataError


def pictures(*shape, dtype="u1"):
    values = np.random.default_rng(0).random(shape)
    return (values * {"u1": 255, "u2": 65535, "?": 2}.get(dtype, 7.5)).astype(dtype)


def encoded(codec, X):
    return codec.encode(X).take(slice(None))[0]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8", "?", "i4"])
@pytest.mark.parametrize("shape", [(6, 8, 9), (6, 3, 8, 9), (6, 8, 9, 3), (6, 1, 8, 8), (6, 8, 8, 1), (6, 4, 4, 3)])
def test_pictures_come_back_with_their_axes_and_dtype(shape, dtype):
    X = pictures(*shape, dtype=dtype)
    codec = learn(X)
    back = codec.decode(encoded(codec, X).numpy())
    assert back.dtype == X.dtype
    assert back.shape == X.shape
    np.testing.assert_allclose(back, X, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "inside"), [((2, 8, 9), (1, 8, 9)), ((2, 3, 8, 9), (3, 8, 9)), ((2, 8, 9, 3), (3, 8, 9))]
)
def test_inside_channels_come_first(shape, inside):
    assert learn(pictures(*shape)).layout.shape == inside


def test_channels_last_is_noted():
    assert "(images, height, width, channels)" in learn(pictures(2, 8, 9, 3)).notes[0]


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 65535)])
def test_integers_are_divided_by_their_largest_value(dtype, full):
    X = pictures(3, 4, 4, dtype=dtype)
    np.testing.assert_allclose(encoded(learn(X), X)[:, 0], X / full, rtol=1e-6)


def test_floats_are_mapped_by_the_training_range():
    X = pictures(3, 4, 4, dtype="f4") - 2
    x = encoded(learn(X), X)
    assert x.min() == 0
    assert x.max() == 1


def test_tensors_of_pictures_come_back_as_tensors():
    X = torch.from_numpy(pictures(3, 2, 5, 6))
    codec = learn(X)
    assert torch.equal(codec.decode(encoded(codec, X).numpy()), X)


def test_a_picture_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(DataError, match="8 x 10 pixels with 1 channel, the model was trained on 8 x 9"):
        learn(pictures(3, 8, 9)).encode(pictures(2, 8, 10))


def test_a_fitting_picture_in_another_layout_is_taken():
    X = pictures(3, 8, 9)
    codec = learn(X)
    assert torch.equal(encoded(codec, X[:, None]), encoded(codec, X))


def test_a_gap_in_a_float_picture_is_not_observed():
    X = pictures(3, 4, 4, dtype="f4")
    X[1, 2, 3] = np.nan
    x, observed = learn(X).encode(X).take(slice(None))
    assert observed is not None
    assert (~observed).nonzero().tolist() == [[1, 0, 2, 3]]
    assert x[1, 0, 2, 3] == 0


def test_infinity_names_the_picture():
    X = pictures(3, 4, 4, dtype="f4")
    X[1, 2, 3] = -np.inf
    with pytest.raises(DataError, match=r"image 1 .* row 2, column 3"):
        learn(X)


def test_images_come_back_as_images_with_the_names_of_a_template():
    X = Images(pictures(2, 3, 4, 5), ["a.png", "b.png"])
    codec = learn(X)
    back = codec.decode(encoded(codec, X).numpy())
    assert isinstance(back, Images)
    np.testing.assert_array_equal(back.pixels, X.pixels)
    assert codec.decode_as(encoded(codec, X).numpy(), X).names == X.names
    as_array = codec.decode_as(encoded(codec, X).numpy(), X.pixels)
    np.testing.assert_array_equal(as_array, X.pixels)


def test_an_array_codec_can_decode_into_images():
    X = pictures(2, 4, 5, dtype="f4")
    codec = learn(X)
    made = codec.decode_as(encoded(codec, X).numpy(), Images(np.zeros((2, 1, 4, 5), np.uint8), ["a", "b"]))
    assert made.pixels.dtype == np.uint8
    assert made.pixels.max() == 255
    assert made.pixels.min() == 0


def test_a_rebuilt_codec_behaves_the_same():
    for X in (pictures(3, 8, 9, 3), pictures(3, 8, 9, dtype="f4")):
        for scale in ("auto", "common", "columns", "none"):
            codec = learn(X, scale=scale)
            again = codec_from(json.loads(json.dumps(codec.to_json())), codec.arrays())
            x = encoded(codec, X)
            assert torch.equal(encoded(again, X), x)
            np.testing.assert_array_equal(again.decode(x.numpy()), codec.decode(x.numpy()))


def test_no_picture_at_all_is_refused():
    with pytest.raises(DataError, match="nothing is in it"):
        learn(np.zeros((0, 8, 8)))


def test_pictures_beyond_the_memory_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    with pytest.raises(DataError, match="GiB"):
        learn(pictures(10, 8, 8))
