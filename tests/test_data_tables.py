"""Tables: every column comes back with its name, place, dtype, categories and gaps."""

from __future__ import annotations

import copy
import datetime as dt
import json
import subprocess
import sys
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal

from isthmus.data import codec_from, learn, memory
from isthmus.errors import DataError, DataWarning

N = 60
RNG = np.random.default_rng(0)
HOURS = pd.to_timedelta(RNG.integers(0, 5000, N), "h")
LETTERS = RNG.choice(["a", "b", "c"], N)


def with_gaps(values, rows=(3, 4, 5)):
    series = pd.Series(values).copy()
    series[list(rows)] = None
    return series


COLUMNS = {
    "int64": pd.Series(RNG.integers(-50, 100, N)),
    "uint8": pd.Series(RNG.integers(0, 255, N).astype("u1")),
    "Int16 with gaps": with_gaps(pd.array(RNG.integers(0, 100, N), dtype="Int16")),
    "float64": pd.Series(RNG.normal(size=N)),
    "float32": pd.Series(RNG.normal(size=N).astype("f4")),
    "float64 with gaps": with_gaps(RNG.normal(size=N)),
    "Float64 with gaps": with_gaps(pd.array(RNG.normal(size=N), dtype="Float64")),
    "bool": pd.Series(RNG.integers(0, 2, N).astype(bool)),
    "boolean with gaps": with_gaps(pd.array(RNG.integers(0, 2, N).astype(bool), dtype="boolean")),
    "two integers": pd.Series(RNG.integers(0, 2, N) * 3 + 1),
    "two whole floats with gaps": with_gaps(RNG.integers(0, 2, N).astype("f8")),
    "text": pd.Series(LETTERS),
    "text with gaps": with_gaps(LETTERS),
    "string[python] with gaps": with_gaps(pd.array(LETTERS, dtype="string[python]")),
    "string[pyarrow]": pd.Series(pd.array(LETTERS, dtype="string[pyarrow]")),
    "object": pd.Series(LETTERS, dtype=object),
    "object integers with gaps": pd.Series([None, *(i * i for i in range(N - 1))], dtype=object),
    "category": pd.Series(pd.Categorical(LETTERS)),
    "ordered category with one unused": pd.Series(
        pd.Categorical(LETTERS, categories=["c", "unused", "a", "b"], ordered=True)
    ),
    "category of integers": pd.Series(pd.Categorical(RNG.choice([30, 10, 20], N))),
    "category with gaps": with_gaps(pd.Categorical(LETTERS)),
    "datetime": pd.Series(pd.Timestamp("2020-01-01") + HOURS),
    "datetime in Berlin with gaps": with_gaps(pd.Timestamp("2020-01-01", tz="Europe/Berlin") + HOURS),
    "timedelta": pd.Series(HOURS),
    "python dates": pd.Series([dt.date(2020, 1, 1) + dt.timedelta(days=int(day)) for day in RNG.integers(0, 400, N)]),
    "int32[pyarrow]": pd.Series(pd.array(RNG.integers(0, 100, N), dtype="int32[pyarrow]")),
    "timestamp[pyarrow]": pd.Series(pd.Timestamp("2020-01-01", tz="UTC") + HOURS).astype(
        pd.ArrowDtype(pa.timestamp("us", "UTC"))
    ),
    "constant": pd.Series([5] * N),
    "constant with gaps": with_gaps(["k"] * N),
    "all gaps": pd.Series([np.nan] * N),
}


def encoded(codec, X):
    return codec.encode(X).take(slice(None))


def round_trip(codec, X):
    return codec.decode(encoded(codec, X)[0].numpy())


def rebuilt(codec):
    return codec_from(json.loads(json.dumps(codec.to_json())), codec.arrays())


def beside(column):
    """A table of the column and one that can always be encoded."""
    return pd.DataFrame({"x": column, "other": np.linspace(0, 1, len(column))})


@pytest.mark.parametrize("name", COLUMNS)
def test_a_pandas_column_comes_back_as_it_was(name):
    df = beside(COLUMNS[name])
    codec = learn(df)
    back = round_trip(codec, df)
    pd.testing.assert_frame_equal(back, df, rtol=1e-5, atol=1e-6)
    pd.testing.assert_frame_equal(rebuilt(codec).decode(encoded(codec, df)[0].numpy()), back)


