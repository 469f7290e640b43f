"""Synthetic tables: values, ranges and gaps stay, conditions are met to the letter, and scores are the known ones."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy.stats import ks_2samp, norm, t
from sklearn.base import clone

import isthmus as ist
from isthmus.apps.synthesis import scores
from isthmus.apps.synthesis.coding import BINS, SUPPORT, Coding, _grouped
from isthmus.apps.synthesis.fitting import FEW, Recipe, prepared
from isthmus.apps.synthesis.linear import NU, design, fit_linear
from isthmus.apps.synthesis.network import Chain
from isthmus.cli import main
from isthmus.errors import DataError, ModelFileError, SettingError


def people(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """A table of every kind of column, most of which follow from one number, with gaps."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows)
    table = pd.DataFrame(
        {
            "a": a,
            "price": np.round(3 + 0.3 * a + 0.05 * rng.normal(size=rows), 1),
            "side": np.where(a > 0, "right", "left"),
            "grade": pd.Categorical(np.where(a > 0.5, "x", "y"), categories=["y", "never", "x"], ordered=True),
            "flag": pd.array(a > 0.2, dtype="boolean"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta((a * 100).round(), "D"),
            "count": pd.array((a * 4).round().astype(int), dtype="Int64"),
            "same": 3.0,
        }
    )
    for column in ("price", "side", "count", "day"):
        table.loc[rng.random(rows) < 0.15, column] = None
    return table


def dice(rows: int, seed: int = 0) -> tuple[pd.DataFrame, dict[tuple[str, str, int], float]]:
    """Three columns with a joint distribution that is known: p(color) p(size | color) p(count | color, size)."""
    colors, sizes = {"red": 0.5, "green": 0.3, "blue": 0.2}, {"red": 0.8, "green": 0.3, "blue": 0.5}
    joint = {}
    for color, size, count in product(colors, ("big", "small"), (1, 2, 3)):
        share = sizes[color] if size == "big" else 1 - sizes[color]
        odds = {1: 0.6, 2: 0.3, 3: 0.1} if (color == "red") == (size == "big") else {1: 0.1, 2: 0.2, 3: 0.7}
        joint[color, size, count] = colors[color] * share * odds[count]
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(joint), rows, p=list(joint.values()))
    cells = [list(joint)[place] for place in drawn]
    return pd.DataFrame(cells, columns=["color", "size", "count"]), joint


@pytest.fixture(scope="module")
def synthesizer() -> ist.Synthesizer:
    return ist.Synthesizer(random_state=0).fit(people())


@pytest.fixture(scope="module")
def dealer() -> ist.Synthesizer:
    return ist.Synthesizer(random_state=0).fit(dice(6000)[0])


# -- what is drawn --------------------------------------------------------------------------------------------------


def test_a_known_joint_distribution_is_learned(dealer):
    _, joint = dice(10)
    drawn = dealer.sample(20_000, random_state=1)
    found = drawn.value_counts(normalize=True)
    off = sum(abs(found.get(cells, 0.0) - share) for cells, share in joint.items()) / 2
    # 6,000 rows leave sqrt(p / 6000) of each of 18 shares unknown, 20,000 draws a little more: about .02 in all
    assert off < 0.04
    independent = np.prod([0.5, 0.5 * 0.8 + 0.3 * 0.3 + 0.2 * 0.5, 0.4])
    assert abs(joint["red", "big", 1] - independent) > 0.05, "else independent columns would pass too"


def test_rows_under_a_condition_follow_the_conditional_distribution(dealer):
    _, joint = dice(10)
    drawn = dealer.sample(4000, where={"count": 3}, random_state=2)
    assert (drawn["count"] == 3).all()
    known = {cells: share for cells, share in joint.items() if cells[2] == 3}
    found = drawn.value_counts(normalize=True)
    assert sum(abs(found.get(cells, 0.0) - share / sum(known.values())) for cells, share in known.items()) / 2 < 0.05


