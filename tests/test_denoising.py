"""Denoising: the linear answer is the conditional expectation, levels are found, and nobody is worse off than before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

import isthmus as ist
from isthmus.apps.denoising.learning import EFFORTS, choose, moved, split
from isthmus.apps.denoising.levels import level_of_pictures, level_of_rows
from isthmus.apps.denoising.linear import learn_gaps, learn_noisy_prior, learn_prior, learn_regression, unspiked
from isthmus.apps.denoising.local import FEWEST_PIXELS, _guide, autoencoded, cosines, decorrelation, restore_picture
from isthmus.apps.denoising.networks import correction
from isthmus.apps.denoising.noises import Recorrupted
from isthmus.apps.denoising.restoring import mirrored
from isthmus.apps.denoising.tiles import corners, cut, stitch
from isthmus.cli import main
from isthmus.errors import DataError, ModelFileError, SettingError


@pytest.fixture(autouse=True, scope="module")
def _hurry():
    """Let networks learn for a tenth of the time: what they add is measured elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "quick", 0.03)
        patch.setitem(EFFORTS, "default", 0.03)
        yield


def drawn(n: int = 400, width: int = 20, rank: int = 3, seed: int = 0) -> np.ndarray:
    """Rows of a few factors."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, rank)) @ np.random.default_rng(7).normal(size=(rank, width))


def noised(x: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    return x + sigma * np.random.default_rng(seed).normal(size=x.shape)


def blobs(n: int = 200, side: int = 12, seed: int = 0) -> np.ndarray:
    """Pictures (n, side, side) in [0, 1], each of one bright spot."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(3, side - 3, size=(n, 2, 1, 1))
    down, right = np.mgrid[:side, :side]
    far = (down - places[:, 0]) ** 2 + (right - places[:, 1]) ** 2
    return np.exp(-far / rng.uniform(2, 8, size=(n, 1, 1))).astype(np.float32)


def photo(height: int = 70, width: int = 61) -> np.ndarray:
    """A picture with smooth parts, edges and a texture, in [0, 1]."""
    down, right = np.mgrid[:height, :width]
    x = 0.5 + 0.2 * np.sin(down / 9) + 0.2 * (right > 30) + 0.1 * np.sin(right) * (down > 40)
    return x.astype(np.float32)


# -- the linear answer ----------------------------------------------------------------------------------------------


def test_the_linear_answer_is_the_conditional_expectation_of_a_gaussian():
    x = torch.from_numpy(drawn(2000)).float() + 0.3 * torch.randn(2000, 20, generator=torch.Generator().manual_seed(0))
    prior, y, sigma = learn_prior([(x, 1.0)]), torch.from_numpy(noised(x.numpy(), 0.7)).float(), 0.7
    mean, covariance = x.double().mean(0), torch.cov(x.double().T, correction=0)
    gain = torch.linalg.solve(covariance + sigma**2 * torch.eye(20, dtype=torch.float64), covariance)
    expected = mean + (y.double() - mean) @ gain
    found = prior.restore(y, torch.full((2000, 1), sigma))
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-4)


def test_the_linear_answer_with_gaps_is_the_conditional_mean_under_the_whole_covariance():
    x = torch.from_numpy(drawn(3000, 30, 6)).float()
    x += 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    y, observed = x[:50], torch.rand(50, 30, generator=torch.Generator().manual_seed(1)) < 0.6
    found = learn_gaps([(x, 1.0)]).restore(y * observed, observed)
    mean, covariance = x.mean(0).double(), torch.cov(x.T.double(), correction=0)
    for row, seen, answer in zip(y.double(), observed, found.double(), strict=True):
        gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, ~seen])
        expected = mean[~seen] + (row[seen] - mean[seen]) @ gain
        assert float((answer[~seen] - expected).square().mean().sqrt()) < 0.05 * float(x.std())


