"""What the explorer shows is what the library says: maps, previews, walks, odd rows, neighbours, colours."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import isthmus as ist
from isthmus.apps.exploring import Exploration
from isthmus.apps.exploring.colours import MOST_GROUPS, OTHERS, Colour
from isthmus.apps.exploring.maps import NEAREST, Neighbourhoods, Plane, lay_out
from isthmus.errors import DataError, DataWarning, SettingError
from isthmus.web.exploring import Explorer
from isthmus.web.refusals import Refused

QUICK: dict[str, Any] = {"max_epochs": 2, "random_state": 0, "verbose": False}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.choice(["oak", "ash", None], 120)
    return pd.DataFrame(
        {"tall": rng.normal(9, 2, 120), "age": rng.integers(1, 90, 120), "kind": kind, "sick": kind == "ash"}
    )


@pytest.fixture(scope="module")
def explored(digits: np.ndarray) -> Exploration:
    X = digits[:200]
    return Exploration(ist.Autoencoder(latent_dim=5, **QUICK).fit(X), X, np.arange(200) % 3)


@pytest.fixture(scope="module")
def trees(table: pd.DataFrame) -> Exploration:
    known = table[["tall", "age", "kind"]]
    return Exploration(ist.Autoencoder(latent_dim=2, **QUICK).fit(known), known, table=table)


# -- maps -------------------------------------------------------------------------------------------------------------


def test_the_map_of_long_codes_is_their_plane_of_principal_components(explored: Exploration) -> None:
    right = PCA(2).fit(explored.codes.astype(np.float64))
    points = right.transform(explored.codes)
    sign = np.sign((points * explored.points).sum(0))
    np.testing.assert_allclose(explored.points, points * sign, atol=1e-4)
    shares = [f"({100 * share:.0f}%)" for share in right.explained_variance_ratio_]
    assert [axis.rpartition(" ")[2] for axis in explored.map.axes] == shares


def test_codes_of_two_numbers_are_the_map(trees: Exploration) -> None:
    assert np.array_equal(trees.points, trees.codes)
    assert trees.map.axes == ("code 1", "code 2")


def test_a_code_lifted_from_a_point_lies_at_that_point_and_stays_put_across_the_plane(explored: Exploration) -> None:
    plane = explored.map
    assert isinstance(plane, Plane)
    code = explored.code_at((0.3, -0.7), row=4)
    np.testing.assert_allclose(plane.place(code[None])[0], (0.3, -0.7), atol=1e-5)
    moved = code.astype(np.float64) - explored.codes[4]
    np.testing.assert_allclose(moved, moved @ plane.directions.T @ plane.directions, atol=1e-5)
    np.testing.assert_allclose(explored.code_at(explored.points[4].tolist(), row=4), explored.codes[4], atol=1e-5)


def test_a_map_that_cannot_be_undone_is_undone_by_neighbours() -> None:
    rng = np.random.default_rng(0)
    codes, points = rng.normal(size=(50, 4)), rng.normal(size=(50, 2)).astype(np.float32)
    found = Neighbourhoods(points, codes).lift(np.zeros(2), codes[0])
    away = np.linalg.norm(points.astype(np.float64), axis=1)
    near = np.argsort(away)[:NEAREST]
    np.testing.assert_allclose(found, np.average(codes[near], axis=0, weights=1 / away[near] ** 2), rtol=1e-5)
    assert np.array_equal(Neighbourhoods(points, codes).place(codes[[7]]), points[[7]])


def test_a_code_of_one_number_lies_on_a_line() -> None:
    plane = lay_out(np.arange(5.0)[:, None])
    assert np.array_equal(plane.points, np.stack([np.arange(5), np.zeros(5)], 1))


def test_an_unknown_map_is_refused() -> None:
    with pytest.raises(SettingError, match="'tsne' is not known; use auto, pca, umap"):
        lay_out(np.zeros((4, 3)), "tsne")


# -- colours ----------------------------------------------------------------------------------------------------------


def test_values_that_repeat_are_groups_and_the_rare_share_one() -> None:
    values = np.repeat([f"g{i:02d}" for i in range(14)], range(20, 6, -1))
    colour = Colour("x", lambda: values)
    frequent = [f"g{i:02d}" for i in range(MOST_GROUPS - 1)]
    assert colour.groups == (*frequent, OTHERS)
    right = [min(int(value[1:]), MOST_GROUPS - 1) for value in values]
    assert colour.values.tolist() == right


def test_numbers_are_a_scale_and_gaps_are_nan() -> None:
    colour = Colour("x", lambda: np.array([0.5, np.nan, 2.5, 1.0]))
    assert colour.groups == ()
    np.testing.assert_array_equal(colour.values, [0.5, np.nan, 2.5, 1.0])
    assert colour.bounds == (0.5, pytest.approx(np.percentile([0.5, 2.5, 1.0], 98)))
    gappy = Colour("x", lambda: np.array(["a", None, "b"], object))
    np.testing.assert_array_equal(gappy.values, [0, np.nan, 1])


def test_columns_that_the_model_has_not_seen_come_first(trees: Exploration) -> None:
    assert list(trees.colours) == [
        "sick", "reconstruction error", "anomaly score", "tall", "age", "kind", "code 1", "code 2"
    ]  # fmt: skip
    np.testing.assert_array_equal(trees.colours["code 2"].values, trees.codes[:, 1])


# -- rows and uses ----------------------------------------------------------------------------------------------------


def test_a_row_is_shown_with_the_code_error_and_reconstruction_of_the_estimator(explored: Exploration) -> None:
    ae, X = explored.ae, explored.X
    shown = explored.row(17)
    assert np.array_equal(shown.code, ae.transform(X)[17])
    assert shown.error == pytest.approx(ae.reconstruction_error(X)[17], rel=1e-5)
    assert shown.original is not None
    assert np.array_equal(shown.original.curve, X[[17]])
    np.testing.assert_allclose(shown.rebuilt.curve, ae.reconstruct(X[[17]]), atol=1e-5)
    assert shown.known == (("label", 17 % 3),)


def test_the_cells_of_a_row_are_those_of_the_table(trees: Exploration, table: pd.DataFrame) -> None:
    shown = trees.row(3)
    assert shown.original is not None
    as_given = {name: None if pd.isna(value) else value for name, value in table.iloc[3].items() if name != "sick"}
    assert dict(shown.original.cells) == as_given
    assert dict(shown.known) == {"sick": table.sick[3]}
    assert {cell.name for cell in shown.cells} <= set(as_given)


def test_decoding_walking_sampling_and_searching_are_the_calls_of_the_library(explored: Exploration) -> None:
    ae, X, codes = explored.ae, explored.X, explored.codes
    curves = np.stack([each.curve[0] for each in explored.decode(codes[:3])])  # pyright: ignore[reportOptionalSubscript]
    np.testing.assert_allclose(curves, ae.inverse_transform(codes[:3]), atol=1e-5)
    walk, right = explored.walk(2, 9, 5, "spherical"), ist.interpolate(ae, X[[2]], X[[9]], 5, "spherical")
    np.testing.assert_allclose(walk.codes, right.codes, atol=1e-5)
    np.testing.assert_allclose(walk.samples, right.samples, atol=1e-5)
    np.testing.assert_allclose(explored.sample(4, seed=3), ae.sample(4, random_state=3), atol=1e-5)
    found = explored.neighbours(row=5, k=4)
    away, rows = NearestNeighbors(n_neighbors=5).fit(codes).kneighbors(codes[[5]])
    assert found.positions[0].tolist() == rows[0, 1:].tolist()
    np.testing.assert_allclose(found.distances[0], away[0, 1:] ** 2, rtol=1e-4)


def test_odd_rows_are_those_of_the_detector(explored: Exploration) -> None:
    with pytest.warns(DataWarning, match="give more rows") as warned:
        detector = ist.AnomalyDetector(explored.ae, random_state=0).fit(explored.X)
    odd = explored.oddities
    assert odd.sentences[0] == str(warned[0].message)
    assert np.array_equal(odd.scores, detector.anomaly_score(explored.X))
    assert odd.threshold == detector.threshold_
    counts, edges = odd.histogram()
    assert counts.sum() == len(explored)
    assert edges[0] == odd.scores.min()
    lowest = float(np.sort(odd.scores)[-6])
    at = odd.at(lowest)
    assert at["flagged"] == 5
    assert [row["row"] for row in at["rows"][:5]] == np.argsort(-odd.scores, kind="stable")[:5].tolist()


def test_a_model_without_data_shows_what_it_kept_and_says_what_is_missing(explored: Exploration) -> None:
    alone = Exploration(explored.ae)
    assert np.array_equal(alone.codes, explored.ae.codes_.flatten(1).numpy())
    assert "No data was given" in alone.notes[0]
    assert alone.row(0).original is None
    assert len(alone.walk(0, 1, 3).samples) == 3
    with pytest.raises(DataError, match="No data was given"):
        _ = alone.oddities


@pytest.mark.parametrize(("rows", "said"), [(2, "There are two rows"), (1, "There is one row")])
def test_a_map_of_hardly_any_rows_says_so(explored: Exploration, rows: int, said: str) -> None:
    few = Exploration(explored.ae, explored.X[:rows])
    assert said in few.notes[0]
    assert few.points.shape == (rows, 2)
    assert len(few.to_dict()["low"]) == 5
    assert few.health["scores"]["model"]["squared_error"] > 0


def test_where_new_codes_come_from_is_said(explored: Exploration, digits: np.ndarray) -> None:
    assert explored.drawn_from.startswith("The codes of this model have no prior.")
    with_prior = Exploration(ist.variational(latent_dim=2, **QUICK).fit(digits[:100]), digits[:100])
    assert "no prior" not in with_prior.drawn_from


def test_labels_of_another_number_are_refused(explored: Exploration) -> None:
    with pytest.raises(DataError, match="y has 7 rows, but there are 200 points"):
        Exploration(explored.ae, explored.X, np.arange(7))


# -- questions and answers --------------------------------------------------------------------------------------------


def asked(explorer: Explorer, question: str, **members: Any) -> Any:
    return json.loads(explorer.answer(question, json.dumps(members).encode() if members else None).content)


def test_every_figure_of_an_answer_is_that_of_a_call(explored: Exploration) -> None:
    explorer = Explorer(explored, "digits")
    facts = asked(explorer, "")
    assert (facts["rows"], facts["code_size"], facts["title"]) == (200, 5, "digits")
    points = np.frombuffer(explorer.answer("points").content, "<f4").reshape(2, -1).T
    assert np.array_equal(points, explored.points)
    row = asked(explorer, "rows/17")
    assert row["error"] == explored.row(17).error == pytest.approx(explored.ae.reconstruction_error(explored.X)[17])
    assert np.array_equal(np.array(row["code"], np.float32), explored.codes[17])
    values = explorer.answer("values", b'{"name": "reconstruction error"}').content
    assert np.array_equal(np.frombuffer(values, "<f8"), explored.ae.reconstruction_error(explored.X).astype(float))
    near = asked(explorer, "neighbours", row=3, codes=None, k=6)
    right = explored.neighbours(3, 6)
    assert near["rows"] == right.positions[0].tolist()
    np.testing.assert_allclose(near["distances"], right.distances[0])
    assert asked(explorer, "odd", threshold=2.5) == explored.oddities.at(2.5)
    walked = asked(explorer, "walk", start=1, end=2, steps=4, path="linear")
    assert walked["places"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    placed = asked(explorer, "place", point=[0.5, 0.25], row=None)
    np.testing.assert_allclose(placed["codes"][0], explored.code_at((0.5, 0.25)), rtol=1e-6)


def test_pictures_are_handed_out_pixel_by_pixel(digits: np.ndarray) -> None:
    X = (digits[:60] * 15).astype(np.uint8).reshape(-1, 8, 8)
    explorer = Explorer(Exploration(ist.Autoencoder(latent_dim=2, **QUICK).fit(X), X), "digits")
    image = asked(explorer, "rows/4")["original"]["image"]
    assert (image["width"], image["height"], image["channels"]) == (8, 8, 1)
    assert np.array_equal(np.frombuffer(base64.b64decode(image["pixels"]), np.uint8).reshape(8, 8), X[4])


def test_what_is_kept_is_what_was_drawn(explored: Exploration, trees: Exploration) -> None:
    import io

    def kept(explorer: Explorer, *places: int) -> Any:
        chosen = [{"seed": 5, "n": 6, "place": place} for place in places]
        return explorer.answer("kept", json.dumps({"kept": chosen}).encode())

    reply = kept(Explorer(explored, "digits"), 4, 1)
    assert reply.name == "samples.npy"
    rows = np.load(io.BytesIO(reply.content), allow_pickle=False)
    np.testing.assert_allclose(rows, explored.ae.sample(6, random_state=5)[[4, 1]], atol=1e-5)
    reply = kept(Explorer(trees, "trees"), 0, 3)
    assert reply.name == "samples.csv"
    assert list(pd.read_csv(io.BytesIO(reply.content)).columns) == ["tall", "age", "kind"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("walk", b"{}", "must have the members start, end, steps, path"),
        ("walk", b'{"start": 0, "end": 9999, "steps": 3, "path": "linear"}', "row 9999 is not on the map"),
        ("walk", b'{"start": 0, "end": 1, "steps": 3, "path": "curly"}', "curly"),
        ("decode", b'{"codes": [[1, 2]]}', "rows of 5 finite numbers"),
        ("decode", b'{"codes": "x"}', "rows of 5 numbers"),
        ("place", b'{"point": [1e999, 0], "row": null}', "finite numbers"),
        ("sample", b'{"n": 100000, "seed": 0}', "whole number from 1 to 200"),
        ("kept", b'{"kept": []}', "'kept' must be a list"),
        ("values", b'{"name": "colour of the sea"}', "nothing to colour by"),
        ("values", b'{"name": {}}', "nothing to colour by"),
        ("odd", b'{"threshold": "high"}', "must be a score"),
        ("rows/200", None, "row 200 is not on the map"),
        ("rows/-1", None, "knows no 'rows/-1'"),
        ("nowhere", b"{}", "knows no 'nowhere'"),
        ("search", b"x", "without a way to read files"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_in_a_sentence(
    explored: Exploration, path: str, body: bytes | None, said: str
) -> None:
    with pytest.raises((Refused, DataError, SettingError), match=said):
        Explorer(explored, "digits").answer(path, body)


def test_an_uploaded_row_is_looked_up(explored: Exploration) -> None:
    import io

    buffer = io.BytesIO()
    np.save(buffer, explored.X[[11]])
    explorer = Explorer(explored, "digits", np.load)
    found = json.loads(explorer.answer("search", buffer.getvalue(), {"name": "x.npy", "k": "3"}).content)
    assert found["rows"][0] == 11
    with pytest.raises(Refused, match="must end in what it is"):
        explorer.answer("search", b"", {"name": "../../etc/passwd"})


def test_an_uploaded_picture_must_have_pixels_like_those_learned_from(digits: np.ndarray) -> None:
    import io

    from PIL import Image

    from isthmus.data.files import read

    def found(X: np.ndarray) -> Any:
        explorer = Explorer(Exploration(ist.Autoencoder(latent_dim=2, **QUICK).fit(X), X), "x", read)
        buffer = io.BytesIO()
        Image.fromarray(pixels[7]).save(buffer, "PNG")
        return json.loads(explorer.answer("search", buffer.getvalue(), {"name": "Seven.PNG"}).content)

    pixels = (digits[:50] * 15).astype(np.uint8).reshape(-1, 8, 8)
    near = found(pixels)
    assert near["rows"][0] == 7
    assert near["distances"][0] == pytest.approx(0, abs=1e-6)
    with pytest.raises(DataError, match="whole numbers from 0 to 255"):
        found(pixels / np.float32(255))


def test_the_widget_answers_as_the_page_does(explored: Exploration) -> None:
    pytest.importorskip("anywidget", reason="anywidget is not installed (pip install 'isthmus[notebook]')")
    widget: Any = ist.explore(explored.ae, explored.X)
    sent: list[Any] = []
    widget.send = lambda content, buffers: sent.append((content, bytes(buffers[0])))
    page = Explorer(explored, "Autoencoder")
    body = b'{"codes": [[0, 0, 0, 0, 1]]}'
    widget._hear(widget, {"id": 1, "path": "explore/decode"}, [memoryview(body)])
    widget._hear(widget, {"id": 2, "path": "explore"}, [])
    widget._hear(widget, {"id": 3, "path": "explore/walk"}, [b"{"])
    assert sent[0] == ({"id": 1, "status": 200, "name": None}, page.answer("decode", body).content)
    assert json.loads(sent[1][1])["rows"] == 200
    assert sent[2][0]["status"] == 400 or sent[2][0]["status"] == 422
    assert set(json.loads(sent[2][1])) == {"error"}
    assert "export" in widget._esm
    with pytest.raises(SettingError, match="height=10 must be"):
        ist.explore(explored.ae, explored.X, height=10)
