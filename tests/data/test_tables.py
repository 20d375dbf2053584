import bz2
import csv
import datetime
import decimal
import gzip
import re
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest

from tfnvp import data
from tfnvp.data import table_values, tables
from tfnvp.data.table_formats import TextOptions
from tfnvp.data.table_rows import TableRows


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(20, 3)).astype("float32")


def write(path, rows):
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".npz":
        np.savez(path, rows=rows)
    else:
        table = pa.table({f"c{i}": column for i, column in enumerate(rows.T)})
        writer = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
        writer(table, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_tables_of_every_kind_hold_the_same_rows(tmp_path, rows, suffix):
    splits = data.load_table(write(tmp_path / f"table{suffix}", rows))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (16, 2, 2)
    together = np.concatenate([splits.train, splits.validation, splits.test])
    order = np.lexsort(together.T)
    np.testing.assert_allclose(together[order], rows[np.lexsort(rows.T)], rtol=1e-6)
    assert splits.levels is None
    assert splits.event_shape == (3,)


def test_an_archive_that_is_divided_keeps_its_division(tmp_path, rows):
    file = tmp_path / "divided.npz"
    np.savez(file, train=rows[:12], validation=rows[12:15], test=rows[15:])
    splits = data.load_table(file)
    np.testing.assert_array_equal(splits.train, rows[:12])
    np.testing.assert_array_equal(splits.validation, rows[12:15])
    np.testing.assert_array_equal(splits.test, rows[15:])
    some = data.load_table(file, columns="2,0")
    np.testing.assert_array_equal(some.validation, rows[12:15][:, [2, 0]])
    rows[13, 2] = np.inf
    np.savez(file, train=rows[:12], validation=rows[12:15], test=rows[15:])
    with pytest.raises(ValueError, match="row 2, column '2'"):
        data.load_table(file)
    np.savez(file, train=rows[:12], validation=rows[12], test=rows[15:])
    with pytest.raises(ValueError, match=r"validation of .* must hold rows"):
        data.load_table(file)
    np.savez(file, train=rows[:12], validation=rows[12:15, :2], test=rows[15:])
    with pytest.raises(ValueError, match=r"of the same columns. Received: 3, 2, 3 columns"):
        data.load_table(file)


def test_broken_tables_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="no table at"):
        data.load_table(tmp_path / "nothing.csv")
    rows[4, 1] = np.nan
    with pytest.raises(ValueError, match="row 5, column 'c1'"):
        data.load_table(write(tmp_path / "hole.parquet", rows))
    (tmp_path / "words.csv").write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(ValueError, match="column 'b' holds no numbers"):
        data.load_table(tmp_path / "words.csv")
    (tmp_path / "table.pdf").write_text("1 2")
    with pytest.raises(ValueError, match=r"must be \.csv"):
        data.load_table(tmp_path / "table.pdf")
    (tmp_path / "broken.parquet").write_text("nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        data.load_table(tmp_path / "broken.parquet")
    with pytest.raises(ValueError, match="rows of two or more numbers"):
        data.load_table(write(tmp_path / "flat.npy", rows[:, 0]))
    with pytest.raises(ValueError, match="has no rows"):
        data.load_table(write(tmp_path / "empty.npy", rows[:0]))


def test_some_columns_of_a_table(tmp_path):
    file = tmp_path / "mixed.csv"
    lines = [f"{i / 7},name{i},{i / 3}" for i in range(12)]
    file.write_text("\n".join(["a,label,b", *lines]))
    splits = data.load_table(file, columns="b, a")
    assert splits.columns == ("b", "a")
    np.testing.assert_allclose(splits.train[:, 0] * 3, splits.train[:, 1] * 7, rtol=1e-5)
    with pytest.raises(ValueError, match=r"column 'label' holds no numbers.*\(`columns`\)"):
        data.load_table(file)
    lines = [f"{line},2026-11-27" for line in lines]
    file.write_text("\n".join(["a,label,b,day", *lines]))
    with pytest.raises(ValueError, match="hold other values than numbers: 'day'"):
        data.load_table(file)
    with pytest.raises(ValueError, match=r"lacks the columns \['c'\]; it has \['a', 'label'"):
        data.load_table(file, columns="a,c")


def test_suspicious_tables_are_warned_of(tmp_path):
    file = tmp_path / "table.csv"
    numbers = [f"{i / 7},{i % 3}" for i in range(12)]
    file.write_text("\n".join(numbers))
    with pytest.warns(UserWarning, match="seems to have no header"):
        data.load_table(file)
    file.write_text("\n".join(["a,b", *numbers]))
    with pytest.warns(UserWarning, match="only whole numbers in 'b'"):
        data.load_table(file)
    file.write_text("a,b\n")
    with pytest.raises(ValueError, match="has no rows"):
        data.load_table(file)


def test_bad_rows_of_a_table_are_left_out_and_counted(tmp_path, rows):
    rows[[3, 8], [1, 0]] = np.nan, np.inf
    table = write(tmp_path / "holes.csv", rows)
    with pytest.warns(UserWarning, match=r"2 of 20 rows of .* the first is row 4"):
        splits = data.load_table(table, skip_bad=True)
    assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == 18
    assert np.isfinite(splits.train).all()


@pytest.mark.parametrize("name", ["table.npy", "table.npz", "table.parquet"])
def test_truncated_tables_are_refused(tmp_path, rows, name):
    table = write(tmp_path / name, rows)
    table.write_bytes(table.read_bytes()[:60])
    with pytest.raises(ValueError, match="cannot be read as a table"):
        data.load_table(table)


def test_a_table_is_never_unpickled(tmp_path):
    np.save(tmp_path / "table.npy", np.array([[print, print]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"cannot be read as a table: .*Python objects"):
        data.load_table(tmp_path / "table.npy")


def test_an_archive_of_several_arrays_is_refused(tmp_path, rows):
    file = tmp_path / "several.npz"
    np.savez(file, train=rows, test=rows)
    with pytest.raises(ValueError, match=r"one array, or `train`.*arrays: train, test"):
        data.load_table(file)
    np.savez(file, only=rows)
    assert data.load_table(file).event_shape == rows.shape[1:]


def test_texts_among_numbers_are_named_or_left_out(tmp_path):
    file = tmp_path / "mixed.csv"
    texts = {3: "?", 5: "1_000"}
    lines = [f"{i / 7},{texts.get(i, i / 3)}" for i in range(20)]
    file.write_text("\n".join(["a,b", *lines]))
    with pytest.raises(
        ValueError, match=r"'b' holds no numbers in 2 of 20 rows, .*row 4: '\?'; `skip_bad`"
    ):
        data.load_table(file)
    with pytest.warns(UserWarning, match="2 of 20 rows .* the first is row 4"):
        splits = data.load_table(file, skip_bad=True)
    rows = np.concatenate([splits.train, splits.validation, splits.test])
    assert len(rows) == 18
    np.testing.assert_allclose(7 * rows[:, 0], 3 * rows[:, 1], rtol=1e-5)


def test_names_and_separators(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,b\n" + "1.5,2.5\n" * 20)
    for read in (data.load_table, data.table_chunks):
        with pytest.raises(ValueError, match="name 'a' more than once"):
            read(file, columns="a,a")
    file.write_text("a,a,b\n" + "1.5,2.5,3.5\n" * 20)
    for read in (data.load_table, data.table_chunks):
        with pytest.raises(ValueError, match="several columns of the name 'a'"):
            read(file)
    for delimiter in (";", "ab"):
        with pytest.raises(ValueError, match=r"two or more numbers.*`delimiter`|must be one char"):
            data.load_table(file, delimiter=delimiter)


# How 20 rows of 1.5, -2.25 and so on are written in files that people have.
FORMS = {
    "tabs.tsv": ("a\tb", "{}\t{}", {}),
    "semicolons.CSV": ("a;b", "{};{}", {}),
    "bars.txt": ("a|b", "{}|{}", {}),
    "spaces.txt": ("  a   b", "  {}   {}", {}),
    "comma.csv": ("a;b", "{};{}", {"comma": True}),
    "comments.csv": ("# by hand; twice\na,b", "{},{}\n# a remark, here", {}),
    "savetxt.txt": ("# a b", "{} {}", {}),
    "quotes.csv": ('"a","b"', '"{}","{}"', {}),
    "marked.csv": ("\ufeffa,b", "{},{}", {}),
    "utf16.csv": ("a,b", "{},{}", {"encoding": "utf-16"}),
    "packed.csv.gz": ("a,b", "{},{}", {"pack": gzip.compress}),
    "packed.tsv.BZ2": ("a\tb", "{}\t{}", {"pack": bz2.compress}),
    "packed.csv.zst": ("a,b", "{},{}", {"pack": lambda text: pa.compress(text, "zstd", True)}),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.filterwarnings("ignore:.*is read with")
def test_forms_of_text(tmp_path, rows, name):
    header, line, how = FORMS[name]
    lines = "\n".join(line.format(*map(float, row[:2])) for row in rows)
    lines = lines.replace(".", ",") if how.get("comma") else lines
    text = f"{header}\n{lines}".encode(how.get("encoding", "utf-8"))
    (tmp_path / name).write_bytes(how.get("pack", bytes)(text))
    chunks, count = data.table_chunks(tmp_path / name)
    np.testing.assert_array_equal(np.concatenate(list(chunks)), rows[:, :2])
    assert count == 20
    assert data.table_columns(tmp_path / name) == ("a", "b")


def test_what_is_ambiguous_in_text_is_not_guessed(tmp_path):
    file = tmp_path / "t.csv"
    # One thousand and more, or a little more than one?
    file.write_text("a;b\n" + "1,234;5\n" * 12)
    with pytest.raises(ValueError, match="'a' holds no numbers, but texts, such as '1,234' in"):
        data.load_table(file)
    file.write_text("a,b\n" + "1.5,2.5\n" * 12 + "1.5,2.5,3.5\n")
    with pytest.raises(ValueError, match=r"row 13 must have 2 values.* Received 3: '1.5,2.5,3.5'"):
        data.load_table(file)
    file.write_bytes("a,b\n1.5,2.5\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"bytes of value 0.* `encoding`, such as utf-16-le"):
        data.load_table(file)
    assert data.table_columns(file, encoding="utf-16-le") == ("a", "b")


def test_long_texts_in_quotes_are_read(tmp_path):
    file = tmp_path / "t.csv"
    lines = [f'{i}.5,"{"x, " * 4}\n# {"y" * (i == 90) * 3_000_000}",{i}' for i in range(100)]
    file.write_text("a,text,b\n" + "\n".join(lines))
    (chunks, count) = data.table_chunks(file, columns="a,b")
    np.testing.assert_array_equal(np.concatenate(list(chunks))[:, 0], np.arange(100) + 0.5)
    assert count == 100


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".arrow", ".xlsx"])
def test_truth_gaps_and_an_index_in_every_format(tmp_path, suffix):
    pytest.importorskip("openpyxl")
    file = tmp_path / f"t{suffix}"
    columns = {
        "__index_level_0__": list(range(12)),
        "a": [i / 7 for i in range(12)],
        "b": [i % 3 == 0 for i in range(12)],
        "c": [None if i == 5 else i / 3 for i in range(12)],
    }
    write_columns(file, columns)
    with pytest.warns(UserWarning, match="without its index, '__index_level_0__'"):
        chunks, count = data.table_chunks(file, skip_bad=True)
    expected = [[i / 7, i % 3 == 0, i / 3] for i in range(12) if i != 5]
    np.testing.assert_allclose(np.concatenate(list(chunks)), expected, rtol=1e-6)
    assert count == 11
    assert data.table_columns(file) == ("a", "b", "c")
    assert data.table_columns(file, "c,__index_level_0__") == ("c", "__index_level_0__")


def test_blank_rows_and_columns_of_sheets_are_not_there(tmp_path, monkeypatch, recwarn):
    openpyxl = pytest.importorskip("openpyxl")
    monkeypatch.setattr("tfnvp.data.typed_tables._EXCEL_ROWS", 4)
    rows = np.random.default_rng(0).normal(size=(12, 2))
    book = openpyxl.Workbook()
    book.active["H20"] = " "
    for i, (a, b) in enumerate([("a", "b "), *rows.tolist()]):
        row = 3 + i + (i > 5)  # One within, too.
        book.active.cell(row, 2, a)
        book.active.cell(row, 4, b)
    book.save(tmp_path / "t.xlsx")
    # As others write it: openpyxl warns that there is no stylesheet.
    with (
        zipfile.ZipFile(tmp_path / "t.xlsx") as given,
        zipfile.ZipFile(tmp_path / "u.xlsx", "w") as new,
    ):
        for name in given.namelist():
            text = given.read(name)
            if name == "xl/styles.xml":
                text = re.sub(rb"<cellXfs.*</cellXfs>", b"", text)
            new.writestr(name, text)
    with pytest.warns(UserWarning, match="no stylesheet"):
        openpyxl.load_workbook(tmp_path / "u.xlsx", read_only=True)
    recwarn.clear()
    for file in (tmp_path / "t.xlsx", tmp_path / "u.xlsx"):
        chunks, count = data.table_chunks(file)
        np.testing.assert_array_equal(np.concatenate(list(chunks)), rows.astype("float32"))
        assert (count, data.table_columns(file)) == (12, ("a", "b"))
    assert not recwarn.list


def test_columns_of_sheets_have_one_type_in_all_pieces(tmp_path, monkeypatch):
    pytest.importorskip("openpyxl")
    monkeypatch.setattr("tfnvp.data.typed_tables._EXCEL_ROWS", 4)
    a, day = [1, 2, 3, 4.5, 5, 6, 7], datetime.datetime(2026, 11, 30)
    columns = {"a": a, "b": [*a[:6], "?"], "c": [None] * 6 + [2.5], "d": [True] * 7, "e": [day] * 7}
    write_columns(tmp_path / "t.xlsx", columns)
    table = tables.read_table(tmp_path / "t.xlsx")
    types = [str(table[name].type) for name in columns]
    assert types[:4] == ["double", "string", "double", "bool"]
    assert types[4].startswith("timestamp")
    assert table["a"].to_pylist() == a
    assert table["b"].to_pylist() == ["1", "2", "3", "4.5", "5", "6", "?"]
    tables.store_pieces(tables.open_table(tmp_path / "t.xlsx").pieces("ab"), tmp_path / "t.parquet")
    assert tables.read_table(tmp_path / "t.parquet")["a"].to_pylist() == a


def write_columns(file, columns):
    if file.suffix == ".xlsx":
        import openpyxl

        book = openpyxl.Workbook()
        for row in [list(columns), *zip(*columns.values(), strict=True)]:
            book.active.append(row)
        book.save(file)
    else:
        table = pa.table(columns)
        formats = {".csv": pa.csv.write_csv, ".parquet": pa.parquet.write_table}
        formats.get(file.suffix, pyarrow.feather.write_feather)(table, file)


def test_an_index_by_the_metadata_of_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"day": range(12), "a": np.arange(12) / 7, "b": np.arange(12) / 3})
    frame.set_index("day").to_parquet(tmp_path / "t.parquet")
    assert data.table_columns(tmp_path / "t.parquet") == ("a", "b")


def test_columns_that_number_the_rows_are_warned_of(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("year,a\n" + "\n".join(f"{1990 + i},{i / 7}" for i in range(20)))
    with pytest.warns(UserWarning, match="distinct whole numbers in order in 'year'"):
        splits = data.load_table(file)
    assert splits.columns == ("year", "a")


# Each text with the number that it stands for; None is a missing value.
@pytest.mark.parametrize(
    ("text", "value"),
    [("1e3", 1000.0), (" +.5 ", 0.5), ("5.", 5.0), ("007", 7.0), ("inf", np.inf), ("", None)]
    + [("nan", None), ("NA", None)],
)
def test_texts_that_are_numbers(tmp_path, text, value):
    file = tmp_path / "t.csv"
    file.write_text(f"a,b\n{text},1.5\n2.5,2.5\n")
    column = tables.read_table(file)["a"].to_pylist()
    assert column == [value, 2.5]


@pytest.mark.parametrize("text", ["1_000", "?", "0x10", "1,5", "1e", "--1"])
def test_texts_that_are_no_numbers(tmp_path, text):
    file = tmp_path / "t.csv"
    file.write_text(f'a,b\n"{text}",1.5\n2.5,2.5\n')
    assert tables.read_table(file)["a"].to_pylist() == [text, "2.5"]


def test_other_columns_stay_texts(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("key,a,day,good,none\n007,1,2026-11-27,true,\nNA,2,2026-11-28,false,\n")
    table = tables.read_table(file, numbers=["a"])
    assert table["key"].to_pylist() == ["007", "NA"]
    assert table["a"].to_pylist() == [1, 2]
    assert tables.read_table(file)["day"].to_pylist() == ["2026-11-27", "2026-11-28"]
    assert tables.read_table(file)["good"].to_pylist() == [True, False]
    with pytest.raises(ValueError, match="column 'day' holds no numbers, but texts"):
        data.load_table(file, columns="a,day")
    with pytest.raises(ValueError, match="column 'none' holds no numbers, but missing values"):
        data.load_table(file, columns="a,none")
    assert tables.read_table(file, columns=["day", "a"]).column_names == ["day", "a"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["u", "v", "u"], "texts, such as 'u' in row 1"),
        (pa.array(["u", "v", "u"]).dictionary_encode(), "texts, such as 'u' in row 1"),
        ([None, datetime.date(2026, 1, 5), None], "dates, such as '2026-01-05' in row 2"),
        ([datetime.datetime(2026, 1, 5)] * 3, "dates, such as '2026-01-05 00:00:00' in row 1"),
        ([datetime.timedelta(1)] * 3, "times, such as '1 day, 0:00:00' in row 1"),
        ([[1.0]] * 3, "values of type list<item: double>, such as '[1.0]' in row 1"),
    ],
)
def test_columns_of_other_types_are_named_in_plain_words(values, message):
    found = TableRows(["a", "b"], "t.parquet")
    found.add(pa.table({"a": [1.5, 2.5, 3.5], "b": values}))
    with pytest.raises(ValueError, match=re.escape(f"column 'b' holds no numbers, but {message}")):
        found.check(skip_bad=True)


def test_a_text_that_is_not_utf8_costs_only_its_own_column(tmp_path):
    file = tmp_path / "t.csv"
    lines = [f"{i / 7},{i / 3},Müller" for i in range(12)]
    file.write_bytes("\n".join(["a,b,name", *lines]).encode("latin-1"))
    assert data.load_table(file, columns="a,b").event_shape == (2,)
    with pytest.raises(ValueError, match=r"cannot be read as a table .*utf-8, unless `encoding`"):
        data.load_table(file)
    texts = tables.read_table(file, text=TextOptions(encoding="latin-1"))["name"]
    assert set(texts.to_pylist()) == {"Müller"}
    for encoding, message in (("latin-2000", "codec of Python"), ("ascii", "not in the given")):
        with pytest.raises(ValueError, match=message):
            data.load_table(file, encoding=encoding)


def test_decimals_and_nullable_integers_are_numbers(tmp_path):
    file = tmp_path / "t.parquet"
    numbers = pa.array([decimal.Decimal("1.5"), decimal.Decimal("2.5")])
    pyarrow.parquet.write_table(pa.table({"a": numbers, "b": pa.array([7, None])}), file)
    rows = table_values.rows_of_table(tables.read_table(file))
    np.testing.assert_array_equal(rows, [[1.5, 7.0], [2.5, np.nan]])


def test_a_table_is_written_and_read_again(tmp_path, rows):
    for suffix in (".csv", ".parquet"):
        file = tmp_path / f"t{suffix}"
        tables.write_table(file, rows, ["a", "b", "c"])
        table = tables.read_table(file)
        assert table.column_names == ["a", "b", "c"]
        np.testing.assert_array_equal(table_values.rows_of_table(table), rows)
    tables.write_table(file, rows)
    assert data.table_columns(file) == ("x1", "x2", "x3")


ROWS = np.arange(3000, dtype="float32").reshape(1000, 3)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(data.typed_tables, "_ROWS", 300)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_pieces_hold_the_rows_of_the_whole(tmp_path, small_pieces, suffix):
    file = write(tmp_path / f"table{suffix}", ROWS)
    chunks, count = data.table_chunks(file)
    chunks = list(chunks)
    assert count == 1000
    assert suffix == ".csv" or len(chunks) > 3
    np.testing.assert_array_equal(np.concatenate(chunks), ROWS)
    assert data.table_columns(file) == (None if suffix == ".npy" else ("c0", "c1", "c2"))


def test_pieces_of_text_do_not_depend_on_the_first(tmp_path):
    # Arrow reads a piece of a megabyte at a time: the first holds whole numbers in both columns.
    file = tmp_path / "t.csv"
    file.write_text("a,b\n" + "1,2\n" * 300_000 + "0.5,3\n,4\n")
    with pytest.raises(ValueError, match="first in row 300002, column 'a'"):
        list(data.table_chunks(file)[0])
    with pytest.warns(UserWarning, match="1 of 300002 rows"):
        chunks, count = data.table_chunks(file, skip_bad=True)
    *_, last = chunks
    assert count == 300_001
    assert last[-1].tolist() == [0.5, 3.0]


def test_holes_and_texts_in_pieces_are_named(tmp_path, small_pieces):
    rows = ROWS.copy()
    rows[654, 1] = np.nan
    file = write(tmp_path / "t.parquet", rows)
    with pytest.raises(ValueError, match="row 655, column 'c1'; `skip_bad`"):
        list(data.table_chunks(file)[0])
    texts = ["?" if i == 654 else str(i) for i in range(1000)]
    pyarrow.parquet.write_table(pa.table({"a": ROWS[:, 0], "b": texts}), file)
    with pytest.raises(ValueError, match=r"'b' holds no numbers .* row 655: '\?'"):
        list(data.table_chunks(file)[0])
    with pytest.raises(ValueError, match="no table at"):
        data.table_chunks(tmp_path / "nothing.csv")


def test_a_column_can_be_empty_in_a_whole_piece(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b\n" + "1,\n" * 400_000 + "1,2\n" * 3)
    with pytest.warns(UserWarning, match="400000 of 400003 rows"):
        assert data.table_chunks(table, skip_bad=True)[1] == 3


def test_some_columns_and_good_rows_in_pieces(tmp_path, small_pieces):
    rows = ROWS.copy()
    rows[[1, 654], 1] = np.nan
    columns = {f"c{i}": rows[:, i] for i in range(3)} | {"name": ["x"] * 1000}
    file = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pa.table(columns), file)
    with pytest.warns(UserWarning, match="2 of 1000 rows of .* are left out"):
        chunks, count = data.table_chunks(file, skip_bad=True, columns="c2, c1")
    whole = np.concatenate(list(chunks))
    assert count == len(whole) == 998
    np.testing.assert_array_equal(whole, np.delete(ROWS, [1, 654], axis=0)[:, [2, 1]])
    with pytest.raises(ValueError, match="lacks the columns"):
        data.table_chunks(file, columns="c9")


def test_bounds_are_checked_in_the_pass_over_the_pieces(tmp_path, small_pieces):
    rows = np.random.default_rng(0).uniform(1, 2, (1000, 2)).astype("float32")
    rows[[1, 400, 654], 1] = 0.0, -1.0, 0.0
    rows[654, 0] = np.nan
    file = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pa.table(dict(zip("ab", rows.T, strict=True))), file)
    fault = "column 'b' must be above 0. Received: 0 in row 2; 3 of 1000 values .* 2 of them exactl"
    for read in (data.load_table, data.table_chunks):
        with pytest.raises(ValueError, match="missing or infinite values in 1 of 1000 rows"):
            read(file, bounds={"b": (0, None)})
        with pytest.warns(UserWarning, match=fault):
            found = read(file, skip_bad=True, bounds={"b": (0, None)})
        if read is data.load_table:
            assert (len(np.concatenate(found[1:4])), found.bounds) == (997, (None, (0.0, None)))
    assert found[1] == 997
    expected = np.delete(rows, [1, 400, 654], axis=0)
    np.testing.assert_array_equal(np.concatenate(list(found[0])), expected)
    with pytest.raises(ValueError, match=r"must be above 5\. .*1000 values .* correct the bound"):
        data.table_chunks(file, True, "b,a", bounds={"b": (5, None)})


def test_spreadsheets_run_nothing_of_a_written_csv(tmp_path):
    file = tmp_path / "scored.csv"
    names = ["=cmd|' /C calc'!A0", "+a", "-b", "@c", "\td", "e", "-"]
    texts = ["=1+1", "@a", "\tx", "=\ncmd", "-1.5", "+3e5", "-", "plain", "", "'=x", "+49 1 2"]
    columns = {name: [1.5] * len(texts) for name in names}
    categories = pa.dictionary(pa.int32(), pa.string())
    for kind in (pa.string(), pa.large_string(), pa.binary(), categories):
        tables.store_table(pa.table({**columns, "t": pa.array(texts, kind)}), file)
        header, *lines = csv.reader(file.read_text().splitlines(keepends=True))
        assert header == ["'=cmd|' /C calc'!A0", "'+a", "'-b", "'@c", "'\td", "e", "-", "t"]
        marked = ["'=1+1", "'@a", "'\tx", "'=\ncmd", *texts[4:10], "'+49 1 2"]
        assert [line[-1] for line in lines] == marked
        # Our readers find the columns by their own names; a second pass changes nothing.
        read = tables.read_table(file)
        assert read.column_names == [*names, "t"]
        assert tables.table_columns(file, "e,+a") == ("e", "+a")
        assert data.load_table(file, columns="+a,-b").columns == ("+a", "-b")
        tables.store_table(tables.read_table(file, numbers=names), file)
        assert tables.read_table(file)["t"].to_pylist() == marked
    tables.store_table(pa.table(columns), tmp_path / "t.parquet")
    assert tables.read_table(tmp_path / "t.parquet").column_names == names


def test_bounds_of_columns(tmp_path, rows, recwarn):
    rows = np.abs(rows)
    table = write(tmp_path / "positive.parquet", rows)
    splits = data.load_table(table, bounds={"c2": (0, None)})
    assert splits.bounds == (None, None, (0.0, None))
    assert splits.named_bounds() == {"c2": (0.0, None)}
    assert not recwarn.list
    rows[[3, 8], 2] = [0.0, -1.0]
    table = write(tmp_path / "positive.parquet", rows)
    message = r"column 'c2' must be above 0\. Received: 0 in row 4; 2 of 20 .*`skip_bad` for a tab"
    with pytest.raises(ValueError, match=message):
        data.load_table(table, bounds={"c2": (0, None)})
    rows[5, 0] = np.nan
    table = write(tmp_path / "positive.parquet", rows)
    # One row of 20 is an atom; others are only outside.
    with pytest.warns(UserWarning, match="row 4; .* are left out. .*times 0.95, is that of all"):
        splits = data.load_table(table, True, bounds={"c2": (0, None)})
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 17
    with pytest.warns(UserWarning, match="1 of 20 .* are left out$"):
        data.load_table(table, True, bounds={"c2": (-0.5, None)})
