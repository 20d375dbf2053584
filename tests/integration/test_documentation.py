"""What README and docs show runs, what they name exists, and the site builds without a warning.

The blocks of a page share one folder, those in Python share their names too, and all run in order,
as a reader would type them. Flows get few couplings and trainings one epoch. Commands that need a
server, a data set or hours are not run, but their options are parsed.
"""

import configparser
import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import typer

import tfnvp
from tests.integration.pages import PAGES, ROOT, blocks, commands, missing_package, name
from tests.integration.short_trainings import short_trainings, small_flows

DOCS = ROOT / "docs"
SHELL = ("bash", "sh", "console")
MODULES = ["bijectors", "callbacks", "conditioners", "data", "partitions", "pyod", "sklearn"]
MODULES += ["testing"]
# What continuous integration runs by itself, and what it cannot run here.
PROGRAMS = {
    "pytest": ".ci/run runs it",
    "ruff": ".ci/run runs it",
    "lint-imports": ".ci/run runs it",
    "mkdocs": "test_the_site_builds_without_warnings runs it",
    ".ci/run": "runs these tests",
    "git": "needs a network",
    "docker": "needs a server",
    "curl": "test_requests_of_the_pages_get_the_answers_that_they_show replays it",
    "cd": "the tests have a folder of their own",
    ".": "the tests have an environment of their own",
    "export": "describes several hosts",
}
# Words of a command line that name something that is not at hand. `doctor` trains, and fails if one
# epoch is all: the tests of the command line run it.
NOT_AT_HAND = re.compile(
    r"doctor|[A-Z]{2,}|(?!mnist[.]keras).*(mnist|fashion|cifar10|celeba|olivetti|faces|bsds300|power).*"
    r"|--strategy|--resume|--on-divergence|--(install|show)-completion"
)
SHORTER = {
    "train": ["--set", "couplings=2"],
    "inpaint": ["--steps", "5"],
    "report": ["--rows", "60"],
}


def runs(page):
    """The blocks of a page that run."""
    return [
        block
        for block in blocks(page)
        if block.fragment is None
        and block.language in ("python", *SHELL)
        and not missing_package(block.code)
    ]


RUNNING = [page for page in PAGES if runs(page)]


def is_run(words):
    """Whether a command of the shell is run here."""
    return words[0] == "tfnvp" and not any(NOT_AT_HAND.fullmatch(word) for word in words)


def main(words):
    """Runs a `tfnvp` command in this process and folder."""
    from tfnvp.cli import main

    shown = warnings.showwarning
    try:
        with pytest.raises(SystemExit) as end:
            main([*words[1:], *SHORTER.get(words[1], [])])
    finally:
        warnings.showwarning = shown
    assert not end.value.code, " ".join(words)


def _copy(source, target):
    """Copies a file, but links tables: a run reads its own table without an option, not a copy."""
    is_table = source.endswith(("data.csv", "new.csv", "big.parquet"))
    (os.link if is_table else shutil.copy2)(source, target)


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory):
    """A folder with the files and runs that pages name, and the commands that were run so far."""
    folder = tmp_path_factory.mktemp("reader")
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, 3)) @ generator.normal(size=(3, 3))
    header = ",".join("abc")
    np.savetxt(folder / "data.csv", rows, delimiter=",", header=header, comments="")
    np.savetxt(folder / "new.csv", rows[:20] + 1, delimiter=",", header=header, comments="")
    bounded = np.exp(-np.abs(rows)) * [1, 1, -1]
    named = {"header": "rain,share,loss", "comments": ""}
    np.savetxt(folder / "weather.csv", bounded, delimiter=",", **named)
    angles = np.abs(np.tanh(rows)) * [359, 23, 10]
    named["header"] = "direction,hour,speed"
    np.savetxt(folder / "winds.csv", angles, delimiter=",", **named)
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.parquet.write_table(
        pyarrow.csv.read_csv(folder / "data.csv"), str(folder / "big.parquet")
    )
    done = [["tfnvp", "train"], ["tfnvp", "train", "--table", "data.csv"]]
    with short_trainings(["log_prob"]), contextlib.chdir(folder):
        for words in done:
            main(words)
    return folder, done


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_what_a_page_shows_runs(page, monkeypatch, tmp_path, request):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    text = page.read_text(encoding="utf-8")
    asked, few_steps = re.findall(r'signatures\["(\w+)"\]', text), "sample_chain" not in text
    signatures, done = asked or ["log_prob"], []
    shown = [block for block in runs(page) if block.language in SHELL]
    if any(is_run(words) for block in shown for words in commands(block)):
        folder, done = request.getfixturevalue("readers_folder")
        shutil.copytree(folder, tmp_path, copy_function=_copy, dirs_exist_ok=True)
    policy = keras.config.dtype_policy()
    try:
        with short_trainings(signatures, eagerly=few_steps), small_flows():
            for block in runs(page):
                if block.language == "python":
                    # Empty lines before it, so that an error names the line of the page.
                    code = compile("\n" * (block.line - 1) + block.code, name(page), "exec")
                    exec(code, names)
                    continue
                for words in commands(block):
                    if is_run(words) and words not in done:
                        main(words)
                        done.append(words)
    finally:
        keras.config.set_dtype_policy(policy)


