"""Networks that are called again in the backward pass change nothing but memory and time."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling
from tfnvp.conditioners import MLP, GatedConvNet, GradientCheckpointing
from tfnvp.partitions import Split

pytestmark = pytest.mark.slow

_FLOWS = {
    "nice": lambda **kwargs: tfnvp.NICE(
        6, couplings=3, hidden_units=(8, 8), condition_shape=2, dropout=0.4, **kwargs
    ),
    "real_nvp": lambda **kwargs: tfnvp.RealNVP(
        6, couplings=3, hidden_units=(8, 8), residual=True, dropout=0.4, **kwargs
    ),
    "neural_spline": lambda **kwargs: tfnvp.NeuralSplineFlow(
        4, couplings=2, hidden_units=(8, 8), bins=2, dropout=0.4, **kwargs
    ),
    "image_real_nvp": lambda **kwargs: tfnvp.ImageRealNVP(
        (4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=None, **kwargs
    ),
    "jet": lambda **kwargs: tfnvp.Jet(
        (4, 4, 1), 2, 1, 4, 2, 2, spatial_every=2, condition_shape=(2, 3), levels=None, **kwargs
    ),
}


def pair(make, **kwargs):
    """The same flow twice, without and with checkpoints: weights, statistics, random states."""
    plain, checkpointed = make(**kwargs), make(gradient_checkpointing=True, **kwargs)
    perturb(plain, 0.1)
    copy_variables(plain, checkpointed)
    return plain, checkpointed


def copy_variables(source, target):
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)


def data(flow, rows=32):
    generator = np.random.default_rng(0)
    x = generator.uniform(0.1, 0.9, (rows, *flow.event_shape)).astype("float32")
    if flow.condition_shape is None:
        return x, None
    return x, generator.normal(size=(rows, *flow.condition_shape)).astype("float32")


def gradients(module, loss, jit_compile):
    """Gradients of two steps, between which states move on, and all variables afterwards."""

    @tf.function(jit_compile=jit_compile)
    def step():
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, [v.value for v in module.trainable_variables])

    steps = [[g.numpy() for g in step()] for _ in range(2)]
    return steps, [np.array(v) for v in module.variables]


def assert_close(ours, expected, atol=1e-5):
    for new, old in zip(tf.nest.flatten(ours), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=atol * max(1, np.abs(old).max()))


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        ("nice", False),
        ("real_nvp", False),
        ("real_nvp", True),
        ("neural_spline", False),
        ("image_real_nvp", False),
        ("jet", False),
        ("jet", True),
    ],
)
def test_gradients_and_states_are_those_of_the_plain_flow(name, jit_compile):
    flows = pair(_FLOWS[name])
    x, condition = data(flows[0])

    def loss(flow, moved):
        # Other data in each step: statistics of one batch do not move when it comes again.
        shifted = x + moved.assign_add(0.01)
        return -tf.reduce_mean(flow(shifted, condition, training=True))

    expected, ours = (
        gradients(flow, functools.partial(loss, flow, tf.Variable(0.0)), jit_compile)
        for flow in flows
    )
    assert_close(ours, expected)
    # Every weight matters, and the second step saw other states: masks, or moving statistics.
    (first, second), _ = expected
    assert all(np.abs(g).max() > 0 for g in first)
    assert any((g != h).any() for g, h in zip(first, second, strict=True))


def test_layers_of_keras_keep_their_losses_masks_and_statistics():
    """A functional model of two inputs, two outputs, and losses of its activations."""

    def make():
        passed, condition = keras.Input((2,)), keras.Input((3,))
        h = keras.layers.Concatenate()([passed, condition])
        h = keras.layers.Dense(8, "tanh", activity_regularizer=keras.regularizers.L2(0.1))(h)
        h = keras.layers.BatchNormalization(momentum=0.5)(keras.layers.Dropout(0.4)(h))
        outputs = [keras.layers.Dense(4)(h), keras.layers.Dense(4)(h)]
        return keras.Model([passed, condition], outputs)

    plain, inner = make(), make()
    checkpointed = GradientCheckpointing(inner)
    perturb(plain, 0.3)
    copy_variables(plain, checkpointed)
    x = [tf.random.normal((32, 2)), tf.random.normal((32, 3))]

    def steps_of(layer):
        def loss():
            shift, raw = layer(x, training=True)
            assert len(layer.losses) == 1
            return tf.reduce_mean(shift * tf.exp(raw)) + layer.losses[0]

        return gradients(layer, loss, jit_compile=False)

    assert_close(steps_of(checkpointed), steps_of(plain))
    for ours, expected in zip(checkpointed(x), plain(x), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "policy"), [("image_real_nvp", "float32"), ("real_nvp", "mixed_bfloat16")]
)
def test_fit_saves_and_goes_on_as_the_plain_flow(name, policy, tmp_path, request):
    if name == "image_real_nvp":  # Its gradients in a graph are tested above.
        request.getfixturevalue("eagerly")
    plain, checkpointed = pair(_FLOWS[name], conditioner_dtype=policy)
    x, _ = data(plain, rows=16)
    losses = []
    for flow in (plain, checkpointed):
        # Not Adam, which divides gradients that are nothing but rounding by themselves: shifts
        # before a normalisation have such.
        flow.compile(keras.optimizers.SGD(1e-2, momentum=0.9))
        losses.append(flow.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"])
    # Compilers fuse, and so round, the two differently.
    tolerance = 1e-5 if policy == "float32" else 5e-3
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance, atol=tolerance)
    checkpointed.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(loaded.log_prob(x), checkpointed.log_prob(x))
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    again = [flow.fit(x, **options).history["loss"] for flow in (loaded, checkpointed)]
    np.testing.assert_allclose(again[0], again[1], rtol=1e-6)


def test_networks_of_learned_dequantization_are_checkpointed():
    make = functools.partial(tfnvp.ImageRealNVP, (4, 4, 1), 1, 2, 1, network="gated")
    flow = make(dequantization="variational", gradient_checkpointing=True)
    kinds = [type(layer) for layer in flow.keras_layers]
    assert kinds.count(GradientCheckpointing) == 4 + 4
    assert GatedConvNet not in kinds


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_not_kept(checkpointing):
    """What a pass forward, recorded for gradients, keeps of a network: its activation, or not."""
    activations = []

    class Network(keras.layers.Layer):
        def call(self, x):
            h = tf.tanh(x)
            activations.append(weakref.ref(h))
            return h * h

    layer = GradientCheckpointing(Network()) if checkpointing else Network()
    x = tf.Variable([[0.5, 1.0]])
    with tf.GradientTape() as tape:
        y = layer(x.value(), training=True)
    gc.collect()
    assert (activations[0]() is None) is checkpointing
    gradient = tape.gradient(y, x)
    assert len(activations) == (2 if checkpointing else 1)
    h = np.tanh(x.numpy())
    np.testing.assert_allclose(gradient, 2 * h * (1 - h**2), rtol=1e-5)


def test_a_coupling_takes_a_checkpointed_network_of_ones_own():
    network = GradientCheckpointing(MLP(4, (8,)))
    coupling = AffineCoupling(network, Split(1), 3)
    flow = tfnvp.Flow(coupling, 3)
    tfnvp.testing.check_bijector(coupling, np.random.default_rng(0).normal(size=(5, 3)))
    assert len(flow.trainable_variables) == 5
    config = GradientCheckpointing.from_config(network.get_config())
    assert isinstance(config.layer, MLP)
    with pytest.raises(TypeError, match="`layer` must be a Keras 3 layer or model"):
        GradientCheckpointing(tf.nn.relu)
