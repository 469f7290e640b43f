"""Tables as matrices of whole numbers, and back: cell by cell, dtype by dtype, gap by gap."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from isthmus.apps.compression.bounds import Bound
from isthmus.apps.compression.tables import Schema
from isthmus.errors import DataError, SettingError


def mixed(rows: int = 500) -> pa.Table:
    rng = np.random.default_rng(0)
    gap = rng.random(rows) < 0.1
    price = np.round(rng.gamma(2, 100, rows), 2)
    day = np.datetime64("2020-01-01", "D") + rng.integers(0, 900, rows)
    return pa.table(
        {
            "price": pa.array(price),
            "price with gaps": pa.array(price, mask=gap),
            "float": pa.array(rng.normal(size=rows)),
            "half": pa.array(rng.normal(size=rows).astype(np.float16)),
            "nan and gaps": pa.array(np.where(rng.random(rows) < 0.2, np.nan, price.astype("f4")), mask=gap),
            "whole": pa.array(rng.integers(-5, 5, rows) * 700 + 3, pa.int32()),
            "large": pa.array(rng.integers(0, 2**64, rows, dtype=np.uint64)),
            "extreme": pa.array(rng.choice([-(2**63), 0, 2**63 - 1], rows)),
            "truth": pa.array(rng.random(rows) < 0.5, mask=gap),
            "kind": pa.array(rng.choice(["a", "b", "ü", ""], rows), mask=gap),
            "text": pa.array([f"row {i}\n" * (i % 3) for i in range(rows)], mask=gap),
            "date": pa.array(day),
            "time": pa.array(day.astype("datetime64[us]") + rng.integers(0, 10**9, rows), pa.timestamp("us", "UTC")),
            "of day": pa.array([dt.time(i % 24, 30) for i in range(rows)], mask=gap),
            "decimal": pa.array([Decimal(i - 250) / 100 for i in range(rows)], pa.decimal128(9, 2), mask=gap),
            "nothing": pa.nulls(rows),
            "gaps": pa.nulls(rows, pa.int16()),
            "constant": pa.array(np.full(rows, 7.5)),
            "coded": pa.array(rng.choice(["x", "y"], rows)).dictionary_encode(),
        }
    )


def around(table: Any, bounds: Any = None) -> tuple[Schema, Any]:
    schema = Schema.from_json(json.loads(json.dumps(Schema.fit(table, bounds or Bound()).to_json(), allow_nan=False)))
    cells = schema.to_integers(schema.columns_of(table))
    assert cells.X.shape == (len(table), schema.width)
    return schema, schema.table(schema.to_columns(cells))


def test_a_mixed_table_comes_back_to_the_bit() -> None:
    table = mixed()
    _, again = around(table)
    assert again.schema.equals(table.schema)
    for name in table.column_names:
        mine, theirs = again[name].combine_chunks(), table[name].combine_chunks()
        if pa.types.is_floating(mine.type):
            np.testing.assert_array_equal(mine.is_null(), theirs.is_null())
            width = f"u{mine.type.bit_width // 8}"
            filled = [x.fill_null(pa.scalar(0.0, x.type)).to_numpy(zero_copy_only=False) for x in (mine, theirs)]
            np.testing.assert_array_equal(filled[0].view(width), filled[1].view(width))
        else:
            assert mine.equals(theirs), name


def test_columns_become_the_smallest_whole_numbers_that_say_them() -> None:
    schema, _ = around(mixed())
    cells = schema.to_integers(schema.columns_of(mixed()))
    roles = list(zip(schema.roles, cells.X.T, strict=True))
    assert (schema.plans[0].grid.denominator, cells.outside) == (100, None)  # pyright: ignore[reportOptionalMemberAccess]
    whole = schema.plans[5]
    assert (whole.offset, whole.divisor) == (-3497, 700)
    assert [role for role, _ in roles[:3]] == ["number", "flag", "number"]
    assert {tuple(np.unique(X)) for role, X in roles if role == "flag"} == {(0, 1), (0, 1, 2), (1,)}
    assert all(X.min() >= 0 and X.max() < 5 for role, X in roles if role == "category")


@pytest.mark.parametrize("family", ["pandas", "polars"])
def test_frames_come_back_as_frames(family: str) -> None:
    module, testing = pytest.importorskip(family), pytest.importorskip(f"{family}.testing")
    rng = np.random.default_rng(0)
    frame = module.DataFrame(
        {
            "x": np.where(rng.random(50) < 0.2, np.nan, np.round(rng.normal(size=50), 3)),
            "n": np.arange(50, dtype=np.int16),
            "s": ["one", None] * 25,
            "when": np.datetime64("2024-01-01", "ns") + np.arange(50) * np.timedelta64(3600, "s").astype("m8[ns]"),
        }
    )
    if family == "pandas":
        frame["c"] = module.Categorical(["u", "v"] * 25, categories=["w", "v", "u"], ordered=True)
        frame["k"] = module.Categorical([3, 1] * 25)
        frame["N"] = module.array([1, None] * 25, "Int64")
        frame.index = module.Index(np.arange(50) * 2, name="key")
        _, again = around(frame)
        testing.assert_frame_equal(again, frame, check_exact=True)
    else:
        frame = frame.with_columns(module.Series("c", ["u", "v"] * 25, module.Enum(["v", "u", "w"])))
        _, again = around(frame)
        testing.assert_frame_equal(again, frame, check_exact=True)


def test_bounds_hold_column_by_column() -> None:
    table = mixed()
    _, again = around(table, {"price": Bound("abs", 0.5), "whole": Bound("abs", 300), "float": Bound("rel", 0.01)})
    for name, most in (("price", 0.5), ("whole", 300), ("float", 0.01 * float(np.ptp(table["float"].to_numpy())))):
        x, y = table[name].to_numpy(), again[name].to_numpy()
        assert 0 < np.abs(x - y).max() <= most
    assert (
        again.drop(["price", "whole", "float"])
        .drop("nan and gaps")
        .equals(table.drop(["price", "whole", "float"]).drop("nan and gaps"))
    )


def test_rows_that_do_not_fit_what_was_learned_are_kept_exactly() -> None:
    schema = Schema.fit(
        pa.table({"p": [1.25, 2.5, 3.75] * 10, "n": [10, 20, 30] * 10, "s": ["a", "b", "c"] * 10}), Bound()
    )
    new = pa.table({"p": [1.23456, -0.0, np.inf, 2.5], "n": [15, -(2**63), 2**63 - 1, 20], "s": ["d", "a", "", "b"]})
    cells = schema.to_integers(schema.columns_of(new))
    assert cells.outside is not None
    assert cells.outside.sum() == 6
    again = schema.table(schema.to_columns(cells))
    assert again.equals(new)
    assert np.signbit(again["p"][1].as_py())


def test_a_table_of_other_columns_is_refused_by_name() -> None:
    schema = Schema.fit(pa.table({"a": [1, 2], "b": [1.0, 2.0]}), Bound())
    for wrong, named in (
        (pa.table({"a": [1]}), "'b'"),
        (pa.table({"a": [1], "b": [1.0], "c": [1]}), "'c'"),
        (pa.table({"a": ["x"], "b": [1.0]}), "'a'"),
    ):
        with pytest.raises(DataError, match=named):
            schema.columns_of(wrong)
    with pytest.raises(DataError, match="'a' has gaps"):
        schema.to_integers([pa.array([None, 1]), pa.array([1.0, 1.0])])
    with pytest.raises(SettingError, match="'z'"):
        Schema.fit(pa.table({"a": [1]}), {"z": Bound()})
    with pytest.raises(DataError, match="damaged"):
        Schema.from_json({"plans": [{"kind": "whole"}]})
