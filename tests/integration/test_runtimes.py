"""Exported flows in programs that we did not write, against the Python model.

Runtimes that do not install beside tfnvp are looked for in this interpreter and in those that the
environment variable TFNVP_RUNTIME_PYTHONS lists, separated by colons; TensorFlow.js is looked for
in $NODE_PATH.
"""

import functools
import http.server
import importlib.util
import json
import math
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import functions_eager, perturb

pytestmark = pytest.mark.slow

RUNTIMES = pathlib.Path(__file__).parent / "runtimes"
CLIENT = RUNTIMES.parents[2] / "examples" / "serving_client.py"
ROWS = 7
ARRAYS = ("log_prob", "encode", "decode", "interpolate")  # Signatures without random numbers.
FLOWS = {
    "image": None,  # All signatures.
    "spline": (*ARRAYS, "sample_and_log_prob"),
    "conditional": ("log_prob", "encode", "sample", "sample_rows"),
    "labels": ("log_prob", "sample_rows"),  # By a condition network.
    "custom": ("log_prob", "decode", "sample", "sample_rows"),
    "patches": ("log_prob", "encode", "decode", "sample_rows"),
    "pixels": ("encode_uint8", "log_prob_uint8", "sample_rows"),
}
ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def make_flow(name):
    if name == "image":
        return tfnvp.RealNVP((4, 4), couplings=2, hidden_units=(16,), logit_alpha=0.05, levels=17)
    if name == "vector":
        return tfnvp.RealNVP(6, couplings=2, hidden_units=(16,))
    if name == "spline":
        return tfnvp.NeuralSplineFlow(6, couplings=2, hidden_units=(16,), bins=3)
    if name == "conditional":
        return tfnvp.NICE(3, couplings=2, hidden_units=(8,), base="logistic", condition_shape=2)
    if name == "labels":
        network = keras.Sequential([keras.layers.Embedding(4, 3), keras.layers.Flatten()])
        return tfnvp.NICE(3, 2, hidden_units=(8,), condition_shape=1, condition_network=network)
    if name == "custom":
        tfb, tfd = tfp.bijectors, tfp.distributions
        bijector = tfb.Chain([tfb.Softplus(), tfb.Shift(tf.Variable([1.0, 2.0, 0.5]))])
        base = tfd.Independent(tfd.Laplace(tf.zeros(3), tf.ones(3)), 1)
        return tfnvp.Flow(bijector, 3, base=base)
    if name == "patches":
        return tfnvp.Jet((4, 4, 1), 2, 1, 4, 2, 2, spatial_every=2)
    return tfnvp.ImageRealNVP((4, 4, 2), scales=1, base_filters=4, residual_blocks=1)


def make_feeds(flow):
    """Inputs for all signatures of a flow: arrays by SIGNATURE/INPUT."""
    generator = np.random.default_rng(0)
    unit = functools.partial(generator.uniform, 0.05, 0.95)
    x = unit(size=(ROWS, *flow.event_shape)).astype("float32")
    feeds = {
        "log_prob/x": x,
        "encode/x": x,
        "decode/z": generator.normal(size=(ROWS, *flow.latent_shape)).astype("float32"),
        "interpolate/corners": unit(size=(ROWS, 4, *flow.event_shape)).astype("float32"),
        "interpolate/weights": unit(size=(ROWS, 4)).astype("float32"),
        "sample_rows/seed": generator.integers(0, 2**31, (ROWS, 2)).astype("int32"),
    }
    for name in ("sample", "sample_and_log_prob"):
        feeds[f"{name}/num_samples"] = np.int32(ROWS)
        feeds[f"{name}/seed"] = np.array([3, 4], "int32")
    if isinstance(flow.base, str):
        feeds["sample_rows/temperature"] = unit(size=ROWS).astype("float32")
        feeds["sample/temperature"] = np.float32(0.5)
        feeds["sample_and_log_prob/temperature"] = np.float32(1.0)
    if flow.accepts_integers:
        pixels = generator.integers(0, flow.levels, (ROWS, *flow.event_shape)).astype("uint8")
        feeds |= {"log_prob_uint8/x": pixels, "encode_uint8/x": pixels}
    if flow.condition_shape is not None:
        (part,) = flow.data_spec.conditions.inputs
        condition = generator.normal(size=(ROWS, *part.shape))
        condition = (np.abs(condition) if part.takes_labels else condition).astype(part.dtype)
        feeds |= {f"{name}/condition": condition for name in {n.split("/")[0] for n in feeds}}
    return feeds