def polars_table():
    return pl.DataFrame(
        {
            "int": RNG.integers(0, 9, N).astype("i2"),
            "float": [None, float("nan"), *RNG.normal(size=N - 2)],
            "nan": [float("nan"), *RNG.normal(size=N - 1)],
            "text": [None, *LETTERS[1:]],
            "bool": [None, *RNG.integers(0, 2, N - 1).astype(bool).tolist()],
            "nothing": [None] * N,
        }
    ).with_columns(
        pl.col("text").cast(pl.Categorical).alias("categorical"),
        pl.col("text").cast(pl.Enum(["c", "b", "unused", "a"])).alias("enum"),
        pl.col("int").cast(pl.Decimal(10, 2)).alias("decimal"),
        (pl.lit(dt.date(2020, 1, 1)) + pl.duration(days=pl.col("int"))).cast(pl.Date).alias("date"),
        (pl.lit(dt.datetime(2020, 1, 1, 7, 30)) + pl.duration(minutes=pl.col("int"))).cast(
            pl.Datetime("ms", "Asia/Tokyo")
        ),
        pl.duration(seconds=pl.col("int")).alias("duration"),
        pl.time(pl.col("int"), 30).alias("time"),
    )


def test_a_polars_table_comes_back_as_it_was():
    df = polars_table().with_columns(pl.col("float").fill_nan(None))
    codec = learn(df)
    back = round_trip(codec, df)
    assert back.schema == df.schema
    assert_polars_equal(back, df, rel_tol=1e-5, abs_tol=1e-6)
    assert back["enum"].dtype == pl.Enum(["c", "b", "unused", "a"])
    assert rebuilt(codec).decode(encoded(codec, df)[0].numpy()).schema == df.schema


def test_an_arrow_table_comes_back_as_it_was():
    table = polars_table().drop("categorical").with_columns(pl.col("float").fill_nan(None)).to_arrow()
    table = table.append_column(
        "ordered", pa.array(LETTERS).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
    )
    table = table.append_column("short text", pa.chunked_array([LETTERS[:20], LETTERS[20:]], pa.string()))
    codec = learn(table)
    back = round_trip(codec, table)
    assert back.schema.equals(table.schema.remove_metadata())
    for name in table.column_names:
        got, expected = back[name].to_pylist(), table[name].to_pylist()
        assert got == pytest.approx(expected, nan_ok=True) if name in ("float", "nan") else got == expected, name


def test_a_lazy_frame_is_collected():
    df = polars_table().select("int", "text")
    assert learn(df.lazy()).decode(encoded(learn(df), df.lazy())[0].numpy()).equals(df)


def test_gaps_that_were_nan_come_back_as_nan_and_nulls_as_nulls():
    values = [1.0, 2.0, 4.0]
    df = pl.DataFrame({"nan": [*values, float("nan")], "null": [*values, None]})
    back = round_trip(learn(df), df)
    assert back["nan"].is_nan().to_list() == [False, False, False, True]
    assert back["nan"].null_count() == 0
    assert back["null"].is_null().to_list() == [False, False, False, True]


def test_a_codec_can_be_copied():
    df = beside(COLUMNS["datetime in Berlin with gaps"])
    assert copy.deepcopy(learn(df)) == learn(df)


def test_column_names_that_are_numbers_stay_numbers():
    df = pd.DataFrame({7: RNG.normal(size=9), "x": RNG.normal(size=9)})
    codec = learn(df)
    assert codec.feature_names == ["7", "x"]
    assert list(rebuilt(codec).decode(np.zeros((2, 2), np.float32)).columns) == [7, "x"]


def test_a_template_chooses_the_family_and_lends_its_index():
    df = beside(COLUMNS["category"]).set_index(pd.Index(range(100, 100 + N), name="row"))
    codec = learn(df)
    x = encoded(codec, df)[0].numpy()
    pd.testing.assert_frame_equal(codec.decode_as(x, df), df, rtol=1e-5)
    assert codec.decode_as(x, pl.DataFrame())["x"].to_list() == df["x"].tolist()
    assert codec.decode_as(x, pa.table({}))["x"].to_pylist() == df["x"].tolist()
    assert codec.decode_as(x, pd.DataFrame()).index.equals(pd.RangeIndex(N))


def test_without_the_learned_library_an_arrow_table_comes_back(monkeypatch):
    df = beside(COLUMNS["text"])
    codec = learn(df)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(codec.decode(np.zeros((2, 4), np.float32)), pa.Table)


def test_arrow_users_need_neither_pandas_nor_polars():
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name in ('pandas', 'polars', 'zarr'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent)\n"
        "import pyarrow as pa; from isthmus.data import learn, files\n"
        "assert not {'torch', 'PIL', 'pyarrow.csv'} & set(sys.modules)\n"
        "t = pa.table({'a': [1.5, 2, 3], 'b': ['x', 'y', 'x']}); c = learn(t)\n"
        "assert c.decode(c.encode(t).take(slice(None))[0].numpy())['b'].equals(t['b'])\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


