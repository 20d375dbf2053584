"""A normalizing flow as a Keras model: trained by `fit`, sampled, inverted, saved."""

import functools
import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp import optimizers, replicas
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.bijectors.log_det import forward_and_log_det, inverse_and_log_det, takes_condition
from tfnvp.flows import compiled_steps, halves, inputs, tracking
from tfnvp.flows.adaptation import Adaptation
from tfnvp.flows.base import make_base, sample_base
from tfnvp.flows.bits_per_dim import BitsPerDim, bits_per_dim
from tfnvp.flows.diagnostics import diagnose
from tfnvp.flows.interpolation import four_corner_latents
from tfnvp.flows.stop_on_non_finite import StopOnNonFinite
from tfnvp.serialization import deserialize, serialize

# Rows are evaluated in pieces of at most this many numbers, so that memory stays bounded.
_CHUNK_ELEMENTS = 2**20

# Fewer rows than these are not worth the seconds that XLA takes to compile for their number.
_COMPILED_ROWS = 2**12

# Under these names, with a number, the states of random generators are saved.
_RANDOM_STATE = "random_state_"


@keras.saving.register_keras_serializable("tfnvp")
class Flow(keras.Model):
    """The distribution of `x = bijector.forward(z)` with `z` from a simple base, as a Keras model.

    ::

        log p(x) = log p_base(z) + log|det dz/dx|,    z = bijector.inverse(x)

    `fit(x)` needs no targets: the loss is the mean of `-log p(x)` in nats. Everything of a Keras
    model works: callbacks, validation, sample weights, saving. A conditional flow learns
    `p(x | condition)` from `fit(x, condition)`, from data sets of pairs `(x, condition)`, or from
    dictionaries `{"x": ..., "condition": ...}`.

    Args:
      bijector: any `tfb.Bijector` from latents `z` to data `x`, ours, TFP's or a chain of both.
      event_shape: int or tuple, shape of one data point.
      base: "normal" (the default), "logistic", or a `tfd.Distribution` over the latents.
      condition_shape: int or tuple, shape of the condition, where the bijector takes one.
      levels: int, for quantized data such as pixels: the number of grey levels. Data is then
        `(pixel + u) / levels` with `u` uniform in [0, 1), see `tfnvp.data.dequantize`, and the
        metric `bits_per_dim = (-log p(x) + D log levels) / (D log 2)` is reported.
      name: name of the model.

    Raises:
      TypeError: if `bijector` is no bijector or `base` neither name nor distribution.
      ValueError: if shapes do not fit together; from calls, if data has the wrong shape, holds
        integers, or is not finite.

    >>> import numpy as np, tensorflow_probability as tfp, tfnvp
    >>> flow = tfnvp.Flow(tfp.bijectors.Exp(), event_shape=2)
    >>> [round(float(nats), 3) for nats in flow.log_prob(np.ones([3, 2], "float32"))]
    [-1.838, -1.838, -1.838]

    Source: Dinh, Krueger and Bengio 2014 (NICE), equation 2.
    """

    #: Whether whole grey levels are taken as data, and dequantized with fresh noise in every call.
    accepts_integers = False

    #: Whether XLA is known to compile the flow, and to make it faster, also on CPUs.
    compiles_well = False

    #: How many data points `fit` uses to start normalisations, scalings and whitenings.
    adaptation_rows = 2**14

    def __init__(
        self, bijector, event_shape, base=None, condition_shape=None, levels=None, name=None
    ):
        # Likelihoods are float32 whatever the global policy; conditioners have their own.
        super().__init__(name=name, dtype="float32")
        if not isinstance(bijector, tfp.bijectors.Bijector):
            raise TypeError(f"`bijector` must be a tfb.Bijector. Received: {bijector!r}")
        if levels is not None and (not isinstance(levels, int) or levels < 2):
            raise ValueError(f"`levels` must be an int of 2 or more, or None. Received: {levels!r}")
        if takes_condition(bijector) != (condition_shape is not None):
            raise ValueError(
                "`condition_shape` must be given exactly where the bijector takes a condition. "
                f"Received: condition_shape={condition_shape!r}, bijector {bijector}"
            )
        self.event_shape = event_shape_tuple(event_shape)
        self.condition_shape = (
            None
            if condition_shape is None
            else event_shape_tuple(condition_shape, "condition_shape")
        )
        self.base = base = "normal" if base is None else base
        self.levels = levels
        self.bijector = bijector
        self.latent_shape = self._latent_shape()
        self.distribution = tfp.distributions.TransformedDistribution(
            make_base(base, self.latent_shape),
            bijector,
            kwargs_split_fn=lambda kwargs: ({}, kwargs),
            name="flow",
        )
        # Keras trains and saves what it finds in attributes, and looks into no `tf.Module`.
        self.keras_layers, self.keras_variables = tracking.find(self.distribution)
        self.adaptation = Adaptation(bijector, self.adaptation_rows)
        if levels is not None:
            self.bits_per_dim_metric = BitsPerDim(levels, self.event_size)
        self._compiled = {}
        self._steps_are_free = True
        self.built = True

    def _latent_shape(self):
        shape = self.bijector.inverse_event_shape(self.event_shape)
        forward_again = self.bijector.forward_event_shape(shape)
        if not shape.is_fully_defined() or tuple(forward_again) != self.event_shape:
            raise ValueError(
                f"`event_shape` does not fit the bijector. Received: event_shape="
                f"{self.event_shape}, which goes to {shape} and comes back as {forward_again}"
            )
        return tuple(shape)

    @property
    def event_size(self):
        """The number of variables of one data point."""
        return math.prod(self.event_shape)

    # --- What the model computes, as graph code -----------------------------------------------

    def call(self, x, condition=None, training=None):
        """Returns `log p(x)`, or `log p(x | condition)`, in nats: `[batch]`.

        Called with `training=True` (as `fit` does), dropout and normalisations train.
        """
        x, condition = inputs.unpack(self, x, condition)
        # Layers inside the bijector inherit `training` from this call's context.
        in_xla = training and self.compiles_well and self._runs_in_xla()
        if in_xla and halves.worthwhile(x, self.bijector.trainable_variables):
            return halves.apply(self._log_prob, x, condition)
        return self._log_prob(x, condition)

    def _log_prob(self, x, condition):
        z, log_det = inverse_and_log_det(self.bijector, x, len(self.event_shape), condition)
        return self.distribution.distribution.log_prob(z) + log_det

    def _encode(self, x, condition):
        return inverse_and_log_det(self.bijector, x, len(self.event_shape), condition)[0]

    def _decode(self, z, condition):
        return forward_and_log_det(self.bijector, z, len(self.latent_shape), condition)[0]

    def _sample_base(self, n, seed, temperature):
        base = self.distribution.distribution
        return sample_base(self.base, base, n, seed, temperature)

    # --- What users call ----------------------------------------------------------------------

    def log_prob(self, x, condition=None):
        """Log-density of data points, in nats in data space.

        Args:
          x: `[batch, *event_shape]`, floating point.
          condition: `[batch, *condition_shape]` or `[*condition_shape]`, for conditional flows.

        Returns:
          `[batch]`.
        """
        x, condition = inputs.prepare(self, x, condition, self.event_shape, "x")
        return self._run("log_prob", x, condition)

    def encode(self, x, condition=None):
        """Latents of data points, by exact inversion: `[batch, *latent_shape]`."""
        x, condition = inputs.prepare(self, x, condition, self.event_shape, "x")
        return self._run("encode", x, condition)

    def decode(self, z, condition=None):
        """Data points of latents, the inverse of `encode`: `[batch, *event_shape]`."""
        z, condition = inputs.prepare(self, z, condition, self.latent_shape, "z")
        return self._run("decode", z, condition)

    def sample(self, n, seed=None, temperature=1.0, condition=None):
        """Draws data points.

        Args:
          n: int, how many.
          seed: int or pair of ints; the same seed gives the same samples. Default: a seed from
            TensorFlow's global generator, so `keras.utils.set_random_seed` reproduces.
          temperature: float; the base's standard deviation is multiplied by it. Below 1, samples
            are more typical and less varied. Only for the bases "normal" and "logistic".
          condition: `[*condition_shape]`, or `[n, *condition_shape]` for one of each.

        Returns:
          `[n, *event_shape]`.

        Raises:
          ValueError: if `n` or `temperature` is negative, or a custom base has a temperature.
        """
        seed = inputs.check_sampling(self, n, seed, temperature)
        # The noise is drawn outside of what is compiled: XLA makes it slowly on CPUs.
        if tf.executing_eagerly():
            draw = self._function("sample_base", rows=0)
            z = draw(tf.constant(n), seed, tf.constant(temperature, tf.float32))
        else:
            z = self._sample_base(n, seed, temperature)
        return self.decode(z, condition)

    def interpolate(self, corners, rows=8, columns=8, condition=None):
        """Decodes a grid of latents spanned by four data points.

        ::

            z = cos(a) (cos(b) z1 + sin(b) z2) + sin(a) (cos(b) z3 + sin(b) z4)

        with `a` from 0 to pi/2 down the rows and `b` from 0 to pi/2 along the columns, so that
        the corners of the grid are the data points themselves.

        Args:
          corners: `[4, *event_shape]`: top left, top right, bottom left, bottom right.
          rows: int, 2 or more.
          columns: int, 2 or more.
          condition: one condition for all, where the flow takes one.

        Returns:
          `[rows, columns, *event_shape]`.

        Raises:
          ValueError: if there are not four corners, or fewer than two rows or columns.

        Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), equation 19.
        """
        if len(corners) != 4 or rows < 2 or columns < 2:
            raise ValueError(
                "`corners` must be 4 data points, `rows` and `columns` 2 or more. "
                f"Received: {len(corners)} corners, rows={rows}, columns={columns}"
            )
        z = four_corner_latents(self.encode(corners, condition), rows, columns)
        images = self.decode(tf.reshape(z, (-1, *self.latent_shape)), condition)
        return tf.reshape(images, (rows, columns, *self.event_shape))

    def adapt(self, x, condition=None):
        """Starts normalisations and scalings from data; `fit` does it before its first epoch.

        Args:
          x: `[batch, *event_shape]`, a sample of the training data.
          condition: as for `log_prob`.
        """
        x, condition = inputs.prepare(self, x, condition, self.event_shape, "x")
        self.adaptation.run(x, condition)

    def check(self, x, condition=None):
        """Measures round-trip error, latents against the base, log-dets; see `flows.diagnostics`.

        Args:
          x: `[batch, *event_shape]`, two points or more.
          condition: as for `log_prob`.

        Returns:
          `tfnvp.flows.diagnostics.Diagnostics`.
        """
        return diagnose(self, x, condition)

    def bits_per_dim(self, log_prob):
        """Converts log-densities of this flow, in nats, to bits per dimension.

        Raises:
          ValueError: if the flow was made without `levels`.
        """
        if self.levels is None:
            raise ValueError("bits per dimension need a flow made with `levels`. Received: None")
        return bits_per_dim(log_prob, self.levels, self.event_size)

    def _run(self, name, x, condition):
        """Evaluates a compiled function, large inputs in pieces."""
        if not tf.executing_eagerly():
            return getattr(self, f"_{name}")(x, condition)
        rows = max(1, _CHUNK_ELEMENTS // self.event_size)
        if len(x) <= rows:
            return self._function(name, len(x))(x, condition)
        pieces = []
        for i in range(0, len(x), rows):
            piece = x[i : i + rows]
            part = None if condition is None else condition[i : i + rows]
            pieces.append(self._function(name, len(piece))(piece, part))
        return tf.concat(pieces, axis=0)

    def _function(self, name, rows):
        """Returns one of the methods above as a graph, for many rows by XLA."""
        xla = self.uses_xla() and rows >= _COMPILED_ROWS
        if (name, xla) not in self._compiled:
            self._compiled[name, xla] = tf.function(
                getattr(self, f"_{name}"), reduce_retracing=not xla, jit_compile=xla or None
            )
        return self._compiled[name, xla]

    def uses_xla(self):
        """Whether XLA compiles training and large evaluations where nobody says otherwise."""
        policies = {layer.compute_dtype for layer in self.keras_layers}
        # On CPUs, XLA's products of half precision are slower than TensorFlow's.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        return self.compiles_well and alone and (on_gpu or policies <= {"float32"})

    # --- Training -----------------------------------------------------------------------------

    def compile(self, optimizer="adam", jit_compile="auto", steps_per_execution=None, **kwargs):
        """Configures training as `keras.Model.compile`; the loss is the flow's own.

        A flow made under a `tf.distribute` strategy of several replicas trains as in one process
        with the whole batch; `jit_compile` and `steps_per_execution` then have no effect.

        Args:
          optimizer: name or Keras optimizer; "adam" and "adamw" are those of `tfnvp.optimizers`.
          jit_compile: bool, whether XLA compiles the steps. "auto": where it is known to be
            faster, which is for flows whose networks are dense.
          steps_per_execution: int, how many batches run in one call, after which Keras calls its
            callbacks. Default: 16 where XLA compiles, and no callback follows single batches.
          **kwargs: further arguments of `keras.Model.compile`.

        Raises:
          ValueError: if a `loss` is given, or an optimizer that was made outside of the scope of
            the flow's strategy.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                "a flow is trained on its own loss, the mean of -log p(x). "
                f"Received: loss={kwargs['loss']!r}"
            )
        strategy = self.distribute_strategy
        several = strategy.num_replicas_in_sync > 1
        if several:
            # Neither XLA nor Keras' loop over steps can hold the sums over replicas.
            jit_compile, steps_per_execution = False, 1
        with strategy.scope():
            super().compile(
                optimizer=optimizers.get(optimizer),
                jit_compile=True if jit_compile == "auto" and self.uses_xla() else jit_compile,
                steps_per_execution=steps_per_execution or 1,
                **kwargs,
            )
        self._steps_are_free = steps_per_execution is None
        if several:
            replicas.check_optimizer(self.optimizer, strategy)
            replicas.sum_before_clipping(self.optimizer)

    def get_compile_config(self):
        config = super().get_compile_config()
        # Empty before `compile`: a flow that was not compiled is not when it is loaded.
        if config and self._steps_are_free:
            config["steps_per_execution"] = None
        return config

    def fit(self, x=None, y=None, *args, **kwargs):
        """Trains by maximum likelihood, with the arguments of `keras.Model.fit`.

        Args:
          x: array `[batch, *event_shape]`, or a `tf.data.Dataset` or other Keras input of such
            batches, alone or paired with conditions.
          y: conditions `[batch, *condition_shape]` for a conditional flow, otherwise None.
          *args: further arguments of `keras.Model.fit`.
          **kwargs: further arguments of `keras.Model.fit`.

        Raises:
          ValueError: for data of the wrong shape or type, or that is not finite; and when the
            loss stops being finite, before any callback can save the broken weights.
        """
        inputs.check_training_data(self, x, y)
        validation = kwargs.get("validation_data")
        if validation is not None:
            inputs.check_training_data(self, *inputs.as_pair(validation), name="validation_data")
            if isinstance(validation, tuple) and len(validation) == 3:
                x_val, y_val, weights = validation
                y_val = inputs.targets_beside_weights(y_val, weights)
                kwargs["validation_data"] = (x_val, y_val, weights)
        self.adaptation.run_once(self, x, y)
        if self.optimizer is not None and not self.optimizer.built:
            # Variables made while a step is traced would have it traced a second time.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # The data set has its own order.
        callbacks = kwargs.pop("callbacks", None)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.tree.flatten(callbacks) if callbacks else []
            guards = [c for c in callbacks if isinstance(c, StopOnNonFinite)]
            # They follow single batches only to see the first loss that is not finite.
            self._choose_steps([c for c in callbacks if c not in guards], kwargs)
            if not guards:
                guards = [StopOnNonFinite()]
                callbacks = guards + callbacks
            for guard in guards:
                guard.data = functools.partial(inputs.as_dataset, x, y, kwargs.get("batch_size"))
            if replicas.multi_worker(self.distribute_strategy):
                callbacks.append(replicas.FollowChief())
        y = inputs.targets_beside_weights(y, kwargs.get("sample_weight"))
        return super().fit(x, y, *args, callbacks=callbacks, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Returns the loss, and metrics, with the arguments of `keras.Model.evaluate`."""
        y = inputs.targets_beside_weights(y, kwargs.get("sample_weight"))
        return super().evaluate(x, y, *args, **kwargs)

    def _choose_steps(self, callbacks, arguments):
        """Sets `steps_per_execution` where `compile` left it open."""
        if not self._steps_are_free or not self._runs_in_xla():
            return
        limits = (arguments.get("steps_per_epoch"), arguments.get("validation_steps"))
        steps = compiled_steps.choose(self.event_size, callbacks, *limits)
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def _runs_in_xla(self):
        return (
            self.jit_compile is True
            and not self.run_eagerly
            and self.distribute_strategy.num_replicas_in_sync == 1
        )

    def make_train_function(self, force=False):
        own = type(self).train_step is Flow.train_step
        if (force or self.train_function is None) and own and self._runs_many():
            self.train_function = self._many(self.train_step)
        else:
            super().make_train_function(force)

    def make_test_function(self, force=False):
        own = type(self).test_step is Flow.test_step
        if (force or self.test_function is None) and own and self._runs_many():
            self.test_function = self._many(self.test_step)
        else:
            super().make_test_function(force)

    def _runs_many(self):
        return self.steps_per_execution > 1 and self._runs_in_xla()

    def _many(self, step):
        # The logs of a step are the metrics: a subclass with steps and logs of its own is Keras'.
        return compiled_steps.run_many(step, self.get_metrics_result, self.steps_per_execution)

    def train_step(self, data):
        logs = super().train_step(inputs.condition_from_targets(self, data))
        return replicas.as_step_logs(logs)

    def test_step(self, data):
        logs = super().test_step(inputs.condition_from_targets(self, data))
        return replicas.as_step_logs(logs)

    def predict_step(self, data):
        return super().predict_step(inputs.condition_from_targets(self, data))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: a flow has its weights from the start.

        Keras' own reads a batch for it under `tf.distribute`, and fails on dictionaries.
        """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean of `-log p(x)` over the batch, in nats, plus the losses of regularizers."""
        del x, y, training
        nll = -y_pred
        if sample_weight is not None:
            nll *= tf.cast(sample_weight, nll.dtype)
        # Replicas' gradients are summed, so each must hold its share of the mean.
        count = tf.distribute.get_strategy().num_replicas_in_sync
        return replicas.share_of_mean(nll) + sum(self.losses) / count

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if self.levels is not None:
            self.bits_per_dim_metric.update_state(y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    # --- Saving -------------------------------------------------------------------------------

    def save_own_variables(self, store):
        """Saves the random states too, which Keras leaves out: dropout goes on where it was."""
        super().save_own_variables(store)
        for name, state in self._random_states():
            store[name] = state.numpy()

    def load_own_variables(self, store):
        stored = {name: store[name] for name in list(store.keys())}
        for name, state in self._random_states():
            if name in stored:
                state.assign(stored[name])
        super().load_own_variables(
            {name: value for name, value in stored.items() if not name.startswith(_RANDOM_STATE)}
        )

    def _random_states(self):
        weights = {id(v) for v in self.weights}
        states = [v for v in self.variables if id(v) not in weights]
        return [(f"{_RANDOM_STATE}{i}", state) for i, state in enumerate(states)]

    def get_config(self):
        return {
            "name": self.name,
            "bijector": serialize(self.bijector),
            "event_shape": list(self.event_shape),
            "base": serialize(self.base),
            "condition_shape": serialize(self.condition_shape),
            "levels": self.levels,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        del custom_objects
        return cls(**{key: deserialize(value) for key, value in config.items()})

    def compile_from_config(self, config):
        """Compiles as before saving, so that training goes on with the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def export(self, path, **kwargs):
        """Writes a SavedModel for TensorFlow Serving to `path/VERSION`; see `tfnvp.export`."""
        from tfnvp.export import export

        return export(self, path, **kwargs)
