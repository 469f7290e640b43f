"""Health: each finding says what is, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import isthmus as ist
from isthmus.apps.health import Finding, compared, examine
from isthmus.apps.report import report
from isthmus.history import History

mpl.use("Agg")


def lines(rows: int = 200, width: int = 8, rank: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, width))


def named(findings: list[Finding] | tuple[Finding, ...], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def fitted(X: np.ndarray, **settings: object) -> ist.Autoencoder:
    return ist.Autoencoder(**{"latent_dim": 2, "max_epochs": 2, "random_state": 0, "verbose": False} | settings).fit(X)


def test_dimensions_beyond_the_rank_of_the_data_are_not_active() -> None:
    X = lines(rank=2)
    finding = named(report(fitted(X, latent_dim=4, max_epochs=1, learning_rate=1e-6), X).health, "Active dimensions")
    assert finding.facts["active"] == 2
    assert "latent_dim=2" in finding.advice


def test_rectified_dimensions_that_never_fire_are_dead() -> None:
    X = lines()
    ae = fitted(X, latent_dim=3, bottleneck=ist.Plain("relu"))
    head = ae.model_.encoder.head[0].linear
    head.weight.data[1], head.bias.data[1] = 0.0, -1.0
    finding = named(report(ae, X).health, "Dead dimensions")
    assert 1 in finding.facts["dead"]
    assert finding.verdict == "warning"


def test_a_heavy_beta_shows_as_posterior_collapse() -> None:
    X = lines()
    found = report(ist.variational(2, beta=1e4, max_epochs=20, random_state=0, verbose=False).fit(X), X)
    finding = named(found.health, "Posterior collapse")
    assert finding.facts["collapsed"] == [0, 1]
    assert finding.verdict == "warning"
    assert "Lower beta (it is 10000)" in finding.advice
    assert finding.sentence[1:] in found.summary


def test_a_network_set_aside_is_said_to_be_pca() -> None:
    X = lines(rank=8)
    ae = fitted(X, max_epochs=1, learning_rate=1e-6)
    assert ae.floor_ is not None
    assert not ae.floor_.kept
    findings = examine(ae, None)
    assert named(findings, "Beside PCA").sentence == "The model is PCA, so it reconstructs as PCA does."
    assert "set aside" in named(findings, "Network").sentence


def test_few_rows_are_said_to_be_judged_by_themselves() -> None:
    assert "No rows were held out" in named(examine(fitted(lines(rows=10)), None), "Held-out rows").sentence


def epochs(train: list[float], held_out: list[float], best: int, stopped: str = "finished") -> History:
    records = [
        {
            "epoch": place + 1,
            "learning_rate": 1e-3,
            "seconds": 0.1,
            "train": {"loss": a, "reconstruction": a},
            "held_out": {"loss": b, "reconstruction": b},
        }
        for place, (a, b) in enumerate(zip(train, held_out, strict=True))
    ]
    return History(records, best, stopped)


@pytest.fixture(scope="module")
def plain() -> ist.Autoencoder:
    return fitted(lines(), shortcut=False)


def test_held_out_rows_far_above_training_rows_are_over_fitting(plain: ist.Autoencoder) -> None:
    plain.history_ = epochs([4, 2, 1], [4, 3, 2], best=3)
    finding = named(examine(plain, None), "Over-fitting")
    assert finding.verdict == "warning"
    assert "100% above" in finding.sentence


def test_a_loss_that_still_falls_asks_for_more_effort(plain: ist.Autoencoder) -> None:
    falling = [2.0 - 0.1 * i for i in range(10)]
    plain.history_ = epochs(falling, falling, best=10)
    finding = named(examine(plain, None), "Length of training")
    assert finding.verdict == "warning"
    assert "effort='thorough'" in finding.advice
    plain.history_ = epochs(falling, falling, best=10, stopped="early")
    assert named(examine(plain, None), "Length of training").verdict == "good"


def test_events_of_the_training_are_told(plain: ist.Autoencoder) -> None:
    plain.history_ = epochs([1], [1], best=1)
    plain.history_.events.append("The loss was not finite in epoch 1.")
    assert named(examine(plain, None), "During training").sentence == "The loss was not finite in epoch 1."


def test_errors_are_compared_in_words() -> None:
    assert compared(0.5, 1) == "50% below"
    assert compared(1.2, 1) == "20% above"
    assert compared(3, 1) == "3.0 times"
    assert compared(1.001, 1) == "as large as"
    assert compared(0, 0) == "as large as"


def test_displays_draw_from_an_estimator_and_keep_their_figure() -> None:
    import matplotlib.pyplot as plt

    X = lines()
    ae = fitted(X, latent_dim=3)
    displays = [
        ist.LearningCurveDisplay.from_estimator(ae),
        ist.BaselineDisplay.from_estimator(ae),
        ist.CodeMapDisplay.from_estimator(ae, X),
        ist.CodeMapDisplay.from_estimator(ae, X, np.arange(200) % 13),
        ist.ReconstructionDisplay.from_estimator(ae, X),
        ist.ReconstructionDisplay.from_estimator(ae, X.reshape(200, 8), which="typical"),
    ]
    for display in displays:
        assert display.ax_.figure is display.figure_
        display.figure_.canvas.draw()
    plt.close("all")


def test_a_display_draws_into_the_axes_it_is_given() -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert ist.LearningCurveDisplay([1, 2], [2.0, 1.0], [], best_epoch=2).plot(ax).ax_ is ax


def test_the_map_of_a_two_dimensional_code_is_the_code() -> None:
    from isthmus.apps.displays import flatten_codes

    codes = np.random.default_rng(0).normal(size=(30, 2))
    assert flatten_codes(codes)[0] is codes
    points, _ = flatten_codes(codes @ np.array([[1.0, 0, 2], [0, 1, 1]]))
    wide = codes @ np.array([[1.0, 0, 2], [0, 1, 1]])
    distances = np.linalg.norm(wide[:, None] - wide[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points[None], axis=-1), distances, atol=1e-9)


def test_one_row_has_a_place_on_the_map_and_a_report(tmp_path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 6))
    ae = ist.Autoencoder(latent_dim=3, max_epochs=2, random_state=0, verbose=False).fit(X)
    assert ist.report(ae, X[:1]).save(tmp_path / "one.html").exists()


def test_plots_and_the_explorer_have_the_same_colours() -> None:
    from isthmus.apps.displays import CATEGORIES

    palette = Path(__file__).parents[1] / "web/src/map/palette.ts"
    listed = palette.read_text().split("CATEGORIES = [")[1].split("]")[0]
    assert re.findall(r"#[0-9a-f]{6}", listed) == list(CATEGORIES)


def test_pca_is_no_yardstick_for_a_code_larger_than_the_input(digits: np.ndarray) -> None:
    ae = ist.top_k(latent_dim="2x", max_epochs=2, random_state=0, verbose=False).fit(digits)
    finding = next(f for f in ist.report(ae, digits).to_dict()["health"] if f["name"] == "Beside PCA")
    assert "no yardstick" in finding["sentence"]
    assert finding["verdict"] == "note"
