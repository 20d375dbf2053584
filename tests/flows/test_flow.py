import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, Chain, DiagonalScaling
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

tfb, tfd = tfp.bijectors, tfp.distributions

SMALL = {"couplings": 2, "hidden_units": (8,)}


@pytest.fixture(scope="module")
def trained(moons):
    """A small Real NVP trained for a few epochs on two moons."""
    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP(2, couplings=4, hidden_units=(16, 16))
    flow.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    flow.history = flow.fit(moons, epochs=20, batch_size=250, verbose=0, validation_data=moons)
    return flow


def variable_ids(thing):
    return {id(v.value if isinstance(v, keras.Variable) else v) for v in thing.trainable_variables}


def test_every_variable_has_a_path_of_its_own():
    def affine(partition):
        return AffineCoupling(MLP(2, (4,), name="network"), partition, 2)

    split, scales = Split(1), [tfb.Scale(tf.Variable(value)) for value in (1.0, 2.0)]
    flow = tfnvp.Flow(tfb.Chain([affine(split), affine(split.swap()), *scales]), 2)
    paths = [variable.path for variable in flow.variables]
    assert len(set(paths)) == len(paths) == 12


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfnvp.RealNVP(3, **SMALL),
        lambda: tfnvp.NICE(3, **SMALL),
        lambda: tfnvp.NeuralSplineFlow(3, couplings=2, hidden_units=(8,), bins=2),
        lambda: tfnvp.Flow(tfb.Chain([tfb.Scale(tf.Variable(2.0)), DiagonalScaling(3)]), 3),
        lambda: tfnvp.Flow(tfb.Invert(AffineCoupling(MLP(2, (4,)), Split(2), 3)), 3),
    ],
    ids=["real_nvp", "nice", "neural_spline", "tfp_chain", "tfp_invert"],
)
def test_all_views_train_the_same_variables(make):
    flow = make()
    ids = variable_ids(flow)
    assert ids
    assert ids == variable_ids(flow.bijector) == variable_ids(flow.distribution)

    perturb(flow, 0.1)
    before = [v.numpy() for v in flow.trainable_variables]
    flow.compile("sgd", jit_compile=False)
    flow.fit(np.random.default_rng(0).normal(size=(32, 3)).astype("float32"), verbose=0)
    for variable, old in zip(flow.trainable_variables, before, strict=True):
        assert np.any(variable.numpy() != old), variable.path


def test_training_lowers_the_loss_and_agrees_with_log_prob(trained, moons):
    losses = trained.history.history["loss"]
    assert losses[-1] < losses[0] - 0.5
    mean = -np.mean(trained.log_prob(moons))
    np.testing.assert_allclose(trained.evaluate(moons, verbose=0), mean, rtol=1e-5)
    np.testing.assert_allclose(trained.history.history["val_loss"][-1], mean, rtol=1e-5)
    np.testing.assert_allclose(
        trained.predict(moons, verbose=0), trained.log_prob(moons), rtol=1e-4
    )
    np.testing.assert_allclose(
        trained.distribution.log_prob(moons), trained.log_prob(moons), rtol=1e-4, atol=1e-4
    )


