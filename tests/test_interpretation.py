"""What the numbers of a code stand for: held against PCA where the model is PCA, and against brute force where it is not."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap
from torch.nn import functional as F

import isthmus as ist
from isthmus.apps.interpretation import Around, decoder_moves, interpret
from isthmus.apps.page import heat, move_text
from isthmus.apps.report import report

QUIET = {"max_epochs": 3, "random_state": 0, "verbose": False}


def bent(rows: int = 120, width: int = 7) -> np.ndarray:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, 3)) * [3, 2, 1]
    return np.tanh(z @ rng.normal(size=(3, width))) + 0.3 * z @ rng.normal(size=(3, width))


def people(rows: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, rows)
    income = age * 700.0 + rng.normal(0, 4000, rows)
    return pd.DataFrame(
        {
            "age": age,
            "city": rng.choice(["Lisbon", "Porto", "<b>Faro</b>"], rows),
            "debt": np.where(rng.random(rows) < 0.1, np.nan, income * 0.3),
            "income": income,
            "rich": income > 35_000,
        }
    )


def test_a_linear_model_moves_what_the_loadings_of_pca_say() -> None:
    X = bent()
    ae = ist.Autoencoder(latent_dim=3, validation_fraction=0.0, **QUIET).fit(X)
    ae.model_.become_linear(ae.principal_)
    for step in (0.0, 1.0):
        found = interpret(ae, X, step)
        np.testing.assert_allclose(found.moves, np.abs(found.loadings), atol=1e-5)
        np.testing.assert_allclose(found.signed, found.loadings, atol=1e-5)
        best, cosine = found.nearest()
        np.testing.assert_array_equal(best, [0, 1, 2])
        np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_loadings_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    X = bent()
    ae = ist.Autoencoder(latent_dim=3, validation_fraction=0.0, **QUIET).fit(X)
    pca = PCA(3).fit(ae.codec_.encode(X).take(slice(None))[0].numpy())
    sd = np.sqrt(pca.explained_variance_ * (len(X) - 1) / len(X))
    expected = pca.components_ * sd[:, None]
    np.testing.assert_allclose(np.abs(interpret(ae, X).loadings), np.abs(expected), atol=1e-4)


def test_a_bent_model_moves_what_its_whole_jacobian_says() -> None:
    X = bent()
    ae = ist.Autoencoder(latent_dim=3, shortcut=False, **QUIET).fit(X)
    found = interpret(ae, X)
    codes = torch.from_numpy(ae.transform(X))
    jacobian = vmap(jacrev(lambda z: ae.decoder_(z[None])[0]))(codes)  # (n, d, k)
    moved = (jacobian * codes.double().std(0, correction=0)).movedim(2, 0).detach()  # (k, n, d)
    np.testing.assert_allclose(found.moves, moved.abs().mean(1).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.signed, moved.mean(1).numpy(), rtol=1e-4, atol=1e-6)
    assert found.rows == len(X)


def test_a_step_is_half_of_what_lies_between_up_and_down() -> None:
    X = people()
    ae = ist.Autoencoder(latent_dim=3, shortcut=False, **QUIET).fit(X)
    found = interpret(ae, X)
    assert found.step == 1.0  # there are categories
    z = torch.from_numpy(ae.transform(X))
    for j in range(3):
        raised = torch.zeros_like(z)
        raised[:, j] = z[:, j].std(correction=0)
        with torch.no_grad():
            moved = (ae.decoder_(z + raised) - ae.decoder_(z - raised)) / 2
        np.testing.assert_allclose(found.moves[j], moved.abs().mean(0).numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.signed[j], moved.mean(0).numpy(), rtol=1e-4, atol=1e-6)


class Toy(nn.Module):
    """A model that is a decoder."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.inner = decoder

    def decoder(self, z: torch.Tensor, told: torch.Tensor | None) -> torch.Tensor:
        return self.inner(z)