def expected_answers(flow, feeds):
    """What the Python model answers, by its public methods."""

    def condition(row=slice(None)):
        everything = feeds.get("log_prob/condition")
        return None if everything is None else everything[row]

    def log_prob(x):
        nats = flow.log_prob(x, condition())
        return nats if flow.levels is None else (nats, flow.bits_per_dim(nats))

    def one_row(i):
        temperature = float(feeds["sample_rows/temperature"][i]) if has_temperature else 1.0
        seed = feeds["sample_rows/seed"][i]
        return flow.sample(1, seed=seed, temperature=temperature, condition=condition(i))[0]

    has_temperature = "sample/temperature" in feeds
    seed = feeds["sample/seed"]
    cold = flow.sample(
        ROWS, seed, float(feeds["sample/temperature"]) if has_temperature else 1.0, condition()
    )
    samples = flow.sample(ROWS, seed, condition=condition())
    z = np.stack(
        [
            np.tensordot(weights, flow.encode(corners, condition(i)), axes=1)
            for i, (weights, corners) in enumerate(
                zip(feeds["interpolate/weights"], feeds["interpolate/corners"], strict=True)
            )
        ]
    ).astype("float32")
    answers = {
        "log_prob": log_prob(feeds["log_prob/x"]),
        "encode/z": flow.encode(feeds["encode/x"], condition()),
        "decode/x": flow.decode(feeds["decode/z"], condition()),
        "sample/x": cold,
        "sample_rows/x": np.stack([one_row(i) for i in range(ROWS)]),
        "sample_and_log_prob/x": samples,
        "sample_and_log_prob/log_prob": flow.log_prob(samples, condition()),
        "interpolate/x": flow.decode(z, condition()),
    }
    if flow.accepts_integers:
        middles = (feeds["log_prob_uint8/x"] + np.float32(0.5)) / np.float32(flow.levels)
        answers["log_prob_uint8"] = log_prob(middles)
        answers["encode_uint8/z"] = flow.encode(middles)
    for name in ("log_prob", "log_prob_uint8"):
        value = answers.pop(name, None)
        if isinstance(value, tuple):
            answers[f"{name}/log_prob"], answers[f"{name}/bits_per_dim"] = value
        elif value is not None:
            answers[f"{name}/log_prob"] = value
    return {name: np.asarray(value) for name, value in answers.items()}


class Exported:
    """Flows on disk, with inputs and the right answers."""

    def __init__(self, folder):
        self.folder, self.flows, self.feeds, self.answers = folder, {}, {}, {}
        for name, signatures in FLOWS.items():
            self.add(name, signatures)

    def add(self, name, signatures):
        folder = self.folder
        flow = perturb(make_flow(name), 0.1)
        warmup = (1, 3) if name == "image" else ()
        flow.export(folder / name, signatures=signatures, warmup=warmup)
        feeds = make_feeds(flow)
        with functions_eager():
            answers = expected_answers(flow, feeds)
        self.feeds[name], self.answers[name] = (
            {n: v for n, v in d.items() if not signatures or n.split("/")[0] in signatures}
            for d in (feeds, answers)
        )
        np.savez(folder / name, **self.feeds[name])
        self.flows[name] = flow

    def model(self, name):
        return str(self.folder / name / "1")

    def compare(self, name, got, tolerance=1e-5):
        """Checks answers of a runtime, and prints how far they are from the Python model."""
        for output, value in sorted(got.items()):
            right = self.answers[name][output]
            assert value.shape == right.shape, output
            difference = np.max(np.abs(value - right), initial=0.0)
            scale = max(1.0, np.max(np.abs(right), initial=0.0))
            print(f"{name} {output}: {difference:.1e} of {scale:.3g}")
            assert difference <= tolerance * scale, output


