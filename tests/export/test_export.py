"""The folder that an export writes: versions, signatures, storage, and what lies beside."""

import hashlib
import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import perturb
from tfnvp._atomic import locked
from tfnvp.export import SIGNATURES, export, warmup
from tfnvp.export import card as model_card
from tfnvp.export.signatures import Signature, default_max_samples, make_signatures
from tfnvp.export.weights import StoredWeights

# What `keras.export.ExportArchive()` makes depends on the backend.
ARCHIVE = type(keras.export.ExportArchive())


def small_flow(**kwargs):
    options = {"couplings": 1, "hidden_units": (8,), **kwargs}
    return perturb(tfnvp.RealNVP(3, **options), 0.1)


def load(version):
    return tf.saved_model.load(str(version)).signatures


@pytest.fixture(scope="module")
def flow():
    return small_flow()


@pytest.fixture(scope="module")
def tiny():
    """A flow whose export is fast, for tests of files."""
    return tfnvp.Flow(tfp.bijectors.Scale(tf.Variable(2.0)), 3)


@pytest.fixture(scope="module")
def version(flow, tmp_path_factory):
    """A version with everything, in which no test writes."""
    path = tmp_path_factory.mktemp("models") / "small"
    return export(flow, path, card={"Data": "three numbers"}, max_samples=1000)


@pytest.fixture(scope="module")
def served(version):
    return load(version)


@pytest.fixture(scope="module")
def conditional():
    return small_flow(condition_shape=2)


@pytest.fixture(scope="module")
def conditional_served(conditional, tmp_path_factory):
    names = ["log_prob", "decode", "sample_rows", "interpolate", "sample"]
    return load(conditional.export(tmp_path_factory.mktemp("conditional"), signatures=names))


