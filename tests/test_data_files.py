"""Files become containers, containers become files, and what is broken is refused by name."""

from __future__ import annotations

import datetime as dt
import gzip
import struct
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from isthmus.data import Images, learn, memory
from isthmus.data.files import check_writable, read, write
from isthmus.errors import DataError, DataWarning
from isthmus.layout import Layout


@pytest.fixture
def text(tmp_path):
    def make(content: str, name: str = "table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode())
        return path

    return make


# ---- delimited text


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "-2", ""], pa.int64(), [1, -2, None]),
        (["1", "2.5", "NA"], pa.float64(), [1.0, 2.5, None]),
        (["1e3", ".5", "nan"], pa.float64(), [1000.0, 0.5, None]),
        (["true", "False", "null"], pa.bool_(), [True, False, None]),
        (["2020-01-02", "1999-12-31", "None"], pa.date32(), [dt.date(2020, 1, 2), dt.date(1999, 12, 31), None]),
        (
            ["2020-01-02 10:00:00", "2020-01-02", ""],
            pa.timestamp("us"),
            [dt.datetime(2020, 1, 2, 10), dt.datetime(2020, 1, 2), None],
        ),
        (["2020-01-02T10:00:00Z", "2020-01-02T11:00:00Z", ""], pa.timestamp("us", "UTC"), None),
        (["00123", "12345", ""], pa.large_string(), ["00123", "12345", None]),
        (["1", "two", "N/A"], pa.large_string(), ["1", "two", None]),
        (["", "NaN", "NULL"], pa.null(), [None, None, None]),
    ],
)
def test_a_column_gets_the_narrowest_type_that_all_its_cells_fit(text, cells, kind, values):
    table = read(text("name,other\n" + "".join(f"{cell},x\n" for cell in cells)))
    assert table["name"].type == kind
    assert values is None or table["name"].to_pylist() == values


def test_types_are_decided_on_the_whole_column(text):
    table = read(text("n\n" + "1\n" * 3_000_000 + "1.5\n"))
    assert table["n"].type == pa.float64()
    assert table["n"][-1].as_py() == 1.5


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(text, delimiter):
    rows = [["name", "n"], ["a b", "1.5"], ["c", "2"]]
    table = read(text("\n".join(delimiter.join(row) for row in rows)))
    assert table.to_pydict() == {"name": ["a b", "c"], "n": [1.5, 2.0]}


def test_columns_between_runs_of_blanks_are_read(text):
    table = read(text("  1.0  2.0\n 3.0     4.0 \n", "table.txt"))
    assert table.to_pydict() == {"column_1": [1.0, 3.0], "column_2": [2.0, 4.0]}


def test_decimal_commas_are_numbers(text):
    assert read(text("a;b\n1,5;x\n-2,25;y\n"))["a"].to_pylist() == [1.5, -2.25]


def test_blanks_around_values_are_stripped(text):
    table = read(text("39, State-gov, ?\n50, ?, 7\n"), gaps=["?"])
    assert table.to_pydict() == {"column_1": [39, 50], "column_2": ["State-gov", None], "column_3": [None, 7]}


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("1,x\n2,y\n", ["column_1", "column_2"]),
        ("?,x\nz,y\n", ["column_1", "column_2"]),
        (",a\n0,x\n1,y\n", ["column_1", "a"]),
        ('"a, b",c\n1,2\n', ["a, b", "c"]),
        ("\ufeffa,b\n1,2\n", ["a", "b"]),
        ("a,b\r\n1,2\r\n", ["a", "b"]),
        ("\n\na,b\n1,2\n", ["a", "b"]),
        ("a\nx\ny\n", ["a"]),
    ],
)
def test_the_header_is_found(text, content, names):
    assert read(text(content), gaps=["?"]).column_names == names


def test_the_header_may_be_stated(text):
    assert read(text("2019,2020\n1,2\n"), header=True).column_names == ["2019", "2020"]
    assert read(text("a,b\nc,d\n"), header=False).num_rows == 2


def test_names_for_a_file_without_header_may_be_given(text):
    assert read(text("1,2\n3,4\n"), columns=["a", "b"]).column_names == ["a", "b"]
    assert read(text("1,2\n3,4\n"), columns=["1", "2"]).num_rows == 1
    with pytest.raises(DataError, match="2 columns and no header, but 3 names"):
        read(text("1,2\n3,4\n"), columns=["a", "b", "c"])