# ---- how cells are encoded


def blocks(codec):
    return [(block.kind, block.width, block.column, block.gap) for block in codec.layout.blocks]


def test_blocks_cover_the_features_in_order():
    df = pd.DataFrame({"n": COLUMNS["float64 with gaps"], "c": COLUMNS["text"], "b": COLUMNS["bool"]})
    codec = learn(df)
    assert blocks(codec) == [
        ("numeric", 1, "n", False),
        ("boolean", 1, "n", True),
        ("category", 3, "c", False),
        ("boolean", 1, "b", False),
    ]
    assert codec.layout.shape == (6,)
    ends = [block.start + block.width for block in codec.layout.blocks]
    assert [block.start for block in codec.layout.blocks] == [0, *ends[:-1]]


def test_a_gap_in_a_column_comes_back_as_a_gap():
    df = beside(COLUMNS["text with gaps"])
    codec = learn(df)
    x, observed = encoded(codec, df)
    gap = next(block for block in codec.layout.blocks if block.gap)
    assert observed is not None
    np.testing.assert_array_equal(x[:, gap.start].numpy() == 1, df["x"].isna())
    assert observed[:, gap.start].all()
    assert not observed[3:6, :3].any()
    assert (x[3:6, :3] == 0).all()
    assert round_trip(codec, df)["x"].isna().tolist() == df["x"].isna().tolist()


def test_a_gap_where_none_was_in_training_is_unobserved_without_an_indicator():
    train = beside(COLUMNS["float64"])
    new = train.copy()
    new.loc[7, "x"] = np.nan
    codec = learn(train)
    x, observed = encoded(codec, new)
    assert codec.layout.shape == (2,)
    assert observed is not None
    assert (~observed).nonzero().tolist() == [[7, 0]]
    assert x[7, 0] == 0


def test_probabilities_decode_to_the_likeliest_category():
    codec = learn(pd.DataFrame({"c": list("abcabc")}))
    assert codec.decode(np.array([[0.3, 0.4, 0.3], [-1, -3, -2]], np.float32))["c"].tolist() == ["b", "a"]


def test_rare_categories_share_a_feature_that_reads_the_most_frequent_of_them():
    df = pd.DataFrame({"c": ["a"] * 30 + ["b"] * 30 + ["r"] + ["s"] + ["t"]})
    codec = learn(df)
    assert codec.layout.shape == (3,)
    assert "3 rare categories (of 5)" in codec.notes[0]
    x, observed = encoded(codec, df)
    assert observed is None
    assert x[60:].tolist() == [[0, 0, 1]] * 3
    assert round_trip(codec, df)["c"].tolist()[60:] == ["r"] * 3


def test_the_hundred_most_frequent_categories_get_a_feature_each():
    df = pd.DataFrame({"c": [f"c{i:03d}" for i in range(120)] * 5 + ["c000"] * 9})
    codec = learn(df)
    assert codec.layout.shape == (101,)
    assert "20 rare categories (of 120)" in codec.notes[0]


def test_a_single_rare_category_keeps_its_own_feature():
    df = pd.DataFrame({"c": ["a"] * 30 + ["b"] * 30 + ["r"]})
    assert learn(df).notes == []
    assert round_trip(learn(df), df)["c"].tolist() == df["c"].tolist()


def test_an_unseen_category_is_a_gap_with_one_warning():
    train, new = beside(COLUMNS["text with gaps"]), beside(COLUMNS["text with gaps"])
    new.loc[[0, 1, 2, 9], "x"] = ["u", "v", "w", "z"]
    codec = learn(train)
    with pytest.warns(
        DataWarning, match="column 'x' holds 4 values never seen in training .'u', 'v', 'w', .."
    ) as caught:
        x, observed = encoded(codec, new)
    assert len(caught) == 1
    assert observed is not None
    assert not observed[[0, 1, 2, 9], :3].any()
    assert (x[[0, 1, 2, 9], 3] == 1).all()


def test_a_third_value_of_a_two_valued_column_is_a_gap():
    codec = learn(pd.DataFrame({"x": [1, 4, 1, 4]}))
    with pytest.warns(DataWarning, match="7"):
        observed = encoded(codec, pd.DataFrame({"x": [1, 7]}))[1]
    assert observed is not None
    assert observed.tolist() == [[True], [False]]
    assert encoded(codec, pd.DataFrame({"x": [1.0, 4.0]}))[0].tolist() == [[0.0], [1.0]]