def test_a_channel_of_a_map_is_raised_everywhere_at_once(rng: torch.Generator) -> None:
    model = Toy(nn.Sequential(nn.ConvTranspose2d(3, 2, 2, stride=2), nn.Tanh(), nn.Conv2d(2, 1, 3, padding=1)))
    z, spread = torch.randn(5, 3, 2, 4, generator=rng), torch.rand(3, 2, 4, generator=rng)
    moves, signed = decoder_moves(model, Around(z, spread), np.array([0, 2]))
    jacobian = vmap(jacrev(lambda z: model.inner(z[None])[0]))(z)  # (n, 1, 4, 8, 3, 2, 4)
    moved = (jacobian * spread).sum((-1, -2)).movedim(-1, 0)[[0, 2]].detach()  # (2, n, 1, 4, 8)
    np.testing.assert_allclose(moves, moved.abs().mean(1).numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(signed, moved.mean(1).numpy(), rtol=1e-4, atol=1e-6)


class Attends(nn.Module):
    """A decoder with the fused kernel of attention, which can be differentiated only once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 36)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        q, k, v = self.linear(z).view(-1, 3, 3, 4).unbind(1)
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]


def test_a_decoder_that_attends_can_be_asked(rng: torch.Generator) -> None:
    model = Toy(Attends())
    z, spread = torch.randn(5, 4, generator=rng), torch.ones(4)
    moves, _ = decoder_moves(model, Around(z, spread), np.arange(4))
    rows = [torch.autograd.functional.jacobian(lambda z: model.inner(z[None])[0], row) for row in z]
    expected = torch.stack(rows).abs().mean(0).movedim(-1, 0)
    np.testing.assert_allclose(moves, expected.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.GRU, nn.LSTM])
def test_a_decoder_that_remembers_can_be_asked(layer: type[nn.GRU] | type[nn.LSTM], rng: torch.Generator) -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer(4, 3, batch_first=True)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.layer(z[:, None].expand(-1, 6, -1))[0]

    model = Toy(Remembers())
    z, spread = torch.randn(5, 4, generator=rng), torch.ones(4)
    moves, _ = decoder_moves(model, Around(z, spread), np.arange(4))
    rows = [torch.autograd.functional.jacobian(lambda z: model.inner(z[None])[0], row) for row in z]
    expected = torch.stack(rows).abs().mean(0).movedim(-1, 0)
    np.testing.assert_allclose(moves, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_of_a_long_code_the_numbers_that_vary_most_are_looked_at() -> None:
    X = np.random.default_rng(0).normal(size=(60, 6))
    ae = ist.sparse(100, max_epochs=1, random_state=0, verbose=False).fit(X)
    found = interpret(ae, X)
    assert found.moves.shape == (64, 6)
    spread = ae.transform(X).std(0)
    others = np.setdiff1d(np.arange(100), found.codes)
    assert spread[others].max() <= spread[found.codes].min()
    assert np.isfinite(found.nearest()[1]).all()  # numbers that never vary move nothing


def test_a_category_is_gathered_into_its_column_and_named_by_who_gains() -> None:
    X = people()
    ae = ist.Autoencoder(latent_dim=3, **QUIET).fit(X)
    found = interpret(ae, X)
    blocks = {block.column: block for block in ae.codec_.layout.blocks if not block.gap}
    columns = found.columns(found.moves)
    assert list(found.names) == ["age", "city", "debt", "income", "rich"]
    np.testing.assert_allclose(columns[:, 1], found.moves[:, blocks["city"].features].sum(1) / 2)
    for name in ("age", "debt", "income", "rich"):  # the indicator of a gap does not count
        np.testing.assert_allclose(columns[:, found.names.index(name)], found.moves[:, blocks[name].start])
    loading = np.zeros(ae.codec_.layout.size)
    decoded = X["city"].drop_duplicates().sort_values().tolist()
    loading[blocks["city"].features] = [-0.2, 0.5, -0.3]
    loading[blocks["age"].start] = -0.4
    city, age = found.most_moved(np.abs(loading), loading)
    assert (city.name, city.size, city.signed, city.towards) == ("city", pytest.approx(0.5), None, decoded[1])
    assert (age.name, age.size, age.signed) == ("age", pytest.approx(0.4), pytest.approx(-0.4))


def test_an_interpretation_is_plain_data_with_the_largest_first() -> None:
    X = people()
    facts = interpret(ist.Autoencoder(latent_dim=3, **QUIET).fit(X), X).to_dict()
    json.dumps(facts, allow_nan=False)
    sizes = [code["size"] for code in facts["codes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sorted(code["code"] for code in facts["codes"]) == [0, 1, 2]
    for code in facts["codes"]:
        assert 1 <= len(code["moves"]) <= 4
        assert [move["size"] for move in code["moves"]] == sorted((m["size"] for m in code["moves"]), reverse=True)


def test_only_some_rows_of_many_are_asked_and_always_the_same() -> None:
    X = bent(600)
    ae = ist.Autoencoder(latent_dim=2, shortcut=False, **QUIET).fit(X)
    first, second = interpret(ae, X), interpret(ae, X)
    assert first.rows == 256
    np.testing.assert_array_equal(first.moves, second.moves)


def test_a_model_with_a_condition_is_told_it() -> None:
    X = people()
    ae = ist.Autoencoder(latent_dim=2, condition=["city"], **QUIET).fit(X)
    assert np.isfinite(interpret(ae, X).moves).all()


# -- in the report


@pytest.mark.parametrize("latent_dim", [3, 12])
def test_the_page_shows_what_the_facts_say(latent_dim: int) -> None:
    X = pd.DataFrame(bent(120, 16), columns=[f"x{i}" for i in range(16)])
    found = report(ist.Autoencoder(latent_dim=latent_dim, **QUIET).fit(X), X)
    page, facts = found.to_html(), found.to_dict()["interpretation"]
    rows = re.findall(r"<tr><td>(\d+)</td>\s*<td>(x\d+) <b>([+−±][\d.]+)</b>", page)
    shown = facts["codes"][:8]
    assert [int(code) - 1 for code, _, _ in rows] == [code["code"] for code in shown]
    assert [name for _, name, _ in rows] == [code["moves"][0]["name"] for code in shown]
    assert [text for _, _, text in rows] == [move_text(code["moves"][0]) for code in shown]
    assert ("of 12 numbers, the 8 that move most" in page) == (latent_dim == 12)


def test_text_of_the_data_is_escaped_in_what_gains() -> None:
    X = people()
    found = report(ist.Autoencoder(latent_dim=3, **(QUIET | {"max_epochs": 20})).fit(X), X)
    page = found.to_html().split('<script type="application/json"', maxsplit=1)[0]
    assert "<b>Faro</b>" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "city <b>→ " in page


def test_images_are_interpreted_by_pictures(digits: np.ndarray) -> None:
    X = digits[:100].reshape(-1, 8, 8)
    page = report(ist.Autoencoder(latent_dim=5, **QUIET).fit(X), X).to_html()
    assert page.count('<img class="heat"') == 10
    assert 'alt="what code 5 moves"' in page


def test_colour_says_the_direction_and_strength_the_size() -> None:
    moves = np.array([[[2.0, -1.0], [0.0, 0.5]]])
    picture = heat(moves)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[..., 3], [[255, 128], [0, 64]])
    assert tuple(picture[0, 0, :3]) == (0x0B, 0x7A, 0x83)
    assert tuple(picture[0, 1, :3]) == (0xC2, 0x54, 0x0A)
    np.testing.assert_array_equal(heat(np.zeros((3, 2, 2)))[..., 3], 0)


def test_a_series_is_interpreted_by_curves() -> None:
    series = ist.Series(np.sin(np.arange(400) / 5), length=20, step=2)
    page = report(ist.Autoencoder(latent_dim=3, **QUIET).fit(series), series).to_html()
    assert 'aria-label="how each number of the code moves a window"' in page


def test_a_report_without_data_interprets_nothing() -> None:
    found = report(ist.Autoencoder(latent_dim=3, **QUIET).fit(bent()))
    assert found.interpretation is None
    assert "What the code stands for" not in found.to_html()


def test_a_move_whose_direction_depends_on_the_row_has_no_sign() -> None:
    assert move_text({"size": 0.5, "signed": 0.4, "towards": None}) == "+0.50"
    assert move_text({"size": 0.5, "signed": -0.4, "towards": None}) == "−0.50"
    assert move_text({"size": 0.5, "signed": 0.1, "towards": None}) == "±0.50"
    assert move_text({"size": 0.5, "signed": None, "towards": "Porto"}) == "→ Porto 0.50"


def test_a_decoder_told_its_condition_gets_it(rng: torch.Generator) -> None:
    model = Toy(nn.Linear(2, 3))
    told = torch.ones(4, 3)
    model.decoder = lambda z, told: model.inner(z) * told * 2  # pyright: ignore[reportAttributeAccessIssue]
    z = torch.randn(4, 2, generator=rng)
    moves, _ = decoder_moves(model, Around(z, torch.ones(2), told), np.arange(2))
    np.testing.assert_allclose(moves, 2 * model.inner.weight.T.abs().detach().numpy(), rtol=1e-5)
