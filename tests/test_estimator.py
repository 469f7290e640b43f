"""The estimator: scikit-learn's contract, reproducibility, and what its answers mean."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import isthmus as ist
from isthmus.catalogue import VARIANTS
from isthmus.errors import DataError, SettingError
from isthmus.scores import judge_floor

QUICK = {"max_epochs": 3, "random_state": 0, "verbose": False}


def expected_failures(estimator: object) -> dict[str, str]:
    reason = (
        "mini-batches and a held-out part cannot make a weight equal a repetition bit for bit; tested in expectation"
    )
    return {
        "check_sample_weight_equivalence_on_dense_data": reason,
        "check_sample_weight_equivalence_on_sparse_data": reason,
    }


@parametrize_with_checks(
    [
        ist.Autoencoder(verbose=False, effort="quick"),
        *(
            ist.variant(entry.name, max_epochs=3, verbose=False)
            for entry in VARIANTS
            if entry.inputs in ("any", "labels")
        ),
    ],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("default")  # the checks feed estimators what they should warn about
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


def test_a_weight_of_two_counts_as_two_rows_in_expectation() -> None:
    """With no held-out part, no dropout and one batch an epoch, weights and repetitions take the same steps."""
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(40, 5)), rng.integers(1, 4, size=40)
    settings = {
        "latent_dim": 2,
        "validation_fraction": 0.0,
        "batch_size": 1000,
        "scale": "none",
        "network": ist.MLP((8,)),
    }
    weighted = ist.Autoencoder(**settings, **QUICK).fit(X, sample_weight=weight)
    repeated = ist.Autoencoder(**settings, **QUICK).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.principal_.directions, repeated.principal_.directions, atol=1e-5)
    np.testing.assert_allclose(weighted.history_.curve(), repeated.history_.curve(), rtol=1e-4)


# -- floor


def test_without_training_the_shortcut_is_pca(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=6, validation_fraction=0.0, **QUICK).fit(digits)
    ae.model_.become_linear(ae.principal_)
    pca = PCA(6, svd_solver="full").fit(digits)
    np.testing.assert_allclose(ae.reconstruct(digits), pca.inverse_transform(pca.transform(digits)), atol=2e-3)


@pytest.mark.parametrize("network", ["mlp", "conv", "modules"])
def test_every_family_of_networks_starts_at_pca(network: str, digits: np.ndarray) -> None:
    images = digits.reshape(-1, 8, 8)
    if network == "modules":
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU())
        network = ist.Modules(encoder, nn.Sequential(nn.Linear(6, 64), nn.Unflatten(1, (1, 8, 8))))
    ae = ist.Autoencoder(latent_dim=6, network=network, shortcut=True, **QUICK).fit(images)
    ae.model_.become_linear(ae.principal_)
    scores = ist.Autoencoder.score_samples(ae, images)
    pca = PCA(6, svd_solver="full").fit(np.delete(digits, ae.held_out_, axis=0))
    errors = ((pca.inverse_transform(pca.transform(digits)) - digits) ** 2).sum(1) / 16.0**2
    np.testing.assert_allclose(-scores, errors, rtol=1e-3, atol=1e-4)


def test_noise_is_left_to_pca() -> None:
    X = np.random.default_rng(0).normal(size=(400, 12))
    ae = ist.Autoencoder(latent_dim=4, random_state=0, max_epochs=30, verbose=False).fit(X)
    assert ae.floor_ is not None
    assert not ae.floor_.kept
    pca = PCA(4).fit(X)
    np.testing.assert_allclose(ae.reconstruct(X), pca.inverse_transform(pca.transform(X)), atol=1e-4)


def test_what_pca_cannot_bend_the_network_can() -> None:
    t = np.random.default_rng(0).uniform(-2, 2, size=(2000, 1))
    X = np.hstack([t, t**2, np.sin(2 * t)])
    ae = ist.Autoencoder(latent_dim=1, random_state=0, verbose=False, effort="quick").fit(X)
    assert ae.floor_ is not None
    assert ae.floor_.kept
    assert ae.scores_["model"]["squared_error"] < 0.2 * ae.scores_["pca"]["squared_error"]


def test_a_linear_autoencoder_from_a_random_start_spans_the_pca_subspace() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 10)) * [3.0] + 0.1 * rng.normal(size=(2000, 10))
    ae = ist.vanilla(
        latent_dim=3, activation="identity", random_state=0, verbose=False, max_epochs=150, validation_fraction=0.0
    ).fit(X)
    assert not ae.settings_["shortcut"]
    learned = np.linalg.qr(ae.decoder_.body[1].weight.detach().numpy().astype(float))[0]
    cosines = np.linalg.svd(learned.T @ PCA(3).fit(X).components_.T)[1]
    assert np.degrees(np.arccos(np.clip(cosines, -1, 1))).max() < 1.0


# -- reproducibility


def test_the_same_seed_gives_the_same_bits(digits: np.ndarray) -> None:
    one, two = (ist.variational(latent_dim=3, **QUICK).fit(digits) for _ in range(2))
    assert np.array_equal(one.transform(digits), two.transform(digits))
    other = ist.variational(latent_dim=3, **(QUICK | {"random_state": 1})).fit(digits)
    assert not np.array_equal(one.transform(digits), other.transform(digits))


def test_the_users_generators_are_left_alone(digits: np.ndarray) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()
    ae = ist.Autoencoder(latent_dim=3, network=ist.MLP(hidden=(8,), dropout=0.2), **QUICK).fit(digits)
    ae.transform(digits)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numbers)


def test_weights_are_drawn_without_asking_for_a_gpu(digits: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model on the CPU asked for a GPU")

    monkeypatch.setattr(torch.cuda, "device_count", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    ist.Autoencoder(latent_dim=3, **(QUICK | {"device": "cpu"})).fit(digits[:10])  # so few rows are not trained on


@pytest.mark.parametrize("kind", ["array", "images", "table"])
def test_a_rows_result_does_not_depend_on_the_rows_around_it(kind: str, digits: np.ndarray) -> None:
    X = digits[:300]
    if kind == "images":
        X = X.reshape(-1, 8, 8)
        ae = ist.convolutional(latent_dim=4, **QUICK).fit(X)
    elif kind == "table":
        pd = pytest.importorskip("pandas")
        X = pd.DataFrame(X[:, 2:6]).assign(kind=np.where(X[:, 3] > 3, "a", "b")).rename(columns=str)
        ae = ist.Autoencoder(latent_dim=3, **QUICK).fit(X)
    else:
        ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(X)
    Z, errors = ae.transform(X), ae.reconstruction_error(X)
    for i in (0, 1, 17, 150, 299):
        assert np.array_equal(ae.transform(X[i : i + 1])[0], Z[i])
        assert ae.reconstruction_error(X[i : i + 1])[0] == errors[i]


# -- answers


def test_reconstruct_is_inverse_transform_of_transform(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    assert np.array_equal(ae.reconstruct(digits), ae.inverse_transform(ae.transform(digits)))


def test_the_error_of_a_sample_is_the_sum_over_its_columns(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    per_cell = ae.reconstruction_error(digits, by="column")
    assert per_cell.shape == digits.shape
    np.testing.assert_allclose(per_cell.sum(1), ae.reconstruction_error(digits), rtol=1e-5)
    np.testing.assert_allclose(-ae.score_samples(digits), ae.reconstruction_error(digits), rtol=1e-5)


def test_encoder_and_decoder_are_plain_modules_that_live_apart(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    x, _ = ae.codec_.encode(digits).take(slice(0, 50))
    with torch.no_grad():
        z = ae.encoder_(x)
        x_hat = ae.decoder_(z)
    np.testing.assert_allclose(z.numpy(), ae.transform(digits[:50]), atol=1e-5)
    np.testing.assert_allclose(ae.codec_.decode(x_hat.numpy()), ae.reconstruct(digits[:50]), atol=1e-3)
    classifier = nn.Sequential(ae.encoder_, nn.Linear(4, 10))
    classifier(x).sum().backward()
    assert all(p.grad is not None for p in ae.encoder_.parameters())


def test_partial_fit_freezes_the_scale_at_its_first_call(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, random_state=0, verbose=False)
    ae.partial_fit(digits[:500])
    codec = ae.codec_
    first = ae.reconstruction_error(digits).mean()
    for _ in range(10):
        ae.partial_fit(digits[500:1500] * 1.0)
    assert ae.codec_ is codec
    assert ae.n_iter_ == 11
    assert ae.reconstruction_error(digits).mean() < first


def test_partial_fit_goes_on_from_a_fitted_or_loaded_model(digits: np.ndarray, tmp_path) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    assert np.array_equal(ae.partial_fit(digits).transform(digits), loaded.partial_fit(digits).transform(digits))
    assert loaded.n_iter_ == 4


def test_latent_dim_auto_explains_nine_tenths_of_the_variance(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(validation_fraction=0.0, **QUICK).fit(digits)
    explained = PCA().fit(digits).explained_variance_ratio_.cumsum()
    assert ae.latent_dim_ == int((explained < 0.9).sum()) + 1


def test_samples_of_a_variational_autoencoder_look_like_the_data(digits: np.ndarray) -> None:
    ae = ist.variational(latent_dim=4, **QUICK).fit(digits)
    samples = ae.sample(7, random_state=0)
    assert samples.shape == (7, 64)
    assert np.array_equal(samples, ae.sample(7, random_state=0))


def test_a_plain_code_is_sampled_through_a_mixture(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    samples = ae.sample(500, random_state=0)
    codes, drawn = ae.transform(digits), ae.transform(samples)
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.25 * codes.std())
    np.testing.assert_allclose(drawn.std(0), codes.std(0), rtol=0.25)


def test_sparse_codes_are_mostly_zero(digits: np.ndarray) -> None:
    ae = ist.sparse(latent_dim=100, weight=0.3, random_state=0, max_epochs=20, verbose=False).fit(digits)
    codes = ae.transform(digits)
    loose = ist.sparse(latent_dim=100, weight=1e-6, random_state=0, max_epochs=20, verbose=False).fit(digits)
    assert (codes > 0).mean() < 0.5 * (loose.transform(digits) > 0).mean()


def test_denoising_restores_better_than_an_autoencoder_that_never_saw_noise(digits: np.ndarray) -> None:
    settings = {"latent_dim": 24, "random_state": 0, "effort": "quick", "verbose": False}
    clean = digits[1500:]
    noisy = clean + np.random.default_rng(0).normal(size=clean.shape) * 2.5
    errors = {
        name: float(((ae.fit(digits[:1500]).reconstruct(noisy) - clean) ** 2).mean())
        for name, ae in (("plain", ist.Autoencoder(**settings)), ("denoising", ist.denoising(noise=0.5, **settings)))
    }
    assert errors["denoising"] < 0.9 * errors["plain"]
    assert errors["denoising"] < 0.9 * float(((noisy - clean) ** 2).mean())


# -- what goes in


def test_sparse_matrices_give_what_dense_ones_give() -> None:
    X = sparse.random(200, 30, density=0.1, random_state=0, format="csr")
    dense = ist.Autoencoder(latent_dim=4, **QUICK).fit(X.toarray())
    thin = ist.Autoencoder(latent_dim=4, **QUICK).fit(X)
    np.testing.assert_allclose(thin.principal_.directions, dense.principal_.directions, atol=1e-4)
    np.testing.assert_allclose(thin.history_.curve(), dense.history_.curve(), rtol=1e-3)
    np.testing.assert_allclose(thin.transform(X), thin.transform(X.toarray()), atol=1e-5)


def test_a_tensor_gives_what_its_array_gives(digits: np.ndarray) -> None:
    one = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits).transform(digits)
    two = ist.Autoencoder(latent_dim=4, **QUICK).fit(torch.from_numpy(digits)).transform(torch.from_numpy(digits))
    assert np.array_equal(one, two)


def test_gaps_in_an_array_are_masked_not_filled(digits: np.ndarray) -> None:
    X = digits.copy()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    ae = ist.Autoencoder(latent_dim=8, **QUICK).fit(X)
    errors = ae.reconstruction_error(X, by="column")
    assert (errors[np.isnan(X)] == 0).all()
    assert np.isfinite(ae.reconstruct(X)).all()


def test_series_are_learned_window_by_window() -> None:
    t = np.arange(3000)
    values = np.stack([np.sin(t / 10), np.cos(t / 17)], 1)
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(ist.Series(values, length=48, step=4))
    windows = ae.reconstruct(ist.Series(values, length=48, step=4))
    assert windows.shape[1:] == (48, 2)
    assert ae.scores_["model"]["explained"] > 0.9


def test_it_works_in_a_pipeline_and_a_grid_search(digits: np.ndarray) -> None:
    pipeline = make_pipeline(StandardScaler(), ist.variational(latent_dim=2, **QUICK))
    search = GridSearchCV(
        pipeline,
        {"autoencoder__bottleneck__beta": [0.5, 1.0], "autoencoder__latent_dim": [2, 3]},
        scoring=lambda fitted, X: float(fitted.score_samples(X).mean()),
        cv=2,
    ).fit(digits[:200])
    assert search.best_estimator_.transform(digits).shape == (
        len(digits),
        search.best_params_["autoencoder__latent_dim"],
    )


def test_set_output_gives_named_columns(digits: np.ndarray) -> None:
    pytest.importorskip("pandas")
    codes = ist.Autoencoder(latent_dim=2, **QUICK).set_output(transform="pandas").fit(digits).transform(digits)
    assert list(codes.columns) == ["autoencoder0", "autoencoder1"]


def test_an_estimator_survives_clone_and_pickle(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=2, bottleneck=ist.Gaussian(2.0), penalties=[ist.L1(0.1)], **QUICK).fit(digits)
    assert clone(ae).get_params()["bottleneck__beta"] == 2.0
    assert np.array_equal(pickle.loads(pickle.dumps(ae)).transform(digits), ae.transform(digits))


# -- refusals


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"latent_dim": 64}, "latent_dim=64 is not smaller than the 64 input numbers"),
        ({"latent_dim": 0}, "latent_dim=0 must be at least 1"),
        ({"latent_dim": 2.5}, "must be a whole number"),
        ({"effort": "heroic"}, "choose one of quick, default, thorough"),
        ({"network": "perceptron"}, "use 'mlp', 'conv'"),
        ({"network": "conv"}, "needs images"),
        ({"bottleneck": "bottle"}, "use 'plain', 'bare', 'gaussian'"),
        ({"reconstruction": "mixed"}, "is for tables"),
        ({"shortcut": True, "bottleneck": "gaussian"}, "use shortcut='auto'"),
        ({"validation_fraction": 1.0}, "must be at least 0 and below 1"),
        ({"learning_rate": -1}, "must be a positive number"),
        ({"engine": "steam"}, "use 'auto', 'eager', 'dense'"),
        ({"device": "abacus"}, "is not known to torch"),
        ({"network": ist.MLP(hidden=(0,))}, "every width must be at least 1"),
        ({"corruptions": [ist.L1()]}, "takes Corruption parts"),
        ({"scale": "feet"}, "scale"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(settings, sentence: str, digits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=sentence):
        ist.Autoencoder(**(QUICK | settings)).fit(digits)


@pytest.mark.parametrize(
    "settings",
    [
        {"corruptions": ist.GaussianNoise(0.1)},
        {"penalties": ist.L1(0.1)},
        {"bottleneck": "gaussian"},
        {"network": ist.MLP(hidden=(8,), dropout=0.1)},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_a_large_code_that_something_holds_is_accepted(settings, digits: np.ndarray) -> None:
    assert ist.Autoencoder(latent_dim=70, **QUICK, **settings).fit(digits).transform(digits).shape == (len(digits), 70)


def test_bad_codes_are_refused(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=4, **QUICK).fit(digits)
    with pytest.raises(SettingError, match=r"are \(n, 4\), but these are \(2, 3\)"):
        ae.inverse_transform(np.zeros((2, 3)))
    with pytest.raises(SettingError, match="NaN or infinite"):
        ae.inverse_transform(np.full((2, 4), np.nan))


def test_bad_rows_are_refused(digits: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1 sample"):
        ist.Autoencoder(**QUICK).fit(digits[:1])
    with pytest.raises(ValueError, match="infinity"):
        ist.Autoencoder(**QUICK).fit(np.where(digits > 15, np.inf, digits))
    with pytest.raises(DataError, match=r"expects images of the shape \(1, 8, 8\)"):
        ist.Autoencoder(latent_dim=2, **QUICK).fit(digits.reshape(-1, 8, 8)).transform(digits)


def test_a_users_own_modules_train_and_load(digits: np.ndarray, tmp_path) -> None:
    encoder = nn.Sequential(nn.Linear(64, 20), nn.ReLU())
    decoder = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 64))
    ae = ist.Autoencoder(network=(encoder, decoder), latent_dim=5, **QUICK).fit(digits)
    ae.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model", network=(encoder, decoder))
    assert np.array_equal(loaded.transform(digits), ae.transform(digits))
    with pytest.raises(SettingError, match="pass both modules"):
        ist.load(tmp_path / "model")


# -- weights


def test_a_weight_counts_in_every_batch_size(digits: np.ndarray) -> None:
    """Rows of weight 100 pull harder than rows of weight 1, even when each is a batch of its own."""
    X = digits[:60]
    weight = np.where(np.arange(60) < 30, 100.0, 1.0)
    settings = {
        "latent_dim": 2,
        "shortcut": False,
        "batch_size": 1,
        "network": ist.MLP((8,)),
        "validation_fraction": 0.0,
    }
    plain = ist.Autoencoder(**settings, **QUICK).fit(X)
    weighted = ist.Autoencoder(**settings, **QUICK).fit(X, sample_weight=weight)
    heavy, light = (slice(0, 30), slice(30, 60))
    ratio = [
        ae.reconstruction_error(X[heavy]).mean() / ae.reconstruction_error(X[light]).mean() for ae in (plain, weighted)
    ]
    assert ratio[1] < ratio[0]


def test_rows_of_weight_zero_neither_train_nor_judge(digits: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 8))
    noise = rng.normal(size=(600, 8)) * 5
    weight = np.r_[np.ones(300), np.zeros(600)]
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(np.vstack([low_rank, noise]), sample_weight=weight)
    assert ae.held_out_.max() < 300
    assert ae.scores_["model"]["explained"] > 0.999


# -- shapes that kernels round differently


@pytest.mark.parametrize(("width", "latent_dim"), [(17, 5), (33, 9), (7, 3)])
def test_equal_rows_get_equal_codes_wherever_they_lie(width: int, latent_dim: int) -> None:
    X = np.random.default_rng(0).normal(size=(300, width))
    ae = ist.Autoencoder(latent_dim=latent_dim, network=ist.MLP((12,)), **QUICK).fit(X)
    repeated = np.repeat(X[:1], 300, axis=0)
    for answer in (ae.transform, ae.score_samples, ae.reconstruct):
        values = answer(repeated)
        assert np.array_equal(values, np.repeat(values[:1], 300, axis=0))


# -- the floor, again


def test_a_numeric_table_does_not_lose_to_pca() -> None:
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1500, 2)) @ rng.normal(size=(2, 5)) + 0.5 * rng.normal(size=(1500, 5)))
    frame.columns = list("abcde")
    ae = ist.Autoencoder(latent_dim=2, random_state=0, verbose=False).fit(frame)
    assert ae.scores_["model"]["squared_error"] <= 1.02 * ae.scores_["pca"]["squared_error"]


def test_modules_that_end_in_an_activation_start_at_pca_too(digits: np.ndarray) -> None:
    decoder = nn.Sequential(nn.Linear(4, 64), nn.Sigmoid())
    ae = ist.Autoencoder(network=(nn.Linear(64, 16), decoder), latent_dim=4, **QUICK).fit(digits[:15])
    pca = PCA(4).fit(digits[:15])
    np.testing.assert_allclose(
        ae.reconstruct(digits[:15]), pca.inverse_transform(pca.transform(digits[:15])), atol=1e-3
    )


def test_few_rows_are_left_to_pca_without_training() -> None:
    ae = ist.Autoencoder(latent_dim=1, **QUICK).fit(np.random.default_rng(0).normal(size=(12, 4)))
    assert ae.n_iter_ == 0
    assert "the model is PCA" in ae.history_.events[0]


# -- form


def test_a_table_comes_back_with_its_index_and_family() -> None:
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40)}, index=np.arange(100, 140))
    frame["c"] = frame["a"] + frame["b"]
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(frame)
    assert list(ae.reconstruct(frame).index) == list(range(100, 140))
    assert isinstance(ae.reconstruct(pl.from_pandas(frame)), pl.DataFrame)


def test_a_tensor_comes_back_as_a_tensor(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(torch.from_numpy(digits))
    assert isinstance(ae.reconstruct(torch.from_numpy(digits)), torch.Tensor)


def test_a_failed_refit_leaves_nothing_half_learned(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(digits)
    with pytest.raises(SettingError):
        ae.set_params(max_epochs=0).fit(digits * 7)
    assert not [name for name in vars(ae) if name.endswith("_")]


def test_an_estimator_does_not_carry_its_rows_along(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=2, network=ist.MLP((4,)), random_state=0, verbose=False)
    small = len(pickle.dumps(ae.partial_fit(digits[:100])))
    large = len(pickle.dumps(ae.partial_fit(np.repeat(digits, 20, axis=0))))
    assert ae.codes_.shape == (20_000, 2)  # so many codes are kept, for samplers; nothing else grows with the rows
    assert large < 1.1 * small + ae.codes_.nbytes


def test_without_random_state_numpys_generator_is_left_alone_too(digits: np.ndarray) -> None:
    before = np.random.get_state()[1].copy()
    ist.Autoencoder(latent_dim=2, max_epochs=1, verbose=False).fit(digits)
    assert np.array_equal(np.random.get_state()[1], before)


def test_penalties_of_one_name_are_all_counted(digits: np.ndarray) -> None:
    ae = ist.Autoencoder(latent_dim=2, penalties=(ist.L1(1.0), ist.L1(2.0)), **QUICK).fit(digits)
    train = ae.history_.epochs[0]["train"]
    assert train["l1_2"] == pytest.approx(2 * train["l1"], rel=1e-4)


def test_a_penalty_may_differentiate_the_encoder(digits: np.ndarray) -> None:
    class Steepness(ist.L1.__mro__[1]):
        def get_params(self, deep: bool = True) -> dict:
            return {}

        def __call__(self, step) -> torch.Tensor:
            x = step.batch.x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(step.encode(x).sum(), x, create_graph=True)
            return slope.square().sum(1)

    ae = ist.Autoencoder(latent_dim=2, penalties=Steepness(), **QUICK).fit(digits)
    assert ae.history_.epochs[-1]["train"]["steepness"] > 0


def test_bernoulli_calls_what_overshoots_odd() -> None:
    X = np.random.default_rng(0).random((200, 6))
    ae = ist.Autoencoder(latent_dim=2, reconstruction="bernoulli", **QUICK).fit(X)
    assert ae.score_samples(50 * X).mean() < ae.score_samples(X).mean()
    with pytest.raises(SettingError, match=r"use scale='auto'"):
        ist.Autoencoder(latent_dim=2, reconstruction="bernoulli", scale="common", **QUICK).fit(X)


def test_a_likelihood_for_numbers_refuses_categories() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": np.arange(40.0) ** 0.5, "b": np.arange(40.0) % 7, "c": ["x", "y"] * 20})
    with pytest.raises(SettingError, match="column 'c' is none"):
        ist.Autoencoder(latent_dim=1, reconstruction="huber", **QUICK).fit(frame)
    ist.Autoencoder(latent_dim=1, reconstruction="normal", **QUICK).fit(frame[["a", "b"]])


def test_the_end_of_a_series_is_held_out_without_overlap() -> None:
    t = np.arange(600.0)
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(ist.Series(np.sin(t / 9), length=24, step=2))
    windows = (600 - 24) // 2 + 1
    assert ae.held_out_.tolist() == list(range(windows - len(ae.held_out_), windows))
    short = ist.Autoencoder(latent_dim=2, **QUICK).fit(ist.Series(np.sin(np.arange(150.0) / 9), length=96))
    assert len(short.held_out_) == 0


# -- what newcomers try


def test_a_grid_search_needs_no_scorer(digits: np.ndarray) -> None:
    search = GridSearchCV(ist.variational(latent_dim=2, **QUICK), {"bottleneck__beta": [1, 4]}, cv=2).fit(digits[:200])
    assert search.best_params_["bottleneck__beta"] in (1, 4)


def test_tables_joined_from_pieces_are_learned() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": np.arange(40.0) ** 0.5, "b": ["x", "y"] * 20, "c": np.arange(40.0) % 7})
    joined = pd.concat([frame, frame], ignore_index=True)
    ae = ist.Autoencoder(latent_dim=2, **QUICK).fit(joined)
    assert list(ae.reconstruct(joined)["b"].unique()) != []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"penalties": ist.L1(-1.0)}, r"L1\(weight=-1.0\) must be a number of at least 0"),
        ({"bottleneck": ist.Gaussian(beta=-1)}, r"Gaussian\(beta=-1\)"),
        ({"corruptions": ist.GaussianNoise(float("nan"))}, r"GaussianNoise\(sigma=nan\)"),
        ({"callbacks": [print]}, "has none of the methods on_train_begin"),
    ],
    ids=str,
)
def test_parts_that_make_no_sense_are_refused(settings, sentence: str, digits: np.ndarray) -> None:
    with pytest.raises(SettingError, match=sentence):
        ist.Autoencoder(latent_dim=2, **QUICK, **settings).fit(digits)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_a_sentence(digits: np.ndarray) -> None:
    with pytest.raises(SettingError, match="torch sees no GPU here"):
        ist.Autoencoder(latent_dim=2, device="cuda", **QUICK).fit(digits)


def test_numbers_too_large_to_square_are_a_sentence(digits: np.ndarray) -> None:
    with (
        np.errstate(over="ignore"),
        pytest.raises(DataError, match="cannot be squared in float64; divide the data by a power of ten"),
    ):
        ist.Autoencoder(latent_dim=2, **QUICK).fit(digits * 1e200)


def test_a_path_is_no_data() -> None:
    with pytest.raises(DataError, match=r"read it first: isthmus.read\('table.csv'\)"):
        ist.Autoencoder(**QUICK).fit("table.csv")


def test_read_only_arrays_are_accepted_in_silence(digits: np.ndarray) -> None:
    X = digits.astype(np.float32)
    X.setflags(write=False)
    ist.Autoencoder(latent_dim=2, scale="none", **QUICK).fit(X)


def test_the_floor_is_judged_by_what_is_saved_beyond_doubt() -> None:
    rng = np.random.default_rng(0)
    linear = rng.gamma(2.0, size=500)
    better, same, worse = 0.5 * linear, linear + 0.3 * rng.normal(size=500), 1.5 * linear
    assert judge_floor(linear, better).kept
    assert not judge_floor(linear, worse).kept
    gain, error = judge_floor(linear, same)[1:]
    assert error is not None
    assert abs(gain) < 3 * error
    stray = better.copy()
    stray[0] += 5000.0  # one row that says nothing about the others
    assert judge_floor(linear, stray).kept
    stray[:20] += 5000.0  # a kind of row that the network does not understand
    assert not judge_floor(linear, stray).kept


def test_a_weighted_floor_equals_that_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    linear, trained, weight = rng.random(50), rng.random(50), rng.integers(1, 4, 50)
    weighted = judge_floor(linear, trained, torch.from_numpy(weight.astype(np.float32)))
    repeated = judge_floor(np.repeat(linear, weight), np.repeat(trained, weight))
    assert weighted.gain == pytest.approx(repeated.gain)