def test_regression_on_spoiled_rows_is_ridge_regression():
    rng = torch.Generator().manual_seed(0)
    clean = torch.randn(3000, 6, generator=rng) @ torch.randn(6, 6, generator=rng)
    spoiled = clean * (torch.rand(clean.shape, generator=rng) < 0.7)
    found = learn_regression(clean, spoiled, None).restore(spoiled, None)
    scatter = np.square(spoiled.numpy() - spoiled.numpy().mean(0)).sum(0).mean()
    expected = Ridge(alpha=1e-3 * scatter).fit(spoiled.numpy(), clean.numpy()).predict(spoiled.numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_the_covariance_of_noisy_rows_less_the_noise_is_that_of_clean_ones():
    clean = drawn(200_000, 20)
    found = learn_noisy_prior([(torch.from_numpy(noised(clean, 0.8)).float(), 1.0)], 0.8)
    covariance = (found.basis * found.variance) @ found.basis.T
    # an entry of a covariance of n rows is known to about its size / sqrt(n)
    error = np.abs(covariance.numpy() - np.cov(clean.T)).max()
    assert error < 6 * (np.cov(clean.T).max() + 0.64) / np.sqrt(200_000)


def test_the_inflation_of_eigenvalues_is_undone_and_noise_alone_counts_for_nothing():
    signal, aspect = torch.tensor([0.9, 2.0, 10.0]), 0.25
    seen = (1 + signal) * (1 + aspect / signal)
    torch.testing.assert_close(unspiked(seen, aspect), signal)
    rng = np.random.default_rng(0)
    noise = np.linalg.eigvalsh(np.cov(rng.normal(size=(4000, 1000)).T))
    assert (unspiked(torch.from_numpy(noise / 1.02), aspect) > 0).sum() == 0


def test_mirrored_twice_is_the_same_and_moved_pictures_are_moved():
    x = torch.arange(2 * 12.0).view(2, 12)
    assert torch.equal(mirrored(mirrored(x, (1, 3, 4)), (1, 3, 4)), x)
    down = moved(x, (1, 3, 4))[:2].view(2, 3, 4)  # the first of the four places is from the row above
    assert torch.equal(down[:, 1:], x.view(2, 3, 4)[:, :-1])
    assert len(moved(x, (1, 3, 4))) == 16


# -- the level of the noise -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
def test_the_level_is_found_within_a_twentieth(sigma):
    rows = torch.from_numpy(noised(drawn(5000, 40), sigma))
    assert level_of_rows(rows) == pytest.approx(sigma, rel=0.05)
    pictures = torch.from_numpy(noised(photo(200, 200), sigma)).float()[None, None]
    assert level_of_pictures(pictures) == pytest.approx(sigma, rel=0.05)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_each_row_tells_its_own_level_when_clean_rows_are_known(sigma):
    # of d - rank directions without a signal: the standard error of a row's level is sigma / sqrt(2 (d - rank))
    prior = learn_prior([(torch.from_numpy(drawn(1000, 200)).float(), 1.0)])
    found = prior.level(torch.from_numpy(noised(drawn(500, 200, seed=5), sigma)).float(), pooled=False)
    error = sigma / np.sqrt(2 * 197)
    assert float(found.mean()) == pytest.approx(sigma, abs=5 * error / np.sqrt(500) + 0.01 * sigma)
    assert float(found.std()) == pytest.approx(error, rel=0.3)


# -- noisy rows alone -----------------------------------------------------------------------------------------------


def test_the_error_against_recorrupted_rows_less_their_noise_is_the_error_against_clean_ones():
    clean, noise = torch.from_numpy(drawn(100_000, 8)).float(), Recorrupted(0.5)
    y = clean + 0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    pairs = noise.pairs(torch.cat([y, y]), torch.Generator().manual_seed(2))
    answer = 0.6 * pairs.y.clamp(-1, 1)  # any function of the input
    apparent = float((answer - pairs.target).square().mean()) - noise.floor
    true = float((answer - torch.cat([clean, clean])).square().mean())
    spread = float((answer - pairs.target).square().std()) / np.sqrt(answer.numel())
    assert apparent == pytest.approx(true, abs=6 * spread)
    assert float((pairs.y - torch.cat([clean, clean])).std()) == pytest.approx(noise.level, rel=0.01)


def test_noisy_pictures_alone_teach_to_restore_them():
    clean = blobs(400)
    noisy = noised(clean, 0.2).astype(np.float32)
    found = ist.Denoiser(regime="noisy", effort="quick", random_state=0).fit(noisy).denoise(noisy, clean)
    assert found.psnr is not None
    assert found.psnr[1] > found.psnr[0] + 6
    assert found.sigma is not None
    assert found.sigma[0] == pytest.approx(0.2, rel=0.1)


# -- what is kept ---------------------------------------------------------------------------------------------------


def test_the_simplest_answer_wins_unless_another_is_better_by_a_standard_error():
    rng = torch.Generator().manual_seed(0)
    base = torch.rand(100, generator=rng)
    level = {"input": base, "linear": base - 1e-4 * torch.randn(100, generator=rng), "network": base + 0.1}
    assert choose(level) == "input"
    assert choose({"input": base, "linear": base / 2, "network": base / 2 + 0.01}) == "linear"
    assert choose({"input": base, "linear": base / 2, "network": base / 3}) == "network"


def test_rows_that_noise_cannot_be_told_from_are_left_as_they_are():
    white = np.random.default_rng(0).normal(size=(500, 15))
    denoiser = ist.Denoiser(regime="noisy", sigma=0.01, effort="quick", random_state=0).fit(white)
    if denoiser.answer_ == "input":
        np.testing.assert_allclose(denoiser.transform(white), white, atol=1e-5)
    assert np.square(denoiser.transform(white) - white).mean() < 4 * 0.01**2


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.4, 1.0])
def test_restored_rows_are_nearer_to_clean_ones_at_every_level(sigma):
    denoiser = ist.Denoiser(effort="quick", random_state=0).fit(drawn())
    clean = drawn(200, seed=3)
    found = denoiser.denoise(noised(clean, sigma), clean)
    assert found.rmse is not None
    assert found.rmse[1] < 0.6 * found.rmse[0]


