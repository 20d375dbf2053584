"""What holds for the networks of images and tokens: one dictionary of cases, generic checks."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling
from tfnvp.conditioners import (
    GatedConvNet,
    GradientCheckpointing,
    StandardizedCondition,
    VisionTransformer,
)
from tfnvp.partitions import Channels, Checkerboard, EvenOdd
from tfnvp.testing import CHECKS, check_bijector

#: Other checks are of couplings, whatever their network.
MATHEMATICS = {"finite values", "round trip", "log-dets", "gradients"}

GATED = {"filters": 3, "blocks": 1}
TRANSFORMER = {"width": 6, "blocks": 1, "heads": 2}
#: Network of an affine coupling, its arguments, partition and event shape.
CASES = {
    "gated checkerboard": (GatedConvNet, {**GATED, "parity": 0}, Checkerboard(True), (3, 4, 1)),
    "gated channels": (GatedConvNet, GATED, Channels(), (2, 3, 3)),
    "transformer checkerboard": (
        VisionTransformer,
        {**TRANSFORMER, "patch": 2},
        Checkerboard(),
        (2, 4, 1),
    ),
    "transformer channels": (VisionTransformer, TRANSFORMER, Channels(), (2, 2, 3)),
    "transformer tokens": (VisionTransformer, TRANSFORMER, EvenOdd(), (3, 4)),
}
every = pytest.mark.parametrize("name", CASES)
each_network = pytest.mark.parametrize("name", ["gated checkerboard", "transformer checkerboard"])


def network_of(name, **kwargs):
    kind, arguments, partition, shape = CASES[name]
    return kind(2 * partition.shapes(shape)[1][-1], **{**arguments, **kwargs})


def inputs_of(name, conditions=(), rows=2, dtype="float32"):
    """Passed variables alone, or the list of them and conditions."""
    generator = np.random.default_rng(0)
    _, _, partition, shape = CASES[name]
    x = generator.normal(size=(rows, *shape)).astype(dtype)
    passed = partition.split(tf.constant(x))[0]
    rest = [tf.constant(generator.normal(size=(rows, *c)).astype(dtype)) for c in conditions]
    return [passed, *rest] if conditions else passed


def perturbed(name, conditions=(), **kwargs):
    network = network_of(name, **kwargs)
    network(inputs_of(name, conditions))
    return perturb(network)


@every
def test_couplings_are_invertible_with_their_log_dets(name):
    _, _, partition, shape = CASES[name]
    coupling = perturb(AffineCoupling(network_of(name), partition, shape, "exp"))
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    check_bijector(coupling, x, skip=CHECKS.keys() - MATHEMATICS)


@every
@pytest.mark.parametrize("conditions", [[], [(2, 3)]], ids=str)
def test_every_weight_and_every_input_matter(name, conditions):
    """But for the biases of keys, which softmax cancels."""
    network, inputs = perturbed(name, conditions), inputs_of(name, conditions)
    weights = [w for w in network.trainable_variables if not w.path.endswith("key/bias")]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = tf.reduce_sum(tf.sin(network(inputs)))
    gradients = tape.gradient(y, [*tf.nest.flatten(inputs), *[w.value for w in weights]])
    assert all(np.abs(g).max() > 1e-5 for g in gradients)


@every
def test_networks_start_at_zero_and_rows_are_independent(name):
    inputs = inputs_of(name, [(4,)], rows=3)
    assert not np.any(network_of(name)(inputs))
    random = network_of(name, zero_init=False)
    assert np.all(np.std(random(inputs), axis=0) > 0)
    network = perturbed(name, [(4,)])
    alone = [network([part[i : i + 1] for part in inputs], training=True) for i in range(3)]
    np.testing.assert_allclose(network(inputs), tf.concat(alone, 0), rtol=1e-4, atol=1e-5)


@each_network
def test_compiled_programs_give_the_same_gradients_for_any_number_of_rows(name):
    conditions = [(4,)]
    network, inputs = perturbed(name, conditions), inputs_of(name, conditions)

    def gradients(inputs):
        weights = [w.value for w in network.trainable_variables]
        with tf.GradientTape() as tape:
            y = network(inputs, training=True)
            value = tf.reduce_sum(tf.sin(y))
        return y, tape.gradient(value, weights)

    any_rows = tf.nest.map_structure(lambda x: tf.TensorSpec((None, *x.shape[1:])), inputs)
    graph = tf.function(gradients, input_signature=[any_rows])
    expected, compiled = gradients(inputs), tf.function(gradients, jit_compile=True)
    for found in (graph(inputs), compiled(inputs)):
        for ours, theirs in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    y, of_no_rows = graph(inputs_of(name, conditions, rows=0))
    assert y.shape == (0, *expected[0].shape[1:])
    assert not any(np.any(g) for g in of_no_rows)


@each_network
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_precision(name, policy):
    exact = perturbed(name, [(4,)], dtype="float64")
    network = network_of(name, dtype=policy)
    inputs = inputs_of(name, [(4,)], dtype="float64")
    network(inputs)
    network.set_weights(exact.get_weights())
    y, expected = network(inputs), exact(inputs).numpy()
    # The last layer has the dtype of its weights.
    assert y.dtype == network.variable_dtype
    error = np.abs(y.numpy() - expected).max() / np.std(expected)
    assert 1e-4 < error < 0.1 if policy == "mixed_bfloat16" else error == 0


@each_network
def test_layout_of_keras_changes_nothing(name):
    network, inputs = perturbed(name), inputs_of(name)
    expected, before = network(inputs), keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        other = network_of(name)
        other(inputs)
        other.set_weights(network.get_weights())
        np.testing.assert_array_equal(other(inputs), expected)
    finally:
        keras.config.set_image_data_format(before)


@each_network
def test_dropout_is_of_training(name):
    network, inputs = perturbed(name, dropout=0.5), inputs_of(name)
    np.testing.assert_array_equal(network(inputs), network(inputs))
    assert np.any(network(inputs, training=True) != network(inputs, training=True))


@each_network
def test_flows_are_saved_and_exported(name, tmp_path):
    """With the layers that the package puts around networks."""
    _, _, partition, shape = CASES[name]
    network = network_of(name, dropout=0.2, dtype="mixed_bfloat16")
    conditioner = StandardizedCondition(GradientCheckpointing(network))
    coupling = AffineCoupling(conditioner, partition, shape, "exp", condition_shape=2)
    flow = perturb(tfnvp.Flow(coupling, shape, condition_shape=2), 0.1)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, *shape)).astype("float32")
    condition = generator.normal(size=(8, 2)).astype("float32")
    flow.adapt(x, condition)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(flow(x, condition, training=True))
    gradients = tape.gradient(value, [v.value for v in flow.trainable_variables])
    assert all(g is not None for g in gradients)
    expected = flow.log_prob(x, condition)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.log_prob(x, condition), expected)
    served = tf.saved_model.load(str(flow.export(tmp_path / "served", signatures=["log_prob"])))
    served = served.signatures["log_prob"](x=tf.constant(x), condition=tf.constant(condition))
    np.testing.assert_allclose(served["log_prob"], expected, rtol=1e-2)


@every
def test_a_network_is_made_again_of_its_config(name):
    kind, arguments, partition, shape = CASES[name]
    sizes = {key: np.int64(size) for key, size in arguments.items()}
    network = kind(np.int64(2 * partition.shapes(shape)[1][-1]), **sizes)
    network(inputs_of(name))
    perturb(network)
    config = json.loads(json.dumps(network.get_config()))
    copied = kind.from_config(config)
    assert copied.get_config() == config
    copied(inputs_of(name))
    copied.set_weights(network.get_weights())
    np.testing.assert_array_equal(copied(inputs_of(name)), network(inputs_of(name)))
