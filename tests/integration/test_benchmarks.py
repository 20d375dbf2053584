"""The benchmarks run, as far as they need this package only, and what is made of their answers."""

import importlib.util
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import __main__ as command_line
from benchmarks import interleave, parts, results
from benchmarks.libraries import FLOORS, OTHERS
from benchmarks.libraries.tfnvp import make_flow
from benchmarks.workloads import SCALING, WORKLOADS, Cell

pytestmark = pytest.mark.slow

TINY = WORKLOADS["tiny"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The lines of a run of the tiny workload, and what it printed."""
    path = tmp_path_factory.mktemp("benchmarks") / "results.jsonl"
    arguments = ["run", "--work", "tiny", "--rounds", "2", "--output", str(path)]
    arguments += ["--libraries", "floor_tensorflow,tfnvp,nflows"]
    run = CliRunner().invoke(command_line.app, arguments, catch_exceptions=False)
    assert run.exit_code == 0, run.output
    return path, run.output


def test_a_run_times_every_cell_and_prints_tables(measured):
    path, output = measured
    cells = results.read(path)
    assert set(cells) == {("tiny", cell.name) for cell in TINY.cells}
    for libraries in cells.values():
        for name in ("floor_tensorflow", "tfnvp", results.FLOOR):
            assert len(libraries[name]["milliseconds"]) == 2
            assert libraries[name]["best"] > 0
            assert libraries[name]["peak_mib"] > 50
            assert not libraries[name]["idle_share"] or libraries[name]["idle_share"] < 0.2
        assert libraries["tfnvp"]["versions"]["tensorflow"]
    assert "| tiny train-16 |" in output


@pytest.mark.skipif(
    importlib.util.find_spec("nflows") is not None, reason="nflows is installed here"
)
def test_a_library_that_is_not_installed_is_left_out_with_the_reason(measured):
    assert "nflows left out: ModuleNotFoundError: No module named" in measured[1]


def test_a_picture_is_drawn(measured, tmp_path):
    arguments = ["plot", str(measured[0]), "-o", str(tmp_path / "speed.png")]
    assert CliRunner().invoke(command_line.app, arguments, catch_exceptions=False).exit_code == 0
    assert (tmp_path / "speed.png").stat().st_size > 5000


def test_the_first_step_comes_after_imports_and_building():
    (answer,) = interleave.first_steps(TINY, ["tfnvp"], 1, interleave.interpreter)
    assert 0 < answer["imported"] < answer["built"] < answer["first_step"]
    assert "| tfnvp |" in results.first_steps_markdown([answer])


def _result(library, milliseconds):
    return {
        "work": "W3",
        "cell": "train-256",
        "library": library,
        "milliseconds": milliseconds,
        "versions": {library: "1.0"},
        "processor": "abacus",
        "threads": 2,
    }


def test_ratios_are_of_medians_to_the_faster_floor_and_the_best_other(tmp_path):
    path = tmp_path / "results.jsonl"
    lines = [
        _result(FLOORS[0], [2.0, 1.0, 3.0]),
        _result(FLOORS[1], [9.0, 9.0, 9.0]),
        _result("tfnvp", [99.0, 99.0, 99.0]),
        _result("zuko", [8.0, 1.0, 9.0]),
        _result("distrax", [6.0, 6.0, 6.0]),
    ]
    results.append(path, lines)
    # Measured again: the later line counts.
    results.append(path, [_result("tfnvp", [3.0, 2.5, 7.0])])
    cells = results.read(path)
    (libraries,) = cells.values()
    assert results.ratios(libraries)["zuko"] == 4.0
    assert results.best_other(libraries) == "distrax"
    row = "| W3 train-256 | 2 | 3 (2.5) | 1.50 | 6 (6) distrax | 0.50 |"
    assert row in results.markdown(cells)

    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- table -->\nold\n<!-- /table -->\nend\n", encoding="utf-8")
    arguments = ["table", str(path), "--write", str(page)]
    assert CliRunner().invoke(command_line.app, arguments, catch_exceptions=False).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert row in text
    assert "old" not in text
    assert text.startswith("# Title\n")
    assert text.endswith("\nend\n")


def test_operations_are_those_of_the_products():
    by_hand = 2 * 256 * 8 * 3 * (32 * 128 + 128 * 128 + 128 * 64) - 2 * 256 * 32 * 128
    assert WORKLOADS["W2"].operations(Cell("train", 256, 1)) == by_hand
    assert math.isclose(WORKLOADS["W1"].operations(Cell("train", 200, 1)), 22.8e9, rel_tol=1e-3)
    assert WORKLOADS["W3"].operations(Cell("log_prob", 10_000, 1)) == 686_080_000
    # The network of a scale's first coupling, from the paper: stem, 2 blocks, 3 skips, projection.
    first = WORKLOADS["W4"].conditioners()[0]
    per_pixel = 9 * 7 * 32 + 4 * 9 * 32 * 32 + 3 * 32 * 32 + 32 * 6
    assert sum(layer.products for layer in first) == 32 * 32 * per_pixel
    assert len(WORKLOADS["W4"].conditioners()) == WORKLOADS["W4"].couplings


@pytest.mark.parametrize("name", ["tiny", "tiny-nice", "tiny-spline"])
def test_products_are_those_of_our_networks(name):
    work = WORKLOADS[name]
    shapes = [tuple(variable.shape) for variable in make_flow(work).trainable_variables]
    # Our splines follow a scale and a shift, which those of other libraries do not have.
    count = work.parameters_per_variable
    ours = count + 2 if work.kind == "neural_spline" else count
    products = []
    for *hidden, last in work.conditioners():
        products += [(layer.inputs, layer.outputs) for layer in hidden]
        products.append((last.inputs, last.outputs // count * ours))
    assert sorted(shape for shape in shapes if len(shape) == 2) == sorted(products)


@pytest.mark.parametrize("name", [*WORKLOADS, *SCALING])
def test_data_has_the_shapes_of_the_cells(name):
    work = {**WORKLOADS, **SCALING}[name]
    cell = work.cells[0]
    small = Cell(cell.task, 8, 2)
    batches = work.batches(small)
    assert batches.shape == (2, 8, *work.event_shape)
    assert batches.dtype == np.float32
    assert np.isfinite(batches).all()
    assert cell.steps >= 1


def test_unknown_names_are_refused():
    for option, value in (("--work", "W9"), ("--libraries", "abacus")):
        run = CliRunner().invoke(command_line.app, ["run", option, value])
        assert run.exit_code == 2
        assert value in run.output
    assert set(OTHERS).isdisjoint(FLOORS)


def test_parts_of_every_call_are_timed():
    # The command would pin this process to two processors.
    found = {cell.name: parts.measure(TINY, cell, rounds=2) for cell in TINY.cells}
    printed = parts.markdown(found)
    for cell in TINY.cells:
        names = {"train": ("gradients", "optimizer"), "sample": ("call", "our program", "noise")}
        for part in ("products", *names.get(cell.task, ("call", "our program"))):
            assert f"| {cell.name} | {part} | " in printed
    assert all(least > 0 for measured in found.values() for _, least in measured.values())
