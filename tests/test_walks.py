"""Walks through the code: ends are reconstructions, steps are where they should be, and bad input is told what to do."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.errors import DataError, SettingError

mpl.use("Agg")

QUICK = {"latent_dim": 3, "max_epochs": 2, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def ae(digits: np.ndarray) -> ist.Autoencoder:
    return ist.variational(**QUICK).fit(digits)


@pytest.fixture(scope="module")
def pictures(digits: np.ndarray) -> np.ndarray:
    return digits.reshape(-1, 8, 8)[:300].astype(np.float32)


def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 9, 200)
    return pd.DataFrame({"age": age, "income": 700 * age + rng.normal(size=200), "city": rng.choice(["a", "b"], 200)})


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_a_walk_begins_and_ends_with_reconstructions_to_the_bit(ae, digits: np.ndarray, path: str) -> None:
    a, b = digits[:5], digits[5:10]
    walk = ist.interpolate(ae, a, b, steps=4, path=path)
    samples = np.asarray(walk.samples).reshape(5, 4, 64)
    assert np.array_equal(samples[:, 0], ae.reconstruct(a))
    assert np.array_equal(samples[:, -1], ae.reconstruct(b))
    assert walk.codes.shape == (5, 4, 3)


def test_a_walk_between_rows_of_a_table_begins_and_ends_with_reconstructions() -> None:
    table = people()
    ae = ist.Autoencoder(**QUICK | {"latent_dim": 2}).fit(table)
    walk = ist.interpolate(ae, table[:2], table[2:4], steps=3)
    for rows, places in ((table[:2], [0, 3]), (table[2:4], [2, 5])):
        expected = ae.reconstruct(rows).reset_index(drop=True)
        pd.testing.assert_frame_equal(walk.samples.iloc[places].reset_index(drop=True), expected)
    walk.display().plot()


def test_a_linear_walk_is_evenly_spaced_and_a_spherical_one_turns_evenly(ae, digits: np.ndarray) -> None:
    straight = ist.interpolate(ae, digits[:4], digits[4:8], steps=6).codes.astype(float)
    np.testing.assert_allclose(np.diff(straight, n=2, axis=1), 0, atol=1e-5)
    a, b = ae.transform(digits[:4]).astype(float), ae.transform(digits[4:8]).astype(float)
    turned = ist.interpolate(ae, digits[:4], digits[4:8], steps=3, path="spherical").codes[:, 1]
    # half-way, both shares are sin(w / 2) / sin w = 1 / (2 cos(w / 2))
    cosine = np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    expected = (a + b) / (2 * np.sqrt((1 + cosine) / 2))[:, None]
    np.testing.assert_allclose(turned, expected, rtol=1e-4, atol=1e-5)


def test_codes_of_one_direction_are_joined_by_a_straight_line(ae, digits: np.ndarray) -> None:
    same = ist.interpolate(ae, digits[:2], digits[:2], steps=3, path="spherical").codes
    assert np.array_equal(same[:, 1], same[:, 0])


def test_a_conditional_model_walks_with_its_condition(digits: np.ndarray) -> None:
    y = np.arange(len(digits)) % 3
    ae = ist.conditional(**QUICK).fit(digits, y)
    walk = ist.interpolate(ae, digits[:3], digits[3:6], steps=3, condition=y[:3])
    samples = np.asarray(walk.samples).reshape(3, 3, 64)
    assert np.array_equal(samples[:, 0], ae.reconstruct(digits[:3], y[:3]))


def test_a_traverse_moves_one_number_over_its_spread(ae, digits: np.ndarray) -> None:
    walk = ist.traverse(ae, digits[:2], dims=[2, 0], span=1.5, steps=5)
    codes, own = walk.codes.reshape(2, 2, 5, 3), ae.transform(digits[:2])
    known = ae.codes_.numpy().astype(float)
    for path, dim in enumerate((2, 0)):
        others = [d for d in range(3) if d != dim]
        assert np.array_equal(codes[:, path][..., others], np.repeat(own[:, None, others], 5, axis=1))
        expected = known[:, dim].mean() + np.linspace(-1.5, 1.5, 5) * known[:, dim].std()
        np.testing.assert_allclose(codes[:, path, :, dim], np.tile(expected, (2, 1)), rtol=1e-5)
    np.testing.assert_allclose(walk.samples, ae.inverse_transform(walk.codes.reshape(-1, 3)), rtol=1e-6)


def test_a_traverse_takes_the_numbers_that_vary_most(ae, digits: np.ndarray) -> None:
    order = np.argsort(-ae.codes_.double().numpy().std(0), kind="stable")
    walk = ist.traverse(ae, digits[:1])
    assert walk.paths[0] == f"code {order[0]}"
    assert walk.to_dict()["paths"] == list(walk.paths)


def test_a_film_strip_shows_every_step_of_every_path(pictures: np.ndarray) -> None:
    ae = ist.Autoencoder(**QUICK).fit(pictures)
    display = ist.interpolate(ae, pictures[:2], pictures[2:4], steps=5).display().plot()
    assert display.ax_.images[0].get_array().shape == (16, 40)
    section = ist.traverse(ae, pictures[:1], steps=3).section()
    assert section.figures[0].display.shown == 3


def test_curves_of_series_are_drawn_from_first_to_last() -> None:
    series = ist.Series(np.sin(np.arange(400) / 5), length=16)
    ae = ist.Autoencoder(**QUICK).fit(series)
    windows = np.asarray(ae.reconstruct(series))
    display = ist.interpolate(ae, windows[:1], windows[8:9], steps=4).display().plot()
    assert len(display.ax_.lines) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ae, X: ist.interpolate(ae, X[:2], X[:3]), r"a has 2 rows and b has 3; .* give as many"),
        (lambda ae, X: ist.interpolate(ae, X[:2, :9], X[:2]), "9"),
        (lambda ae, X: ist.interpolate(ae, X[:2], X[:2], path="curly"), "path='curly' is not known; use 'linear'"),
        (lambda ae, X: ist.interpolate(ae, X[:2], X[:2], steps=1), "steps=1 must be a whole number of at least 2"),
        (lambda ae, X: ist.traverse(ae, X[:1], dims=[3]), r"dims=3 is no number of this code, .* 0 to 2"),
        (lambda ae, X: ist.traverse(ae, X[:1], dims=[-1]), "dims=-1 is no number of this code"),
        (lambda ae, X: ist.traverse(ae, X[:1], dims=[]), "names no number of the code"),
        (lambda ae, X: ist.traverse(ae, X[:1], span=float("nan")), "span=nan must be a positive number"),
        (lambda ae, X: ist.traverse(ae, X[:1], span=-1), "span=-1 must be a positive number"),
    ],
)
def test_what_cannot_be_walked_is_told_why(ae, digits: np.ndarray, call, message: str) -> None:
    with pytest.raises((DataError, SettingError, ValueError), match=message):
        call(ae, digits)
