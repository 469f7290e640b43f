"""The compiled engine walks the eager path, says what it cannot compute, and is chosen only where it pays."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import isthmus as ist
from isthmus.catalogue import Entry
from isthmus.engine import Engine, choice
from isthmus.engine.compiled import Compiled, is_at_hand
from isthmus.engine.eager import Eager
from isthmus.errors import SettingError, TrainingError
from isthmus.parts.networks.dropout import Dropout, draw_all_kept
from isthmus.training import Run, train
from samples import data_for, gappy
from test_engines import FLAT, TOLERANCE, begun, close, mlp, small

needs_numba = pytest.mark.skipif(not is_at_hand(), reason="numba is not installed")


def walked(ae: ist.Autoencoder, engine: type[Engine], X: Any, y: Any = None, weight: Any = None) -> Run:
    """Return the run of one epoch: the compiled engine in float32, the eager one in float64.

    Every weight is moved a little first. A model that starts as PCA has gradients that are exactly 0, of which float32 knows
    only the rounding, and Adam makes whole steps of that.
    """
    run, rng = begun(ae, X, y, weight), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    run.model.to(torch.float32 if engine is Compiled else torch.float64)
    run.optimizer.__init__(run.model.named_parameters(), run.plan.weight_decay)
    run.engine = lambda model, optimizer, steps: (engine(model, optimizer), "")
    train(run)
    return run


def agree(ae: ist.Autoencoder, X: Any, y: Any = None, weight: Any = None) -> None:
    close(walked(ae, Compiled, X, y, weight), walked(ae, Eager, X, y, weight), TOLERANCE)


@needs_numba
@pytest.mark.parametrize("entry", FLAT, ids=lambda entry: entry.name)
def test_a_variant_the_engine_claims_walks_the_eager_path(entry: Entry) -> None:
    X, y = data_for(entry.inputs)
    refusal = Compiled.refuses(begun(small(entry.name), X, y).model)
    if refusal:
        pytest.skip(refusal)
    agree(small(entry.name), X, y)


@pytest.mark.parametrize("name", ["vanilla", "linear", "denoising", "sparse", "variational", "beta_vae"])
def test_the_engine_claims_what_it_was_made_for(name: str) -> None:
    assert Compiled.refuses(begun(small(name), data_for("any")[0]).model) == ""


@needs_numba
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("output", ["identity", "sigmoid"])
def test_every_activation_has_its_derivative(activation: str, output: str) -> None:
    network = ist.MLP(hidden=(24, 12), activation=activation, output_activation=output)
    agree(mlp(network=network, shortcut=output == "identity"), data_for("any")[0])


@needs_numba
@pytest.mark.parametrize("is_weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("has_gaps", [False, True], ids=["full", "gappy"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"reconstruction": "huber", "penalties": [ist.L1(0.01), ist.L1(0.02)]},
        {"reconstruction": "bernoulli", "scale": "range", "bottleneck": ist.Plain("sigmoid")},
        {"bottleneck": ist.Gaussian(beta=0.5, warm_up=0.5), "reconstruction": "normal"},
        {"bottleneck": ist.Gaussian(), "penalties": ist.L1(0.1), "corruptions": ist.Masking(0.2)},
        {
            "network": ist.MLP(hidden=(24, 12), dropout=0.3),
            "corruptions": [ist.GaussianNoise((0.1, 0.4)), ist.Swap(0.2)],
            "weight_decay": 0.1,
        },
    ],
    ids=["plain", "huber", "bernoulli", "gaussian", "lasso", "noisy"],
)
def test_gaps_and_weights_enter_the_compiled_engine_too(settings: dict, has_gaps: bool, is_weighted: bool) -> None:
    X, _ = data_for("any")
    weight = np.random.default_rng(2).random(len(X)) + 0.5 if is_weighted else None
    agree(mlp(**settings), gappy(X) if has_gaps else X, weight=weight)


@needs_numba
@pytest.mark.parametrize("batch_size", [1, 7, 100])
@pytest.mark.parametrize("width", [1, 5, 16, 33, 70])
def test_no_width_and_no_batch_is_odd(width: int, batch_size: int) -> None:
    X = np.random.default_rng(width).normal(size=(60, width + 2))
    network = ist.MLP(hidden=(width,), activation="tanh")
    agree(mlp(network=network, latent_dim=max(1, width // 2), batch_size=batch_size), X)


@needs_numba
@pytest.mark.parametrize(
    ("rows", "columns", "inner"), [(1, 1, 1), (3, 40, 17), (8, 16, 16), (37, 31, 45), (64, 70, 130)]
)
def test_a_product_is_that_of_numpy_however_its_factors_lie(rows: int, columns: int, inner: int) -> None:
    from numba import njit

    from isthmus.engine.compiled.tile import PANEL, product

    multiply = njit(
        lambda a, sa, ta, b, sb, tb, z, sz, y, panel, m, n, k: product(a, sa, ta, b, sb, tb, z, sz, y, m, n, k, panel)
    )
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, inner)), rng.normal(size=(inner, columns))
    for z in (rng.normal(size=columns), rng.normal(size=(rows, columns))):
        for turned_a in (a, a.T):
            for turned_b in (b, b.T):
                y, panel = np.full(rows * columns, np.nan, np.float32), np.empty(inner * PANEL, np.float32)
                strides_a = (inner, 1) if turned_a is a else (1, rows)
                strides_b = (columns, 1) if turned_b is b else (1, inner)
                flats = (np.ascontiguousarray(m, np.float32).ravel() for m in (turned_a, turned_b, z))
                a_, b_, z_ = flats
                multiply(
                    a_, *strides_a, b_, *strides_b, z_, 0 if z.ndim == 1 else columns, y, panel, rows, columns, inner
                )
                assert np.allclose(y.reshape(rows, columns), a @ b + z, rtol=0, atol=1e-6 * (1 + inner))


@needs_numba
def test_activations_are_those_of_torch_to_the_last_digits_and_keep_what_is_no_number() -> None:
    from numba import njit

    from isthmus.engine.compiled.form import ACTIVATIONS
    from isthmus.engine.compiled.smooth import activate

    run = njit(lambda kind, a, slope: activate(kind, a, slope))
    x = np.concatenate([np.linspace(-40, 40, 4001), np.geomspace(1e-8, 1, 500), -np.geomspace(1e-8, 1, 500)])
    for module, kind in ACTIVATIONS.items():
        leaf = torch.tensor(x.astype(np.float32), dtype=torch.float64, requires_grad=True)
        known = module()(leaf)
        (slopes,) = torch.autograd.grad(known.sum(), leaf)
        a, slope = x.astype(np.float32), np.empty(len(x), np.float32)
        run(kind, a, slope)
        assert np.allclose(a, known.detach(), rtol=3e-7, atol=3e-7), module
        assert np.allclose(slope, slopes, rtol=0, atol=3e-6), module
        lost = np.full(3, np.nan, np.float32)
        run(kind, lost, lost.copy())
        assert np.isnan(lost).all(), module


@needs_numba
def test_a_block_may_be_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.engine.compiled import engine

    X, _ = data_for("any")
    ae = mlp(network=ist.MLP(hidden=(24,), dropout=0.2), bottleneck=ist.Gaussian(), corruptions=ist.Masking(0.2))
    whole = walked(ae, Compiled, X)
    monkeypatch.setattr(engine, "TOGETHER", 1)
    pieces = walked(ae, Compiled, X)
    assert whole.history.epochs[0]["train"] == pytest.approx(pieces.history.epochs[0]["train"])
    assert all(torch.equal(whole.model.state_dict()[name], value) for name, value in pieces.model.state_dict().items())


@needs_numba
@pytest.mark.parametrize(("first", "second"), [(Compiled, Eager), (Eager, Compiled), (Compiled, Compiled)])
def test_one_engine_goes_on_from_the_moments_of_another(first: type[Engine], second: type[Engine]) -> None:
    def gone_on(first: type[Engine], second: type[Engine]) -> float:
        ae, X = mlp(shortcut=False, max_epochs=2, weight_decay=0.1), data_for("any")[0]
        whole, run = begun(ae, X), begun(ae, X)
        for part, engine, epochs in ((whole, first, 1), (run, second, 2)):
            part.plan = part.plan._replace(epochs=epochs, constant_rate=True)
            part.engine = lambda model, optimizer, steps, engine=engine: (engine(model, optimizer), "")
            if part is run:
                run.model.load_state_dict(whole.model.state_dict())
                run.optimizer.restore(whole.optimizer.state())
                run.epoch = 1
            train(part)
        return run.history.epochs[0]["train"]["loss"]

    assert gone_on(first, second) == pytest.approx(gone_on(Eager, Eager), rel=TOLERANCE)


@needs_numba
def test_a_fit_by_the_compiled_engine_saves_loads_and_copies(tmp_path: Any) -> None:
    X, _ = data_for("any")
    ae = mlp(max_epochs=3, engine="compiled").fit(X)
    assert (ae.history_.engine, ae.history_.engine_note) == ("compiled", "")
    ae.save(str(tmp_path / "model"))
    for other in (ist.load(str(tmp_path / "model")), copy.deepcopy(ae)):
        assert np.array_equal(other.transform(X), ae.transform(X))


@needs_numba
def test_a_loss_that_is_not_finite_is_seen() -> None:
    X, _ = data_for("any")
    with pytest.raises(TrainingError, match="is not finite"):
        mlp(engine="compiled", learning_rate=1e30, shortcut=False).fit(X)


def test_the_engine_says_what_it_cannot_compute() -> None:
    X, _ = data_for("any")
    own = nn.Sequential(nn.Linear(X.shape[1], 8), nn.LeakyReLU(0.3)), nn.Sequential(nn.Linear(4, X.shape[1]))
    for settings, reason in (
        ({"network": ist.MLP(hidden=(8,), tied=True), "shortcut": False}, "two of its layers share their weights"),
        ({"bottleneck": ist.Binary(), "shortcut": False}, "Binary is not compiled"),
        ({"bottleneck": ist.Gaussian(free_bits=0.1)}, "a Gaussian code with a capacity or free bits is not compiled"),
        ({"reconstruction": "absolute_error"}, "AbsoluteError is not compiled"),
        ({"penalties": ist.Contractive()}, "Contractive asks for more than the code"),
        ({"penalties": ist.MMD()}, "MMD is not compiled"),
        ({"bottleneck": ist.Plain("softplus")}, "its network is not made of plain dense layers"),
        (
            {"network": ist.Modules(*own), "latent_dim": 4, "shortcut": False},
            "its network is not made of plain dense layers",
        ),
    ):
        with pytest.raises(SettingError, match=f"engine='compiled' cannot compute this model: {reason}"):
            mlp(engine="compiled", **settings).fit(X)
    run = begun(mlp(), X)
    run.model.double()
    assert Compiled.refuses(run.model) == "its weights are not float32"
    run.model.float().encoder.mean.requires_grad_()
    next(iter(run.model.parameters())).requires_grad_(False)
    assert Compiled.refuses(run.model) == "some of its weights are not trained"


def test_it_is_chosen_where_the_steps_pay_for_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    X, _ = data_for("any")
    model = begun(mlp(), X).model
    few = int(choice.START / (choice.SAVED + choice.SAVED_BY_WEIGHT * sum(p.numel() for p in model.parameters())))
    assert not choice.compiling_pays(model, few)
    assert choice.compiling_pays(model, few + 1)
    wide = begun(mlp(network=ist.MLP(hidden=(1024, 512))), X).model
    assert not choice.compiling_pays(wide, 10**9)
    run = begun(mlp(), X)
    monkeypatch.setattr(choice, "is_at_hand", lambda: False)
    engine, note = choice.chosen("auto", run.model, run.optimizer, 10**9)
    assert (engine.name, note) == ("dense", "")


def test_without_numba_the_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from isthmus.engine.compiled import engine

    engine.kernel.cache_clear()
    monkeypatch.setattr(engine, "is_at_hand", lambda: False)
    with pytest.raises(SettingError, match=r"engine='compiled' needs numba; .* pip install \"isthmus\[fast\]\""):
        mlp(engine="compiled").fit(data_for("any")[0])


def test_numba_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, numpy as np, isthmus as ist; X = np.random.default_rng(0).normal(size=(60, 5));"
        "ist.Autoencoder(max_epochs=1, verbose=False).fit(X); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@needs_numba
def test_the_kernel_is_compiled_anew_when_no_folder_can_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    from isthmus.engine.compiled import kernel

    asked = []

    def njit(**settings: Any) -> Any:
        asked.append(settings.get("cache", False))
        if settings.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**settings)

    monkeypatch.setattr(kernel, "njit", njit)
    assert callable(kernel.made())
    assert asked == [True, False]


@pytest.mark.parametrize(
    "layers", [[Dropout(0.3), Dropout(0.1)], [Dropout(0.3), nn.Dropout(0.5)]], ids=["ours", "torch's"]
)
def test_masks_of_many_batches_are_those_that_batch_after_batch_draws(layers):
    widths, sizes = (5, 9), [7, 7, 7, 3]
    masks, expected = ([torch.empty(sum(sizes), width) for width in widths] for _ in range(2))
    torch.manual_seed(1)
    draw_all_kept(layers, masks, sizes)
    torch.manual_seed(1)
    for start, size in zip((0, 7, 14, 21), sizes, strict=True):
        for layer, width, mask in zip(layers, widths, expected, strict=True):
            mask[start : start + size] = layer.train()(torch.ones(size, width))
    assert all(torch.equal(mask, by_batch) for mask, by_batch in zip(masks, expected, strict=True))
