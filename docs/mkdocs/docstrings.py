"""Docstrings are written for `help()`; on the site, formulas and examples become code blocks."""

import re

import griffe


class Docstrings(griffe.Extension):
    """Fences doctests, and drops the second colon before an indented block."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            text = re.sub(r"^::\n", "", obj.docstring.value, flags=re.M)
            text = re.sub(r"::$", ":", text, flags=re.M)
            obj.docstring.value = re.sub(
                r"^>>> .*(?:\n.+)*", lambda match: f"```pycon\n{match[0]}\n```", text, flags=re.M
            )