def test_a_remark_above_the_table_is_skipped_with_a_warning(text):
    with pytest.warns(DataWarning, match="1 line.* skipped .'|1x3 Cross validator'."):
        assert read(text("|1x3 Cross validator\n1,2\n3,4\n")).num_rows == 2


def test_quoted_cells_keep_their_delimiters_and_line_ends(text):
    table = read(text('a,b\n"x, y",1\n"two\nlines",2\n'))
    assert table["a"].to_pylist() == ["x, y", "two\nlines"]


def test_latin_1_is_read_with_a_warning(tmp_path):
    (tmp_path / "t.csv").write_bytes("name,n\nGruyère,1\n".encode("latin-1"))
    with pytest.warns(DataWarning, match="Latin-1"):
        assert read(tmp_path / "t.csv")["name"].to_pylist() == ["Gruyère"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "blank lines"),
        ("a,b\n", "no rows below its header"),
        ("a,a\n1,2\n", "column 'a' appears 2 times"),
        ("a,b\n1,2\n3,4,5\n", "line 3 .* has 3 cells where 2 were expected .'3,4,5'"),
        ("a,b\n1\x00,2\n\xff", "cannot|not text"),
    ],
)
def test_text_that_is_no_table_is_refused_with_the_file_and_the_line(tmp_path, content, message):
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert "bad.csv" in str(caught.value)


# ---- arrays


def test_npy_and_npz_come_back_as_written(tmp_path):
    X = np.arange(6, dtype="f4").reshape(2, 3)
    for name in ("x.npy", "x.npz"):
        write(X, tmp_path / name)
        np.testing.assert_array_equal(read(tmp_path / name), X)
    np.savez(tmp_path / "named.npz", y=np.zeros(2), X=X)
    np.testing.assert_array_equal(read(tmp_path / "named.npz"), X)


def test_an_npz_of_several_arrays_lists_their_names(tmp_path):
    np.savez(tmp_path / "two.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(DataError, match=r"holds 2 arrays \(a, b\)"):
        read(tmp_path / "two.npz")


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickled_objects_are_refused(tmp_path, name):
    objects = np.array([{"a": 1}, None], dtype=object)
    (np.save if name.endswith("npy") else np.savez)(tmp_path / name, objects, allow_pickle=True)
    with pytest.raises(DataError, match="pickled Python objects"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["x.npy", "x.npz", "x.parquet", "x.feather", "images-idx2-ubyte", "x.csv.gz", "i-idx2-ubyte.gz"]
)
@pytest.mark.parametrize("keep", [0.5, 0.02])
def test_truncated_files_are_refused_by_name(tmp_path, name, keep):
    X = np.random.default_rng(0).integers(0, 255, (40, 5)).astype("u1")
    whole = tmp_path / name
    if "idx" in name:
        raw = idx(X)
        whole.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    else:
        write(X, whole)
    whole.write_bytes(whole.read_bytes()[: max(3, int(whole.stat().st_size * keep))])
    with pytest.raises(DataError, match=name):
        read(whole)


def idx(array):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    kind = array.dtype.str[1:]
    header = bytes([0, 0, codes[kind], array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    return header + array.astype(f">{kind}").tobytes()


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "x.idx", "x.idx3", "x.idx.gz", "nameless", "a-ubyte.gz"])
def test_idx_files_are_read_zipped_or_not(tmp_path, dtype, name):
    X = np.arange(24).reshape(2, 3, 4).astype(dtype)
    raw = idx(X)
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    back = read(tmp_path / name)
    assert back.dtype == X.dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, X)


@pytest.mark.parametrize("format_number", [2, 3])
def test_a_zarr_array_is_read_block_by_block(tmp_path, format_number):
    zarr = pytest.importorskip("zarr")
    X = np.random.default_rng(0).normal(size=(50, 4))
    stored = zarr.create_array(tmp_path / "x.zarr", shape=X.shape, chunks=(7, 4), dtype="f8", zarr_format=format_number)
    stored[:] = X
    back = read(tmp_path / "x.zarr")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, X.astype("f4"))