def test_density_integrates_to_one(trained):
    axis = np.linspace(-3.0, 4.0, 600, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    total = np.exp(trained.log_prob(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert abs(total - 1.0) < 0.01


def test_encode_and_decode_are_inverse(trained, moons):
    np.testing.assert_allclose(trained.decode(trained.encode(moons)), moons, atol=1e-4)


def test_sampling_follows_the_distribution_and_the_seed(trained, moons):
    samples = trained.sample(4000, seed=1)
    np.testing.assert_array_equal(samples, trained.sample(4000, seed=1))
    assert np.any(samples.numpy() != trained.sample(4000, seed=2).numpy())
    np.testing.assert_allclose(np.mean(samples, axis=0), moons.mean(axis=0), atol=0.1)
    keras.utils.set_random_seed(5)
    first = trained.sample(3)
    assert np.any(trained.sample(3).numpy() != first.numpy())
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(trained.sample(3), first)
    cold = trained.sample(100, temperature=0.0)
    np.testing.assert_allclose(cold, np.broadcast_to(cold[0], cold.shape), atol=1e-6)
    assert trained.sample(0).shape == (0, 2)


@pytest.mark.parametrize("base", ["normal", "logistic"])
def test_base_noise_has_the_distribution_of_the_base(base):
    flow = tfnvp.Flow(tfb.Identity(), 1, base=base)
    samples = np.sort(flow.sample(np.int64(20_000), seed=0).numpy().ravel())
    cdf = flow.distribution.distribution.distribution.cdf(samples[:, None]).numpy().ravel()
    uniform = (np.arange(len(samples)) + 0.5) / len(samples)
    # Kolmogorov's distance stays below 1.95 / sqrt(n) with probability 0.999.
    assert np.abs(cdf - uniform).max() < 1.95 / np.sqrt(len(samples))
    warm = flow.sample(20_000, seed=0, temperature=2.0)
    np.testing.assert_allclose(np.std(warm), 2.0 * np.std(samples), rtol=1e-4)


def test_interpolation_reproduces_its_corners(trained, moons):
    grid = trained.interpolate(moons[:4], rows=3, columns=5)
    assert grid.shape == (3, 5, 2)
    corners = [grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1]]
    np.testing.assert_allclose(np.stack(corners), moons[:4], atol=1e-4)
    z = trained.encode(moons[:4]).numpy()
    half = np.sqrt(0.5)
    middle = half * (half * z[0] + half * z[1]) + half * (half * z[2] + half * z[3])
    np.testing.assert_allclose(grid[1, 2], trained.decode(middle[None])[0], atol=1e-3)


def test_a_layer_inside_of_two_networks_is_refused_before_the_file_is_opened(tmp_path):
    embedding = keras.layers.Dense(2, name="embedding")
    networks = []
    for name in ("first", "second"):
        inputs = keras.Input((1,))
        outputs = keras.layers.Dense(2)(embedding(inputs))
        networks.append(keras.Model(inputs, outputs, name=name))
    couplings = [AffineCoupling(network, Split(1), 2) for network in networks]
    file = tmp_path / "flow.keras"
    tfnvp.Flow(Chain([couplings[0], couplings[0]]), 2).save(file)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"'embedding' in 'first' and 'second'"):
        tfnvp.Flow(Chain(couplings), 2).save(file)
    assert file.read_bytes() == before


def test_a_saved_flow_gives_identical_likelihoods_and_trains_on(trained, moons, tmp_path):
    path = tmp_path / "flow.keras"
    trained.save(path)
    restored = keras.saving.load_model(path, safe_mode=True)
    np.testing.assert_array_equal(restored.log_prob(moons), trained.log_prob(moons))
    assert restored.optimizer.iterations == trained.optimizer.iterations
    loss = restored.fit(moons, batch_size=250, shuffle=False, verbose=0).history["loss"][0]
    # A loaded flow is not initialised again.
    assert abs(loss - trained.history.history["loss"][-1]) < 0.2


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfnvp.NICE((2, 2), base="logistic", logit_alpha=0.1, levels=4, **SMALL),
        lambda: tfnvp.RealNVP(
            4,
            scale="softclamp",
            dropout=0.1,
            residual=True,
            activation="gelu",
            partition=[Split(1), Split(-1), Split(2), Split(2).swap()],
            hidden_units=[(8,), (8, 8), (4,), ()],
            couplings=4,
            standardize=False,
        ),
        lambda: tfnvp.Flow(
            tfb.Chain(
                [
                    tfb.Softplus(),
                    tfb.Shift(tf.Variable([1.0, 2.0])),
                    AffineCoupling(MLP(2, (8,)), Split(1), 2),
                    tfb.Permute([1, 0]),
                    tfb.Invert(AffineCoupling(MLP(2, (8,)), Split(1), 2, scale="sigmoid")),
                ]
            ),
            2,
            base=tfd.MultivariateNormalDiag(loc=tf.Variable([0.0, 0.5])),
        ),
    ],
    ids=["nice", "real_nvp", "mixed_chain"],
)
def test_config_is_complete(make, tmp_path):
    flow = perturb(make(), 0.1)
    x = np.random.default_rng(0).uniform(0.1, 0.9, (5, *flow.event_shape)).astype("float32")
    clone = type(flow).from_config(flow.get_config())
    assert clone.get_config() == flow.get_config()
    assert clone.count_params() == flow.count_params()
    flow(x, training=True)
    flow.save(tmp_path / "flow.keras")
    restored = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(restored.log_prob(x), flow.log_prob(x))
    np.testing.assert_array_equal(restored.sample(3, seed=0), flow.sample(3, seed=0))
    # Dropout goes on where it was.
    np.testing.assert_array_equal(restored(x, training=True), flow(x, training=True))


