"""One canary for each private name of another library, which says what a library changed."""

import contextlib
import gc
import runpy
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
import tensorflow_probability as tfp

import tfnvp
from tfnvp import _internals

tfb = tfp.bijectors


@contextlib.contextmanager
def canary(library, name, module):
    """Fails with a message that says which library changed which name."""
    try:
        yield
    except Exception as error:
        pytest.fail(
            f"{library} {module.__version__} has changed `{name}`, which tfnvp/_internals.py uses: "
            f"{type(error).__name__}: {error}"
        )


def tensorflow(name):
    return canary("TensorFlow", name, tf)


def probability(name):
    return canary("TensorFlow Probability", name, tfp)


def keras_(name):
    return canary("Keras", name, keras)


def test_a_canary_names_library_version_and_name():
    with (
        pytest.raises(pytest.fail.Exception, match=rf"Keras {keras.__version__} has changed `_x`"),
        keras_("_x"),
    ):
        raise AttributeError


# --- TensorFlow Probability ---------------------------------------------------------------------


def test_chain_and_invert():
    with probability("bijectors.chain._Chain"):
        assert _internals.is_chain(tfb.Chain([tfb.Exp()]))
        assert _internals.is_chain(tfnvp.bijectors.Chain([tfb.Exp()]))
        assert not _internals.is_chain(tfb.Exp())
    with probability("bijectors.invert._Invert"):
        assert _internals.is_invert(tfb.Invert(tfb.Exp()))
        assert not _internals.is_invert(tfb.Exp())


def test_hooks_of_chains():
    with probability("Chain._walk_forward, Chain._walk_inverse"):
        chain = tfb.Chain([tfb.Exp(), tfb.Shift(1.0)])
        names = []
        chain._walk_forward(lambda b, x: names.append(b.name), 0.0)
        chain._walk_inverse(lambda b, y: names.append(b.name), 0.0)
        assert names == ["shift", "exp", "exp", "shift"]
    with probability("Composition._forward_log_det_jacobian(x, event_ndims)"):
        np.testing.assert_allclose(chain._forward_log_det_jacobian(tf.zeros([2, 3]), 1), [3.0, 3.0])
        np.testing.assert_allclose(chain._inverse_log_det_jacobian(tf.ones([2, 3]), 1), [0.0, 0.0])


def test_keys_of_caches():
    class Counted(tfb.Exp):
        hashes = 0

        def __hash__(self):
            if _internals.hashed_by_a_cache():
                Counted.hashes += 1
                return Counted.hashes
            return 0

        def _forward(self, x):
            calls.append(x)
            return super()._forward(x)

    calls, x = [], tf.ones(2)
    inverted = tfb.Invert(tfb.Invert(Counted()))
    with probability("internal.cache_util"):
        assert hash(inverted) == hash(inverted)
        results = [inverted.forward(x) for _ in range(2)]
        assert len(calls) == len(results)


def test_cache_of_bijectors():
    class Recorder:
        def __init__(self):
            self.asked = []

        def __get__(self, bijector, bijector_class=None):
            return self

        def forward(self, x):
            self.asked.append("forward")
            return x

        def inverse(self, y):
            self.asked.append("inverse")
            return y

        def forward_attributes(self, x):
            self.asked.append("forward_attributes")
            return {"ildj": tf.constant(-7.0)}

        def inverse_attributes(self, y):
            self.asked.append("inverse_attributes")
            return {"ildj": tf.constant(7.0)}

    class Bijector(tfb.Bijector):
        _cache = Recorder()

        def __init__(self):
            super().__init__(forward_min_event_ndims=0)

    with probability("Bijector._cache and its methods"):
        b, x = Bijector(), tf.constant(1.0)
        b.forward(x)
        b.inverse(x)
        assert float(b.forward_log_det_jacobian(x)) == 7.0
        assert float(b.inverse_log_det_jacobian(x)) == 7.0
        assert len(Bijector._cache.asked) == 4


def test_names_of_copied_bijectors():
    with probability("Bijector._name, Bijector._parameters"):
        b = _internals.renamed(tfb.Shift(1.0), "another")
        assert (b.name, b.parameters["name"]) == ("another", "another")


def test_prefer_static():
    with probability("internal.prefer_static"):
        ps = _internals.prefer_static
        assert ps.rank(tf.zeros([2, 3])) == 2
        np.testing.assert_array_equal(ps.broadcast_shape(ps.shape(tf.zeros([2, 1])), [3]), [2, 3])
        np.testing.assert_array_equal(ps.concat([[1], [2]], axis=0), [1, 2])


# --- TensorFlow ---------------------------------------------------------------------------------


