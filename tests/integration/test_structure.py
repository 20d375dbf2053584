"""Rules of the structure that no linter checks, by reading the source: nothing is imported."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "tfnvp"
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
TEXTS = sorted(
    path
    for path in [
        *SOURCES,
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "examples").glob("*.py"),
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "benchmarks" / "README.md",
    ]
    if path != pathlib.Path(__file__) and path.name != "CHANGELOG.md"
)
# Readers of files and advice start quickly: they import none of these with the module.
SLOW_IMPORTS = {"tensorflow", "tensorflow_probability", "tensorflow_datasets", "keras", "sklearn"}
LIGHT = ["tfnvp.advice", "tfnvp.data.tables", "tfnvp.data.images", "tfnvp.data.splits"]
LIGHT += ["tfnvp.data.named", "tfnvp.runs.resuming", "tfnvp.cli.app", "tfnvp.cli.files"]
# Riddles, or words that only this project uses, and what the field says.
RIDDLES = {
    r"\bis told of\b": "gets, or knows",
    r"\b(which|that) (is|are) none\b": "is not one",
    r"\b(it|that) has started\b": "is initialised",
    # But for names in other libraries and titles of papers.
    r"(?<!import )\bnets?\b(?!\.MLP| with sublinear)": "network",
    r"\b(the|our|a) neighbours?\b": "other libraries",
    r"\b(is|are) warned of\b": "a warning names",
}
# Fixed public names: constructors, `fit`, and commands, whose parameters are options.
MANY_PARAMETERS = 8
FIXED = {"__init__", "fit", "compile", "export", "predict", "evaluate", "write_report"}


def relative(path):
    return str(path.relative_to(ROOT))


@functools.cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path):
    """Every function of a module, with its dotted name."""

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{prefix}{child.name}", child
                yield from walk(child, f"{prefix}{child.name}.<locals>.")
            elif isinstance(child, ast.ClassDef):
                yield from walk(child, f"{prefix}{child.name}.")
            else:
                yield from walk(child, prefix)

    return walk(tree(path), "")


def parameters(function):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument for argument in named if argument.arg not in ("self", "cls")]


def is_command(function):
    """Whether a function is a command, whose help ends in an example."""
    return bool(
        re.search(
            r"^ *Example: (tfnvp|python -m benchmarks)", ast.get_docstring(function) or "", re.M
        )
    )


def lines(found):
    """What was found, a line each, for the message of a failed assertion."""
    return "\n".join(["", *map(str, found.items() if isinstance(found, dict) else found)])


def test_few_modules_lie_at_the_top():
    modules = sorted(path.name for path in PACKAGE.glob("*.py"))
    assert len(modules) <= 18, modules


def test_modules_are_short():
    long = {
        relative(path): length
        for path in SOURCES
        if (length := path.read_text(encoding="utf-8").count("\n")) > 320
    }
    assert not long, lines(long)


def test_every_folder_of_the_package_is_a_package():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [relative(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_warnings_come_from_one_package():
    calls = [
        f"{relative(path)}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        if "advice" not in path.parts
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("warnings.warn", "warn")
    ]
    assert not calls, lines(calls)


def test_functions_take_few_parameters():
    many = {
        f"{relative(path)}:{name}": len(parameters(function))
        for path in SOURCES
        for name, function in functions(path)
        if len(parameters(function)) > MANY_PARAMETERS
        and name.split(".")[-1] not in FIXED
        and not is_command(function)
    }
    assert not many, lines(many)


def public_functions(path):
    """Functions and methods that no underscore makes private, and constructors."""
    for name, function in functions(path):
        parts = name.split(".")
        private = any(part.startswith("_") and part != "__init__" for part in parts)
        if not private and "<locals>" not in parts:
            yield name, function


def test_public_functions_have_type_hints():
    bare = [
        f"{relative(path)}:{function.lineno} {name}"
        for path in PACKAGE.rglob("*.py")
        if path.name not in ("_internals.py", "_atomic.py")
        for name, function in public_functions(path)
        if any(argument.annotation is None for argument in parameters(function))
        or (function.returns is None and function.name != "__init__")
    ]
    assert not bare, lines(bare)


def module_path(name):
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(name):
    """Modules that are imported with a module, not by its functions."""

    def statements(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield child
            yield from statements(child)

    for node in statements(tree(module_path(name))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            for alias in node.names:
                if module_path(f"{node.module}.{alias.name}").is_file():
                    yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("name", LIGHT)
def test_readers_and_advice_do_not_import_tensorflow(name):
    seen, found = [name], []
    for module in seen:
        for imported in imports_of(module):
            if imported.split(".")[0] in SLOW_IMPORTS:
                found.append(f"{module} -> {imported}")
            # The package itself only lists names, and imports what is asked for.
            if imported.startswith("tfnvp.") and module_path(imported).is_file():
                seen += [imported] * (imported not in seen)
    assert not found, lines(found)


@pytest.mark.parametrize("riddle", RIDDLES)
def test_texts_have_the_words_of_the_field(riddle):
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(riddle, line)
    ]
    assert not found, f"better: {RIDDLES[riddle]}{lines(found)}"
