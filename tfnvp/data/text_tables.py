"""Tables in text files: encoding, delimiter, decimal mark and comments are found in the file."""

import codecs
import contextlib
import csv
import io
import itertools
import pathlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tfnvp.data.foreign_files import DamagedTableError, reading
from tfnvp.data.table_values import DECIMAL_COMMA, is_number, with_decimal_points
from tfnvp.data.text_headers import Header, find_header, values_of_line

if TYPE_CHECKING:
    import pyarrow

#: Endings of compressed files, and Arrow's names of their formats.
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}

# The form of a file is found in so many bytes, and lines.
_HEAD, _LINES = 2**18, 100

# Bytes that Arrow parses at once, which must hold a row: more make it slower.
_BLOCK, _LARGE_BLOCK = 2**20, 2**28

# In the order in which equally good ones are chosen. A space stands for any number of them.
_DELIMITERS = (",", ";", "\t", "|", " ")

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# A first line that says the delimiter, for Excel.
_SAID = r"sep=([^\"\r\n])"

# Numbers such as 1,234 may have a decimal comma, or one between thousands.
_THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}"

_KIND = "a table of text (its encoding is taken for {}, unless `encoding` names another one)"


class TextOptions(NamedTuple):
    """What a user says of a table of text; None is found in the file.

    Attributes:
      delimiter: str, the character between values; a space stands for any number of spaces.
      encoding: str, name of a codec of Python.
    """

    delimiter: str | None = None
    encoding: str | None = None


class TextForm(NamedTuple):
    """How a text file writes a table.

    Attributes:
      encoding: name of a codec of Python.
      delimiter: what is between values; a space stands for any number of spaces and tabs.
      decimal: the decimal mark, "." or ",".
      has_comments: whether lines that begin with # are comments.
      header: the names of the columns, if they are not the first line as it is.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    has_comments: bool = False
    header: Header = Header()


def find_form(
    file: pathlib.Path,
    compression: str | None = None,
    text: TextOptions | None = None,
    columns: Sequence[str] | None = None,
) -> TextForm:
    """Finds how a file writes its table, in its first lines.

    Args:
      file: path of the file.
      compression: Arrow's name of a format, or None.
      text: what a user says of it. Default: the delimiter is what a first line such as `sep=;`
        says, or what divides most lines into as many values, most of them numbers; the encoding is
        UTF-8, or UTF-16 where the file begins with its mark.
      columns: names that the table is known to have, or None.

    Raises:
      ValueError: for an encoding or a delimiter that cannot be, or bytes that are no text.

    >>> import tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "t.csv")
    >>> _ = file.write_text("# from the lab\\nheight;weight\\n1,71;65,5\\n")
    >>> find_form(file)._replace(header=None)
    TextForm(encoding='utf-8', delimiter=';', decimal=',', has_comments=True, header=None)
    """
    delimiter, encoding = text or TextOptions()
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError(f"`delimiter` must be one character. Received: {delimiter!r}")
    with reading(file, "a table"), _bytes_of(file, compression) as stream:
        head = stream.read(_HEAD)
    found = encoding or next((v for mark, v in _MARKS.items() if head.startswith(mark)), "utf-8")
    decoded = _decoded(head, found, file, strictly=encoding is not None)
    lines = decoded.splitlines()[: _LINES + 1]
    lines = lines if len(head) < _HEAD else lines[:-1]
    said = re.fullmatch(_SAID, lines[0], re.IGNORECASE) if lines else None
    lines = lines[1:] if said else lines
    delimiter = delimiter or (said and said[1])
    is_other = (bool(line.strip()) and not line.startswith("#") for line in lines)
    first = next((i for i, other in enumerate(is_other) if other), len(lines))
    comments = [line for line in lines[:first] if line.strip()]
    lines = [line for line in lines if not (comments and line.startswith("#"))]
    rows = [line for line in lines if line.strip()]
    delimiter = delimiter or _most_even(rows)
    decimal = "," if delimiter != "," and _has_decimal_commas(rows, delimiter) else "."
    header = find_header(comments, lines, delimiter, decimal, columns)
    header = header._replace(lines=header.lines + bool(said))
    return TextForm(found, delimiter, decimal, bool(comments), header)


class TextTable:
    """A table in a file of text.

    Args:
      file: path of the file.
      compression: Arrow's name of a format, or None.
      form: how the text is written.
    """

    def __init__(self, file: pathlib.Path, compression: str | None, form: TextForm):
        self._file, self._compression, self._form = file, compression, form

    def names(self) -> list[str]:
        """Returns the names of all columns; raises `ValueError` if it is no table."""
        import pyarrow

        def found(block):
            with self._open(block) as reader:
                return list(reader.schema.names)

        with self._reading():
            try:
                return found(_BLOCK)
            except pyarrow.ArrowInvalid:  # The first row may be longer.
                try:
                    return found(_LARGE_BLOCK)
                except pyarrow.ArrowInvalid as error:
                    raise self._explained(error) from None

    def pieces(self, columns: Sequence[str]) -> Iterator["pyarrow.Table"]:
        """Yields some columns in Arrow tables, all values as texts.

        Args:
          columns: names of columns.

        Raises:
          ValueError: if the text is no table.
        """
        import pyarrow

        with self._reading():
            for batch in self._batches(columns):
                table = pyarrow.Table.from_batches([batch])
                yield with_decimal_points(table) if self._form.decimal == "," else table

    def _reading(self):
        return reading(self._file, _KIND.format(self._form.encoding))

    def _batches(self, columns):
        import pyarrow

        # As texts: a type that Arrow infers from the first rows might not fit all others.
        types = dict.fromkeys(columns, pyarrow.string())
        done = 0
        for block in (_BLOCK, _LARGE_BLOCK):
            known = done
            try:
                with self._open(block, include_columns=list(columns), column_types=types) as reader:
                    for batch in reader:
                        new = batch.slice(min(known, batch.num_rows))
                        known -= batch.num_rows - new.num_rows
                        done += new.num_rows
                        yield new
                return
            except pyarrow.ArrowInvalid as error:
                if block == _LARGE_BLOCK or "straddl" not in str(error):
                    raise self._explained(error) from None

    def _explained(self, error):
        """Returns an error that says which row has other values than the line of names, if any."""
        if "Empty CSV" in str(error):
            return DamagedTableError(f"{self._file} has no rows")
        expected = re.search(r"Expected (\d+) columns", str(error))
        if expected is None:
            return error
        names, skipped, _ = self._form.header
        delimiter, expected = self._form.delimiter, int(expected[1])
        lines = io.TextIOWrapper(self._stream(), "utf-8", "replace", newline="")
        lines = itertools.islice(lines, skipped, None)
        rows = enumerate(filter(None, csv.reader(lines, delimiter=delimiter)), names is not None)
        with contextlib.suppress(csv.Error):  # Of a text longer than Python's reader takes.
            for i, row in rows:
                if len(row) != expected:
                    return DamagedTableError(
                        f"{self._file}: row {i} must have {expected} values, with "
                        f"{delimiter!r} between them. Received {len(row)}: "
                        f"{delimiter.join(row)[:60]!r}"
                    )
        return error

    def _stream(self):
        """Returns the bytes of the text in UTF-8, without comments, for Arrow."""
        import pyarrow

        form = self._form
        stream = _bytes_of(self._file, self._compression)
        if form.encoding != "utf-8":
            stream = pyarrow.transcoding_input_stream(stream, form.encoding, "utf-8")
        if form.has_comments or form.delimiter == " ":
            stream = pyarrow.TransformInputStream(stream, _Lines(form))
        return stream

    def _open(self, block, **options):
        from pyarrow import csv

        names, skipped, _ = self._form.header
        return csv.open_csv(
            self._stream(),
            csv.ReadOptions(block_size=block, column_names=names, skip_rows=skipped),
            csv.ParseOptions(delimiter=self._form.delimiter, newlines_in_values=True),
            csv.ConvertOptions(**options),
        )


def _bytes_of(file, compression):
    import pyarrow

    return pyarrow.input_stream(str(file), compression=compression)


def _decoded(head, encoding, file, strictly):
    """Returns bytes as text; without `strictly`, errors are left to the reader of each column."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)("strict" if strictly else "replace")
        text = decoder.decode(head).removeprefix("\ufeff")
    except LookupError:
        raise ValueError(f"`encoding` must be a codec of Python. Received: {encoding!r}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in the given `encoding`: {error}") from None
    if "\0" in text:
        raise ValueError(
            f"{file} cannot be read as a table: it holds bytes of value 0. If it is of text, name "
            "its `encoding`, such as utf-16-le"
        )
    return text


