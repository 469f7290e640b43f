"""Real files are read, encoded and come back; skipped where the development data is not at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from isthmus.data import Series, learn
from isthmus.data.files import read

DATA = Path(os.environ.get("ISTHMUS_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def real(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the development data {name} is not at hand (set ISTHMUS_DATA to its folder)")
    return path


def same_cells(column, back):
    """Compare the cells of two Arrow columns: text, dates and whole numbers exactly, floats closely."""
    assert column.is_null().equals(back.is_null())
    got, expected = back.drop_null().to_pylist(), column.drop_null().to_pylist()
    return got == pytest.approx(expected, rel=1e-4, abs=1e-4) if isinstance(expected[0], float) else got == expected


@pytest.mark.parametrize(
    ("name", "rows", "columns", "leaks"),
    [
        ("seaborn_tables/titanic.csv", 891, 15, []),
        ("seaborn_tables/penguins.csv", 344, 7, []),
        ("seaborn_tables/mpg.csv", 398, 9, []),
        ("seaborn_tables/diamonds.csv", 53940, 10, []),
        ("adult/adult.data", 32561, 15, []),
        ("thyroid/thyroid0387.data", 9172, 30, ["column_30"]),
        ("ett/ETTh1.csv", 17420, 8, []),
    ],
)
def test_a_real_table_comes_back_cell_by_cell(name, rows, columns, leaks):
    table = read(real(name), gaps=["?"])
    assert table.shape == (rows, columns)
    codec = learn(table)
    assert codec.leaks == leaks
    back = codec.decode(codec.encode(table).take(slice(None))[0].numpy())
    assert back.schema.equals(table.schema)
    noted = [name for name in table.column_names if any(f"column {name!r}" in note for note in codec.notes)]
    assert len(noted) <= 2
    for column in set(table.column_names) - set(noted):
        assert same_cells(table[column], back[column]), column


def test_the_gaps_of_the_thyroid_table_are_all_found():
    table = read(real("thyroid/thyroid0387.data"), gaps=["?"])
    assert sum(column.null_count for column in table.columns) == 14629


def test_fashion_pictures_come_back_exactly():
    X = read(real("fashion_mnist/t10k-images-idx3-ubyte.gz"))[:500]
    codec = learn(X)
    np.testing.assert_array_equal(codec.decode(codec.encode(X).take(slice(None))[0].numpy()), X)


def test_photographs_of_mixed_sizes_are_read():
    images = read(real("set14"))
    assert images.pixels.shape[:2] == (14, 3)
    assert images.notes


def test_gene_counts_are_read_from_zarr():
    pytest.importorskip("zarr")
    X = read(real("brain10x_10k_subset/10x-10k-subset.zarr/X"))
    assert X.shape == (10000, 1000)
    assert 0.9 < (X == 0).mean() < 0.95


def test_a_benchmark_archive_gives_its_data_array():
    assert read(real("adbench/4_breastw.npz")).shape == (683, 9)


def test_a_long_series_with_a_time_column_is_cut_into_windows():
    table = read(real("ett/ETTh1.csv"))
    codec = learn(Series(table, length=96))
    rows = codec.encode(Series(table, length=96))
    assert len(rows) == 17420 - 95
    assert rows.shape == (96, 7)
