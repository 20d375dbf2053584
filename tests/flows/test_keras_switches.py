"""Keras' global switches change neither the numbers of a flow, nor its files and exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.bijector_builders import points
from tests.conftest import perturb
from tfnvp.bijectors import ActNorm, AffineCoupling, BatchNormalization, Chain
from tfnvp.conditioners import ResidualCNN
from tfnvp.partitions import Checkerboard

FLOWS = {
    "nice": lambda: tfnvp.NICE(3, 2, (4,)),
    "real_nvp": lambda: tfnvp.RealNVP(3, 2, (4,), linear="lu", whiten=True),
    "neural_spline": lambda: tfnvp.NeuralSplineFlow(3, 2, (4,), bins=2),
    "conditional": lambda: tfnvp.RealNVP(3, 2, (4,), condition_shape=3),
    "normalizations": lambda: tfnvp.Flow(Chain([BatchNormalization(3), ActNorm(3)]), 3),
    "image": lambda: tfnvp.ImageRealNVP((2, 2, 2), scales=1, base_filters=2, residual_blocks=1),
}


def floatx(dtype):
    return lambda: keras.config.set_floatx(dtype)


def policy(name):
    return lambda: keras.config.set_dtype_policy(name)


#: Switches, with the largest change of log-densities: only policies change what networks compute.
SWITCHES = {
    "channels first": (lambda: keras.config.set_image_data_format("channels_first"), 1e-5),
    "floatx float16": (floatx("float16"), 1e-5),
    "floatx bfloat16": (floatx("bfloat16"), 1e-5),
    "floatx float64": (floatx("float64"), 1e-5),
    "mixed_float16": (policy("mixed_float16"), 0.02),
    "mixed_bfloat16": (policy("mixed_bfloat16"), 0.1),
    "float64": (policy("float64"), 1e-4),
}


@pytest.fixture(autouse=True)
def _switches_back():
    policy = keras.config.dtype_policy()
    # Graphs take longer to make than to run here.
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(policy)


def data(flow):
    x = tf.sigmoid(points(4, *flow.event_shape)).numpy()
    return x, None if flow.condition_shape is None else points(4, 3, seed=2).numpy()


# Pairs in which every flow and every switch come: the three `floatx` are one mechanism, as are the
# two policies of half precision.
PAIRS = [
    (name, switch)
    for switch in SWITCHES
    for name in FLOWS
    if not (switch == "floatx bfloat16" and name != "neural_spline")
    and not (name == "image" and switch in ("floatx float16", "mixed_float16"))
]


@pytest.mark.parametrize(("name", "switch"), PAIRS)
def test_before_building_and_after(name, switch, tmp_path):
    turn, tolerance = SWITCHES[switch]
    flow = perturb(FLOWS[name](), 0.1)
    expected = flow.log_prob(*data(flow))
    flow.save(tmp_path / "before.keras")
    turn()
    np.testing.assert_array_equal(flow.log_prob(*data(flow)), expected)
    loaded = keras.saving.load_model(tmp_path / "before.keras")
    np.testing.assert_array_equal(loaded.log_prob(*data(flow)), expected)

    built = FLOWS[name]()
    built.set_weights(flow.get_weights())
    log_prob = built.log_prob(*data(built))
    samples = built.sample(4, seed=0, condition=data(built)[1])
    assert log_prob.dtype == samples.dtype == tf.float32
    np.testing.assert_allclose(log_prob, expected, rtol=tolerance, atol=tolerance)
    built.compile("sgd")
    assert np.isfinite(np.asarray(built.train_on_batch(*data(built)), "float32")).all()
    built.save(tmp_path / "after.keras")
    loaded = keras.saving.load_model(tmp_path / "after.keras")
    np.testing.assert_array_equal(loaded.log_prob(*data(built)), built.log_prob(*data(built)))


def test_an_export_with_channels_first(tmp_path):
    network = ResidualCNN(2, filters=2, blocks=1, parity=0)
    coupling = AffineCoupling(network, Checkerboard(), (2, 4, 1))
    flow = perturb(tfnvp.Flow(coupling, (2, 4, 1)), 0.1)
    expected = flow.log_prob(*data(flow))
    SWITCHES["channels first"][0]()
    tf.config.run_functions_eagerly(False)
    path = flow.export(tmp_path, signatures=["log_prob"])
    answer = tf.saved_model.load(str(path)).signatures["log_prob"](x=tf.constant(data(flow)[0]))
    np.testing.assert_allclose(answer["log_prob"], expected, rtol=1e-5, atol=1e-5)
