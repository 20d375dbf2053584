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

# NaN and infinities are no numbers; "#" stands for one.
NUMBER = r"-?\d+(?:\.\d+)?"
NATS = "test log-likelihood # nats"
#: What each prints, a regular expression for all of it. How good small flows are is not tested.
OUTPUTS = {
    "conditional_density": rf"(condition #: median radius of samples #\n){{3}}{NATS}\n",
    "conditional_digits": r"# % of test images are likeliest .*\npicture in .+\n",
    "custom_bijector": rf"Tails: .* holds\nForgetful: .* differ.*\n(.* tails: {NATS}\n){{2}}",
    "custom_conditioner": rf"(.+: # parameters, {NATS}\n){{2}}saved and loaded, .*: True\n",
    "digits": r"bits per dimension: .* one epoch #, test at the end #\npictures in .+\n",
    "faces_interpolation": r"# bits per dimension of # test faces; picture in .+\n",
    "hmc_preconditioning": r"effective samples of # draws: # plain, # with flow\n",
    "joint_distribution": r"error of what is seen #, of the posterior mean #\n",
    "mixture_base": rf"base normal: {NATS}\nbase mixture: {NATS}\n",
    "positive_data": rf"smallest sample (?!-)#, {NATS}\n",
    "serving_client": r'\{"signature_name": "sample_rows", "inputs": \{"seed": .*\n',
    "table_scoring": r"\|.*\|\n\|[-|]+\|\n(\| .+ \| (# ± #|none)( \| # ± #){3} \|\n){5}",
    "toy_densities": rf"(.+, (RealNVP|NeuralSplineFlow): {NATS}\n){{8}}picture in .+\n",
    "two_moons": rf"{NATS} \(that of the true density is #\)\npicture in .+\n",
    "variational_inference": r"(.+: evidence lower bound # nats \(at most 0\)\n){2}",
}


def test_there_are_examples():
    assert {path.stem for path in EXAMPLES} == set(OUTPUTS)
    assert NOTEBOOKS


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_prints_a_result(path, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)  # Some write pictures.
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    with short_trainings(eagerly=path.stem not in MANY_STEPS), small_flows():
        runpy.run_path(str(path), run_name="__main__")
    out = capsys.readouterr().out
    assert re.fullmatch(OUTPUTS[path.stem].replace("#", NUMBER), out), out
    for written in re.findall(r"pictures? in (.+)", out):
        assert list(tmp_path.rglob(f"{written}*"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_code_of_notebook_runs(path, capsys):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    with short_trainings(eagerly=path.stem not in MANY_STEPS), small_flows():
        exec("\n".join(code), {})
    assert re.search(f"{NUMBER} nats", capsys.readouterr().out)
