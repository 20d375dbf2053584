"""The fused optimizers compute what Keras' compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp

_NAMES = ["Adam", "AdamW"]


def _train(optimizer, jit_compile, steps=5):
    w = keras.Variable(np.linspace(-1.0, 1.0, 6).reshape(2, 3), dtype="float32", name="kernel")
    b = keras.Variable(np.ones(3), dtype="float32")
    optimizer.build([w, b])

    @tf.function(jit_compile=jit_compile)
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.matmul(x, w.value) + b.value))
        optimizer.apply(tape.gradient(loss, [w.value, b.value]), [w, b])

    for i in range(steps):
        step(tf.ones((4, 2)) * (i + 1.0))
    return [np.asarray(v) for v in (w, b, *optimizer.variables)]


@pytest.mark.parametrize("name", _NAMES)
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"global_clipnorm": 0.5, "epsilon": 1e-4, "beta_2": 0.99},
        {"use_ema": True, "ema_momentum": 0.9, "weight_decay": 0.1},
        {"amsgrad": True},
    ],
    ids=["plain", "clipped", "averaged", "amsgrad"],
)
def test_weights_moments_and_averages_are_those_of_keras(name, jit_compile, arguments):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    ours = _train(getattr(tfnvp.optimizers, name)(rate, **arguments), jit_compile)
    theirs = _train(getattr(keras.optimizers, name)(rate, **arguments), jit_compile)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", _NAMES)
def test_it_is_one_operation_for_each_variable(name):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    optimizer = getattr(tfnvp.optimizers, name)(1e-3)
    optimizer.build(flow.trainable_variables)

    @tf.function
    def step():
        optimizer.apply([tf.ones(v.shape) for v in flow.trainable_variables])

    kinds = [op.type for op in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(flow.trainable_variables)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_muon_is_that_of_keras_for_matrices(jit_compile, decay):
    ours = tfnvp.optimizers.Muon(0.1, momentum=0.9, weight_decay=decay)
    theirs = keras.optimizers.Muon(
        0.1, momentum=0.9, weight_decay=decay, adam_weight_decay=decay, exclude_embeddings=False
    )
    for a, b in zip(_train(ours, jit_compile)[:2], _train(theirs, jit_compile)[:2], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


def test_muon_moves_filters_and_stacks_by_orthogonal_matrices():
    # By name: the shape of the weight, and of its matrices.
    shapes = {
        "kernel": ((3, 3, 4, 8), (36, 8)),
        "stack_of_hidden_kernel": ((5, 6, 2), (5, 6, 2)),
        "stack_of_query_kernel": ((5, 6, 2, 3), (5, 12, 3)),
        "recurrent_kernel": ((6, 5), (6, 5)),
        "depthwise_kernel": ((3, 3, 4, 2), (36, 2)),
    }
    rng = np.random.default_rng(0)
    weights = [keras.Variable(np.zeros(s, "float32"), name=name) for name, (s, _) in shapes.items()]
    optimizer = tfnvp.optimizers.Muon(0.5, weight_decay=0.0)
    optimizer.build(weights)
    optimizer.apply([tf.constant(rng.normal(size=w.shape), tf.float32) for w in weights], weights)
    for w, (_, shape) in zip(weights, shapes.values(), strict=True):
        values = np.linalg.svd(np.reshape(w, shape), compute_uv=False)
        values /= 0.5 * 0.2 * max(shape[-2:]) ** 0.5
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_leaves_last_layers_and_maps_of_channels_to_adam():
    options = {"network": "gated", "normalization": "act_norm", "channel_maps": "lu"}
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=4, residual_blocks=1, **options)
    flow.compile("muon")
    flow.train_on_batch(np.random.default_rng(0).uniform(size=(4, 4, 4, 1)).astype("float32"))
    kernels = [w.path for w in flow.trainable_variables if w.path.endswith("kernel")]
    moved = {v.path for v in flow.optimizer.variables if "velocity" in v.path and np.any(v)}
    by_adam = [path for path in kernels if any(path.replace("/", "_") in v for v in moved)]
    assert by_adam == [path for path in kernels if "projection" in path]


def test_muon_leaves_filters_of_normalised_weights_to_adam():
    # By orthogonal steps their losses were larger.
    filters = keras.Variable(np.ones((3, 3, 2, 4), "float32"), name="direction")
    gradient = tf.constant(np.random.default_rng(0).normal(size=filters.shape), tf.float32)
    found = []
    for optimizer in (tfnvp.optimizers.Muon(0.1), tfnvp.optimizers.AdamW(0.1)):
        filters.assign(np.ones(filters.shape))
        optimizer.build([filters])
        optimizer.apply([gradient], [filters])
        found.append(filters.numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "bad", [{"momentum": 1.0}, {"newton_schulz_steps": 0}, {"exclude_layers": "last"}], ids=str
)
def test_muon_refuses_other_arguments(bad):
    with pytest.raises((ValueError, TypeError), match=f"`{next(iter(bad))}` must"):
        tfnvp.optimizers.Muon(**bad)


@pytest.mark.parametrize("name", ["adam", "AdamW", "muon"])
def test_names_mean_the_fused_ones(name):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    flow.compile(name)
    assert type(flow.optimizer).__module__ == "tfnvp.optimizers"
    flow.compile("sgd")
    assert type(flow.optimizer) is keras.optimizers.SGD


@pytest.mark.parametrize("name", ["Adam", "Muon"])
def test_training_goes_on_after_saving(name, tmp_path):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    options = {"exclude_layers": ("last",)} if name == "Muon" else {}
    flow.compile(getattr(tfnvp.optimizers, name)(0.01, epsilon=1e-4, **options))
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    flow.fit(x, verbose=0)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(loaded.optimizer) is getattr(tfnvp.optimizers, name)
    assert loaded.optimizer.get_config() == flow.optimizer.get_config()
    for model in (flow, loaded):
        model.fit(x, verbose=0, shuffle=False)
    for a, b in zip(flow.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