def _commands(page):
    return [words for block in blocks(page) if block.language in SHELL for words in commands(block)]


@functools.cache
def _parsers():
    from benchmarks.__main__ import app as benchmarks
    from tfnvp.cli.app import app

    return {"tfnvp": typer.main.get_command(app), "benchmarks": typer.main.get_command(benchmarks)}


def _parse(program, words):
    """Raises where a command has no such option, or where a value is of the wrong type."""
    command = _parsers()[program]
    if words and not words[0].startswith("--"):
        command.commands[words[0]].make_context(words[0], list(words[1:]))
    options = {option for parameter in command.params for option in parameter.opts}
    assert words[0] in command.commands or words[0] in options, words


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=name)
def test_commands_have_the_options_that_a_page_gives_them(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    for words in _commands(page):
        while re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        program, rest = words[0].rsplit("bin/")[-1], words[1:]  # Also `ENVIRONMENT/bin/python`.
        if program == "tfnvp":
            _parse("tfnvp", rest)
            if "--recipe" in rest:
                tfnvp.recipes.get(rest[rest.index("--recipe") + 1])
        elif (program, *rest[:2]) == ("python", "-m", "benchmarks"):
            _parse("benchmarks", rest[2:])
        elif (program, *rest[:2]) == ("python", "-m", "pytest"):
            assert all((ROOT / word).exists() for word in rest[2:] if word.startswith("tests/"))
        elif program == "python" and rest[0] == "-m":
            assert importlib.util.find_spec(rest[1]), words
        elif program == "python":  # test_examples runs them.
            assert (ROOT / rest[0]).is_file(), words
        elif program == "pip":
            assert rest[0] == "install"
            for extra in re.findall(r"\.\[([\w,]+)\]", " ".join(rest)):
                assert set(extra.split(",")) <= set(extras["options.extras_require"]), words
            assert all((ROOT / word).is_file() for word in rest if word.endswith(".txt"))
        else:
            assert program in PROGRAMS, words


def test_at_most_ten_blocks_are_fragments():
    assert {ROOT / "README.md", DOCS / "faq.md", DOCS / "tutorials" / "keras.md"} <= set(RUNNING)
    fragments = [block for page in PAGES for block in blocks(page) if block.fragment]
    assert len(fragments) <= 10
    # Other languages are those that nothing can run: configuration, answers, messages.
    languages = {block.language for page in PAGES for block in blocks(page)}
    assert languages <= {"python", *SHELL, "json", "yaml", "text"}


def test_every_name_of_the_package_on_a_page_exists():
    missing = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for dotted in set(re.findall(r"(?<![\w/.-])tfnvp(?:\.[A-Za-z_]\w*)+", text)):
            if missing_package(dotted):
                continue
            try:
                _resolve(dotted)
            except (ImportError, AttributeError):
                missing[f"{name(page)}: {dotted}"] = None
    assert not missing


def _resolve(dotted):
    found = tfnvp
    for part in dotted.split(".")[1:]:
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)


def test_every_file_of_the_repository_on_a_page_exists():
    pattern = re.compile(r"`((?:tests|tfnvp|examples|benchmarks|docs)/[\w./-]+)`")
    missing = [
        f"{name(page)}: {path}"
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for path in pattern.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]
    assert not missing


def test_requests_of_the_pages_get_the_answers_that_they_show():
    """Each JSON answer below a request is that of the exported model, to its last digits."""
    page = DOCS / "serving.md"
    signatures = tf.saved_model.load(str(ROOT / "saved_models" / "two-moons" / "1")).signatures
    found, request = 0, None
    for block in blocks(page):
        if block.language in SHELL:
            sent = [words for words in commands(block) if words[0] == "curl"]
            request = json.loads(sent[0][-1]) if sent else None
        elif block.language == "json":
            signature = signatures[request["signature_name"]]
            inputs = signature.structured_input_signature[1]
            given = request.get("inputs")
            if given is None:
                (rows,) = (request["instances"],)
                given = (
                    {key: [row[key] for row in rows] for key in rows[0]}
                    if isinstance(rows[0], dict)
                    else {next(iter(inputs)): rows}
                )
            outputs = signature(**{k: tf.constant(v, inputs[k].dtype) for k, v in given.items()})
            (answer,) = json.loads(block.code).values()
            # Processors round differently: a small number beside a large one has fewer digits.
            digits = 1e-5 * np.abs(answer).max()
            np.testing.assert_allclose(next(iter(outputs.values())), answer, rtol=0, atol=digits)
            found += 1
    assert found == 3


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    if package := missing_package(f"tfnvp.{module}"):
        pytest.skip(f"needs the package {package}")
    pages = (DOCS / "api").glob("*.md")
    reference = "".join(page.read_text(encoding="utf-8") + "\n" for page in pages)
    missing = [
        public
        for public in importlib.import_module(f"tfnvp.{module}").__all__
        if not public.isupper() and f"::: tfnvp.{module}.{public}\n" not in reference
    ]
    assert not missing


@pytest.mark.slow
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
