"""The Python of README and docs runs, and the site builds without a warning.

Blocks of a page share their names and run in order, as a reader would type them.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

import tfnvp

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Several devices, a server, data sets on disk, or arrays of the reader's: what these pages show is
# tested by test_replicas, test_runtimes, test_records, test_resume and test_examples.
NOT_ALONE = {"scaling.md", "serving.md", "speed.md"}
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]
    if BLOCK.search(page.read_text(encoding="utf-8"))
    and str(page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT)) not in NOT_ALONE
)
MODULES = ["bijectors", "callbacks", "conditioners", "data", "partitions", "testing"]


def test_there_are_pages():
    names = {page.stem for page in PAGES}
    assert {"README", "keras", "tfp", "serving", "faq", "mathematics", "likelihoods"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_python_of_a_page_runs(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # Some blocks write files.
    fit = tfnvp.Flow.fit

    def short_fit(flow, *args, epochs=1, **kwargs):
        return fit(flow, *args, epochs=kwargs.get("initial_epoch", 0) + min(epochs, 2), **kwargs)

    monkeypatch.setattr(tfnvp.Flow, "fit", short_fit)
    # Compiling would take longer than everything else.
    monkeypatch.setattr(tfnvp.Flow, "uses_xla", lambda flow: False)
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "page"}
    for block in BLOCK.finditer(text):
        # Empty lines before it, so that an error names the line of the page.
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        exec(compile(code, page, "exec"), names)


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    pages = (DOCS / "api").glob("*.md")
    reference = "".join(page.read_text(encoding="utf-8") + "\n" for page in pages)
    missing = [
        name
        for name in getattr(tfnvp, module).__all__
        if not name.isupper() and f"::: tfnvp.{module}.{name}\n" not in reference
    ]
    assert not missing


def test_the_site_builds_without_warnings(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    config = DOCS / "mkdocs" / "mkdocs.yml"
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert result.returncode == 0, result.stderr
    mathematics = (tmp_path / "mathematics.html").read_text(encoding="utf-8")
    assert "<math" in mathematics
    assert "arithmatex" not in mathematics
    reference = (tmp_path / "api" / "flows.html").read_text(encoding="utf-8")
    assert 'id="tfnvp.flows.Flow.log_prob"' in reference
    assert "base_filters" in reference
