"""A condition network: once per call, trained, saved and exported with its flow; what it takes."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, Chain
from tfnvp.conditioners import MLP, StandardizedCondition, StandardizedInputs
from tfnvp.inputs.condition_network import compiles_well, describe_conditions
from tfnvp.partitions import Split

pytestmark = pytest.mark.usefixtures("eagerly")
RNG = np.random.default_rng(0)
N = 8
X = RNG.normal(size=(N, 2)).astype("float32")
C = RNG.normal(size=(N, 3)).astype("float32")
LABELS = np.arange(N) % 4


@keras.saving.register_keras_serializable("tests")
class Counting(keras.layers.Dense):
    """A layer that stores how many rows each of its calls had."""

    rows = ()

    def call(self, inputs, training=None):
        type(self).rows += (inputs.shape[0],)
        return super().call(inputs)


def chain():
    couplings = [
        AffineCoupling(MLP(2, (4,)), Split(1, swapped=i == 1), 2, condition_shape=4, name=f"c{i}")
        for i in range(2)
    ]
    return Chain(couplings)


def two_inputs():
    angle = keras.Input((3,), name="angle")
    label = keras.Input((1,), name="label", dtype="int32")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(label))
    both = keras.layers.Concatenate()([angle, embedded])
    return keras.Model([angle, label], keras.layers.Dense(4, activation="tanh")(both))


def embedding(rows=4):
    return keras.Sequential([keras.layers.Embedding(rows, 4), keras.layers.Flatten()])


def with_labels(**kwargs):
    return perturb(
        tfnvp.RealNVP(2, 2, (4,), condition_shape=1, condition_network=embedding(), **kwargs)
    )


@pytest.fixture(scope="module")
def of_two():
    return perturb(tfnvp.NICE(2, 2, (4,), condition_network=two_inputs()))


CALLS = {
    "log_prob": (lambda flow: flow.log_prob(X, C), N),
    "encode": (lambda flow: flow.encode(X, C), N),
    "decode": (lambda flow: flow.decode(X, C), N),
    "decode_and_log_prob": (lambda flow: flow.decode_and_log_prob(X, C), N),
    "call": (lambda flow: flow(X, C, training=True), N),
    "one for all": (lambda flow: flow.log_prob(X, C[0]), 1),
    "sample": (lambda flow: flow.sample(5, condition=C[0]), 1),
    "sample per condition": (lambda flow: flow.sample(5, condition=C, per_condition=True), N),
    "log_prob per condition": (
        lambda flow: flow.log_prob(np.stack([X] * 3), C[:3], per_condition=True),
        3,
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_network_runs_once_in_a_call_on_each_condition(call):
    flow = tfnvp.Flow(chain(), 2, condition_shape=3, condition_network=Counting(4))
    run, rows = CALLS[call]
    Counting.rows = ()
    run(flow)
    assert Counting.rows == (rows,)


def test_a_step_of_training_runs_it_once_also_on_halves():
    # This fits: only `fit` compiles the step.
    tf.config.run_functions_eagerly(False)
    flow = tfnvp.RealNVP(2, 2, (4,), condition_shape=3, condition_network=Counting(4))
    flow.compile("adam", jit_compile=True)
    Counting.rows = ()
    flow.fit(np.stack([X] * 4).reshape(-1, 2), np.tile(C, (4, 1)), batch_size=32, verbose=0)
    assert [rows for rows in Counting.rows if rows == 32] in ([32], [32, 32])
    assert 16 not in Counting.rows


def test_the_bijector_gets_what_the_network_gives():
    network, bijector = Counting(4, activation="tanh"), perturb(chain())
    flow = tfnvp.Flow(bijector, 2, condition_shape=3, condition_network=network)
    perturb(network)
    inner = tfnvp.Flow(bijector, 2, condition_shape=4)
    embedded = flow.embed_condition(C)
    np.testing.assert_allclose(embedded, network(C), rtol=1e-6)
    assert flow.embed_condition(C[0]).shape == (1, 4)
    np.testing.assert_allclose(flow.log_prob(X, C), inner.log_prob(X, embedded), rtol=1e-6)
    expected = flow.distribution.log_prob(X, condition=embedded)
    np.testing.assert_allclose(flow.log_prob(X, C), expected, rtol=1e-5)
    np.testing.assert_allclose(flow.decode(flow.encode(X, C), C), X, atol=1e-5)
    found, expected = flow.check(X, C), inner.check(X, embedded)
    assert found.largest_log_det == pytest.approx(expected.largest_log_det)


def test_it_is_part_of_the_model_and_gradients_reach_it():
    flow = with_labels()
    table = flow.condition_network.layer.layers[0].embeddings
    assert flow.condition_network in flow.keras_layers
    assert any(v is table for v in flow.trainable_variables)
    for evaluate in (lambda: flow(X, LABELS, training=True), lambda: flow.log_prob(X, LABELS)):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(evaluate())
        gradient = tf.convert_to_tensor(tape.gradient(loss, table))
        assert np.abs(gradient).min() > 0
    flow.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    before = table.numpy()
    flow.train_on_batch(X, LABELS)
    np.testing.assert_allclose(table, before - 0.1 * gradient, rtol=1e-3, atol=1e-6)


def test_dropout_acts_in_training_only():
    network = keras.Sequential([keras.layers.Dense(4), keras.layers.Dropout(0.5)])
    flow = perturb(tfnvp.RealNVP(2, 2, (4,), condition_shape=3, condition_network=network))
    first, second = (flow(X, C, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(flow(X, C), flow(X, C))
    np.testing.assert_allclose(flow(X, C), flow.log_prob(X, C), rtol=1e-5)


def test_samples_of_each_condition_and_their_densities(of_two):
    condition = {"angle": C[:4], "label": LABELS[:4]}
    x = of_two.sample(3, seed=1, condition=condition, per_condition=True)
    assert x.shape == (4, 3, 2)
    nats = of_two.log_prob(x, condition, per_condition=True)
    assert nats.shape == (4, 3)
    for i in range(4):
        one = {"angle": C[i], "label": LABELS[i]}
        np.testing.assert_allclose(nats[i], of_two.log_prob(x[i], one), rtol=1e-4)
    # Standardised latents of the base do not depend on the condition.
    z = of_two.encode(x[2], {"angle": C[2], "label": LABELS[2]})
    np.testing.assert_allclose(z, of_two.sample_latents(12, (1, 0))[6:9], atol=1e-4)


@pytest.mark.parametrize("kind", [tfnvp.NICE, partial(tfnvp.NeuralSplineFlow, bins=2)])
def test_samples_of_each_condition_without_a_network(kind):
    plain = perturb(kind(2, 2, (4,), condition_shape=3))
    tf.config.run_functions_eagerly(False)
    x = tf.function(lambda c: plain.sample(3, (1, 0), condition=c, per_condition=True))(C[:4])
    nats = plain.log_prob(x, C[:4], per_condition=True)
    np.testing.assert_allclose(nats[1], plain.log_prob(x[1], C[1]), rtol=1e-4)


def test_samples_of_each_condition_need_conditions(of_two):
    with pytest.raises(ValueError, match=r"shape \[4, n, 2\] with `per_condition=True`.*\(3, 5, 2"):
        of_two.log_prob(np.zeros([3, 5, 2]), (C[:4], LABELS[:4]), per_condition=True)
    with pytest.raises(ValueError, match="`condition` must be given"):
        tfnvp.NICE(2, 2, (4,)).sample(3, per_condition=True)


# --- Labels and several inputs --------------------------------------------------------------------


def test_labels_come_as_a_vector_or_with_an_axis_and_stay_whole():
    flow = with_labels()
    expected = flow.log_prob(X, LABELS)
    for same in (LABELS[:, np.newaxis], LABELS.astype("uint8"), LABELS.tolist()):
        np.testing.assert_array_equal(flow.log_prob(X, same), expected)
    for one in (2, [2], [[2]], tf.constant(2)):
        np.testing.assert_allclose(flow.log_prob(X[2:3], one)[0], expected[2], rtol=1e-6)
    assert np.abs(np.diff(flow.log_prob(X[[0, 0]], [0, 1]))).max() > 1e-3
    (part,) = flow.data_spec.conditions.inputs
    assert part.takes_labels
    assert part.categories == 4
    tf.config.run_functions_eagerly(False)
    np.testing.assert_array_equal(tf.function(flow.log_prob)(X, LABELS), expected)


@pytest.mark.parametrize(
    "make",
    {
        "embedding": embedding,
        "declared as a float": lambda: keras.Sequential([keras.Input((1,)), *embedding().layers]),
        "declared": lambda: keras.Sequential(
            [keras.Input((1,), dtype="int32"), *embedding().layers]
        ),
        "one-hot": lambda: keras.Sequential([keras.layers.CategoryEncoding(4, "one_hot")]),
    }.values(),
)
def test_inputs_without_a_gradient_are_labels(make):
    spec, _ = describe_conditions(make(), 1)
    assert spec.inputs[0].dtype == "int32"


@pytest.mark.parametrize("give", ["dictionary", "tuple", "data set", "in x"])
def test_fit_takes_several_inputs_as_keras_does(of_two, give):
    # This fits: it is what users write.
    named = {"label": LABELS, "angle": C}
    data = {
        "dictionary": lambda: {"x": X, "y": named},
        "tuple": lambda: {"x": X, "y": (C, LABELS)},
        "data set": lambda: {"x": tf.data.Dataset.from_tensor_slices((X, named)).batch(4)},
        "in x": lambda: {"x": {"x": X, "condition": named}},
    }[give]()
    of_two.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    loss = of_two.fit(**data, verbose=0).history["loss"][0]
    assert loss == pytest.approx(-np.mean(of_two.log_prob(X, named)), rel=1e-4)
    assert of_two.evaluate(**data, verbose=0) == pytest.approx(loss, rel=1e-4)


def test_one_of_several_inputs_can_be_for_all(of_two):
    tf.config.run_functions_eagerly(False)
    expected = of_two.log_prob(X, (C, np.full(N, 2)))
    np.testing.assert_allclose(of_two.log_prob(X, (C, 2)), expected, rtol=1e-6)
    served = tf.function(
        lambda x, c, label: of_two.log_prob(x, (c, label)),
        input_signature=[
            tf.TensorSpec((None, 2)),
            tf.TensorSpec((None, 3)),
            tf.TensorSpec((None, 1), tf.int32),
        ],
    )
    np.testing.assert_allclose(served(X, C, tf.constant([[2]])), expected, rtol=1e-5)


def test_a_condition_that_is_not_finite_gives_nan_though_the_network_hides_it():
    network = keras.layers.Dense(4, activation="relu")
    flow = perturb(tfnvp.RealNVP(2, 2, (4,), condition_shape=3, condition_network=network))
    bad = C.copy()
    bad[1, 0] = np.nan
    tf.config.run_functions_eagerly(False)
    nats = tf.function(flow.log_prob)(X, tf.constant(bad))
    np.testing.assert_array_equal(np.isnan(nats), np.arange(N) == 1)
    with pytest.raises(ValueError, match=r"`condition` must be finite.*condition\[1, 0\]"):
        flow.log_prob(X, bad)


def test_a_label_that_the_embedding_does_not_have_is_never_taken_for_another():
    tf.config.run_functions_eagerly(False)
    flow, labels = with_labels(), np.where(np.arange(N) == 3, 4, LABELS)
    nats = tf.function(flow.log_prob, jit_compile=True)(X, tf.constant(labels))
    np.testing.assert_array_equal(np.isnan(nats), np.arange(N) == 3)
    # This fits: a data set is checked only there.
    flow.compile("adam", jit_compile=False)
    flow.adapt(X, LABELS)
    data = tf.data.Dataset.from_tensor_slices((X, labels)).batch(4)
    with pytest.raises(ValueError, match=r"In batch 1 .*`condition` must hold labels from 0 to 3"):
        flow.fit(data, verbose=0)
    for batches in (data, data.map(lambda x, condition: {"x": x, "condition": condition})):
        known = tfnvp.data.FiniteRows(flow)
        assert sum(len(tf.nest.flatten(batch)[0]) for batch in batches.apply(known)) == N - 1
        assert known.skipped == 1


def test_couplings_that_standardise_do_so_to_what_the_network_gives():
    coupling = AffineCoupling(
        StandardizedCondition(MLP(2, (4,))), Split(1), 2, condition_shape=4, name="c"
    )
    network = perturb(keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)]))
    flow = tfnvp.Flow(coupling, 2, condition_network=network)
    assert flow.condition_shape == (3,)
    flow.adapt(X, C)
    np.testing.assert_allclose(coupling.conditioner.mean, network(C).numpy().mean(0), atol=1e-5)


# --- Files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [False, True])
def test_it_is_saved_with_its_flow(of_two, frozen, tmp_path):
    flow = of_two
    flow.condition_network.trainable = not frozen
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    condition = (C, LABELS)
    np.testing.assert_allclose(loaded.log_prob(X, condition), flow.log_prob(X, condition))
    assert loaded.condition_shape == {"angle": (3,), "label": (1,)}
    assert len(loaded.trainable_variables) == len(flow.trainable_variables)
    assert loaded.condition_network.trainable is not frozen
    assert [v.trainable for v in loaded.variables] == [v.trainable for v in flow.variables]
    with tf.GradientTape() as tape:
        flow.log_prob(X, condition)
    watched = {id(v) for v in tape.watched_variables()}
    assert watched == {id(v.value) for v in flow.trainable_variables}
    flow.condition_network.trainable = True


def test_images_have_one_too(tmp_path):
    flow = tfnvp.ImageRealNVP(
        (2, 2, 1), 1, 2, 1, levels=None, condition_shape=1, condition_network=embedding()
    )
    images = RNG.uniform(0.1, 0.9, (N, 2, 2, 1)).astype("float32")
    perturb(flow).save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    expected = flow.log_prob(images, LABELS)
    np.testing.assert_allclose(loaded.log_prob(images, LABELS), expected, rtol=1e-6)
    assert np.abs(flow.log_prob(images, LABELS[::-1]) - expected).min() > 0


def test_statistics_of_conditions_are_saved(tmp_path):
    flow = tfnvp.RealNVP(2, 2, (4,), condition_shape=3, condition_network=keras.layers.Dense(4))
    assert isinstance(flow.condition_network, StandardizedInputs)
    flow.adapt(X, 100 * C + 50)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(loaded.condition_scale.figures()["mean"], (100 * C + 50).mean(0))
    assert not isinstance(loaded.condition_network.layer, StandardizedInputs)


def test_a_network_that_is_also_part_of_a_coupling_is_not_saved(tmp_path):
    shared = keras.layers.Dense(4)

    @keras.saving.register_keras_serializable("tests")
    class Both(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner, self.last = shared, keras.layers.Dense(2)

        def call(self, inputs):
            return self.last(self.inner(inputs[1][:, :3]))

    coupling = AffineCoupling(Both(), Split(1), 2, condition_shape=4)
    flow = tfnvp.Flow(coupling, 2, condition_shape=3, condition_network=shared)
    with pytest.raises(ValueError, match="inside of two networks cannot be saved"):
        flow.save(tmp_path / "flow.keras")


# --- Arguments ------------------------------------------------------------------------------------


def make(network, shape=3, **kwargs):
    return tfnvp.RealNVP(2, 2, (4,), condition_shape=shape, condition_network=network, **kwargs)


def of_texts():
    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup, *embedding().layers])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.tanh,), TypeError, "`condition_network` must be a Keras 3 layer"),
        ((keras.layers.Dense(4), None), ValueError, "`condition_shape` must be given, unless"),
        ((keras.layers.Lambda(tf.reduce_sum),), ValueError, r"must give one array \[batch"),
        ((of_texts(), None), ValueError, "must take numbers: make them from texts"),
        ((keras.layers.Dense(4), {"a": True}), ValueError, r"`condition_shape\['a'\]` must be"),
    ],
)
def test_wrong_networks_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        make(*arguments)


def test_the_bijector_must_take_what_the_network_gives():
    with pytest.raises(ValueError, match=r"that of c0, \(4,\).*Received: \(5,\) from `condition_n"):
        tfnvp.Flow(chain(), 2, condition_shape=3, condition_network=keras.layers.Dense(5))


def test_labels_of_a_network_in_half_precision_must_be_declared():
    network = keras.Sequential([keras.layers.Embedding(1000, 4, dtype="mixed_bfloat16")])
    with pytest.raises(ValueError, match=r"begin with `keras.Input\(\(1,\), dtype='int32'\)`"):
        make(network, 1)


def test_an_embedding_inside_of_a_layer_of_ones_own():
    class Encoder(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(4, 4)

        def call(self, labels):
            return keras.ops.squeeze(self.embedding(labels), axis=1)

    label = keras.Input((1,), dtype="int32")
    flow = make(keras.Model(label, Encoder()(label)), 1)
    assert flow.log_prob(X, np.ones((len(X), 1), int)).shape == (len(X),)


def test_outputs_of_half_precision_become_float32():
    flow = make(keras.layers.Dense(4, dtype="mixed_bfloat16"))
    assert flow.embed_condition(C).dtype == "float32"
    assert flow.log_prob(X, C).dtype == "float32"


def test_xla_compiles_only_networks_that_it_is_known_to_compile():
    assert compiles_well(None)
    assert compiles_well(StandardizedInputs(two_inputs()))
    assert not compiles_well(keras.layers.GRU(4))
    assert not compiles_well(keras.Sequential([keras.layers.Hashing(3)]))