def test_nothing_but_our_kinds_of_objects_is_ever_loaded():
    config = tfnvp.Flow(tfb.Exp(), 1).get_config()
    config["bijector"]["name"] = "__loader__"
    with pytest.raises(ValueError, match="not a description of"):
        tfnvp.Flow.from_config(config)
    with pytest.raises(TypeError, match="cannot be saved"):
        tfnvp.Flow(
            tfb.Inline(
                tf.exp,
                tf.math.log,
                forward_min_event_ndims=0,
                inverse_log_det_jacobian_fn=lambda y: -tf.math.log(y),
            ),
            1,
        ).get_config()


def test_conditional_flow_takes_its_condition_in_every_way(moons):
    labels = (moons[:, :1] > 0.5).astype("float32")
    flow = tfnvp.RealNVP(2, condition_shape=1, **SMALL)
    flow.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    flow.fit(moons, labels, batch_size=250, epochs=1, verbose=0)
    dataset = tf.data.Dataset.from_tensor_slices((moons, labels)).batch(250)
    flow.fit(dataset, epochs=6, verbose=0)
    loss = flow.evaluate({"x": moons, "condition": labels}, verbose=0)
    np.testing.assert_allclose(loss, -np.mean(flow.log_prob(moons, labels)), rtol=1e-5)
    np.testing.assert_allclose(
        flow.distribution.log_prob(moons, condition=labels),
        flow.log_prob(moons, condition=labels),
        rtol=1e-4,
        atol=1e-4,
    )
    right, left = (flow.sample(500, seed=0, condition=[c]).numpy() for c in (1.0, 0.0))
    assert right[:, 0].mean() > left[:, 0].mean() + 0.5
    z = flow.encode(moons, labels)
    np.testing.assert_allclose(flow.decode(z, labels), moons, atol=1e-3)
    plain = tfnvp.RealNVP(2, **SMALL)
    with pytest.raises(ValueError, match=r"Received: condition=an array of shape \([0-9]+,"):
        plain.log_prob(moons, labels)


def test_one_conditioner_call_in_a_training_step(counting_mlp):
    layers = [AffineCoupling(counting_mlp(2, (4,)), Split(1), 2) for _ in range(3)]
    flow = tfnvp.Flow(tfnvp.bijectors.Chain(layers), 2)
    flow.compile(run_eagerly=True)
    x = np.ones((4, 2), "float32")
    flow.adapt(x)
    for work in (
        lambda: flow.fit(x, batch_size=4, verbose=0),
        lambda: flow.evaluate(x, verbose=0),
        lambda: flow.log_prob(x),
        lambda: flow.sample(2),
    ):
        counting_mlp.calls = 0
        work()
        assert counting_mlp.calls == 3


