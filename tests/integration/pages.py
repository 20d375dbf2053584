"""The fenced blocks of the pages, and the commands in those of the shell."""

import importlib.util
import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"],
    key=lambda page: str(page.relative_to(ROOT)),
)
# A comment that readers of the page do not see, on the line above the block.
FRAGMENT = re.compile(r"<!-- fragment: (.+) -->\n\Z")
# Our modules that need a package which the extra `test` does not install: it is large.
_OPTIONAL = {"tfnvp.pyod": "pyod"}
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: the line of its first line, and why it is a fragment, if it is one."""

    page: pathlib.Path
    language: str
    code: str
    line: int
    fragment: str | None

    def __str__(self):
        return f"{name(self.page)}:{self.line}"


def name(page):
    """Path of a page below the root of the repository."""
    return str(page.relative_to(ROOT))


def blocks(page, language=None):
    """The fenced blocks of a page, of one language or of all."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        marker = FRAGMENT.search(text[: match.start()])
        line = text[: match.start(2)].count("\n") + 1
        found.append(Block(page, match[1], match[2], line, marker and marker[1]))
    return [block for block in found if language in (None, block.language)]


def commands(block):
    """The commands of a shell block, each as a list of words; `&&` and line ends separate them."""
    code = re.sub(r"(^|\s)#\s.*$", "", block.code, flags=re.MULTILINE).replace("\\\n", " ")
    words = shlex.shlex(code, posix=True, punctuation_chars="\n&")
    words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
    found = [[]]
    for word in words:
        if set(word) <= {"\n", "&"}:
            found.append([])
        else:
            found[-1].append(word)
    return [command for command in found if command]


def missing_package(text):
    """The package that a text needs for one of our modules, and that is not installed, or None."""
    for module, package in _OPTIONAL.items():
        if module in text and importlib.util.find_spec(package) is None:
            return package
    return None
