"""The report: the same facts as object, JSON and page; a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isthmus as ist
from isthmus.apps.page import Page, number
from isthmus.apps.report import Report, report
from isthmus.apps.section import Figure, Picture, Section, Table
from isthmus.apps.words import percent
from isthmus.errors import DataError


def table(rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, rows)
    income = age * 700.0 + rng.normal(0, 4000, rows)
    return pd.DataFrame(
        {
            "person_id": np.arange(rows) + 1000,
            "age": age,
            "city": rng.choice(["Lisbon", "Porto", "<b>Faro</b>"], rows),
            "income": income,
            "debt": np.where(rng.random(rows) < 0.1, np.nan, income * 0.3),
            "country": "PT",
        }
    )


def fitted(X: object, **settings: object) -> ist.Autoencoder:
    return ist.Autoencoder(**{"latent_dim": 2, "max_epochs": 3, "random_state": 0, "verbose": False} | settings).fit(X)


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return table()


@pytest.fixture(scope="module")
def of_people(people: pd.DataFrame) -> Report:
    return report(fitted(people), people, people["city"])


@pytest.fixture(scope="module")
def of_images() -> Report:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = X[:200].reshape(-1, 8, 8)
    return report(fitted(X, latent_dim=4), X, y[:200])


def test_the_page_asks_nothing_of_the_network(of_people: Report, of_images: Report) -> None:
    for page in (of_people.to_html(), of_images.to_html()):
        addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
        assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page) + re.findall(r"url\(([^)]+)\)", page)
        assert all(source.startswith(("#", "data:image/png;base64,")) for source in sources)
        assert "@import" not in page
        assert "<link" not in page


def test_the_page_is_small_and_knows_light_dark_print_and_phones(of_people: Report) -> None:
    page = of_people.to_html()
    assert len(page.encode()) < 3_000_000
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    assert "width=device-width" in page
    assert "max-width: 34rem" in page


def test_plots_take_the_colours_of_the_page(of_people: Report) -> None:
    from isthmus.apps.displays import PALETTE

    page = of_people.to_html()
    plots = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert plots.count("var(--accent)") > 2
    assert not any(colour in plots for colour in PALETTE)


def test_ids_of_the_page_are_unique(of_people: Report) -> None:
    ids = re.findall(r'\bid="([^"]+)"', of_people.to_html())
    assert len(ids) == len(set(ids))


def test_numbers_of_the_page_equal_those_of_the_json(of_people: Report, tmp_path: Path) -> None:
    page = of_people.save(tmp_path / "r.html").read_text(encoding="utf-8")
    facts = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    embedded = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert embedded is not None
    assert json.loads(embedded[1].replace("<\\/", "</")) == facts == of_people.to_dict()
    cells = re.findall(r'<td class="n[^"]*">([^<]+)</td>', page)
    for rival in ("model", "pca", "mean"):
        assert number(facts["scores"][rival]["squared_error"]) in cells
        assert percent(facts["scores"][rival]["explained"]) in cells
    for column in facts["scores"]["columns"].values():
        write = number if column["kind"] == "numeric" else percent
        assert {write(column["model"]), write(column["pca"]), write(column["mean"])} <= set(cells)
    for pair in (*facts["typical"], *facts["worst"]):
        assert f"squared error {number(pair['error'])}" in page
    assert facts["summary"] in page.replace("&#39;", "'")


def test_the_summary_says_the_numbers_of_the_scores(of_people: Report) -> None:
    scores = of_people.scores
    for value in (scores["model"]["explained"], scores["pca"]["explained"], scores["model"]["accuracy"]):
        assert percent(value) in of_people.summary
    assert f"{scores['rows']} rows it was not trained on" in of_people.summary


def test_text_of_the_data_is_escaped(of_people: Report) -> None:
    page = of_people.to_html().split('<script type="application/json"', maxsplit=1)[0]
    assert "<b>Faro</b>" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_examples_of_training_data_are_held_out_rows(people: pd.DataFrame) -> None:
    ae = fitted(people)
    found = report(ae, people)
    assert {pair.row for pair in (*found.typical, *found.worst)} <= set(ae.held_out_.tolist())
    assert "held out" in found.scope
    assert found.data["source"] == "held_out"


def test_other_data_is_treated_as_new(people: pd.DataFrame) -> None:
    found = report(fitted(people), people.iloc[:50])
    assert found.data["source"] == "new"
    assert found.data["rows"] == found.data["rows_judged"] == 50
    assert "not the training data" in found.scope


def test_without_data_the_report_says_why_there_are_no_examples(people: pd.DataFrame) -> None:
    found = report(fitted(people))
    assert found.typical == found.worst == ()
    assert found.code_map is None
    assert "No data was given" in found.to_html()


def test_worst_rows_are_the_largest_errors_and_name_the_columns_at_fault() -> None:
    people = table()
    people.loc[7, "income"] = 1e6
    ae = fitted(table())
    worst = report(ae, people).worst[0]
    assert worst.row == 7
    assert worst.cells[0].name == "income"
    assert worst.cells[0].observed == pytest.approx(1e6, rel=1e-5)
    assert sum(cell.share for cell in worst.cells) == pytest.approx(1)


def test_errors_of_the_report_are_those_of_the_scores(people: pd.DataFrame) -> None:
    from isthmus.apps.evidence import gather_evidence

    ae = fitted(
        people, shortcut=False
    )  # a model that falls back to PCA goes on to learn from the rows it was judged by
    evidence = gather_evidence(ae, people)
    judged = evidence.errors[evidence.judged]
    assert judged.mean() == pytest.approx(ae.scores_["model"]["squared_error"], rel=1e-4)
    np.testing.assert_array_equal(evidence.codes, ae.transform(people))


def test_a_gap_is_shown_as_a_gap(people: pd.DataFrame) -> None:
    ae, row = fitted(people), int(np.flatnonzero(people["debt"].isna())[0])
    pair = report(ae, people.iloc[[row, row]]).worst[0]
    assert next(cell.observed for cell in pair.cells if cell.name == "debt") is None


def test_a_saved_model_gives_the_same_report(people: pd.DataFrame, tmp_path: Path) -> None:
    ae = fitted(people)
    ae.save(tmp_path / "m")
    assert report(ist.load(tmp_path / "m"), people).to_dict() == report(ae, people).to_dict()


def test_images_are_shown_beside_their_reconstructions(of_images: Report) -> None:
    page = of_images.to_html()
    assert page.count('<img src="data:image/png;base64,') == 2 * (len(of_images.typical) + len(of_images.worst))


def test_a_series_is_shown_as_curves() -> None:
    X = ist.Series(np.sin(np.arange(400) / 5), length=20, step=2)
    found = report(fitted(X), X)
    assert 'aria-label="worst windows beside their reconstructions"' in found.to_html()


def test_sparse_arrays_and_tensors_have_reports_too() -> None:
    import torch
    from scipy import sparse

    X = np.random.default_rng(0).normal(size=(60, 2)) @ np.ones((2, 6)) + np.eye(60, 6)
    for data in (sparse.csr_array(X), torch.from_numpy(X)):
        assert report(fitted(data), data).worst


def test_y_must_have_one_value_a_row(people: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="y has 3 values, but X has 120 rows"):
        report(fitted(people), people, [1, 2, 3])


def test_a_report_is_saved_to_html_only(of_people: Report, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not end in \.html"):
        of_people.save(tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


# -- sections -----------------------------------------------------------------------------------------------------------


class Line:
    """A display of one straight line."""

    def plot(self, ax=None) -> None:
        ax.plot([0, 1], [0, 1])


@pytest.fixture
def a_section() -> Section:
    return Section(
        "Gaps",
        ("3 of 10 cells were filled; <b> is a name.",),
        tables=(Table("The worst", ("column", "error"), [["age <i>", 0.123456], ["debt", None], ["city", 12345]]),),
        figures=(Figure(Line(), "gaps", "a line"),),
        pictures=(Picture((np.zeros((4, 4), np.uint8),), "a black square"),),
        facts={"filled": np.int64(3)},
    )


def test_a_use_adds_its_section_to_the_page_and_to_the_facts(people: pd.DataFrame, a_section: Section) -> None:
    found = report(fitted(people), people, sections=[a_section])
    page, facts = found.to_html(), found.to_dict()["sections"]
    assert facts == [
        {
            "title": "Gaps",
            "sentences": ["3 of 10 cells were filled; <b> is a name."],
            "tables": [
                {
                    "caption": "The worst",
                    "header": ["column", "error"],
                    "rows": [["age <i>", 0.123456], ["debt", None], ["city", 12345]],
                }
            ],
            "filled": 3,
        }
    ]
    for text in ("<h2>Gaps</h2>", "age &lt;i&gt;", "0.1235", "12,345", "&lt;b&gt; is a name", 'aria-label="a line"'):
        assert text in page
    assert page.index("<h2>Gaps</h2>") < page.index("<h2>Health</h2>")


def test_a_page_of_sections_alone_says_the_same_as_its_facts(a_section: Section, tmp_path: Path) -> None:
    page = Page("what was filled", "A summary.", (a_section,)).save(tmp_path / "gaps.html")
    text, facts = page.read_text(), json.loads((tmp_path / "gaps.json").read_text())
    assert facts["sections"] == [a_section.to_dict()]
    assert json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1].replace("<\\/", "</")) == facts
    assert "http://" not in text.replace("http://www.w3.org", "")
