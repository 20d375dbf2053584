"""Every example runs with --quick and small flows, in this process: TensorFlow is imported once."""

import json
import pathlib
import re
import runpy
import sys

import pytest

from tests.integration.short_trainings import short_trainings, small_flows

pytestmark = pytest.mark.slow

FOLDER = pathlib.Path(__file__).parents[2] / "examples"
# Those without the option need more than this process, such as a server.
EXAMPLES = sorted(p for p in FOLDER.glob("*.py") if "--quick" in p.read_text(encoding="utf-8"))

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# A long epoch, and Markov chains: graphs pay.
MANY_STEPS = {"hmc_preconditioning", "spline_couplings"}


def test_there_are_examples():
    assert len(EXAMPLES) >= 11
    assert NOTEBOOKS


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_prints_a_result(path, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)  # Some write pictures.
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    with short_trainings(eagerly=path.stem not in MANY_STEPS), small_flows():
        runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert out
    assert not re.search(r"\bnan\b", out.lower())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_notebook_runs(path, capsys):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    with short_trainings(eagerly=path.stem not in MANY_STEPS), small_flows():
        exec("\n".join(code), {})
    assert "nats" in capsys.readouterr().out