def test_a_network_that_has_not_learned_changes_nothing():
    x = torch.rand(3, 2 * 7 * 6)
    for shape in ((2, 7, 6), (84,)):
        network = correction(shape, 2, torch.Generator().manual_seed(0))
        assert not network([x, x], torch.ones(3, 1)).any()


def test_a_row_is_restored_alone_as_among_others():
    denoiser = ist.Denoiser(sigma=0.2, effort="quick", random_state=0).fit(blobs())
    noisy = noised(blobs(20, seed=2), 0.2).astype(np.float32)
    together = denoiser.transform(noisy)
    assert all(np.array_equal(denoiser.transform(noisy[i : i + 1])[0], together[i]) for i in (0, 7, 19))


def test_the_same_seed_gives_the_same_bits_and_no_global_generator_is_touched():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, two = (ist.Denoiser(effort="quick", random_state=3).fit(blobs(60)).transform(blobs(5)) for _ in range(2))
    assert np.array_equal(one, two)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])


def test_held_out_windows_share_no_point_with_those_learned_from():
    train, held = split(500, 0, is_ordered=True, overlap=23)
    assert held[0] - train[-1] > 23
    train, held = split(500, 0, is_ordered=False)
    assert not set(train) & set(held)
    assert len(train) + len(held) == 500


# -- pictures of any size -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 40), (33, 16), (50, 61)])
def test_tiles_cover_every_picture_and_put_it_together_again(height, width):
    x = np.random.default_rng(0).normal(size=(2, height, width)).astype(np.float32)
    places = corners(height, width, (16, 16), 8)
    np.testing.assert_allclose(stitch(cut(x, places, (16, 16)), places, x.shape), x, atol=1e-6)


def test_a_constant_picture_stays_as_it_is():
    for shape in ((20, 31), (3, 16, 16)):
        x = np.full(shape, 0.4, np.float32)
        np.testing.assert_allclose(
            restore_picture(torch.from_numpy(x).view(-1, *shape[-2:]), 0.1).squeeze(), x, atol=1e-5
        )
    flat = np.full((40, 50), 77, np.uint8)
    assert np.array_equal(ist.Denoiser(regime="single").fit_transform(flat), flat)


@pytest.mark.parametrize("kind", ["list", "array", "tensor", "images", "one"])
def test_pictures_come_back_in_their_container(kind):
    clean = photo()
    noisy = noised(clean, 0.1).astype(np.float32)
    data = {
        "list": [noisy, noisy[:40, :50], np.stack([noisy] * 3, -1)],
        "array": np.stack([noisy, noisy]),
        "tensor": torch.from_numpy(noisy)[None, None],
        "images": ist.Images((np.clip(noisy, 0, 1)[None, None] * 255).round().astype(np.uint8), ["a.png"]),
        "one": noisy,
    }[kind]
    found = ist.Denoiser(regime="single").fit_transform(data)
    assert type(found) is type(data)
    pairs = list(zip(found, data, strict=True)) if kind == "list" else [(found, data)]
    for restored, given in pairs:
        restored, given = (getattr(each, "pixels", each) for each in (restored, given))
        assert restored.shape == given.shape
        assert restored.dtype == given.dtype
    first = np.asarray(getattr(pairs[0][0], "pixels", pairs[0][0])).reshape(-1, *clean.shape)[0]
    first = first / 255 if kind == "images" else first
    assert np.square(first - clean).mean() < 0.25 * 0.1**2


