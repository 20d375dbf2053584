"""The fused optimizers compute what Keras' compute."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp

_NAMES = ["Adam", "AdamW"]


def _train(optimizer, jit_compile, steps=5):
    w = keras.Variable(np.linspace(-1.0, 1.0, 6).reshape(2, 3), dtype="float32")
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


@pytest.mark.parametrize("name", ["adam", "AdamW"])
def test_names_mean_the_fused_ones(name):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    flow.compile(name)
    assert type(flow.optimizer).__module__ == "tfnvp.optimizers"
    flow.compile("sgd")
    assert type(flow.optimizer) is keras.optimizers.SGD


def test_training_goes_on_after_saving(tmp_path):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    flow.compile("adam")
    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    flow.fit(x, verbose=0)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(loaded.optimizer) is tfnvp.optimizers.Adam
    for model in (flow, loaded):
        model.fit(x, verbose=0, shuffle=False)
    for a, b in zip(flow.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
