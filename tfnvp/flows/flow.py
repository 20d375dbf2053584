"""A normalizing flow as a Keras model: trained by `fit`, sampled, inverted, saved."""

import functools
import math
import pathlib
import warnings

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bases import make_base, sample_base
from tfnvp.bijectors.bijector import Bijector, event_shape_tuple
from tfnvp.bijectors.compose import (
    Chain,
    forward_and_log_det,
    inverse_and_log_det,
    takes_condition,
)
from tfnvp.fitting import halves
from tfnvp.fitting.condition_scale import ConditionScale
from tfnvp.fitting.initialization import Adaptation
from tfnvp.fitting.maximum_likelihood import MaximumLikelihood
from tfnvp.flows import tracking
from tfnvp.flows.diagnostics import diagnose
from tfnvp.flows.interpolation import four_corner_latents
from tfnvp.flows.serialization import deserialize, serialize
from tfnvp.inputs import data_range
from tfnvp.inputs import spec as inputs
from tfnvp.quantization import BitsPerDim, bits_per_dim

# Rows are evaluated in pieces of at most this many numbers, so that memory stays bounded.
_CHUNK_ELEMENTS = 2**20

# Fewer rows than these are not worth the seconds that XLA takes to compile for their number.
_COMPILED_ROWS = 2**12

# Under these names, with a number, the states of random generators are saved.
_RANDOM_STATE = "random_state_"


