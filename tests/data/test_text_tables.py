"""Tables of text as other programs write them: with and without names of columns."""

import numpy as np
import pytest

from tfnvp import data
from tfnvp.data import tables
from tfnvp.data.table_values import rows_of_table
from tfnvp.data.text_tables import find_form


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(12, 3)).round(3).astype("float32")


def lines_of(rows, delimiter=",", end="\n", name="", after=""):
    numbers = (delimiter.join(f"{value:.3f}" for value in row) for row in rows)
    return "".join(
        f"{name and f'{name}{i}{delimiter}'}{row}{after}{end}" for i, row in enumerate(numbers)
    )


def read(file):
    """Returns all rows of a table, which its two readers must agree on, and their names."""
    chunks, _ = data.table_chunks(file)
    whole = tables.read_table(file, columns=data.table_columns(file))
    chunks = np.concatenate(list(chunks))
    np.testing.assert_array_equal(chunks, rows_of_table(whole))
    return chunks, data.table_columns(file)


@pytest.mark.parametrize("before", ["", "# by hand\n"])
def test_without_a_line_of_names_the_first_line_is_a_row(tmp_path, rows, before):
    file = tmp_path / "t.txt"
    file.write_text(before + lines_of(rows, " "))
    with pytest.warns(UserWarning, match="no header: its first line is a row, .* 0, 1, 2$"):
        found, names = read(file)
    np.testing.assert_array_equal(found, rows)
    assert names is None
    # Who names them knows better.
    first = ",".join(f"{value:.3f}" for value in rows[0])
    assert data.table_columns(file, first) == tuple(first.split(","))


@pytest.mark.parametrize("names", ["1990,1995,2000", "0,1,2", "400.5,401,401.5"])
def test_numbers_in_equal_steps_are_names(tmp_path, rows, names):
    (tmp_path / "t.csv").write_text(f"{names}\n{lines_of(rows)}")
    found, read_names = read(tmp_path / "t.csv")
    np.testing.assert_array_equal(found, rows)
    assert read_names == tuple(names.split(","))


@pytest.mark.parametrize(
    ("text", "is_missing"),
    [
        ("1,2,3\n" + "4,5,6\n7,8,9\n" * 5, True),  # All lines rise in steps.
        ("1,2,3\n" + "2,5,4\n3,1,1\n" * 5, True),
        ("1.5,2.5,3.5\n" + "2.1,5.2,4.4\n3.9,1.0,1.4\n" * 5, True),
        ("1 2\n" + "2 5\n3 1\n" * 5, True),
        ("0,1,2\n" + "2,5,4\n3,1,1\n" * 5, False),  # As pandas names columns.
        ("1,2,3\n" + "2.5,5.5,4\n3.5,1.5,1.5\n" * 5, False),
        ("1990,1995,2000\n" + "12,57,41\n36,12,11\n" * 5, False),
        ("1;2;3\n" + "1,5;0,5;1,5\n3,5;1,5;1,5\n" * 5, False),
        ("1,2,3\n" + "a,2,5,4\nb,3,1,1\n" * 5, False),  # As R writes them.
        ("1,2,3\n", False),
    ],
)
def test_a_first_line_in_equal_steps_is_a_row_if_it_looks_like_the_others(
    tmp_path, text, is_missing
):
    (tmp_path / "t.csv").write_text(text)
    assert find_form(tmp_path / "t.csv").header.is_missing == is_missing


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("header", ["a{0}b{0}c\n", "a{0}b{0}c{0}{0}\n", ""])
def test_a_first_line_says_the_delimiter(tmp_path, rows, delimiter, header):
    file = tmp_path / "t.csv"
    after = delimiter * 2 if header.endswith("{0}{0}\n") else ""
    text = f"sep={delimiter}\n{header.format(delimiter)}{lines_of(rows, delimiter, after=after)}"
    file.write_bytes(text.encode("utf-8-sig"))
    found, names = read(file)
    np.testing.assert_array_equal(found, rows)
    assert names == (("a", "b", "c") if header else None)
    file.write_text(text + "1.5\n")
    with pytest.raises(ValueError, match=r"row 13 must have . values, with .* Received 1: '1.5'"):
        read(file)