def test_dates_decode_to_whole_units_of_the_training_data():
    days = pd.DataFrame({"d": pd.to_datetime(["2020-01-01", "2020-03-05", "2021-01-01"])})
    codec = learn(days)
    x = encoded(codec, days)[0].numpy() + 1e-4
    assert codec.decode(x)["d"].tolist() == days["d"].tolist()


def test_nanoseconds_that_share_no_unit_come_back_closely():
    stamps = pd.DataFrame({"t": pd.to_datetime(RNG.integers(0, 10**12, N), unit="ns")})
    back = round_trip(learn(stamps), stamps)
    assert (back["t"] - stamps["t"]).abs().max() < pd.Timedelta(1, "ms")


def test_integers_are_rounded_and_kept_in_range():
    codec = learn(pd.DataFrame({"u": np.array([0, 100, 255], "u1")}), scale="none")
    assert codec.decode(np.array([[300.0], [1.6], [-4.0]], np.float32))["u"].tolist() == [255, 2, 0]


@pytest.mark.parametrize("scale", ["auto", "common", "columns", "range", "none"])
def test_every_scale_is_undone(scale):
    df = pd.DataFrame({"a": RNG.normal(5, 2, N), "b": RNG.normal(0, 30, N), "t": COLUMNS["datetime"]})
    pd.testing.assert_frame_equal(round_trip(learn(df, scale=scale), df), df, rtol=1e-4, atol=1e-4)


def test_one_common_scale_keeps_the_ratio_of_spreads():
    df = pd.DataFrame({"a": RNG.normal(5, 2, N), "b": RNG.normal(0, 30, N)})
    x = encoded(learn(df, scale="common"), df)[0].numpy()
    assert x.std(0)[1] / x.std(0)[0] == pytest.approx(df["b"].std() / df["a"].std(), rel=1e-4)
    assert (x.var(0)).mean() == pytest.approx(1)


def test_decimals_are_numbers_and_come_back_as_decimals():
    table = pa.table({"x": pa.array([Decimal("1.25"), None, Decimal("3.50"), Decimal("2.75")], pa.decimal128(6, 2))})
    back = round_trip(learn(table), table)
    assert back.equals(table)


# ---- the stated rules


@pytest.mark.parametrize(
    ("column", "left_out"),
    [
        ({"any": [f"k{i}" for i in range(N)]}, True),
        ({"any": list(range(1000, 1000 + N))}, True),
        ({"any": list(range(N))[::-1]}, True),
        ({"customer_id": [7 * i for i in range(N)]}, True),
        ({"CustomerID": [7 * i for i in range(N)]}, True),
        ({"paid": [7 * i for i in range(N)]}, False),
        ({"any": [7 * i for i in range(N)]}, False),
        ({"id": [7.5 * i for i in range(N)]}, False),
        ({"id": list(range(19))}, False),
    ],
)
def test_identifiers_are_left_out_and_come_back_as_gaps(column, left_out):
    name = next(iter(column))
    df = pd.DataFrame(column).assign(other=lambda d: np.linspace(0, 1, len(d)))
    codec = learn(df)
    assert codec.leaks == ([name] if left_out else [])
    assert round_trip(codec, df)[name].isna().all() == left_out
    assert bool(codec.notes) == left_out


def test_free_text_is_left_out():
    df = pd.DataFrame({"text": [f"a long story {i // 1.5}" for i in range(300)], "x": np.arange(300) * 0.1})
    codec = learn(df)
    assert codec.leaks == []
    assert "free text" in codec.notes[0]
    assert codec.layout.shape == (1,)


def test_a_constant_column_is_noted_and_restored():
    codec = learn(beside(COLUMNS["constant"]))
    assert codec.layout.shape == (1,)
    assert "always 5" in codec.notes[0]


def test_a_table_of_nothing_but_constants_is_refused():
    with pytest.raises(DataError, match="none of the 2 columns can be learned from: column 'a' is always 1"):
        learn(pd.DataFrame({"a": [1, 1], "b": ["x", "x"]}))


# ---- bad input


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]), "column 'a' appears 2 times"),
        (pa.table([[1, 2], [3, 4]], names=["a", "a"]), "column 'a' appears 2 times"),
        (pd.DataFrame({"a": [1.0, -np.inf, 2.0]}), "column 'a' holds -inf in row 1"),
        (pd.DataFrame({"a": [1, "x", 2.0]}, dtype=object), "column 'a' mixes kinds of values .row 1 holds 'x'"),
        (pd.DataFrame({"a": []}), "0 sample"),
        (pd.DataFrame({"a": [[1], [2]]}), "column 'a' holds list"),
        (pd.DataFrame({"a": pd.cut([1, 2, 3], 2)}), "column 'a'"),
        (pd.DataFrame({("a", "b"): [1, 2]}), "several levels"),
        (pd.DataFrame({"a": [np.nan, np.nan]}), "column 'a' holds only gaps"),
    ],
)
def test_tables_that_cannot_be_learned_say_why(X, message):
    with pytest.raises(DataError, match=message):
        learn(X)


