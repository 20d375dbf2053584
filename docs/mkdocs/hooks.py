"""Files of the repository outside of docs/ become pages of the site, and formulas MathML.

Pages link as the repository's host needs it, `../examples/digits.py`; here the same links lead to
the pages made of those files.
"""

import html
import json
import os
import posixpath
import re
from pathlib import Path

import pypandoc
from mkdocs.structure.files import File

# What arithmatex leaves of a formula within a line, and of one on its own.
FORMULA = re.compile(
    r'<span class="arithmatex">\\\((.*?)\\\)</span>|<div class="arithmatex">\\\[(.*?)\\\]</div>',
    re.DOTALL,
)
SPACE = '<mspace width="0.17em"></mspace>'
ROOT = Path(__file__).parents[2]
CARDS = sorted(ROOT.glob("saved_models/*/1/model_card.md"))
TEXTS = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
PROGRAMS = {
    f"examples/{path.name}": f"examples/{path.stem}.md"
    for path in sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("examples/*.ipynb")])
}
SOURCES = {page: source for source, page in (TEXTS | PROGRAMS).items()}
PAGES = TEXTS | PROGRAMS | {"examples": "examples.md", "saved_models": "model_cards.md"}


def on_files(files, config):
    """Adds the pages."""
    for source, page in TEXTS.items():
        _add(files, config, page, (ROOT / source).read_text(encoding="utf-8"))
    for source, page in PROGRAMS.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        program = f"# {source}\n\n```python\n{text}```\n"
        _add(files, config, page, _of_notebook(text) if source.endswith("ipynb") else program)
    cards = [re.sub("^#", "##", card.read_text(encoding="utf-8"), flags=re.M) for card in CARDS]
    _add(files, config, "model_cards.md", "\n\n".join(["# Model cards", *cards]))
    return files


def _of_notebook(text):
    """Returns the cells of a notebook with their printed texts and pictures."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
        for output in cell.get("outputs", []):
            if "text" in output:
                parts.append(f"```text\n{''.join(output['text'])}```")
            elif "image/png" in output["data"]:
                picture = "".join(output["data"]["image/png"].split())
                parts.append(f"![Picture of the cell above](data:image/png;base64,{picture})")
    return "\n\n".join(parts)


def _add(files, config, page, content):
    files.append(File.generated(config, page, content=content))


def on_page_markdown(markdown, page, config, files):
    """Turns links between files of the repository into links between pages."""
    del config, files
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")

    def to_page(match):
        target, anchor = match[1], match[2] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        uri = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if uri is None:
            return match[0]
        return f"]({os.path.relpath(uri, posixpath.dirname(here) or '.')}{anchor})"

    return re.sub(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)", to_page, markdown)


def on_page_content(content, page, config, files):
    """Renders formulas here, so that readers need no script for them."""
    del page, config, files
    formulas = [
        f"${inline}$" if inline else f"$${displayed.strip()}$$"
        for inline, displayed in FORMULA.findall(content)
    ]
    if not formulas:
        return content
    source = html.unescape("\n\n".join(formulas))
    page = pypandoc.convert_text(source, "html", "markdown", extra_args=["--mathml"])
    # Browsers leave no space between a function's name and an argument without parentheses.
    applied = r"(<mo>&#8289;</mo>(?:</mrow>)?)(?!</mrow>|(?:<mrow>)?<mo[^>]*>\()"
    page = re.sub(applied, r"\1" + SPACE, page)
    rendered = re.findall("<math.*?</math>", page, flags=re.S)
    if len(rendered) != len(formulas):
        raise ValueError(f"pandoc renders {len(rendered)} of these formulas: {formulas}")
    rendered = iter(rendered)
    return FORMULA.sub(lambda match: next(rendered), content)