def test_colours_are_turned_without_stretching():
    for channels in (1, 3, 5):
        turn = decorrelation(channels)
        torch.testing.assert_close(turn @ turn.T, torch.eye(channels))


def test_a_guide_keeps_what_noise_cannot_be_and_drops_what_it_can(rng: torch.Generator):
    for shape in ((40, 57), (16, 16), (FEWEST_PIXELS, 31)):
        plane = torch.rand(shape, generator=rng)
        torch.testing.assert_close(_guide(plane, 0.0), plane, atol=1e-5, rtol=0)
        faint = 0.5 + 1e-3 * plane
        assert _guide(faint, 0.1).std() < faint.std() / 4
    wave = torch.outer(cosines(16)[3], cosines(16)[2])
    noise = 1e-3 * torch.randn(16, 16, generator=rng)
    kept = (1 + (noise * wave).sum()) * wave + noise.mean()
    torch.testing.assert_close(_guide(wave + noise, 0.01), kept, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sigma", [1.0, 25.0])
def test_flat_parts_and_parts_without_noise_leave_no_hole(sigma: float, rng: torch.Generator):
    flat = torch.full((60, 71), 255.0)
    bars = (torch.arange(71) // 18 * 50.0).expand(60, 71)
    sky = torch.cat([flat, 120 + 25 * torch.randn(60, 71, generator=rng)]).clamp(max=255)
    for planes in (flat[None], flat.expand(3, 60, 71), bars[None], sky[None]):
        restored = restore_picture(planes.clone(), sigma)
        assert restored.isfinite().all()
    assert (restore_picture(flat[None], sigma) - flat).abs().max() < 1e-3
    assert (restore_picture(sky[None], sigma)[:, :40] - 255).abs().max() < 1e-3


def test_a_group_is_restored_as_its_principal_components_say():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2)) @ rng.normal(size=(2, 36)) + 5
    y = noised(x, 0.1)
    found, _ = autoencoded(torch.from_numpy(y)[None].float(), 0.1)
    u, s, vt = np.linalg.svd(y - y.mean(0), full_matrices=False)
    s = s[:2] * (1 - 0.1**2 / (s[:2] ** 2 / 63))  # the two components that noise cannot explain, shrunk
    np.testing.assert_allclose(found[0].numpy(), y.mean(0) + (u[:, :2] * s) @ vt[:2], atol=1e-4)


def test_photographs_are_learned_in_tiles_and_restored_at_any_size():
    clean = [photo(70, 61), photo(40, 90)[:, ::-1].copy()]
    denoiser = ist.Denoiser(tile=16, sigma=0.1, effort="quick", random_state=0).fit(clean)
    for shape in ((16, 16), (55, 70)):
        x = photo(*shape)
        found = denoiser.denoise(noised(x, 0.1).astype(np.float32)[None], x[None])
        assert found.restored.shape == (1, *shape)
        assert found.psnr[1] > found.psnr[0] + 4


def test_missing_pixels_are_filled_and_the_others_stay():
    clean = blobs(250)
    denoiser = ist.Denoiser(noise=ist.Masking(0.4), effort="quick", random_state=0).fit(clean)
    new = blobs(30, seed=4)
    gappy = np.where(np.random.default_rng(0).random(new.shape) < 0.4, np.nan, new).astype(np.float32)
    filled = denoiser.transform(gappy)
    seen = ~np.isnan(gappy)
    np.testing.assert_allclose(filled[seen], new[seen], atol=1e-6)
    mean = np.broadcast_to(clean.mean(0), new.shape)[~seen]
    assert np.square(filled[~seen] - new[~seen]).mean() < 0.1 * np.square(mean - new[~seen]).mean()