def test_functions_are_not_traced_again(moons):
    flow = tfnvp.RealNVP(2, **SMALL)
    for rows in (7, 8, 9, 100, 100):
        flow.log_prob(moons[:rows])
        flow.sample(rows, seed=0)
    for function in flow._calls._functions.values():
        assert function.experimental_get_tracing_count() <= 2


def test_large_inputs_are_evaluated_in_pieces(monkeypatch, trained, moons):
    expected = trained.log_prob(moons)
    monkeypatch.setattr("tfnvp.flows.calls._CHUNK_ELEMENTS", 600)
    np.testing.assert_allclose(trained.log_prob(moons), expected, rtol=1e-5)


def test_answers_are_those_of_the_current_weights(moons):
    flow = perturb(tfnvp.RealNVP(2, **SMALL), 0.1)
    x = tf.constant(moons)
    before = flow.log_prob(x), flow.encode(x), flow.distribution.log_prob(x)
    perturb(flow, 0.1, seed=1)
    fresh = tf.constant(moons)
    for old, now, expected in zip(
        before,
        (flow.log_prob(x), flow.encode(x), flow.distribution.log_prob(x)),
        (flow.log_prob(fresh), flow.encode(fresh), flow.distribution.log_prob(fresh)),
        strict=True,
    ):
        np.testing.assert_array_equal(now, expected)
        assert np.abs(old - now).max() > 1e-3


def test_sample_weights_weigh(moons):
    flow = tfnvp.RealNVP(2, standardize=False, **SMALL)
    flow.compile(jit_compile=False)
    weights = np.zeros(len(moons), "float32")
    weights[:10] = 1.0
    loss = flow.evaluate(moons, sample_weight=weights, batch_size=len(moons), verbose=0)
    expected = -np.mean(flow.log_prob(moons[:10]))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    history = flow.fit(
        moons,
        sample_weight=weights,
        validation_data=(moons, None, weights),
        batch_size=len(moons),
        validation_batch_size=len(moons),
        verbose=0,
    ).history
    np.testing.assert_allclose(history["loss"][0], expected, rtol=1e-5)
    expected = -np.mean(flow.log_prob(moons[:10]))
    np.testing.assert_allclose(history["val_loss"][0], expected, rtol=1e-5)


def test_bits_per_dim_of_a_known_density():
    half = tfb.Chain([tfb.Scale(0.5), tfb.Sigmoid()])
    flow = tfnvp.Flow(half, (2, 3), base="logistic", levels=256)
    x = np.random.default_rng(0).uniform(0.01, 0.49, (50, 2, 3)).astype("float32")
    # The sigmoid of a logistic variable is uniform: its density on [0, 0.5] is 2, one bit less.
    np.testing.assert_allclose(flow.log_prob(x), 6 * np.log(2.0), atol=1e-4)
    flow.compile()
    result = flow.evaluate(x, verbose=0, return_dict=True)
    np.testing.assert_allclose(result["bits_per_dim"], 7.0, atol=1e-4)
    np.testing.assert_allclose(float(flow.bits_per_dim(6 * np.log(2.0))), 7.0, rtol=1e-6)
    with pytest.raises(ValueError, match="`levels`"):
        tfnvp.Flow(tfb.Exp(), 1).bits_per_dim(0.0)


