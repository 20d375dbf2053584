"""One section of a report."""

from typing import NamedTuple


class Section(NamedTuple):
    """A title, a text, figures (HTML) with captions, and a table of two columns or more."""

    title: str
    text: str = ""
    figures: tuple = ()
    table: tuple = ()