# -- series and tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regime", ["clean", "noisy"])
def test_a_series_comes_back_point_by_point(regime):
    time = np.arange(1500)
    clean = np.column_stack([np.sin(time / 9), np.cos(time / 14)])
    noisy = noised(clean, 0.3)
    fitted = ist.Denoiser(regime=regime, effort="quick", random_state=0)
    fitted.fit(ist.Series(clean if regime == "clean" else noisy, 32))
    restored = fitted.transform(ist.Series(noisy, 32))
    assert restored.shape == clean.shape
    assert np.square(restored - clean).mean() < 0.25 * 0.3**2
    assert fitted.transform(ist.Series(noisy[:, :2], 32)).shape == restored.shape


def test_categories_that_were_swapped_are_put_right_and_the_frame_keeps_its_form(monkeypatch):
    monkeypatch.setitem(EFFORTS, "quick", 0.3)
    rng = np.random.default_rng(0)
    a = rng.normal(size=600)
    table = pd.DataFrame({"a": a, "b": -a, "side": np.where(a > 0, "r", "l"), "x": np.where(a > 0, "p", "q")})
    spoiled, hit = table.copy(), rng.random(600) < 0.2
    spoiled.loc[hit, "side"] = np.where(table.side[hit] == "l", "r", "l")
    denoiser = ist.Denoiser(noise=ist.Swap(0.1), effort="quick", random_state=0).fit(table)
    restored = denoiser.transform(spoiled)
    assert list(restored.columns) == list(table.columns)
    assert (restored.side != table.side).mean() < 0.5 * (spoiled.side != table.side).mean()
    with_noise = table.assign(a=noised(a, 0.5), b=noised(-a, 0.5, 2))
    found = ist.Denoiser(effort="quick", random_state=0).fit(table).denoise(with_noise, table)
    assert (found.restored.side == table.side).all()
    assert found.rmse[1] < 0.8 * found.rmse[0]


# -- keeping, manners -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "X"),
    [
        ({}, blobs(80)),
        ({"regime": "noisy"}, noised(blobs(80), 0.2)),
        ({"noise": ist.SaltAndPepper(0.2)}, blobs(80)),
        ({"noise": ist.Masking(0.2)}, blobs(80)),
        ({"regime": "single"}, noised(photo(), 0.1)),
        ({"sigma": 0.3}, drawn(100)),
        ({"noise": ist.Masking(0.2)}, drawn(100)),
    ],
)
def test_a_saved_denoiser_restores_with_the_same_bits(tmp_path, settings, X):
    denoiser = ist.Denoiser(effort="quick", random_state=0, **settings).fit(X)
    denoiser.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert loaded.get_params() == denoiser.get_params()
    assert np.array_equal(loaded.transform(X), denoiser.transform(X))


def test_weights_of_another_shape_are_refused(tmp_path):
    denoiser = ist.Denoiser(sigma=0.2, effort="quick", random_state=0).fit(blobs(120))
    assert denoiser.answer_ == "network"
    denoiser.save(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | {"planes": 3}))
    with pytest.raises(ModelFileError, match="do not fit"):
        ist.load(tmp_path / "model")


def expected_failures(estimator: ist.Denoiser) -> dict[str, str]:
    """Rows are given the one level of noise that is found in all of them, unless it is given."""
    checks = ("check_methods_sample_order_invariance", "check_methods_subset_invariance")
    return {} if estimator.sigma else dict.fromkeys(checks, "the noise level is found in all rows together")