def test_tapes():
    variable, x = tf.Variable(1.0), tf.constant(2.0)
    with tensorflow("eager.record.could_possibly_record"):
        assert not _internals.tape_is_recording()
        with tf.GradientTape() as tape:
            assert _internals.tape_is_recording()
            with tape.stop_recording():
                assert not _internals.tape_is_recording()
        with tf.autodiff.ForwardAccumulator(x, tf.constant(1.0)):
            assert _internals.tape_is_recording()
    with tensorflow("gradients_util.PossibleTapeGradientTypes"):
        count = _internals.tapes_watching
        assert count([x]) == 0
        with tf.GradientTape() as tape:
            assert count([x]) == 0
            tape.watch(x)
            assert count([x, variable.handle]) == count([x * 2]) == 1
            with tf.GradientTape() as inner:
                assert count([x]) == 1
                inner.watch(x)
                assert count([x]) == 2
        with tf.autodiff.ForwardAccumulator(x, tf.constant(1.0)):
            assert count([x]) == 1
    with tensorflow("eager.tape.variable_accessed"), tf.GradientTape():
        assert count([variable.handle]) == 0
        _internals.tell_tapes_of_reads([variable])
        assert count([variable.handle]) == 1


def test_buffers_of_variables():
    """A buffer that is read stays as it is: a write goes to another address."""
    with tensorflow("raw_ops.ReadVariableOp, buffers shared by reads"):
        variable = tf.Variable(tf.ones(100))
        first, second = _internals.read(variable), _internals.read(variable)
        addresses = [np.asarray(memoryview(t)).ctypes.data for t in (first, second)]
        assert addresses[0] == addresses[1]
        variable.assign_add(tf.ones(100))
        np.testing.assert_array_equal(first, np.ones(100))
        assert np.asarray(memoryview(_internals.read(variable))).ctypes.data != addresses[0]


def test_writes_in_graphs():
    with tensorflow("FuncGraph.capture, Tensor.consumers"):
        variable, found = tf.Variable(1.0), []

        @tf.function
        def write():
            graph = tf.compat.v1.get_default_graph()
            found.append(_internals.count_writes(graph, [variable]))
            variable.assign_add(variable.read_value())
            found.append(_internals.count_writes(graph, [variable]))

        write()
        assert found == [0, 1]
    assert _internals.count_writes(object(), [variable]) is None


def test_results_of_loops():
    @tf.function
    def looped(x):
        return tf.while_loop(lambda _: True, lambda x: (tf.sin(x),), (x,), maximum_iterations=3)

    with tensorflow("FuncGraph._get_function, While"):
        graph = looped.get_concrete_function(tf.TensorSpec([2])).graph
        times = [times for x, times in _internals.results_in(graph) if x.op.type == "Sin"]
        assert times == [3]


def test_results_that_gradients_read():
    forward = []

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.sqrt(tf.exp(x) + 1.0)
            (y,) = tf.while_loop(lambda _: True, lambda y: (tf.sin(y),), (y,), maximum_iterations=3)
        forward.extend(y.graph.get_operations())
        return tape.gradient(y, x)

    with tensorflow("FuncGraph._get_function, While, TensorListPushBack"):
        graph = gradient.get_concrete_function(tf.TensorSpec([2])).graph
        backward = graph.get_operations()[len(forward) :]
        kept = {t.op.type: times for t, times in _internals.results_kept(graph, forward, backward)}
        # The sum is not read; the sines' gradient reads their inputs.
        assert kept == {"Exp": 1, "Sqrt": 1, "Placeholder": 3}


def test_objects_of_modules():
    with tensorflow("Module._flatten"):
        coupling = tfnvp.bijectors.DiagonalScaling(2)
        chain = tfb.Chain([coupling])
        assert [id(v) for v in _internals.objects_in(chain, keras.Variable)] == [
            id(coupling.log_scale)
        ]


def test_fused_batch_normalization():
    with tensorflow("compat.v1.nn.fused_batch_norm"):
        x = tf.random.normal((2, 3, 3, 16))
        mean, _ = tfnvp.running_statistics.moments(x)
        np.testing.assert_allclose(mean, tf.reduce_mean(x, [0, 1, 2]), atol=1e-6)


# --- TensorFlow Datasets ------------------------------------------------------------------------


def test_classes_of_features():
    with canary("TensorFlow Datasets", "features.feature.FeatureConnector", tfds):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
        with _internals.only_known_features():
            read = tfds.features.FeatureConnector.from_json(features.to_json())
            assert list(read) == ["image"]
            with pytest.raises(ValueError, match="unknown class of features"):
                tfds.features.FeatureConnector.from_json({"pythonClassName": "antigravity.X"})
        assert "antigravity" not in sys.modules


# --- Keras --------------------------------------------------------------------------------------


def test_layers_inside_of_layers():
    with keras_("Layer._flatten_layers"):
        network = tfnvp.conditioners.MLP(2, hidden_units=(3,))
        assert network.projection in _internals.all_layers(network)
        assert network in _internals.all_layers(network)
        assert network not in _internals.all_layers(network, include_self=False)


