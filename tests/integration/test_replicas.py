"""Training in several replicas ends at the weights of one process with the whole batch."""

import json
import os
import signal
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.integration.replica_scenarios import SCENARIOS
from tfnvp import distribute

pytestmark = pytest.mark.slow

CONTINUED = "continued_after_a_loss"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}


def start(kind, path, *names, **environment):
    command = [sys.executable, "-m", "tests.integration.replica_scenarios", kind, str(path), *names]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env={**ENVIRONMENT, **environment}, **pipes)


def configs_of_workers(count):
    """TF_CONFIG for workers on free ports of this machine."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    cluster = {"worker": [f"localhost:{s.getsockname()[1]}" for s in sockets]}
    for free in sockets:
        free.close()
    return [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
        for i in range(count)
    ]


def start_workers(paths, *names, **environment):
    """Starts one process for each path."""
    return [
        start("multi_worker", path, *names, TF_CONFIG=config, **environment)
        for path, config in zip(paths, configs_of_workers(len(paths)), strict=True)
    ]


def finish(*processes):
    for process in processes:
        output = process.communicate()[0]
        assert process.returncode == 0, output[-3000:]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of every scenario: in one process, on two devices, and on each of two workers."""
    folder = tmp_path_factory.mktemp("replicas")
    paths = {kind: folder / f"{kind}.npz" for kind in ("none", "mirrored", "worker_0", "worker_1")}
    names = [*SCENARIOS, CONTINUED]
    finish(start("none", paths["none"], *names), start("mirrored", paths["mirrored"]))
    finish(*start_workers([paths["worker_0"], paths["worker_1"]]))
    return {kind: dict(np.load(path)) for kind, path in paths.items()}


@pytest.mark.parametrize("kind", ["mirrored", "worker_0", "worker_1"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_replicas_equal_one_process(results, kind, scenario):
    def of(kind):
        return {k: v for k, v in results[kind].items() if k.startswith(f"{scenario}/")}

    expected, arrays = of("none"), of(kind)
    assert expected
    assert arrays.keys() == expected.keys()
    # Batch statistics, of few numbers, are sensitive to the order in which they are added up.
    rtol, atol = (1e-4, 1e-5) if scenario == "image" else (1e-6, 1e-6)
    for key, value in expected.items():
        np.testing.assert_allclose(arrays[key], value, rtol=rtol, atol=atol, err_msg=key)


def test_a_lost_worker_is_started_again_and_goes_on(results, tmp_path):
    paths = [tmp_path / "0.npz", tmp_path / "1.npz"]
    backup = str(tmp_path / "backup")
    chief, lost = start_workers(paths, CONTINUED, BACKUP=backup, LOST_WORKER="1")
    lost.communicate()
    assert lost.returncode == -signal.SIGKILL
    # A cluster manager starts all again; the others wait in vain for the gradients of the lost.
    chief.kill()
    chief.communicate()
    assert os.listdir(backup)
    finish(*start_workers(paths, CONTINUED, BACKUP=backup))
    for path in paths:
        for key, value in np.load(path).items():
            np.testing.assert_allclose(value, results["none"][key], rtol=1e-6, atol=1e-6)


def test_the_first_of_several_workers_writes_the_run(tmp_path):
    command = [sys.executable, "-m", "tfnvp", "train", "--strategy", "multi_worker", "--epochs"]
    command += ["2", "--set", "couplings=2", "--set", "hidden_units=[8]"]
    command += ["--saved-models", "models", "--json", "--output"]
    workers = [
        subprocess.Popen(
            [*command, f"run-{i}"],
            env={**ENVIRONMENT, "PYTHONPATH": os.getcwd(), "TF_CONFIG": config},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i, config in enumerate(configs_of_workers(2))
    ]
    (output, _), (nothing, _) = (worker.communicate() for worker in workers)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert json.loads(output)["epochs"] == 2
    assert nothing == ""
    assert sorted(os.listdir(tmp_path)) == ["models", "run-0"]


def test_strategies_and_optimizers_that_do_not_fit_are_named(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="unknown strategy 'all'"):
        distribute.make_strategy("all")
    with pytest.raises(ValueError, match="variable TF_CONFIG"):
        distribute.make_strategy("multi_worker")
    outside = keras.optimizers.Adam()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        inside = keras.optimizers.Adam()
    distribute.check_optimizer(outside, tf.distribute.get_strategy())
    with pytest.raises(ValueError, match=r"under `with strategy.scope\(\):`"):
        distribute.check_optimizer(inside, tf.distribute.get_strategy())