@parametrize_with_checks(
    [ist.Denoiser(effort="quick", random_state=0), ist.Denoiser(sigma=0.3, effort="quick", random_state=0)],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_finds_nothing_to_complain_of(estimator, check):
    check(estimator)


def test_a_report_can_show_what_was_found():
    clean = drawn(200)
    found = ist.Denoiser(effort="quick", random_state=0).fit(clean).denoise(noised(clean, 0.5), clean)
    section = found.section()
    assert section.facts["answer"] == found.answer
    assert f"{found.rmse[1]:.3g}" in " ".join(section.sentences)
    assert section.facts["sigma"] == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("settings", "X", "says"),
    [
        ({"regime": "dirty"}, blobs(30), "regime='dirty' is not one of"),
        ({"noise": "hum"}, blobs(30), "noise='hum' must be"),
        ({"noise": ist.Swap(0.1), "regime": "noisy"}, blobs(30), "clean examples only"),
        ({"sigma": -1}, blobs(30), "sigma=-1 must be a positive number"),
        ({"sigma": 1, "noise": ist.Masking(0.5)}, blobs(30), "leave it out"),
        ({"tile": 2}, blobs(30), "tile=2 must be"),
        ({"effort": "huge"}, blobs(30), "effort='huge'"),
        ({"regime": "single"}, drawn(5), "too small to be restored alone"),
        ({"regime": "single"}, pd.DataFrame({"a": [1.0, 2.0]}), "restores photographs, not a DataFrame"),
        ({"tile": 32}, blobs(30), "smaller than a tile of 32 x 32; set tile=12"),
        ({}, blobs(5), "too few to learn from"),
        ({}, np.where(blobs(30) > 0.9, np.nan, blobs(30)), "missing or infinite pixels"),
        ({}, np.where(drawn(50) > 3, np.nan, drawn(50)), "have gaps"),
        ({"regime": "noisy"}, drawn(100, 5), "say how strong it is"),
        ({"regime": "noisy"}, pd.DataFrame({"a": drawn(100, 1)[:, 0], "b": ["x", "y"] * 50}), "is for numbers"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(settings, X, says):
    with pytest.raises((DataError, SettingError)) as told:
        ist.Denoiser(**{"effort": "quick", "random_state": 0} | settings).fit(X).transform(X)
    assert says in str(told.value)


def test_other_pictures_than_those_learned_from_are_refused():
    denoiser = ist.Denoiser(sigma=0.2, effort="quick", random_state=0).fit(blobs(60))
    with pytest.raises(DataError, match="smaller than a tile of 12 x 12"):
        denoiser.transform(np.zeros((1, 9, 30), np.float32))
    with pytest.raises(DataError, match="3 channels"):
        denoiser.transform(np.zeros((1, 3, 12, 12), np.float32))
    with pytest.raises(DataError, match="bring it to their range"):
        denoiser.transform(np.zeros((1, 12, 12), np.uint8))
    with pytest.raises(DataError, match="missing or infinite"):
        denoiser.transform(np.full((1, 12, 12), np.nan, np.float32))
    with pytest.raises(DataError, match="one for each, in order"):
        denoiser.denoise(blobs(3), blobs(4))


# -- the command line -----------------------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    return main(["denoise", *map(str, arguments)])


def test_a_picture_goes_in_and_a_picture_comes_out(tmp_path, capsys):
    clean = np.clip(photo() * 255, 0, 255)
    noisy = np.clip(noised(clean, 20), 0, 255).round().astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png")
    assert run(tmp_path / "noisy.png", "-o", tmp_path / "out.png", "--sigma", 20) == 0
    assert "standard deviation of 20" in capsys.readouterr().out
    restored = np.asarray(Image.open(tmp_path / "out.png")).astype(float)
    assert np.square(restored - clean).mean() < 0.25 * np.square(noisy - clean).mean()
    (tmp_path / "in").mkdir()
    Image.fromarray(noisy).save(tmp_path / "in" / "a.png")
    Image.fromarray(noisy[:30, :40]).save(tmp_path / "in" / "b.png")
    assert run(tmp_path / "in", "-o", tmp_path / "many", "--json") == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "patches"
    restored = ist.read(tmp_path / "many" / "b.png")
    assert (restored.pixels.shape, (tmp_path / "many" / "a.png").exists()) == ((1, 1, 30, 40), True)
    assert run(tmp_path / "noisy.png", "-o", tmp_path / "noisy.png") == 3
    assert run(tmp_path / "noisy.png", "-o", tmp_path / "x.png", "--regime", "clean") == 6


def test_a_table_is_restored_by_clean_examples_and_again_by_what_was_kept(tmp_path):
    names = [f"c{i}" for i in range(20)]
    pd.DataFrame(drawn(), columns=names).to_csv(tmp_path / "clean.csv", index=False)
    pd.DataFrame(noised(drawn(), 0.5), columns=names).to_csv(tmp_path / "noisy.csv", index=False)
    noisy, one, two = tmp_path / "noisy.csv", tmp_path / "one.csv", tmp_path / "two.csv"
    assert run(noisy, "--clean", tmp_path / "clean.csv", "-o", one, "--save", tmp_path / "m", "--random-state", 0) == 0
    assert run(noisy, "-m", tmp_path / "m", "-o", two) == 0
    assert Path(one).read_text() == Path(two).read_text()
    found = pd.read_csv(one)
    assert list(found.columns) == names
    assert np.square(found.to_numpy() - drawn()).mean() < 0.4 * 0.5**2
    assert run(noisy, "-m", tmp_path / "m", "-o", two, "--sigma", 1) == 6