def test_likelihood_is_float32_under_a_mixed_policy(moons):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = tfnvp.RealNVP(2, **SMALL)
        mixed.adapt(moons)
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.keras_layers[0].compute_dtype == "bfloat16"
    assert mixed.log_prob(moons).dtype == tf.float32
    assert all(v.dtype == "float32" for v in mixed.trainable_variables)
    z = mixed.encode(moons)
    np.testing.assert_allclose(mixed.decode(z), moons, atol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tfnvp.RealNVP(2, **SMALL),
        lambda: tfnvp.NICE(2, couplings=2, hidden_units=(8,)),
        lambda: tfnvp.ImageRealNVP((2, 2, 1), scales=1, base_filters=2, residual_blocks=0),
    ],
)
def test_files_say_which_policy_was_global(make, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        flow = make()
        flow.save(tmp_path / "mixed.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "mixed.keras")
    policies = [[layer.compute_dtype for layer in f.keras_layers] for f in (flow, loaded)]
    assert policies[0] == policies[1]
    assert "float16" in policies[0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.log_prob(np.zeros((3, 5))), r"\[batch, 2\]"),
        (lambda f: f.log_prob(np.zeros((3, 2), int)), "dequantize"),
        (lambda f: f.log_prob("text"), "`x` must"),
        (lambda f: f.log_prob(np.zeros((3, 2)), condition=[1.0]), "`condition` is given"),
        (lambda f: f.decode(np.zeros((3, 3))), r"`z` must have the shape \[batch, 2\]"),
        (lambda f: f.sample(-1), "`n` must be"),
        (lambda f: f.sample(1.5), "`n` must be"),
        (lambda f: f.sample((2, 4)), "draw all samples, and reshape"),
        (lambda f: f.sample(1, temperature=-1.0), "`temperature` must be"),
        (lambda f: f.sample(1, temperature=float("nan")), "`temperature` must be"),
        (lambda f: f.sample(1, temperature=np.inf), "`temperature` must be"),
        (lambda f: f.sample_latents(1, (1, 2), [1.0, np.nan]), "`temperature` must be"),
        (lambda f: f.sample(1, temperature="hot"), "`temperature` must be a number"),
        (lambda f: f.sample(1, seed=(1, 2, 3)), "`seed` must be"),
        (lambda f: f.interpolate(np.zeros((3, 2))), "4 data points"),
        (lambda f: f.interpolate(np.zeros((4, 2)), rows=1), "2 or more"),
        (lambda f: f.interpolate(np.zeros((4, 2)), 2**14, 2**14), "`rows .* columns` .* at most"),
    ],
)
def test_bad_calls_are_named(trained, call, message):
    with pytest.raises(ValueError, match=message):
        call(trained)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tfnvp.RealNVP(0), ValueError, "`event_shape` must be"),
        (lambda: tfnvp.RealNVP(1), ValueError, "two variables or more"),
        (lambda: tfnvp.RealNVP(2, couplings=0), ValueError, "`couplings` must be"),
        (lambda: tfnvp.RealNVP(2, scale="x"), ValueError, "`scale` must be one of"),
        (lambda: tfnvp.RealNVP(2, base="x"), ValueError, "`base` must be one of"),
        (lambda: tfnvp.RealNVP(2, base=3), TypeError, "`base` must be"),
        (lambda: tfnvp.RealNVP(2, base=tfd.Normal(0.0, 1.0)), ValueError, "`base` must have"),
        (lambda: tfnvp.RealNVP(2, levels=1), ValueError, "`levels` must be"),
        (lambda: tfnvp.RealNVP(2, logit_alpha=0.7), ValueError, "`alpha` must be"),
        (lambda: tfnvp.RealNVP(2, dropout=1.0), ValueError, "`dropout` must be"),
        (lambda: tfnvp.RealNVP(2, dropout=None), ValueError, "`dropout` must be"),
        (lambda: tfnvp.RealNVP(2, scale=[1]), ValueError, "`scale` must be one of"),
        (lambda: tfnvp.RealNVP(2, partition=3), ValueError, "`partition` must be"),
        (lambda: tfnvp.RealNVP(2, whiten=None), ValueError, "`whiten` must be"),
        (lambda: tfnvp.NICE(2, residual="no"), ValueError, "`residual` must be True or False"),
        (lambda: tfnvp.RealNVP(2, condition_shape=True), ValueError, "`condition_shape` must be"),
        (lambda: tfnvp.RealNVP(2, hidden_units=None), ValueError, "`hidden_units` must be"),
        (
            lambda: tfnvp.Flow(
                AffineCoupling(MLP(2), Split(1), 2),
                2,
                tfp.distributions.MultivariateNormalDiag(np.zeros(2), np.ones(2)),
            ),
            ValueError,
            "`base` must be of float32",
        ),
        (lambda: tfnvp.RealNVP(2, hidden_units=(0,)), ValueError, "`hidden_units` must be"),
        (lambda: tfnvp.RealNVP(2, hidden_units=[(3,)]), ValueError, "one for each of the 8"),
        (lambda: tfnvp.RealNVP(2, partition=[Split(1)]), ValueError, "each of the 8 couplings"),
        (lambda: tfnvp.RealNVP(2, partition=Split(2)), ValueError, "d=2, event size 2"),
        (lambda: tfnvp.Flow(tf.exp, 2), TypeError, "`bijector` must be"),
        (lambda: tfnvp.Flow(tfb.Exp(), 2, condition_shape=1), ValueError, "`condition_shape` must"),
        (
            lambda: tfnvp.Flow(DiagonalScaling(3), (2, 2)),
            ValueError,
            r"made for events of shape \(3,\)",
        ),
    ],
)
def test_bad_constructor_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_flow_that_was_never_compiled_is_not_when_loaded(tmp_path, recwarn):
    tfnvp.RealNVP(3, 2, (8,), condition_shape=1).save(tmp_path / "flow.keras")
    assert not keras.saving.load_model(tmp_path / "flow.keras").compiled
    assert not [w for w in recwarn if "optimizer" in str(w.message)]
    # Keras reads every attribute of a layer, and must not find those of old names.
    assert not [w for w in recwarn if "is now called" in str(w.message)]


