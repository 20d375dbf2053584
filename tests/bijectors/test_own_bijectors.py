"""Bijectors that users write: their variables, their answers, their files."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tfnvp.bijectors import AffineCoupling, Bijector, Chain
from tfnvp.conditioners import MLP
from tfnvp.flows.serialization import serialize
from tfnvp.partitions import Split
from tfnvp.testing import check_bijector


class Stretch(Bijector):
    """`y = exp(log_factor) * x`, with a variable of TensorFlow's or of Keras'."""

    def __init__(self, size, kind=keras.Variable, name="stretch"):
        parameters = {"size": size, "name": name}
        self.log_factor = kind(np.full(size, 0.5, "float32"), name="log_factor")
        super().__init__(1, [self.log_factor], parameters, name)

    def _forward_and_log_det(self, x):
        return self._by(x, tf.cast(tf.convert_to_tensor(self.log_factor), x.dtype))

    def _inverse_and_log_det(self, y):
        return self._by(y, -tf.cast(tf.convert_to_tensor(self.log_factor), y.dtype))

    def _by(self, x, log_factor):
        return x * tf.exp(log_factor), tf.fill(tf.shape(x)[:-1], tf.reduce_sum(log_factor))


@keras.saving.register_keras_serializable("tests")
class Registered(Stretch):
    """The same, known to Keras."""


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(16, 2)).astype("float32")


def flow_with(bijector):
    return tfnvp.Flow(Chain([bijector, AffineCoupling(MLP(2, (4,)), Split(1), 2)]), 2)


@pytest.mark.parametrize("kind", [keras.Variable, tf.Variable])
def test_variables_of_both_kinds_hold_and_train(x, kind):
    check_bijector(Stretch(2, kind), x)
    flow = flow_with(Stretch(2, kind))
    flow.compile("adam")
    flow.fit(x, verbose=0)
    assert not np.allclose(tf.convert_to_tensor(flow.bijector.bijectors[0].log_factor), 0.5)


def test_a_registered_class_is_saved_and_loaded(x, tmp_path):
    flow = flow_with(Registered(2))
    flow.bijector.bijectors[0].log_factor.assign([0.1, -0.7])
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(loaded.bijector.bijectors[0]) is Registered
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))


@keras.saving.register_keras_serializable("tests")
class Square(Stretch):
    """Of a name that TFP gives to something else."""


def test_a_class_with_the_name_of_one_of_tfps_is_saved_as_what_it_is(x, tmp_path):
    flow = flow_with(Square(2))
    flow.bijector.bijectors[0].log_factor.assign([0.1, -0.7])
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(loaded.bijector.bijectors[0]) is Square
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    normal = type("Normal", (tfp.distributions.Normal,), {})(tf.zeros(2), tf.ones(2))
    with pytest.raises(TypeError, match="cannot be saved"):
        serialize(normal)


def test_functions_in_layers_are_refused_before_they_cannot_be_loaded(tmp_path):
    network = keras.Sequential([keras.layers.Lambda(lambda x: 2 * x), keras.layers.Dense(2)])
    flow = tfnvp.Flow(AffineCoupling(network, Split(1), 2), 2)
    with pytest.raises(TypeError, match="holds a Python function"):
        flow.save(tmp_path / "flow.keras")
    assert not (tmp_path / "flow.keras").exists()


def test_another_class_is_refused_with_the_ways_out(tmp_path):
    with pytest.raises(TypeError, match=r"Stretch.*register_keras_serializable.*save_weights"):
        flow_with(Stretch(2)).save(tmp_path / "flow.keras")
    assert not (tmp_path / "flow.keras").exists()


def test_a_class_that_the_program_lacks_is_named(tmp_path, monkeypatch):
    flow_with(Registered(2)).save(tmp_path / "flow.keras")
    monkeypatch.setattr(keras.saving, "get_registered_object", lambda name: None)
    with pytest.raises(ValueError, match="'tests>Registered' is not registered"):
        keras.saving.load_model(tmp_path / "flow.keras")


def test_what_is_no_variable_is_refused():
    with pytest.raises(TypeError, match="`keras_objects` must be Keras layers, or variables"):
        Bijector(1, [np.zeros(3)])


def test_log_dets_of_a_plain_subclass_come_from_one_pass():
    x = np.ones((3, 4), "float32")

    class Double(Bijector):
        def __init__(self):
            super().__init__(1, parameters={}, name="double")

        def _forward_and_log_det(self, x):
            return 2.0 * x, tf.fill(tf.shape(x)[:-1], 4 * np.log(np.float32(2.0)))

    np.testing.assert_allclose(Double().forward_log_det_jacobian(x), [np.log(16.0)] * 3, rtol=1e-6)
    with pytest.raises(NotImplementedError):
        Double().inverse(x)


def test_copies_need_the_arguments_of_the_constructor():
    class Unknown(Stretch):
        def __init__(self):
            super().__init__(2)
            self._parameters = None

    for make in (copy.deepcopy, Unknown.get_config, lambda b: b.copy(size=3)):
        with pytest.raises(TypeError, match=r"stretch .* `super\(\).__init__\(..., parameters="):
            make(Unknown())
