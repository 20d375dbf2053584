"""What a page is made of."""

from typing import NamedTuple


class Section(NamedTuple):
    """A heading, words, figures (HTML) with captions, and a table of two columns or more."""

    title: str
    text: str = ""
    figures: tuple = ()
    table: tuple = ()