def test_variables_that_are_adopted():
    with keras_("Variable._convert_to_tensor"):
        variable = tf.Variable(1.0)
        assert _internals.AdoptedVariable(variable, name="adopted").value is variable


def test_variables_that_follow():
    with keras_("Layer._trainable_variables"):
        layer = keras.layers.Dense(1)
        layer.build((None, 1))
        assert _internals.variables_to_train(layer) == layer.weights
    with tensorflow("ResourceVariable._trainable"):
        value = _internals.value_that_follows(layer.kernel)
        assert value is layer.kernel.value
        for flag in (True, False):
            layer.trainable = flag
            with tf.GradientTape() as tape:
                value * 2.0
            assert len(tape.watched_variables()) == value.trainable == flag
        del layer
        gc.collect()
        assert value.trainable is True


def test_models_that_are_built():
    with keras_("Model._maybe_symbolic_build"):
        assert hasattr(keras.Model, "_maybe_symbolic_build")
        assert _internals.BuiltModel()._maybe_symbolic_build(iterator=None) is None


def test_the_first_epoch():
    with keras_("Model._initial_epoch"):
        epochs = []

        class Skip(keras.callbacks.Callback):
            def on_train_begin(self, logs=None):
                assert _internals.initial_epoch(self.model) == 0
                _internals.set_initial_epoch(self.model, 2)

            def on_epoch_begin(self, epoch, logs=None):
                epochs.append(epoch)

        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(np.ones((2, 1)), np.ones((2, 1)), epochs=4, verbose=0, callbacks=[Skip()])
        assert epochs == [2, 3]


def test_paths_of_variables():
    with keras_("Variable._path"):
        a, b, c = (keras.Variable(0.0, name=name) for name in ("v", "v_1", "v"))
        for _ in range(2):
            _internals.make_paths_unique([a, b, c, a])
            assert [v.path for v in (a, b, c)] == ["v", "v_1", "v_2"]


def test_training_of_the_call_around():
    seen = []

    class Asking(keras.layers.Layer):
        def call(self, x):
            seen.append(_internals.is_training())
            return x

    with keras_("global_state's current_call_ctx"):
        for training in (True, False, None):
            Asking()(tf.ones(1), training=training)
        assert (seen, _internals.is_training()) == ([True, False, False], False)


def test_state_of_optimizers():
    optimizer, variable = keras.optimizers.Adam(0.5), keras.Variable(1.0)
    optimizer.build([variable])
    with keras_("Optimizer._learning_rate"):
        assert float(_internals.learning_rate(optimizer)) == 0.5
        schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
        assert _internals.learning_rate(keras.optimizers.SGD(schedule)) is schedule
    with keras_("Adam._momentums, Adam._velocities, Optimizer._get_variable_index"):
        optimizer.apply([tf.constant(2.0)], [variable])
        momentum, velocity = _internals.adam_slots(optimizer, variable)
        np.testing.assert_allclose([momentum, velocity], [0.2, 0.004], rtol=1e-5)
    with keras_("Optimizer._trainable_variables"):
        assert _internals.trained_variable(optimizer, variable.value) is variable
    with keras_("Optimizer._distribution_strategy"):
        assert _internals.strategy_of(optimizer, "none") is not None


def test_validation_in_fit():
    seen = []

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

        def evaluate(self, *args, **kwargs):
            seen.append(_internals.is_validation_in_fit(kwargs))
            return super().evaluate(*args, **kwargs)

    with keras_("evaluate(_use_cached_eval_dataset=True)"):
        model, x = Model(), np.ones((2, 1))
        model.compile("sgd", "mse")
        model.fit(x, x, validation_data=(x, x), verbose=0)
        model.evaluate(x, x, verbose=0)
        assert seen == [True, False]


def test_clipping_of_optimizers():
    with keras_("Optimizer._clip_gradients, Optimizer._all_reduce_sum_gradients"):
        optimizer, variable = keras.optimizers.SGD(1.0, clipvalue=1.0), keras.Variable(0.0)
        assert callable(optimizer._all_reduce_sum_gradients)
        for _ in range(2):  # The second time changes nothing.
            _internals.sum_gradients_before_clipping(optimizer, lambda gs: [3 * g for g in gs])
        optimizer.apply([tf.constant(0.25)], [variable])
        np.testing.assert_allclose(variable, -0.75)


def test_question_before_overwriting(monkeypatch):
    with keras_("utils.io_utils.ask_to_proceed_with_overwrite"):
        for answer in ("y", "n"):
            monkeypatch.setattr("builtins.input", lambda question, answer=answer: answer)
            assert _internals.may_overwrite("file") == (answer == "y")


def test_other_backends_of_keras_are_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ImportError, match=r"KERAS_BACKEND=tensorflow .*\. Received: jax"):
        runpy.run_path(_internals.__file__)