def test_a_zarr_group_lists_its_arrays(tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("X", shape=(2, 2), dtype="f4")
    group.create_array("obs", shape=(2,), dtype="f4")
    with pytest.raises(DataError, match=r"group of arrays \(X, obs\)"):
        read(tmp_path / "g.zarr")
    assert read(tmp_path / "g.zarr" / "X").shape == (2, 2)


def test_zarr_beyond_the_memory_is_refused(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "x.zarr", shape=(1000, 4), dtype="f4")
    monkeypatch.setattr(memory, "machine_memory", lambda: 1000)
    with pytest.raises(DataError, match="1000 rows of 4 numbers"):
        read(tmp_path / "x.zarr")


def test_a_missing_optional_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "x.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DataError, match=r'pip install "isthmus\[zarr\]"'):
        read(tmp_path / "x.zarr")


# ---- tables out


TABLE = pd.DataFrame(
    {
        "n": [1.5, None, 3.0],
        "i": [1, 2, 3],
        "c": pd.Categorical(["a", None, "b"]),
        "t": pd.to_datetime(["2020-01-01 10:00", None, "2020-01-03 11:00"]),
        "s": ["x, y", 'a "quote"', None],
    }
)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.pq", "t.feather", "t.arrow"])
@pytest.mark.parametrize("family", ["pandas", "polars", "pyarrow"])
def test_tables_of_every_family_come_back_from_files(tmp_path, name, family):
    arrow = pa.Table.from_pandas(TABLE)
    write({"pandas": TABLE, "polars": pl.from_arrow(arrow), "pyarrow": arrow}[family], tmp_path / name)
    back = read(tmp_path / name)
    assert back.to_pylist() == arrow.to_pylist()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_pandas_row_labels_are_no_data(tmp_path):
    TABLE.set_index(pd.Index([5, 6, 7])).to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").column_names == list(TABLE.columns)


def test_durations_are_written_to_text_as_counts(tmp_path):
    write(pa.table({"d": pa.array([5, 60], pa.duration("s"))}), tmp_path / "d.csv")
    assert read(tmp_path / "d.csv")["d"].to_pylist() == [5, 60]


def test_an_array_may_be_written_as_a_table(tmp_path):
    write(np.array([[1.5, 2.0], [3.0, 4.0]]), tmp_path / "x.csv")
    assert read(tmp_path / "x.csv").to_pydict() == {"column_1": [1.5, 3.0], "column_2": [2.0, 4.0]}


@pytest.mark.parametrize(
    ("container", "name", "message"),
    [
        (TABLE, "t.xlsx", "the extension '.xlsx'"),
        (TABLE, "t.npy", "the extension '.npy'"),
        (TABLE, "folder/", "a folder cannot hold a table"),
        (TABLE, "nowhere/t.csv", "there is no folder"),
        (np.zeros((2, 3)), "x.png", "the extension '.png'"),
        (np.zeros((2, 3, 4), "u1"), "x.csv", "the extension '.csv'"),
        (np.zeros((2, 3, 4)), "x/", "float64; write them to .npy"),
        (np.zeros((2, 3, 4), "u1"), "x.png", "cannot hold 2 pictures"),
        ("text", "t.csv", "a str cannot be written"),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, container, name, message):
    with pytest.raises(DataError, match=message):
        write(container, f"{tmp_path}/{name}")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    write(np.zeros(3), tmp_path / "x.npy")

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"x\.npy' could not be written: disk full; nothing there was changed"):
        write(np.ones(3), tmp_path / "x.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    np.testing.assert_array_equal(read(tmp_path / "x.npy"), np.zeros(3))


def test_writability_is_known_before_the_work_is_done(tmp_path):
    check_writable(tmp_path / "t.csv", "table")
    check_writable(tmp_path / "new", "images")
    check_writable(tmp_path, "images")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        check_writable(tmp_path / "file", "images")
    with pytest.raises(DataError, match="make it first"):
        check_writable(tmp_path / "a" / "b.csv", "table")


# ---- paths


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no file or folder '.*gone\.csv'"):
        read(tmp_path / "gone.csv")


def test_an_unknown_extension_lists_the_known_ones(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"x\.mat.*\.csv.*\.parquet.*\.npy"):
        read(tmp_path / "x.mat")


# ---- pictures


def picture(path, size=(6, 5), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], bands)).astype("u1")
    Image.fromarray(pixels if bands > 1 else pixels[..., 0]).save(path)
    return np.moveaxis(pixels, -1, 0)


