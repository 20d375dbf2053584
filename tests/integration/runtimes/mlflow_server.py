"""Serves a SavedModel, unmodified, by MLflow's REST server: MODEL FEEDS ANSWERS.

FEEDS holds arrays named SIGNATURE/INPUT, ANSWERS gets arrays named SIGNATURE/OUTPUT.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy as np

MLMODEL = """
flavors:
  python_function:
    loader_module: mlflow.tensorflow
    python_version: {python}
  tensorflow:
    model_type: tf1-estimator
    saved_model_dir: model
    meta_graph_tags: [serve]
    signature_def_key: {signature}
signature:
  inputs: '{inputs}'
"""

model, feeds, answers = sys.argv[1:]
feeds = np.load(feeds)
results = {}
for signature in sorted({name.split("/")[0] for name in feeds.files}):
    arrays = {n.split("/")[1]: feeds[n] for n in feeds.files if n.startswith(f"{signature}/")}
    inputs = [
        {
            "name": name,
            "type": "tensor",
            "tensor-spec": {"dtype": array.dtype.name, "shape": [-1, *array.shape[1:]]},
        }
        for name, array in arrays.items()
    ]
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "model").symlink_to(model)
    python = ".".join(map(str, sys.version_info[:3]))
    text = MLMODEL.format(python=python, signature=signature, inputs=json.dumps(inputs))
    (folder / "MLmodel").write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mlflow = pathlib.Path(sys.executable).with_name("mlflow")
    serve = f"{mlflow} models serve --env-manager local -m {folder} -h 127.0.0.1 -p {port}"
    environment = {**os.environ, "PATH": f"{mlflow.parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(serve.split(), env=environment, start_new_session=True)
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": {name: a.tolist() for name, a in arrays.items()}}).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 90
        while True:
            try:
                reply = json.load(urllib.request.urlopen(request, timeout=30))
                break
            except urllib.error.HTTPError as error:
                sys.exit(error.read().decode())
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    for name, values in reply["predictions"].items():
        results[f"{signature}/{name}"] = np.array(values, "float32")
np.savez(answers, **results)