def test_wrong_columns_are_named():
    codec = learn(pd.DataFrame({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}))
    with pytest.raises(DataError, match="column 'b' missing; columns 'c', 'd' unknown"):
        codec.encode(pd.DataFrame({"a": [1.0], "c": [1.0], "d": [1.0]}))


def test_columns_in_another_order_are_reordered():
    df = beside(COLUMNS["text"])
    codec = learn(df)
    assert encoded(codec, df[["other", "x"]])[0].equal(encoded(codec, df)[0])


def test_text_where_numbers_were_names_the_column_and_the_first_bad_value():
    codec = learn(pd.DataFrame({"a": [1.5, 2, 3]}))
    with pytest.raises(DataError, match="column 'a' holds 'many' in row 1 where numbers were"):
        codec.encode(pd.DataFrame({"a": ["1.5", "many", "few"]}))
    assert encoded(codec, pd.DataFrame({"a": ["1.5", "2"]}))[0].equal(encoded(codec, pd.DataFrame({"a": [1.5, 2]}))[0])


def test_dates_where_numbers_were_are_refused():
    codec = learn(pd.DataFrame({"a": [1.5, 2, 3]}))
    with pytest.raises(DataError, match="column 'a' holds timestamp"):
        codec.encode(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}))


def test_infinity_at_encode_is_refused():
    with pytest.raises(DataError, match="column 'a' holds inf in row 0"):
        learn(pd.DataFrame({"a": [1.5, 2, 3]})).encode(pd.DataFrame({"a": [np.inf]}))


def test_an_array_may_stand_for_a_numeric_table_only():
    df = pd.DataFrame({"a": [1.5, np.nan, 3], "b": [0, 1, 1]})
    codec = learn(df)
    x, observed = encoded(codec, df.to_numpy())
    expected = encoded(codec, df)
    assert observed is not None
    assert expected[1] is not None
    assert x.equal(expected[0])
    assert observed.equal(expected[1])
    np.testing.assert_allclose(codec.decode_as(x.numpy(), df.to_numpy()), df.to_numpy(), rtol=1e-6)
    with pytest.raises(DataError, match="expecting 2 features"):
        codec.encode(np.zeros((3, 3)))
    with pytest.raises(DataError, match="column 'x' is not numeric"):
        learn(beside(COLUMNS["text"])).encode(np.zeros((3, 2)))


def test_a_column_that_is_all_gaps_at_encode_is_simply_unobserved():
    codec = learn(pd.DataFrame({"c": list("abab"), "n": [1.0, 2, 3, 4], "t": pd.date_range("2020", periods=4)}))
    x, observed = encoded(codec, pd.DataFrame({"c": [np.nan], "n": [None], "t": [pd.NaT]}))
    assert observed is not None
    assert not observed.any()
    assert not x.any()


def test_more_than_half_of_the_memory_is_refused(monkeypatch):
    df = beside(COLUMNS["text"])
    codec = learn(df)
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    for action in (lambda: learn(df), lambda: codec.encode(df)):
        with pytest.raises(DataError, match="60 rows of 4 numbers"):
            action()


def test_ordinary_tables_raise_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        df = pd.DataFrame({name: COLUMNS[name] for name in COLUMNS if "object" not in name})
        round_trip(learn(df), df)


def test_a_stray_value_does_not_dwarf_the_others_and_comes_back() -> None:
    ages = np.random.default_rng(0).normal(50, 19, size=1500).round()
    ages[7] = 65526.0
    table = pa.table({"age": ages, "other": np.random.default_rng(1).normal(size=1500)})
    codec = learn(table)
    x = codec.encode(table).take(slice(None))[0].numpy()
    assert x[np.arange(1500) != 7, 0].std() == pytest.approx(1.0, abs=0.01)
    assert 10 < x[7, 0] < 30
    assert "1 stray value (such as 65526)" in " ".join(codec.notes)
    np.testing.assert_allclose(codec.decode(x)["age"].to_numpy(), ages, rtol=1e-4, atol=1e-3)


def test_a_heavy_tail_is_no_stray_value() -> None:
    table = pa.table(
        {"income": np.random.default_rng(0).lognormal(sigma=1.5, size=1500), "other": np.arange(1500.0) % 7}
    )
    assert learn(table).notes == []
