"""The table of losses that `keras.callbacks.CSVLogger` writes, one row for each epoch."""

import csv
import pathlib

from tfnvp._atomic import replacing


def read(file, column):
    """Returns a column as a list of floats."""
    with pathlib.Path(file).open(newline="") as table:
        return [float(row[column]) for row in csv.DictReader(table)]


def cut(file, epochs):
    """Leaves only the rows of the first `epochs` epochs, where there is a table.

    A run that goes on from a backup repeats the epoch in which it was stopped.
    """
    file = pathlib.Path(file)
    if not file.exists():
        return
    with file.open(newline="") as table:
        header, *rows = [*csv.reader(table)] or [[]]
    with replacing(file) as temporary, temporary.open("w", newline="") as table:
        if header:
            csv.writer(table).writerows([header, *rows[:epochs]])