def test_every_value_is_one_that_was_seen_and_the_table_looks_the_same(synthesizer):
    table, drawn = people(), synthesizer.sample(2000, random_state=0)
    assert list(drawn.dtypes) == list(table.dtypes)
    for column in table.drop(columns="a"):
        seen = set(table[column].dropna())
        assert set(drawn[column].dropna()) <= seen
    assert (drawn["same"] == 3.0).all()
    assert drawn["a"].between(table["a"].min(), table["a"].max()).all()


def test_gaps_come_as_often_and_only_where_there_were_any(synthesizer):
    table, drawn = people(), synthesizer.sample(4000, random_state=0)
    for column in table:
        share = table[column].isna().mean()
        error = np.sqrt(share * (1 - share) * (1 / 400 + 1 / 4000))
        assert abs(drawn[column].isna().mean() - share) <= 4 * error + 1e-9


def test_columns_that_follow_from_another_follow_in_the_drawn_rows(synthesizer):
    drawn = synthesizer.sample(2000, random_state=0)
    known = drawn.dropna(subset=["side", "flag", "price", "count"])
    assert (known["flag"].astype(bool) <= (known["side"] == "right")).mean() > 0.97
    assert np.corrcoef(known["count"].astype(float), known["price"])[0, 1] > 0.9


def test_a_number_with_many_values_is_drawn_between_them_at_its_own_decimals():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": np.round(rng.gamma(2, size=3000), 4), "y": rng.normal(size=3000)})
    drawn = ist.Synthesizer(random_state=0).fit(table).sample(3000, random_state=0)
    assert (drawn["x"].round(4) == drawn["x"]).all()
    assert drawn["x"].between(table["x"].min(), table["x"].max()).all()
    assert len(set(drawn["x"]) - set(table["x"])) > 500
    assert ks_2samp(drawn["x"], table["x"]).statistic < 0.05


def test_a_rare_category_is_drawn_as_itself():
    rng = np.random.default_rng(0)
    names = np.array([f"town {i}" for i in range(150)])
    table = pd.DataFrame(
        {"town": np.where(rng.random(3000) < 0.9, "city", rng.choice(names, 3000)), "x": rng.random(3000)}
    )
    drawn = ist.Synthesizer(random_state=0).fit(table).sample(3000, random_state=0)
    assert set(drawn["town"]) <= set(table["town"])
    assert drawn["town"].nunique() > 50
    assert drawn["town"].value_counts().index[0] == "city"


def test_a_seed_draws_the_same_rows_and_leaves_other_generators_alone(synthesizer):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    first, second = (synthesizer.sample(50, random_state=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(synthesizer.sample(50, random_state=4))
    again = clone(synthesizer).fit(people()).sample(50, random_state=3)
    pd.testing.assert_frame_equal(first, again)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()


@pytest.mark.parametrize("family", ["pandas", "polars", "arrow", "array"])
def test_the_family_of_the_table_comes_back(family):
    table = people(60)[["a", "count"]].dropna().astype(float)
    given = {
        "pandas": table,
        "polars": pl.from_pandas(table),
        "arrow": pa.Table.from_pandas(table),
        "array": table.to_numpy(),
    }
    drawn = ist.Synthesizer(random_state=0).fit(given[family]).sample(7, random_state=0)
    assert type(drawn) is type(given[family])
    assert len(drawn) == 7


def test_a_saved_synthesizer_draws_the_same_rows_and_keeps_no_row(synthesizer, tmp_path):
    synthesizer.save(tmp_path / "model")
    loaded = ist.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.sample(20, random_state=0), synthesizer.sample(20, random_state=0))
    assert loaded.get_params() == synthesizer.get_params()
    assert "400 rows, of which it keeps none" in (tmp_path / "model" / "README.md").read_text()
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    config["network"]["width"] = 5
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match="do not fit"):
        ist.load(tmp_path / "model")