def test_a_row_with_a_text_in_place_of_names_gets_a_warning(tmp_path):
    (tmp_path / "t.csv").write_text("5.1,3.5,setosa\n4.9,3.0,setosa\n" * 6)
    with pytest.warns(UserWarning, match="no header: its first line is read as names: 5.1, 3.5, s"):
        data.load_table(tmp_path / "t.csv", columns="5.1,3.5")


UNEVEN = {
    "row names": ("a,b,c\n", {"name": "row"}),
    "row names after blank lines": ("\n\na,b,c\n", {"name": "row"}),
    "row names in a comment's file": ("# from R\na,b,c\n", {"name": "row"}),
    "delimiters at the ends": ("a,b,c\n", {"after": ","}),
    "unnamed columns": ("a,b,c,,\n", {"after": ",,"}),
    "spaces around names": (" a , b, c\n", {}),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_names_are_those_of_the_columns(tmp_path, rows, name):
    header, how = UNEVEN[name]
    (tmp_path / "t.csv").write_text(header + lines_of(rows, **how))
    found, names = read(tmp_path / "t.csv")
    np.testing.assert_array_equal(found, rows)
    assert names == ("a", "b", "c")
    some = data.load_table(tmp_path / "t.csv", columns=[" b", "c"])
    assert some.event_shape == (2,)


def test_two_columns_without_names_are_two_columns(tmp_path, rows):
    (tmp_path / "t.csv").write_text(",,c\n" + lines_of(rows))
    table = tables.read_table(tmp_path / "t.csv")
    assert table.column_names == ["", "Unnamed: 1", "c"]
    np.testing.assert_array_equal(rows_of_table(table), rows)


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_ends_of_lines_of_other_systems(tmp_path, rows, end):
    file = tmp_path / "t.csv"
    file.write_bytes(f"# by hand{end}a,b,c{end}{lines_of(rows, end=end)}".encode())
    found, names = read(file)
    np.testing.assert_array_equal(found, rows)
    assert names == ("a", "b", "c")


def test_a_comma_after_zero_is_no_comma_of_thousands(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n" + "0,125;1,234\n-0,250;2,345\n" * 6)
    found, _ = read(tmp_path / "t.csv")
    np.testing.assert_array_equal(found[:2], np.float32([[0.125, 1.234], [-0.25, 2.345]]))


def test_hexadecimal_numbers_are_texts_for_every_reader(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "0x1f,1\n" * 12)
    assert str(tables.read_table(tmp_path / "t.csv")["a"].type) == "string"
    with pytest.raises(ValueError, match="'a' holds no numbers, but texts, such as '0x1f' in row"):
        data.load_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.csv has no rows$"),
        ("a,b", r"t\.csv has no rows$"),
        ('a,b\n"x\ny",1\n\n1,2\n1\n', r"t\.csv: row 3 must have 2 values.*Received 1: '1'$"),
        ("a,b\nr1,1,2\nr2,1,2\nr3,1\n", "row 3 must have 3 values"),
        ("5.5,1.5\n1,2\n3\n", "row 3 must have 2 values"),
    ],
)
def test_rows_of_other_lengths_are_named(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        data.load_table(tmp_path / "t.csv")


def test_codes_for_missing_values_get_a_warning(tmp_path, rows):
    rows[[2, 5], 1] = -999
    (tmp_path / "t.csv").write_text("a,b,c\n" + lines_of(rows))
    with pytest.warns(UserWarning, match="far from all other values: -999 in 'b'. If it stands"):
        data.load_table(tmp_path / "t.csv")


def test_a_point_beside_decimal_commas_is_in_no_number(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a;b\n" + "0,5;1,25\n" * 120 + "2,5;1.234\n")
    with pytest.raises(ValueError, match=r"'b' holds no numbers in 1 of 121 rows.*121: .*1\.234"):
        data.load_table(file)
    chunks, count = data.table_chunks(file, skip_bad=True)
    assert (count, np.concatenate(list(chunks)).max()) == (120, 1.25)
    # Texts of other columns stay as they are.
    file.write_text("a;b;note\n" + "0,5;1,25;No. 1\n" * 12)
    assert tables.read_table(file)["note"].to_pylist() == ["No. 1"] * 12


def test_a_mark_of_the_encoding_hides_no_comment(tmp_path, rows):
    file = tmp_path / "t.csv"
    file.write_bytes(f"# by hand\na,b,c\n{lines_of(rows)}".encode("utf-8-sig"))
    found, names = read(file)
    np.testing.assert_array_equal(found, rows)
    assert names == ("a", "b", "c")