def _most_even(lines):
    """Returns the delimiter that divides most lines into as many values, most of them numbers."""

    def score(delimiter):
        divided = [values_of_line(line, delimiter) for line in lines]
        ((count, even),) = Counter(map(len, divided)).most_common(1)
        values = [value for line in divided if len(line) == count for value in line]
        numbers = sum(is_number(v) or bool(re.match(DECIMAL_COMMA, v)) for v in values)
        return even / len(lines) * (1 + numbers / len(values)) if count > 1 else 0.0

    return max(_DELIMITERS, key=score) if lines else ","


def _has_decimal_commas(lines, delimiter):
    values = [value for line in lines for value in values_of_line(line, delimiter)]
    with_comma = [value for value in values if re.match(DECIMAL_COMMA, value)]
    with_point = any("." in value and is_number(value) for value in values)
    return not (with_point or all(re.fullmatch(_THOUSANDS, value) for value in with_comma))


class _Lines:
    """Changes the bytes of a stream: comments are left out, spaces become one delimiter.

    It is called with every read, and at the end with no bytes until it returns none.
    """

    def __init__(self, form):
        self._form = form
        self._rest, self._in_quotes, self._is_first = b"", False, True

    def __call__(self, read):
        read = bytes(read)
        lines = (self._rest + read).splitlines(keepends=True)
        # The last line may go on, and its end too.
        self._rest = lines.pop() if read else b""
        return b"".join(map(self._changed, lines))

    def _changed(self, line):
        if self._is_first:  # Its mark would hide the beginning of a comment.
            line, self._is_first = line.removeprefix(codecs.BOM_UTF8), False
        begins_in_quotes = self._in_quotes
        self._in_quotes ^= line.count(b'"') % 2 == 1
        if self._form.has_comments and line.startswith(b"#") and not begins_in_quotes:
            self._in_quotes = False
            return b""
        if self._form.delimiter == " ":
            return re.sub(rb"[ \t]+", b" ", line.strip()) + b"\n"
        return line