# -- which rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "meets"),
    [
        ({"side": "left"}, lambda d: d["side"] == "left"),
        ({"count": [0, 1]}, lambda d: d["count"].isin([0, 1])),
        ({"price": (3.0, None)}, lambda d: d["price"] >= 3.0),
        ({"a": (0.0, 0.3), "side": "right"}, lambda d: d["a"].between(0, 0.3) & (d["side"] == "right")),
        ({"side": None}, lambda d: d["side"].isna()),
        ({"flag": True}, lambda d: d["flag"]),
        ({"day": ("2020-02-01", "2020-03-01")}, lambda d: d["day"].between("2020-02-01", "2020-03-01")),
    ],
)
def test_every_row_meets_the_condition(synthesizer, where, meets):
    drawn = synthesizer.sample(60, where=where, random_state=0)
    assert len(drawn) == 60
    assert meets(drawn).fillna(False).all()


def test_balance_is_exact_and_leaves_the_rest_as_likely(dealer):
    drawn = dealer.sample(3001, balance="color", random_state=0)
    counts = drawn["color"].value_counts()
    assert sorted(counts) == [1000, 1000, 1001]
    assert abs((drawn[drawn["color"] == "red"]["size"] == "big").mean() - 0.8) < 0.06
    assert drawn["color"].iloc[:100].nunique() == 3, "rows are shuffled"


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"where": {"colour": "red"}}, DataError, "no column 'colour'; the table has color, size, count"),
        ({"where": {"color": "pink"}}, DataError, "color=pink; it holds red, green, blue"),
        ({"where": {"count": 7}}, DataError, "count=7; it runs from 1 to 3"),
        ({"where": {"count": (8, None)}}, DataError, "no row of the training data has count=8.."),
        ({"where": {"color": (1, 2)}}, SettingError, "'color' has no range"),
        ({"where": {"color": None}}, DataError, "color=a gap"),
        ({"where": {"count": "many"}}, DataError, "'many' is no value of column 'count'"),
        ({"where": {"color": []}}, SettingError, "name at least one"),
        ({"where": "color=red"}, SettingError, "must name columns"),
        ({"balance": "count"}, SettingError, "holds numbers"),
        ({"balance": "nothing"}, DataError, "no column 'nothing'"),
        ({"n": 0}, SettingError, "at least 1 row"),
    ],
)
def test_a_wish_that_cannot_be_met_is_one_sentence(dealer, asked, error, told):
    with pytest.raises(error) as raised:
        dealer.sample(**{"n": 10, **asked})
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_conditions_that_no_row_meets_together_are_refused_with_how_rare_they_are(monkeypatch):
    monkeypatch.setattr("isthmus.apps.synthesis.drawing.MOST_TRIES", 3000)
    table = pd.DataFrame({"a": ["x", "y"] * 100, "b": ["u", "v"] * 100})
    fitted = ist.Synthesizer(random_state=0).fit(table)
    with pytest.raises(DataError, match="rows drawn met a=x and b=v, too few to make 1,000 of them: ask for"):
        fitted.sample(1000, where={"a": "x", "b": "v"}, random_state=0)


@pytest.mark.parametrize("X", [np.zeros((3, 2)), np.zeros((20, 4, 4))])
def test_what_is_no_table_is_refused(X):
    with pytest.raises(DataError, match=r"too few|learns tables"):
        ist.Synthesizer().fit(X)


# -- how it is computed ---------------------------------------------------------------------------------------------


def test_probabilities_of_every_column_sum_to_one_and_see_earlier_columns_only(synthesizer):
    coding, linear, chain = synthesizer.learned_
    cells = coding.encode(people())
    rows, _ = prepared(coding, cells)
    for place, answer in enumerate(linear):
        before = torch.zeros(len(cells)) if answer is None else rows.answers[:, place]
        with torch.no_grad():
            chances = chain.chances(place, rows.x, before)
            later = rows.x.clone()
            later[:, coding.offsets[place] :] = 7.0
            np.testing.assert_array_equal(chances, chain.chances(place, later, before))
        np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-12)
        assert chances.shape[1] == len(coding.columns[place].values)