def test_a_folder_of_pictures_is_read_sorted_and_recursive(tmp_path):
    second = picture(tmp_path / "b" / "1.png", seed=1)
    first = picture(tmp_path / "a.bmp", seed=2)
    (tmp_path / "notes.txt").write_text("no picture")
    images = read(tmp_path)
    assert images.names == ["a.bmp", "b/1.png"]
    assert images.notes == []
    np.testing.assert_array_equal(images.pixels, [first, second])


@pytest.mark.parametrize(("modes", "channels"), [(["L", "L"], 1), (["L", "RGB"], 3), (["L", "RGBA"], 4)])
def test_the_richest_colour_mode_decides_the_channels(tmp_path, modes, channels):
    for i, mode in enumerate(modes):
        picture(tmp_path / f"{i}.png", mode=mode)
    assert read(tmp_path).pixels.shape == (2, channels, 5, 6)


def test_mixed_sizes_are_brought_to_the_median_with_a_note(tmp_path):
    for i, size in enumerate([(4, 4), (8, 6), (10, 10)]):
        picture(tmp_path / f"{i}.png", size)
    images = read(tmp_path)
    assert images.pixels.shape == (3, 3, 6, 8)
    assert "2 of 3 pictures" in images.notes[0]
    assert "6 x 8" in images.notes[0]
    assert learn(images).notes == images.notes


def test_a_model_decides_size_and_channels(tmp_path):
    picture(tmp_path / "a.png")
    assert read(tmp_path, size=(3, 4)).pixels.shape == (1, 3, 3, 4)
    assert read(tmp_path / "a.png", layout=Layout((1, 9, 7))).pixels.shape == (1, 1, 9, 7)


def test_corrupt_pictures_are_skipped_and_named(tmp_path):
    kept = picture(tmp_path / "good.png")
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    picture(tmp_path / "cut.png", size=(60, 50))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    with pytest.warns(DataWarning, match=r"3 of 4 pictures .*broken\.jpg, cut\.png, empty\.png") as caught:
        images = read(tmp_path, size=(5, 6))
    assert len(caught) == 1
    assert images.names == ["good.png"]
    np.testing.assert_array_equal(images.pixels[0], kept)


def test_a_folder_without_a_readable_picture_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no picture"):
        read(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"none of the 1 pictures .*broken\.jpg"):
        read(tmp_path)


def test_sixteen_bit_grey_is_divided_not_cut(tmp_path):
    Image.fromarray(np.array([[0, 65535], [257 * 7, 257 * 100]], np.uint16)).save(tmp_path / "deep.png")
    assert read(tmp_path / "deep.png").pixels.tolist() == [[[[0, 255], [7, 100]]]]


def test_a_turned_photograph_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read(tmp_path / "turned.jpg").pixels.shape == (1, 3, 8, 4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_written_to_a_folder_come_back(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 255, (3, channels, 4, 5)).astype("u1")
    images = Images(pixels, ["a.jpg", "b/c.bmp", "a.png"])
    write(images, tmp_path / "out")
    back = read(tmp_path / "out")
    assert sorted(back.names) == ["a.png", "a_2.png", "b/c.png"]
    np.testing.assert_array_equal(back.pixels, pixels[[0, 2, 1]])
    write(images, tmp_path / "out")  # once more, over what is there
    assert len(read(tmp_path / "out")) == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_names_cannot_lead_out_of_the_folder(tmp_path):
    write(Images(np.zeros((1, 1, 2, 2), "u1"), ["../../evil.png"]), tmp_path / "out")
    assert (tmp_path / "out" / "evil.png").is_file()


def test_one_picture_may_be_written_to_one_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (1, 3, 4, 5)).astype("u1")
    write(Images(pixels, ["x"]), tmp_path / "x.png")
    np.testing.assert_array_equal(read(tmp_path / "x.png").pixels, pixels)


def test_a_file_of_bytes_is_not_taken_for_idx(tmp_path):
    (tmp_path / "x-ubyte").write_bytes(b"something else")
    with pytest.raises(DataError, match="does not begin like it"):
        read(tmp_path / "x-ubyte")