def test_public_methods_are_graph_code(trained):
    """Export, inpainting and users call them inside of a `tf.function`."""
    z = trained.sample_latents(5, (1, 2))
    x, log_prob = trained.decode_and_log_prob(z)
    np.testing.assert_allclose(log_prob, trained.log_prob(x), atol=1e-4)
    np.testing.assert_array_equal(x, trained.sample(5, seed=(1, 2)))
    np.testing.assert_allclose(trained.sample_latents(5, (1, 2), 0.5), 0.5 * z, rtol=1e-6)

    @tf.function
    def graph(x):
        z = trained.sample_latents(5, tf.constant([1, 2]))
        answers = trained.log_prob(x), trained.encode(x), trained.decode(z)
        cold = trained.sample(5, (1, 2), temperature=0.5)
        return *answers, *trained.decode_and_log_prob(z), cold

    expected = log_prob, z, x, x, log_prob, trained.decode(0.5 * z)
    for got, wanted in zip(graph(x), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_a_name_for_hdf5_is_warned_of_and_saved(tmp_path):
    flow = perturb(tfnvp.RealNVP(3, couplings=2, hidden_units=(8,)))
    with pytest.warns(UserWarning, match="not as HDF5"):
        flow.save(tmp_path / "model.h5", overwrite=True)
    (tmp_path / "model.h5").rename(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.log_prob(np.ones((2, 3))), flow.log_prob(np.ones((2, 3))))
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    with pytest.raises(ValueError, match=r"name ends in \.keras"):
        flow.save(tmp_path / "model.tf")


@pytest.mark.filterwarnings("ignore:.*not as HDF5")
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_arguments_of_save_are_those_of_keras(name, tmp_path, monkeypatch):
    flow, file = tfnvp.RealNVP(3, couplings=1, hidden_units=(4,)), tmp_path / name
    with pytest.raises(ValueError, match=r"not supported.*option"):
        flow.save(file, option=1)
    flow.save(file, overwrite=False)
    file.write_text("kept")
    for answer in ("n", "y"):
        assert file.read_text(errors="replace") == "kept"
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
        flow.save(file, overwrite=False)
    assert file.read_text(errors="replace") != "kept"