def test_all_columns_at_once_say_what_one_column_says(synthesizer):
    coding, _, chain = synthesizer.learned_
    rows, _ = prepared(coding, coding.encode(people()))
    with torch.no_grad():
        together = chain(rows.x.expand(chain.members, -1, -1))
        for place in range(chain.count):
            torch.testing.assert_close(together[:, place], chain.outputs(place, rows.x), rtol=1e-4, atol=1e-5)


def test_before_training_a_category_and_a_gap_have_their_frequency_and_a_number_its_kernel():
    coding, cells = Coding.learn(people())
    rows, linear = prepared(coding, cells)
    chain = Chain(coding, linear, 1, 8, torch.Generator().manual_seed(0))
    for place, column in enumerate(coding.columns):
        with torch.no_grad():
            chances = chain.chances(place, rows.x[:1], rows.answers[:1, place])[0]
        frequency = column.counts / column.counts.sum()
        expected = frequency[: len(column.known)]
        if column.number:
            mean, deviation = column.moments
            off = ((column.known - mean) / deviation - rows.answers[0, place].item()) / linear[place].scale
            expected = expected * t.pdf(off, NU)
        share = 1 - frequency[-1] if column.gaps else 1.0
        np.testing.assert_allclose(chances[: len(expected)], share * expected / expected.sum(), rtol=1e-3, atol=1e-9)


def test_the_linear_answer_is_robust_regression_on_earlier_columns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4000))
    table = pd.DataFrame({"x": np.round(x, 1), "y": np.round(y, 2)})
    noise = 0.01 * rng.standard_t(NU, 4000)
    noise[:40] += 50
    table["z"] = table["x"] * table["y"] + 2 * table["x"] + noise
    coding, cells = Coding.learn(table)
    assert [column.name for column in coding.columns] == ["x", "y", "z"]
    rows, _ = prepared(coding, cells)
    d = design(coding, 2, rows.x.numpy())
    answer = fit_linear(d, cells[:, 2])
    truth = cells[:, 0] * cells[:, 1] + 2 * cells[:, 0]
    assert np.abs(d @ answer.weights - truth)[np.abs(cells[:, :2]).max(1) < 2].max() < 0.01
    assert answer.scale == pytest.approx(0.01, rel=0.1), "the strays do not widen it"


def test_a_heavy_value_has_a_bin_of_its_own_and_the_rest_share_equally():
    counts = np.concatenate([[9000], np.ones(310)])
    bins = _grouped(counts)
    assert (np.diff(bins) >= 0).all()
    assert (bins == bins[0]).sum() == 1
    assert bins[-1] == BINS - 1
    assert set(np.bincount(bins)[1:]) <= {9, 10, 11}


def test_more_values_than_are_told_apart_become_order_statistics():
    coding, cells = Coding.learn(pd.DataFrame({"x": norm.ppf((np.arange(5000) + 0.5) / 5000), "y": [0, 1] * 2500}))
    column = coding.columns[-1]
    assert column.smooth
    assert len(column.values) <= SUPPORT
    assert (column.values[0], column.values[-1]) == (cells[:, -1].min(), cells[:, -1].max())
    assert column.counts.sum() == 5000


def test_exact_cells_of_a_table_give_the_table_back():
    table = people()
    codec = Coding.learn(table)[0].codec
    pd.testing.assert_frame_equal(codec.from_exact(codec.exact(table)), table)


def test_small_tables_get_smaller_networks():
    coding, _ = Coding.learn(people())
    assert Recipe.of(coding, FEW - 1).width < Recipe.of(coding, FEW).width


# -- scores ---------------------------------------------------------------------------------------------------------