# --- Answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_any_number_of_rows(flow, served, rows):
    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype("float32")
    seeds = tf.range(2 * rows)[:, tf.newaxis] * [1, 0] + [5, 6]
    answers = [
        served["log_prob"](x=tf.constant(x))["log_prob"],
        served["encode"](x=tf.constant(x))["z"],
        served["decode"](z=tf.constant(x))["x"],
        served["sample_rows"](seed=seeds[:rows], temperature=tf.ones(rows))["x"],
        served["interpolate"](corners=tf.zeros((rows, 4, 3)), weights=tf.ones((rows, 4)))["x"],
        served["sample"](
            num_samples=tf.constant(rows), seed=tf.constant([1, 2]), temperature=tf.constant(1.0)
        )["x"],
    ]
    assert [len(answer) for answer in answers] == [rows] * 6
    if rows:
        np.testing.assert_allclose(answers[0], flow.log_prob(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(answers[1], flow.encode(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(answers[2], flow.decode(x), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(answers[5], flow.sample(rows, (1, 2)), rtol=1e-5, atol=1e-5)


def test_rows_of_samples_do_not_depend_on_their_neighbours(served):
    seeds = tf.constant([[1, 2], [3, 4], [1, 2]])
    together = served["sample_rows"](seed=seeds, temperature=tf.constant([1.0, 1.0, 0.5]))["x"]
    alone = served["sample_rows"](seed=seeds[1:2], temperature=tf.constant([1.0]))["x"]
    np.testing.assert_allclose(together[1:2], alone, atol=1e-6)
    assert np.abs(together[0] - together[2]).max() > 1e-2  # The temperature is the row's own.


@pytest.mark.parametrize(
    "x", [np.zeros((5, 4)), np.zeros(3), np.zeros((5, 3, 1)), np.zeros((5, 3), "int32")]
)
def test_wrong_inputs_are_invalid_arguments(served, x):
    x = x if x.dtype == "int32" else x.astype("float32")
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["log_prob"](x=tf.constant(x))


def test_impossible_requests_are_invalid_arguments(served):
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["sample"](
            num_samples=tf.constant(-1), seed=tf.constant([1, 2]), temperature=tf.constant(1.0)
        )
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["interpolate"](corners=tf.zeros((3, 4, 3)), weights=tf.zeros((7, 4)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        served["sample_rows"](seed=tf.zeros((2, 2), tf.int32), temperature=tf.constant([1.0]))


@pytest.mark.parametrize("name", ["sample", "sample_and_log_prob"])
@pytest.mark.parametrize("count", [-1, 1001, 2**25, 2**31 - 1])
def test_no_request_takes_all_memory(version, served, name, count):
    arguments = {"num_samples": count, "seed": [1, 2], "temperature": 1.0}
    message = f"`num_samples` must be from 0 to 1000. Received:.*{count}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served[name](**{key: tf.constant(value) for key, value in arguments.items()})
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        signature = loaded.signature_def[name]
        feeds = {signature.inputs[key].name: value for key, value in arguments.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            session.run(signature.outputs["x"].name, feeds)


def test_no_request_has_too_many_rows_of_seeds_or_weights(served):
    with pytest.raises(tf.errors.InvalidArgumentError, match="rows of `seed` must be from 0"):
        served["sample_rows"](seed=tf.zeros((1001, 2), tf.int32), temperature=tf.ones(1001))
    with pytest.raises(tf.errors.InvalidArgumentError, match="rows of `weights` must be from 0"):
        served["interpolate"](corners=tf.zeros((1, 4, 3)), weights=tf.zeros((1001, 4)))


@pytest.mark.parametrize("temperature", [-1.0, np.nan, np.inf])
def test_temperatures_of_requests_are_checked(served, temperature):
    one = {"num_samples": 1, "seed": [1, 2], "temperature": temperature}
    rows = {"seed": [[1, 2], [3, 4]], "temperature": [1.0, temperature]}
    for name, request in {"sample": one, "sample_and_log_prob": one, "sample_rows": rows}.items():
        tensors = {key: tf.constant(value) for key, value in request.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match="`temperature` must be"):
            served[name](**tensors)


def test_samples_of_a_request_fit_into_memory():
    # The widest layer decides: 128 units, 8 filters at each of 16 pixels, attention of 64 tokens.
    assert default_max_samples(tfnvp.RealNVP(3)) == 2**30 // (4 * 8 * 128)
    images = tfnvp.ImageRealNVP((4, 4, 1), 1, base_filters=8, residual_blocks=0)
    assert default_max_samples(images) == 2**30 // (4 * 8 * 8 * 16)
    sizes = {"couplings": 2, "blocks": 1, "width": 8, "heads": 2, "patch": 1, "spatial_every": 0}
    jet = tfnvp.Jet((8, 8, 2), **sizes)
    assert default_max_samples(jet) == 2**30 // (4 * 8 * 2 * 64 * 64)
    assert default_max_samples(tfnvp.Flow(tfp.bijectors.Exp(), 5)) == 2**30 // (4 * 8 * 5)
    # The draws of a base count too: here ten components of two numbers each.
    tfd = tfp.distributions
    components = tfd.MultivariateNormalDiag(tf.zeros((10, 2)))
    base = tfd.MixtureSameFamily(tfd.Categorical(logits=tf.zeros(10)), components)
    assert default_max_samples(tfnvp.Flow(tfp.bijectors.Exp(), 2, base=base)) == 2**30 // (
        4 * 8 * 20
    )


@pytest.mark.parametrize("kind", ["version", "image_version"])
def test_extreme_rows_do_not_score_as_usual(kind, request):
    log_prob = load(request.getfixturevalue(kind))["log_prob"]
    shape = log_prob.structured_input_signature[1]["x"].shape[1:]
    usual = log_prob(x=tf.zeros((1, *shape)))["log_prob"][0]
    for value in [65504.0, -65504.0, 1e30, -1e30, 3e38, -3e38, np.inf, -np.inf, np.nan]:
        size = int(np.prod(shape))
        rows = np.full((size + 1, size), value, "float32")  # The last row is extreme everywhere.
        rows[:size] = np.where(np.eye(size, dtype=bool), value, 0.0)
        got = log_prob(x=tf.reshape(rows, (-1, *shape)))["log_prob"].numpy()
        if np.isnan(value):
            assert np.isnan(got).all()
        elif np.isinf(value):
            np.testing.assert_array_equal(got, -np.inf)
        else:
            assert np.all(got < usual - 100.0), value  # False for NaN.


def test_one_condition_serves_all_rows(conditional_served):
    x, one = tf.random.normal((4, 3)), tf.constant([[0.5, -1.0]])
    each, seeds = tf.tile(one, [4, 1]), tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
    for name, inputs in {
        "log_prob": {"x": x},
        "decode": {"z": x},
        "sample_rows": {"seed": seeds, "temperature": tf.ones(4)},
        "interpolate": {"corners": x[tf.newaxis], "weights": tf.eye(4)},
    }.items():
        got, expected = (
            conditional_served[name](**inputs, condition=condition) for condition in (one, each)
        )
        for key in expected:
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-5, atol=1e-5)


def test_each_input_of_a_condition_network_has_a_name(tmp_path):
    angle, label = (
        keras.Input((2,), name="angle"),
        keras.Input((1,), name="its label", dtype="int32"),
    )
    embedded = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(label))
    both = keras.layers.Concatenate()([angle, embedded])
    network = keras.Model([angle, label], keras.layers.Dense(3, activation="tanh")(both))
    flow = small_flow(condition_network=network)
    angles, labels = np.float32([[0, 1], [2, 3], [4, -1]]), np.int32([[3], [0], [1]])
    flow.adapt(np.eye(3), (angles, labels))
    version = flow.export(tmp_path, signatures=["log_prob", "interpolate", "sample_rows"])
    served = load(version)
    x, arrays = (
        np.eye(3, dtype="float32"),
        {"condition_angle": angles, "condition_its_label": labels},
    )
    got = served["log_prob"](x=tf.constant(x), **{k: tf.constant(v) for k, v in arrays.items()})
    np.testing.assert_allclose(got["log_prob"], flow.log_prob(x, (angles, labels)), rtol=1e-4)
    got = served["interpolate"](
        corners=tf.tile(x[:, tf.newaxis], (1, 4, 1)),
        weights=tf.tile([[1.0, 0.0, 0.0, 0.0]], (3, 1)),
        condition_angle=tf.constant(angles),
        condition_its_label=tf.constant(labels[1:2]),
    )
    np.testing.assert_allclose(got["x"], x, atol=1e-4)
    described = json.loads((version / model_card.SIGNATURE_FILE).read_text())
    assert described["flow"]["condition_shape"] == {"angle": [2], "its label": [1]}
    assert described["flow"]["condition_mean"] == {"angle": [2.0, 1.0]}
    assert described["signatures"]["log_prob"]["inputs"]["condition_its_label"]["dtype"] == "int32"
    assert all(b"condition_its_label" in record for record in warmup_records(version))


def condition_names(*names):
    inputs = [keras.Input((1,), name=name) for name in names]
    network = keras.Model(inputs, keras.layers.Concatenate()(inputs))
    flow = small_flow(condition_network=network)
    signatures = make_signatures(flow, StoredWeights(flow), False, 10)
    return [spec.name for spec in signatures["log_prob"].inputs[1:]]


def test_names_of_conditions_are_identifiers():
    expected = ["condition_hour_of_day", "condition_gr__e", "condition_Rate"]
    assert condition_names("hour-of day", "größe", "Rate") == expected
    with pytest.raises(ValueError, match=r"arrays of `condition` must have different names.*'a b'"):
        condition_names("a b", "A-b")


def test_a_model_with_permutations_loads_without_warnings(tmp_path, caplog):
    flow = small_flow(partition="random")
    model = tf.saved_model.load(str(flow.export(tmp_path, signatures=["log_prob"])))
    assert not caplog.records
    x = tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = model.signatures["log_prob"](x=x)["log_prob"]
    found = tape.gradient(log_prob, x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = flow.distribution.log_prob(x)
    np.testing.assert_allclose(found, tape.gradient(log_prob, x), rtol=1e-4, atol=1e-5)


def test_one_set_of_corners_serves_all_rows(flow, served):
    corners = np.random.default_rng(0).normal(size=(1, 4, 3)).astype("float32")
    got = served["interpolate"](corners=tf.constant(corners), weights=tf.eye(4))["x"]
    np.testing.assert_allclose(got, corners[0], atol=1e-5)


def test_conditional_corners_belong_to_their_row(conditional, conditional_served):
    corners = np.random.default_rng(0).normal(size=(1, 4, 3)).astype("float32")
    condition = tf.constant([[0.0, 1.0], [2.0, 3.0], [4.0, -1.0], [0.5, 0.5]])
    got = conditional_served["interpolate"](
        corners=tf.constant(corners), weights=tf.eye(4), condition=condition
    )["x"]
    np.testing.assert_allclose(got, corners[0], atol=1e-5)
    arguments = {"seed": tf.constant([1, 2]), "temperature": tf.constant(1.0)}
    got = conditional_served["sample"](
        num_samples=tf.constant(4), condition=condition, **arguments
    )["x"]
    expected = conditional.sample(4, (1, 2), condition=condition)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_own_base_samples_without_temperature(tmp_path):
    tfd = tfp.distributions
    base = tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.3, 0.7]),
        tfd.MultivariateNormalDiag(tf.constant([[-4.0, 0.0], [4.0, 0.0]])),
    )
    flow = tfnvp.Flow(tfp.bijectors.Scale(tf.Variable(2.0)), 2, base=base)
    served = load(flow.export(tmp_path, signatures=["sample_and_log_prob", "sample_rows"]))
    arguments = {"num_samples": tf.constant(5), "seed": tf.constant([1, 2])}
    got = served["sample_and_log_prob"](**arguments)
    np.testing.assert_allclose(got["x"], flow.sample(5, seed=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(got["log_prob"], flow.log_prob(got["x"]), rtol=1e-5)
    rows = served["sample_rows"](seed=tf.constant([[1, 2], [3, 4]]))["x"]
    np.testing.assert_allclose(rows[1], flow.sample(1, seed=(3, 4))[0], rtol=1e-5)


def test_a_mixture_of_gaussians_is_served(tmp_path):
    factor = [[[2.0, 0.5], [0.0, 1.0]], [[1.0, 0.0], [0.0, 3.0]]]
    base = tfnvp.bases.GaussianMixture([0.0, 1.0], [[-4.0, 0.0], [4.0, 0.0]], factor)
    flow = tfnvp.Flow(tfp.bijectors.Scale(tf.Variable(2.0)), 2, base=base)
    served = load(flow.export(tmp_path, signatures=["sample", "sample_rows"]))
    got = served["sample"](num_samples=tf.constant(5), seed=tf.constant([1, 2]))["x"]
    np.testing.assert_allclose(got, flow.sample(9, seed=(1, 2))[:5], rtol=1e-5)
    rows = served["sample_rows"](seed=tf.constant([[3, 4], [1, 2]]))["x"]
    np.testing.assert_allclose(rows[1], got[0], rtol=1e-5)


def test_uint8_counts_as_the_middle_of_the_bin(tmp_path, monkeypatch):
    flow = small_flow(levels=4)
    monkeypatch.setattr(type(flow), "accepts_integers", True)
    served = load(flow.export(tmp_path, signatures=["log_prob_uint8", "encode_uint8"]))
    other = served["log_prob_uint8"](x=tf.constant([[0, 4, 0]], tf.uint8))  # 4 is no level.
    assert other["log_prob"][0] == -np.inf
    pixels = np.array([[0, 1, 3]], "uint8")
    got = served["log_prob_uint8"](x=tf.constant(pixels))
    x = np.array([[0.125, 0.375, 0.875]], "float32")
    np.testing.assert_allclose(got["log_prob"], flow.log_prob(x), rtol=1e-5)
    np.testing.assert_allclose(got["bits_per_dim"], flow.bits_per_dim(flow.log_prob(x)), rtol=1e-5)
    got = served["encode_uint8"](x=tf.constant(pixels))["z"]
    np.testing.assert_allclose(got, flow.encode(x), rtol=1e-5)


def test_draws_of_noise_give_the_bound_of_evaluate(tmp_path, monkeypatch):
    flow = small_flow(levels=4)
    monkeypatch.setattr(type(flow), "accepts_integers", True)
    served = load(flow.export(tmp_path, signatures=["log_prob_uint8_draws"], warmup_scalars=True))
    pixels = np.array([[0, 1, 3], [2, 2, 0]], "uint8")
    of_draws = served["log_prob_uint8_draws"]
    got = of_draws(x=tf.constant(pixels), draws=tf.constant(5), seed=tf.constant([7, 0]))
    other = of_draws(x=tf.constant(pixels), draws=tf.constant(5), seed=tf.constant([7, 1]))
    assert (other["log_prob"] != got["log_prob"]).numpy().all()
    want = tfnvp.evaluation.log_probs(flow, pixels, draws=5, seed=7, bound="iwae")
    np.testing.assert_allclose(got["log_prob"], want, rtol=1e-5)
    np.testing.assert_allclose(got["bits_per_dim"], flow.bits_per_dim(want), rtol=1e-5)
    pixels[1, 1] = 4  # No level.
    got = of_draws(x=tf.constant(pixels), draws=tf.constant(5), seed=tf.constant([7, 0]))
    assert np.isfinite(got["log_prob"]).tolist() == [True, False]
    assert got["log_prob"][1] == -np.inf
    with pytest.raises(tf.errors.InvalidArgumentError, match="`draws` must be from 1"):
        of_draws(x=tf.constant(pixels), draws=tf.constant(0), seed=tf.constant([7, 0]))


@pytest.fixture(scope="module")
def image_version(tmp_path_factory):
    network = tfnvp.conditioners.ResidualCNN(2, filters=4, blocks=1)
    shape = (2, 2, 1)
    coupling = tfnvp.bijectors.AffineCoupling(network, tfnvp.partitions.Checkerboard(), shape)
    flow = perturb(tfnvp.Flow(coupling, shape), 0.1)
    return flow.export(tmp_path_factory.mktemp("images"), signatures=["log_prob", "decode"])


def test_no_images_get_no_rows(image_version):
    served, empty = load(image_version), tf.zeros((0, 2, 2, 1))
    assert served["log_prob"](x=empty)["log_prob"].shape == (0,)
    assert served["decode"](z=empty)["x"].shape == empty.shape


def test_threads_do_not_mix_up_convolutions(image_version):
    """oneDNN's kernel of convolution, bias and sum has buffers that all threads share."""
    compat, metadata = tf.compat.v1, tf.compat.v1.RunMetadata()
    with tf.Graph().as_default(), compat.Session() as session:
        signature = compat.saved_model.load(session, ["serve"], str(image_version)).signature_def
        signature = signature["log_prob"]
        session.run(
            signature.outputs["log_prob"].name,
            {signature.inputs["x"].name: np.zeros((2, 2, 2, 1))},
            compat.RunOptions(output_partition_graphs=True),
            metadata,
        )
    nodes = [node for graph in metadata.partition_graphs for node in graph.node]
    convolutions = [node for node in nodes if "Conv2D" in node.op]
    assert convolutions
    assert not [node for node in convolutions if b"Add" in node.attr["fused_ops"].list.s]


def test_xla_gives_the_same_samples(flow, tmp_path, served):
    compiled = load(export(flow, tmp_path, signatures=["sample", "log_prob"], jit_compile=True))
    arguments = {
        "num_samples": tf.constant(6),
        "seed": tf.constant([7, 8]),
        "temperature": tf.constant(0.9),
    }
    x = compiled["sample"](**arguments)["x"]
    np.testing.assert_allclose(x, served["sample"](**arguments)["x"], atol=1e-5)
    got = compiled["log_prob"](x=x)["log_prob"]
    np.testing.assert_allclose(got, flow.log_prob(x), rtol=1e-5, atol=1e-5)
    assert b"_XlaMustCompile" in (tmp_path / "1" / "saved_model.pb").read_bytes()
    assert load_description(tmp_path / "1")["jit_compile"]


# --- Storage ------------------------------------------------------------------------------------


def test_bfloat16_stores_rounded_kernels(tmp_path):
    flow = small_flow(hidden_units=(128, 128))
    full, half = (
        export(flow, tmp_path / dtype, signatures=["log_prob"], weights_dtype=dtype)
        for dtype in ("float32", "bfloat16")
    )
    sizes = [sum(f.stat().st_size for f in v.glob("variables/*")) for v in (full, half)]
    assert sizes[1] < 0.55 * sizes[0]
    assert load_description(half)["weights_dtype"] == "bfloat16"
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    got = load(half)["log_prob"](x=tf.constant(x))["log_prob"]
    full_precision = flow.log_prob(x)
    for weight in flow.trainable_variables:
        if len(weight.shape) > 1:
            weight.assign(tf.cast(tf.cast(weight.value, tf.bfloat16), tf.float32))
    np.testing.assert_allclose(got, flow.log_prob(x), rtol=1e-5, atol=1e-5)
    assert np.abs(got - full_precision).max() > 1e-5
    assert {weight.dtype for weight in flow.trainable_variables} == {"float32"}


def test_only_kernels_are_rounded():
    """Biases of couplings in a loop have two axes, and must not be taken for kernels."""
    sizes = {"couplings": 2, "blocks": 1, "width": 4, "heads": 2, "patch": 2, "spatial_every": 0}
    rounded = {
        weight.name for weight, _ in StoredWeights(tfnvp.Jet((4, 4, 1), **sizes), "bfloat16").pairs
    }
    assert "stack_of_block_0_hidden_kernel" in rounded
    assert all(name.endswith("kernel") for name in rounded)


def test_weights_are_stored_once(flow, version):
    names = dict(tf.train.list_variables(str(version / "variables" / "variables")))
    stored = sum(int(np.prod(s)) for name, s in names.items() if "VARIABLE_VALUE" in name)
    assert stored <= flow.count_params()
    assert stored >= sum(int(np.prod(v.shape)) for v in flow.trainable_variables)


# --- Versions -----------------------------------------------------------------------------------


def test_versions_count_up_and_stay(tiny, tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "mine").write_text("kept")
    (tmp_path / "latest").mkdir()
    assert export(tiny, tmp_path, signatures=["encode"]).name == "8"
    assert (tmp_path / "7" / "mine").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["7", "8", "latest"]


def test_a_version_taken_meanwhile_is_not_touched(tiny, tmp_path, monkeypatch):
    write_out = ARCHIVE.write_out

    def overtaken(self, *args, **kwargs):
        write_out(self, *args, **kwargs)
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "mine").write_text("kept")
        monkeypatch.setattr(pathlib.Path, "iterdir", lambda self: iter(()))

    monkeypatch.setattr(ARCHIVE, "write_out", overtaken)
    assert export(tiny, tmp_path, signatures=["encode"]).name == "2"
    monkeypatch.undo()
    assert os.listdir(tmp_path / "1") == ["mine"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_leaves_no_version(tiny, tmp_path, monkeypatch, error):
    def half_written(self, path, **kwargs):
        os.makedirs(path)
        (pathlib.Path(path) / "saved_model.pb").write_bytes(b"half")
        raise error

    monkeypatch.setattr(ARCHIVE, "write_out", half_written)
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError
    with pytest.raises(wanted):
        export(tiny, tmp_path, signatures=["encode"])
    assert os.listdir(tmp_path) == []


def test_a_path_that_is_a_file(tiny, tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="file"):
            export(tiny, path, signatures=["encode"])
    assert (tmp_path / "file").read_text() == "kept"


def test_a_version_of_other_shapes_gets_a_warning(tiny, tmp_path, recwarn):
    other = tfnvp.Flow(tfp.bijectors.Exp(), 5)
    for exported in (tiny, tiny):
        export(exported, tmp_path, signatures=["encode"])
    assert not [w for w in recwarn if "other shapes" in str(w.message)]
    with pytest.warns(UserWarning, match=r"/2 has other shapes: event_shape \[\d\], now \[5\]"):
        assert export(other, tmp_path, signatures=["encode"]).name == "3"


# --- What lies beside ---------------------------------------------------------------------------


def load_description(version):
    return json.loads((version / "signature.json").read_text())


def test_description_matches_the_model(version, served):
    description = load_description(version)
    assert set(description["signatures"]) == set(served) - {"serving_default"}
    assert description["max_samples"] == 1000
    for name, signature in description["signatures"].items():
        specifications = served[name].structured_input_signature[1]
        assert {n: list(s.shape) for n, s in specifications.items()} == {
            n: t["shape"] for n, t in signature["inputs"].items()
        }
        assert {n: s.dtype.name for n, s in specifications.items()} == {
            n: t["dtype"] for n, t in signature["inputs"].items()
        }
        assert set(served[name].structured_outputs) == set(signature["outputs"])
    batched = {n for n, s in description["signatures"].items() if s["server_side_batching"]}
    assert batched == {"log_prob", "encode", "decode", "sample_rows", "interpolate"}


def test_checksums_are_those_of_the_files(version):
    checksums = load_description(version)["sha256"]
    assert {"saved_model.pb", "variables/variables.data-00000-of-00001"} <= set(checksums)
    for file, checksum in checksums.items():
        assert hashlib.sha256((version / file).read_bytes()).hexdigest() == checksum


def test_card_says_what_it_was_given(version):
    card = (version / "model_card.md").read_text()
    head = f"# {version.parent.name}\n\n## Flow\n\n| | |\n|---|---|\n| class | RealNVP |\n"
    assert card.startswith(head)
    assert "## Data\n\nthree numbers" in card
    assert f"| tensorflow | {tf.__version__} |" in card
    assert "| `sample_rows` | `seed` int32[batch, 2], `temperature` float32[batch] |" in card


def test_a_card_shows_names_of_columns_as_texts(tiny, tmp_path):
    hostile = "<script>alert(1)</script>|x\r\n## Faked & | y |"
    content = {"Columns": hostile, "Training": {hostile: [hostile], "nats": np.nan}}
    content[hostile] = "text"
    (tmp_path / "1").mkdir()
    options = {"weights_dtype": "float32", "jit_compile": False, "max_samples": 10}
    model_card.write(tmp_path / "1", "small", tiny, {}, options, content)
    card = (tmp_path / "1" / "model_card.md").read_text()
    assert "<script" not in card
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings[1:3] == ["## Columns", "## Training"]
    assert len(headings) == 7
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} <= {3, 4}
    assert "| nats | nan |" in rows
    content["Training"]["nats"] = None
    assert json.loads((tmp_path / "1" / "signature.json").read_text())["card"] == content


@pytest.mark.parametrize("content", ["[]", "{", "{}", '{"flow": []}', '{"flow": {}}'])
def test_the_error_of_a_damaged_version_names_it(tiny, tmp_path, content):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "signature.json").write_text(content)
    with pytest.raises(OSError, match=r"1/signature\.json is damaged"):
        export(tiny, tmp_path, signatures=["encode"])


def test_what_a_killed_export_left_is_removed_by_the_next_that_is_alone(tmp_path):
    left = tmp_path / ".writing-1"
    left.mkdir()
    with locked(tmp_path, [], shared=True), locked(tmp_path, [left], shared=True) as is_alone:
        assert not is_alone
        assert left.exists()
    (left / "variables").mkdir()
    (tmp_path / ".writing-2").symlink_to(tmp_path)
    with locked(tmp_path, tmp_path.glob(".writing-*"), shared=True) as is_alone:
        assert is_alone
        assert not list(tmp_path.iterdir())


def test_first_signature_is_the_default(tiny, tmp_path):
    served = load(export(tiny, tmp_path, signatures=("decode", "log_prob")))
    assert set(served) == {"decode", "log_prob", "serving_default"}
    assert "z" in served["serving_default"].structured_input_signature[1]


def warmup_records(version):
    return [record.numpy() for record in tf.data.TFRecordDataset(str(version / warmup.FILE))]


def test_every_signature_with_rows_is_warmed_up(version):
    names = ("log_prob", "encode", "decode", "sample_rows", "interpolate")
    records = warmup_records(version)
    assert len(records) == len(names)
    for name, record in zip(names, records, strict=True):
        assert name.encode() in record


def test_every_batch_size_and_on_demand_every_signature_is_warmed_up(flow):
    signatures = make_signatures(flow, StoredWeights(flow), False, 10)

    def requests(sizes, scalars=False):
        return sorted(warmup.warmup_requests("small", signatures, sizes, scalars, 10))

    assert requests([1, 3]) == sorted(requests([1]) + requests([3]))
    assert len(set(requests([1, 3]))) == 10
    further = {*requests([1], scalars=True)} - {*requests([1])}
    for record, name in zip(
        sorted(further, key=len), ["sample", "sample_and_log_prob"], strict=True
    ):
        assert name.encode() in record


def test_warmup_requests_are_those_of_the_official_package():
    # `tensorflow-serving-api` wrote this file; it sorts inputs in another order.
    version = pathlib.Path(tfnvp.__file__).parents[1] / "saved_models" / "two-moons" / "1"
    signatures = {
        name: Signature(None, list(signature.structured_input_signature[1].values()))
        for name, signature in load(version).items()
        if name != "serving_default"
    }
    made = warmup.warmup_requests("two-moons", signatures, [1], False, 1)
    assert sorted(map(sorted, made)) == sorted(map(sorted, warmup_records(version)))


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"signatures": ["loglik"]},
            ValueError,
            r"`signatures` must be a list of some of .*loglik",
        ),
        ({"signatures": []}, ValueError, r"`signatures` must be"),
        ({"signatures": ["encode_uint8"]}, ValueError, r"for this flow"),
        ({"weights_dtype": "int8"}, ValueError, r"`weights_dtype` must be .*int8"),
        ({"warmup": [0]}, ValueError, r"`warmup` must be batch sizes, ints from 1"),
        ({"warmup": 1}, ValueError, r"`warmup` must be .* Received: 1"),
        ({"warmup": [3], "max_samples": 2}, ValueError, r"ints from 1 to 2 \(`max_samples`\)"),
        ({"warmup": range(1, 1002)}, ValueError, r"at most 1000"),
        ({"max_samples": 0}, ValueError, r"`max_samples` must be an int from 1 .*: 0"),
        ({"max_samples": 2**31}, ValueError, r"`max_samples` must be an int from 1"),
        ({"card": "text"}, TypeError, r"`card` must be a mapping"),
        ({"card": {"Versions": "2"}}, ValueError, r"`card` must have .* Received: Versions"),
        ({"card": {"Rows": {1, 2}}}, TypeError, r"`card` must hold texts, numbers.*type set"),
    ],
)
def test_refusals_name_the_argument_and_leave_nothing(tiny, tmp_path, arguments, error, message):
    arguments = {"signatures": ["encode"], **arguments}
    with pytest.raises(error, match=message):
        export(tiny, tmp_path / "model", **arguments)
    assert os.listdir(tmp_path) == []


def test_weights_that_are_not_finite_are_not_served(tmp_path):
    # Of networks and bijectors, trained ones and statistics.
    flow = tfnvp.RealNVP(2, couplings=1, hidden_units=(4,))
    for weight in flow.weights:
        before = weight.numpy()
        if before.dtype == "float32":
            weight.assign(np.nan * before)
            with pytest.raises(ValueError, match=r"must have finite weights.*NaN or inf in"):
                export(flow, tmp_path)
            weight.assign(before)
    assert os.listdir(tmp_path) == []


def test_a_server_must_not_initialise_weights(tmp_path):
    flow = tfnvp.Flow(tfnvp.bijectors.ActNorm(2, name="norm"), 2)
    with pytest.raises(ValueError, match="norm still waits for its first batch"):
        flow.export(tmp_path)


def test_signatures_are_the_documented_ones(version):
    # The last two need a flow that accepts integers.
    assert set(load_description(version)["signatures"]) == set(SIGNATURES[:7])
    for name in SIGNATURES:
        assert f"`{name}`" in export.__doc__