SERVING_API = importlib.util.find_spec("tensorflow_serving") is not None
needs_serving_api = pytest.mark.skipif(
    not SERVING_API, reason="tensorflow-serving-api is not installed"
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return Exported(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def tensorflow_only(exported):
    run = run_python(sys.executable, "tensorflow_only.py", exported.folder)
    assert "modules of ours: []" in run.stdout
    return exported.folder


def run_python(python, script, *arguments):
    run = subprocess.run(
        [python, RUNTIMES / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run


def interpreter_with(*modules):
    """Returns a Python that has modules, or skips the test."""
    if all(importlib.util.find_spec(module) for module in modules):
        return sys.executable
    code = f"import importlib.util as u; exit(not all(u.find_spec(m) for m in {modules}))"
    for python in filter(None, os.environ.get("TFNVP_RUNTIME_PYTHONS", "").split(":")):
        if subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0:
            return python
    return pytest.skip(f"not installed: {', '.join(modules)}")


def run_elsewhere(exported, python, script, flow, signatures, model=None):
    """Runs some signatures by a script and compares the answers."""
    feeds = {n: v for n, v in exported.feeds[flow].items() if n.split("/")[0] in signatures}
    stem = exported.folder / f"other-{script}-{flow}-{'-'.join(signatures)}"
    stem.mkdir()
    np.savez(stem / "feeds", **feeds)
    files = stem / "feeds.npz", stem / "answers.npz"
    run_python(python, script, exported.model(model or flow), *files)
    got = np.load(files[1])
    assert {name.split("/")[0] for name in got.files} == set(signatures)
    exported.compare(flow, got)


# --- TensorFlow ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", list(FLOWS))
@pytest.mark.parametrize("loader", ["python", "session"])
def test_tensorflow_alone_gives_the_same_answers(exported, tensorflow_only, flow, loader):
    got = np.load(tensorflow_only / f"{flow}-{loader}.npz")
    assert set(got.files) == set(exported.answers[flow])
    exported.compare(flow, got)


def test_saved_model_cli_runs_a_signature(exported, tmp_path):
    cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    model = ["--dir", exported.model("image"), "--tag_set", "serve"]
    signature = [*model, "--signature_def", "sample_and_log_prob"]
    inputs = []
    for name in ("num_samples", "seed", "temperature"):
        np.save(tmp_path / f"{name}.npy", exported.feeds["image"][f"sample_and_log_prob/{name}"])
        inputs.append(f"{name}={tmp_path / name}.npy")
    run = [*cli, "run", *signature, "--inputs", ";".join(inputs), "--outdir", tmp_path]
    subprocess.run(run, capture_output=True, env=ENVIRONMENT, check=True)
    got = {f"sample_and_log_prob/{n}": np.load(tmp_path / f"{n}.npy") for n in ("x", "log_prob")}
    exported.compare("image", got)


@pytest.fixture(scope="module")
def c_program(tmp_path_factory):
    compiler = shutil.which("gcc")
    headers = pathlib.Path(tf.sysconfig.get_include())
    library = headers.parent / "libtensorflow_cc.so.2"
    if compiler is None:
        pytest.skip("gcc is not installed")
    if not (headers / "tensorflow" / "c" / "c_api.h").exists() or not library.exists():
        pytest.skip("TensorFlow's wheel has no C headers or library here")
    program = tmp_path_factory.mktemp("c") / "program"
    libraries = [library, headers.parent / "libtensorflow_framework.so.2"]
    source = RUNTIMES / "c_program.c"
    command = [compiler, source, f"-I{headers}", *libraries, f"-Wl,-rpath,{headers.parent}"]
    subprocess.run([*command, "-o", program], check=True)
    return program


def run_c(program, model, signature, feed):
    """Runs a signature with one input; returns the exit code and the first output's numbers."""
    definition = tf.compat.v1.saved_model.load
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        definition = definition(session, ["serve"], model).signature_def[signature]
    (fed,) = definition.inputs.values()
    fetched = definition.outputs[min(definition.outputs, key="xz log_prob".find)]
    names = [fed.name.split(":")[0], *fetched.name.split(":")]
    run = subprocess.run(
        [program, model, *names, *map(str, feed.shape)],
        input=feed.tobytes(),
        capture_output=True,
        env=ENVIRONMENT,
        check=False,
    )
    return run.returncode, np.frombuffer(run.stdout, "float32"), run.stderr.decode()


def test_c_program_gives_the_same_answers(exported, c_program):
    feed = exported.feeds["image"]["encode/x"]
    code, numbers, stderr = run_c(c_program, exported.model("image"), "encode", feed)
    assert code == 0, stderr
    exported.compare("image", {"encode/z": numbers.reshape(ROWS, 16)})


@pytest.mark.parametrize("shape", [(5, 2, 8), (5, 16), (5, 4, 5)])
def test_c_program_reports_wrong_shapes_as_invalid_argument(exported, c_program, shape):
    feed = np.zeros(shape, "float32")
    code, numbers, stderr = run_c(c_program, exported.model("image"), "encode", feed)
    assert code == tf.errors.INVALID_ARGUMENT
    assert numbers.size == 0
    assert "not compatible with expected shape [?,4,4]" in stderr


# --- Other runtimes -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.parametrize("flow", ["image", "spline"])
def test_litert(exported, flow):
    converter = tf.lite.TFLiteConverter.from_saved_model(
        exported.model(flow), signature_keys=list(ARRAYS)
    )
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    for signature in ARRAYS:
        arguments = {
            name.split("/")[1]: value
            for name, value in exported.feeds[flow].items()
            if name.split("/")[0] == signature
        }
        answers = interpreter.get_signature_runner(signature)(**arguments)
        got = {f"{signature}/{name}": value for name, value in answers.items()}
        exported.compare(flow, got)


@pytest.mark.parametrize("flow", ["image", "spline"])
def test_onnx_runtime(exported, flow):
    python = interpreter_with("onnxruntime", "tf2onnx", "tensorflow")
    run_elsewhere(exported, python, "onnx_runtime.py", flow, ARRAYS)


@pytest.mark.parametrize("signature", ["log_prob", "encode", "decode"])
def test_openvino(exported, signature):
    python = interpreter_with("openvino")
    model = f"image-{signature}"
    exported.flows["image"].export(exported.folder / model, signatures=[signature])
    run_elsewhere(exported, python, "openvino_runtime.py", "image", [signature], model)


def test_tensorflow_js(exported):
    folders = os.environ.get("NODE_PATH", "").split(":")
    if shutil.which("node") is None or not any(
        folder and (pathlib.Path(folder) / "@tensorflow" / "tfjs").is_dir() for folder in folders
    ):
        pytest.skip("Node with @tensorflow/tfjs in $NODE_PATH is not installed")
    python = interpreter_with("tensorflowjs")
    exported.add("vector", ARRAYS)
    run_elsewhere(exported, python, "tensorflow_js.py", "vector", ARRAYS)


def test_mlflow_server(exported):
    python = interpreter_with("mlflow", "tensorflow")
    run_elsewhere(exported, python, "mlflow_server.py", "image", ["log_prob", "sample_rows"])


# --- TensorFlow Serving -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    specification = importlib.util.spec_from_file_location("serving_client", CLIENT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def arguments_of(exported, flow, signature):
    return {
        name.split("/")[1]: value
        for name, value in exported.feeds[flow].items()
        if name.split("/")[0] == signature
    }


class Replay:
    """Answers PredictRequests through a Session, which is all that a server adds nothing to."""

    def __init__(self, model):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], model)
        self.signatures = loaded.signature_def

    def GetModelMetadata(self, request, timeout):  # noqa: N802, the name of the call.
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

        response, signatures = metadata.GetModelMetadataResponse(), metadata.SignatureDefMap()
        for name, signature in self.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        (field,) = request.metadata_field
        response.metadata[field].Pack(signatures)
        return response

    def __call__(self, request):
        from tensorflow_serving.apis import predict_pb2

        signature = self.signatures[request.model_spec.signature_name or "serving_default"]
        assert set(request.inputs) == set(signature.inputs)
        feeds = {}
        for name, tensor in request.inputs.items():
            assert tensor.dtype == signature.inputs[name].dtype, name
            feeds[signature.inputs[name].name] = tf.make_ndarray(tensor)
        fetches = {name: tensor.name for name, tensor in signature.outputs.items()}
        response = predict_pb2.PredictResponse()
        for name, value in self.session.run(fetches, feeds).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return predict_pb2.PredictResponse.FromString(response.SerializeToString())


@needs_serving_api
def test_predict_requests_of_the_client(exported, client):
    replay = Replay(exported.model("image"))
    for signature in ("log_prob", "sample", "sample_rows", "interpolate"):
        types = client.types_of_inputs(replay, "image", signature)
        inputs = arguments_of(exported, "image", signature)
        answer = client.from_response(replay(client.to_request("image", signature, inputs, types)))
        got = {f"{signature}/{name}": value for name, value in answer.items()}
        exported.compare("image", got)


@needs_serving_api
@pytest.mark.parametrize(
    ("flow", "signature"),
    [
        ("image", "log_prob"),
        ("pixels", "log_prob_uint8"),
        ("image", "sample"),
        ("labels", "log_prob"),
    ],
)
def test_lists_get_the_types_of_the_signature(exported, client, flow, signature):
    replay = Replay(exported.model(flow))
    inputs = {"x": [[1]], "num_samples": 4, "seed": [1, 2], "temperature": 1, "condition": [[3]]}
    inputs = {name: inputs[name] for name in replay.signatures[signature].inputs}
    types = client.types_of_inputs(replay, flow, signature)
    request = client.to_request(flow, signature, inputs, types)
    assert {name: tensor.dtype for name, tensor in request.inputs.items()} == {
        name: info.dtype for name, info in replay.signatures[signature].inputs.items()
    }


@needs_serving_api
def test_warmup_requests_run(exported):
    from tensorflow_serving.apis import prediction_log_pb2

    file = pathlib.Path(exported.model("image")) / "assets.extra" / "tf_serving_warmup_requests"
    replay, seen = Replay(exported.model("image")), []
    for record in tf.data.TFRecordDataset(str(file)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        rows = {tensor.tensor_shape.dim[0].size for tensor in request.inputs.values()}
        assert request.model_spec.name == "image"
        assert len(rows) == 1  # Or a server that merges requests would reject it.
        response = replay(request)
        for tensor in response.outputs.values():
            values = tf.make_ndarray(tensor)
            assert np.isfinite(values).all()
            assert {len(values)} == rows
        seen.append((request.model_spec.signature_name, *rows))
    names = ("log_prob", "encode", "decode", "sample_rows", "interpolate")
    assert seen == [(name, rows) for name in names for rows in (1, 3)]


def test_rest_client_sends_columns_and_reads_outputs_and_errors(client):
    """Against a server that answers as TensorFlow Serving's documentation says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = request["signature_name"] == "decode"
            reply = {"outputs": request["inputs"]["z"]} if known else {"error": "no such signature"}
            self.server.seen = self.path
            self.send_response(200 if known else 400)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *args):
            pass

    pytest.importorskip("requests")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        assert client.predict_rest(address, "m", "decode", {"z": [[1.5]]}, 3) == [[1.5]]
        assert server.seen == "/v1/models/m/versions/3:predict"
        with pytest.raises(RuntimeError, match="no such signature"):
            client.predict_rest(address, "m", "other", {})
        server.shutdown()


@needs_serving_api
def test_tensorflow_serving_end_to_end(exported, client):
    binary = shutil.which("tensorflow_model_server")
    if binary is None:
        pytest.skip("tensorflow_model_server is not on the PATH")
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    rest, grpc = (f"127.0.0.1:{port}" for port in ports)
    base = f"--model_base_path={exported.folder / 'image'}"
    server = subprocess.Popen(
        [binary, f"--rest_api_port={ports[0]}", f"--port={ports[1]}", "--model_name=image", base]
    )
    try:
        deadline = time.monotonic() + 60
        for signature in ("log_prob", "sample", "sample_rows", "interpolate"):
            arguments = arguments_of(exported, "image", signature)
            while True:
                try:
                    answer = client.predict_grpc(grpc, "image", signature, arguments)
                    break
                except Exception:
                    if time.monotonic() > deadline or server.poll() is not None:
                        raise
                    time.sleep(0.5)
            got = {f"{signature}/{name}": value for name, value in answer.items()}
            exported.compare("image", got)
            lists = {name: value.tolist() for name, value in arguments.items()}
            answer = client.predict_rest(rest, "image", signature, lists)
            answer = answer if isinstance(answer, dict) else {"x": answer}
            got = {f"{signature}/{n}": np.array(v, "float32") for n, v in answer.items()}
            exported.compare("image", got)
    finally:
        server.terminate()
        server.wait()


def test_grid_weights_of_the_documentation(exported):
    """The angles of Real NVP's equation 19 as weights give what `Flow.interpolate` gives."""
    flow = exported.flows["image"]
    corners = exported.feeds["image"]["interpolate/corners"][:1]
    a, b = np.meshgrid(*2 * [np.linspace(0, math.pi / 2, 3)], indexing="ij")
    weights = np.stack(
        [np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a) * np.cos(b), np.sin(a) * np.sin(b)]
    )
    served = tf.saved_model.load(exported.model("image")).signatures["interpolate"]
    weights = tf.constant(weights.reshape(4, 9).T, tf.float32)
    got = served(corners=tf.constant(corners), weights=weights)["x"]
    right = flow.interpolate(corners[0], rows=3, columns=3)
    np.testing.assert_allclose(got, tf.reshape(right, (9, 4, 4)), atol=1e-5)