def test_shapes_and_pairs_are_what_their_definitions_say():
    rng = np.random.default_rng(0)
    real, other = rng.normal(size=(500, 2)), rng.normal(0.5, 1, size=(400, 2))
    number = np.array([True, True])
    distances = [ks_2samp(real[:, k], other[:, k]).statistic for k in (0, 1)]
    assert scores.shapes(real, other, number) == pytest.approx(1 - np.mean(distances))
    correlations = [np.corrcoef(rows.T)[0, 1] for rows in (real, other)]
    assert scores.pairs(real, other, number) == pytest.approx(1 - abs(correlations[0] - correlations[1]) / 2)
    a, b = rng.integers(3, size=(300, 2)).astype(float), rng.integers(2, size=(300, 2)).astype(float)
    shares = [pd.DataFrame(rows).value_counts(normalize=True) for rows in (a, b)]
    variation = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    assert scores.pairs(a, b, ~number) == pytest.approx(1 - variation)


def test_copies_are_called_copies_and_fresh_rows_are_not():
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc")).assign(side="x") for _ in range(3)]
    for table in tables:
        table["side"] = np.where(table["a"] > 0, "up", "down")
    copied = ist.synthetic_quality(tables[0], tables[1], tables[0], target="side")
    fresh = ist.synthetic_quality(tables[0], tables[1], tables[2], target="side")
    assert copied.synthetic.closest == copied.bootstrap.closest == 1.0
    assert copied.copied
    assert "training rows shine through" in copied.sentences[-1]
    assert copied.synthetic.copies == 1.0
    assert abs(fresh.synthetic.closest - 0.5) < 4 * fresh.closest_error
    assert not fresh.copied
    assert fresh.synthetic.taught > 0.99
    assert abs(fresh.synthetic.detection - 0.5) < 0.1 < fresh.independent.detection - 0.5 + 0.1
    page = fresh.section().to_dict()
    assert page["synthetic"]["pairs"] == fresh.synthetic.pairs
    assert len(page["tables"][0]["rows"]) == 4


def test_quality_of_too_little_or_unknown_is_refused():
    table = people()
    with pytest.raises(DataError, match="held_out has 5 rows"):
        ist.synthetic_quality(table, table[:5], table)
    with pytest.raises(DataError, match="no column 'b' to know"):
        ist.synthetic_quality(table, table, table, target="b")
    with pytest.raises(DataError, match="no column 'a', which the first one has"):
        ist.synthetic_quality(table, table.drop(columns="a"), table)


# -- at the shell ---------------------------------------------------------------------------------------------------


def test_the_shell_learns_draws_keeps_and_judges(tmp_path, capsys):
    table, _ = dice(600)
    table[:300].to_csv(tmp_path / "train.csv", index=False)
    table[300:].to_csv(tmp_path / "test.csv", index=False)
    train, out, model = (str(tmp_path / name) for name in ("train.csv", "out.csv", "model"))
    told = ["--held-out", str(tmp_path / "test.csv"), "--target", "color", "--save", model, "--random-state", "0"]
    assert main(["synthesize", train, "-o", out, *told]) == 0
    assert "Boosted trees tell synthetic from held-out rows" in capsys.readouterr().out
    assert len(pd.read_csv(out)) == 300
    wish = ["--where", "color=red|blue", "--where", "count=2..", "-n", "40", "--balance", "color", "--json"]
    assert main(["sample", "-m", model, "-o", out, *wish]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 40
    drawn = pd.read_csv(out)
    assert drawn["color"].value_counts().to_dict() == {"red": 20, "blue": 20}
    assert (drawn["count"] >= 2).all()


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (["--where", "color"], "names no wish"),
        (["--where", "color=pink"], "it holds red"),
        (["--sampler", "prior"], "told by --where"),
    ],
)
def test_the_shell_says_what_is_wrong_in_one_sentence(dealer, tmp_path, capsys, wish, told):
    dealer.save(str(tmp_path / "model"))
    assert main(["sample", "-m", str(tmp_path / "model"), "-o", str(tmp_path / "out.csv"), *wish]) != 0
    said = capsys.readouterr().err.strip()
    assert told in said
    assert "\n" not in said
    assert not Path(tmp_path / "out.csv").exists()
