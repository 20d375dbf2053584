"""What does not train stays as it is: in the flow, its bijector and distribution, and in files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.bijector_builders import coupling
from tests.conftest import perturb

X = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")


def first_network(flow):
    flow.keras_layers[0].trainable = False


def one_layer_in_a_network(flow):
    flow.keras_layers[0].hidden[0].trainable = False


def one_variable(flow):
    next(v for v in flow.keras_variables if v.trainable).trainable = False


def everything(flow):
    flow.trainable = False


FREEZE = [first_network, one_layer_in_a_network, one_variable, everything]
MAKE = {
    "real_nvp": lambda: tfnvp.RealNVP(2, 2, (4,)),
    "nice": lambda: tfnvp.NICE(2, 2, (4,)),
    "neural_spline": lambda: tfnvp.NeuralSplineFlow(2, 2, (4,), bins=2, linear="lu"),
    "chain": lambda: tfnvp.Flow(
        tfnvp.bijectors.Chain(
            [tfp.bijectors.Shift(tf.Variable([1.0, 2.0])), coupling(size=2), coupling(size=2)]
        ),
        2,
    ),
}


def by_address(variables):
    return {id(v.value if isinstance(v, keras.Variable) else v) for v in variables}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize("freeze", FREEZE)
def test_frozen_parts_are_frozen_everywhere_and_in_files(make, freeze, tmp_path):
    flow = make()
    before = len(flow.trainable_variables)
    freeze(flow)
    trainable = flow.trainable_variables
    assert len(trainable) < before
    for module in (flow.bijector, flow.distribution):
        assert by_address(module.trainable_variables) == by_address(trainable)
    with tf.GradientTape() as tape:
        flow.distribution.log_prob(X)
    assert {id(v) for v in tape.watched_variables()} == by_address(trainable)

    flow.compile("adam", jit_compile=False)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert [v.trainable for v in loaded.variables] == [v.trainable for v in flow.variables]
    assert len(loaded.trainable_variables) == len(trainable)
    assert loaded.trainable is flow.trainable


def test_variables_of_tensorflow_that_do_not_train_are_frozen():
    scales = [tf.Variable(2.0, trainable=trainable) for trainable in (True, False)]
    flow = tfnvp.Flow(tfnvp.bijectors.Chain([tfp.bijectors.Scale(s) for s in scales]), 2)
    assert by_address(flow.trainable_variables) == {id(scales[0])}
    assert [s.trainable for s in scales] == [True, False]


def test_training_goes_on_with_the_optimizer_of_the_parts_that_train(tmp_path):
    # Needs `fit`: the optimizer has states only of what it has trained.
    flow = perturb(MAKE["real_nvp"]())
    first_network(flow)
    frozen = [w.numpy() for w in flow.keras_layers[0].weights]
    flow.compile("adam", jit_compile=False)
    flow.fit(X, verbose=0)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    for a, b in zip(loaded.optimizer.variables, flow.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    loaded.fit(X, verbose=0)
    for new, old in zip(loaded.keras_layers[0].weights, frozen, strict=True):
        np.testing.assert_array_equal(new, old)


def test_tfp_minimizes_only_what_trains():
    flow = perturb(MAKE["real_nvp"]())
    first_network(flow)
    before = [w.numpy() for w in flow.weights]
    tfp.math.minimize(
        lambda: -tf.reduce_mean(flow.distribution.log_prob(X)), 2, keras.optimizers.SGD(0.1)
    )
    for weight, old in zip(flow.weights, before, strict=True):
        moved = np.any(weight.numpy() != old)
        assert not moved or weight.trainable
    assert any(np.any(w.numpy() != old) for w, old in zip(flow.weights, before, strict=True))


def test_a_bijector_alone_follows_its_conditioner():
    b = coupling()
    b.conditioner.trainable = False
    assert [v.name for v in b.trainable_variables] == ["log_scale_factor:0"]
    assert len(tfp.bijectors.Invert(b).trainable_variables) == 1