@keras.saving.register_keras_serializable("tfnvp")
class Flow(MaximumLikelihood):
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
        for part in (bijector, *bijector.submodules):
            if getattr(part, "condition_shape", None) not in (None, self.condition_shape):
                raise ValueError(
                    f"`condition_shape` must be that of {part.name}, {part.condition_shape}. "
                    f"Received: {self.condition_shape}"
                )
        self.base = base = "normal" if base is None else base
        self.levels = levels
        self.bijector = bijector
        self.latent_shape = self._latent_shape()
        # TFP's own bijectors answer from caches that know no gradient tapes, but not in our chain.
        own = isinstance(bijector, (Bijector, Chain))
        self.distribution = tfp.distributions.TransformedDistribution(
            make_base(base, self.latent_shape),
            bijector if own else Chain([bijector]),
            # As we have it, or as a `TransformedDistribution` of TFP's has it.
            kwargs_split_fn=lambda kwargs: ({}, kwargs.get("bijector_kwargs", kwargs)),
            name="flow",
        )
        # Keras trains and saves what it finds in attributes, and looks into no `tf.Module`.
        self.keras_layers, self.keras_variables = tracking.find(self.distribution)
        self.condition_scale = ConditionScale(bijector)
        self.adaptation = Adaptation(bijector, self.condition_scale, self.adaptation_rows)
        if levels is not None:
            self.bits_per_dim_metric = BitsPerDim(levels, self.event_size)
        self._compiled = {}
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
        if not training:
            return self._log_prob(x, condition)
        # A row that is no data makes the loss NaN, which ends training, but no gradient.
        x, condition, finite = inputs.without_gaps(self, x, condition)
        # Layers inside the bijector inherit `training` from this call's context.
        in_xla = self.compiles_well and self._runs_in_xla()
        if in_xla and halves.worthwhile(x, self.bijector.trainable_variables):
            log_prob = halves.apply(self._log_prob, x, condition)
        else:
            log_prob = self._log_prob(x, condition)
        return tf.where(finite, log_prob, tf.constant(float("nan"), log_prob.dtype))

    def _inverse(self, x, condition):
        """Returns `(z, log|det dz/dx|)`: what subclasses override to change how data is encoded."""
        return inverse_and_log_det(self.bijector, x, len(self.event_shape), condition)

    def _forward(self, z, condition):
        """Returns `(x, log|det dx/dz|)`, the other direction of `_inverse`."""
        return forward_and_log_det(self.bijector, z, len(self.latent_shape), condition)

    def _log_prob(self, x, condition):
        z, log_det = self._inverse(x, condition)
        return self.distribution.distribution.log_prob(z) + log_det

    def _encode(self, x, condition):
        return self._inverse(x, condition)[0]

    def _decode(self, z, condition):
        return self._forward(z, condition)[0]

    def _decode_and_log_prob(self, z, condition):
        x, log_det = self._forward(z, condition)
        return x, self.distribution.distribution.log_prob(z) - log_det

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
        if tf.executing_eagerly():
            data_range.warn(self, x)
        return self._run("log_prob", x, condition)

    def encode(self, x, condition=None):
        """Latents of data points, by exact inversion: `[batch, *latent_shape]`."""
        x, condition = inputs.prepare(self, x, condition, self.event_shape, "x")
        if tf.executing_eagerly():
            data_range.warn(self, x)
        return self._run("encode", x, condition)

    def decode(self, z, condition=None):
        """Data points of latents, the inverse of `encode`: `[batch, *event_shape]`."""
        z, condition = inputs.prepare(self, z, condition, self.latent_shape, "z")
        return self._run("decode", z, condition)

    def decode_and_log_prob(self, z, condition=None):
        """Data points of latents with their log-densities, in one pass.

        Args:
          z: `[batch, *latent_shape]`.
          condition: as for `log_prob`.

        Returns:
          The pair `(decode(z), log_prob(decode(z)))`.
        """
        z, condition = inputs.prepare(self, z, condition, self.latent_shape, "z")
        return self._run("decode_and_log_prob", z, condition)

    def sample_latents(self, n, seed, temperature=1.0):
        """Draws from the base distribution, its standard deviation times `temperature`.

        The numbers are those that `sample` decodes, in graphs and compiled by XLA too.

        Args:
          n: int or int tensor, how many.
          seed: int tensor `[2]`, or a pair of ints.
          temperature: float or float tensor; 1 for a base distribution of one's own.

        Returns:
          `[n, *latent_shape]`.
        """
        return sample_base(self.base, self.distribution.distribution, n, seed, temperature)

    def sample(self, n, seed=None, temperature=1.0, condition=None):
        """Draws data points.

        Args:
          n: int, how many.
          seed: int or pair of ints; the same seed gives the same samples, and an int `s` those of
            the pair `(s, 0)`. Default: a seed from TensorFlow's global generator, so that
            `keras.utils.set_random_seed` reproduces.
          temperature: float; the base's standard deviation is multiplied by it. Below 1, samples
            are more typical and less varied. Only for the bases "normal" and "logistic".
          condition: `[*condition_shape]`, or `[n, *condition_shape]` for one of each.

        Returns:
          `[n, *event_shape]`.

        Raises:
          ValueError: if `n` or `temperature` is negative, or a custom base has a temperature.
        """
        seed = inputs.check_sampling(self, n, seed, temperature, condition)
        # The noise is drawn outside of what is compiled: XLA makes it slowly on CPUs.
        if tf.executing_eagerly():
            draw = self._function("sample_latents", rows=0)
            z = draw(tf.constant(n), seed, tf.constant(temperature, tf.float32))
        else:
            z = self.sample_latents(n, seed, temperature)
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

        That includes mean and standard deviation of conditions. Of a flow that has been trained it
        changes what the networks were trained for; more data goes into `fit` alone.

        Args:
          x: `[batch, *event_shape]`, a sample of the training data.
          condition: as for `log_prob`.
        """
        x, condition = inputs.prepare(self, x, condition, self.event_shape, "x", warn=False)
        optimizer = getattr(self, "optimizer", None)
        if optimizer is not None and int(optimizer.iterations) > 0:
            warnings.warn(
                "`adapt` starts a trained flow anew, from what its networks were not trained for: "
                "train it again, or leave `adapt` out, as `fit` with more data does",
                stacklevel=2,
            )
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
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *pieces)

    def _function(self, name, rows):
        """Returns one of the methods above as a graph, for many rows by XLA."""
        xla = self.uses_xla() and rows >= _COMPILED_ROWS
        key = f"{name}_by_xla" if xla else name
        if key not in self._compiled:
            # A partial has no code that TensorFlow would count the graphs of all flows by, to warn
            # that there are many.
            self._compiled[key] = tf.function(
                functools.partial(getattr(self, f"_{name}", None) or getattr(self, name)),
                reduce_retracing=not xla,
                jit_compile=xla or None,
            )
        return self._compiled[key]

    def uses_xla(self):
        """Whether XLA compiles training and large evaluations where nobody says otherwise."""
        policies = {layer.compute_dtype for layer in self.keras_layers}
        # On CPUs, XLA's products of half precision are slower than TensorFlow's.
        on_gpu = bool(tf.config.list_physical_devices("GPU"))
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        return self.compiles_well and alone and (on_gpu or policies <= {"float32"})

    # --- Saving -------------------------------------------------------------------------------

    def save(self, filepath, *args, **kwargs):
        """Saves weights, configuration and optimizer, with the arguments of `keras.Model.save`.

        Raises:
          ValueError: unless the name of the file ends in `.keras`.
          TypeError: for bijectors of classes of your own that are not registered with Keras.
        """
        if pathlib.Path(filepath).suffix != ".keras":
            raise ValueError(
                f"a flow is saved in a file whose name ends in .keras. Received: {filepath}"
            )
        # What cannot be saved is found before the file is opened, which may hold another flow.
        self.get_config()
        super().save(filepath, *args, **kwargs)

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

    def export(self, path, **kwargs):
        """Writes a SavedModel for TensorFlow Serving; see `tfnvp.export.export` for arguments."""
        from tfnvp.export import export

        return export(self, path, **kwargs)
