"""The signatures of an exported flow: functions with named inputs and outputs."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from tfnvp import _internals
from tfnvp.bases.named import combined, heated
from tfnvp.export.weights import StoredWeights
from tfnvp.inputs.density import finite_weights
from tfnvp.inputs.sampling import checked_temperature
from tfnvp.quantization import dequantize

# Bytes for the largest arrays of a request that draws samples, of which about eight live at once.
_MEMORY = 2**30
_ARRAYS = 8
_MANY = 2**20

# Name of the input that is a condition, and how the names of several begin.
_CONDITION = "condition"

# Between the noise of seeds whose second numbers are neighbours.
_FAR = 1_000_003


class Signature(NamedTuple):
    """A function of tensors that returns a dictionary of tensors, and the specs of its inputs."""

    function: Callable
    inputs: list

    @property
    def has_rows(self) -> bool:
        """Whether every input has a batch dimension, so that a server can batch requests."""
        return all(spec.shape.rank > 0 and spec.shape[0] is None for spec in self.inputs)


def make_signatures(
    flow: keras.Model, weights: StoredWeights, jit_compile: bool, max_samples: int
) -> dict[str, Signature]:
    """Returns all signatures that a flow can have, by name.

    Args:
      flow: a `tfnvp.Flow`.
      weights: the weights to compute with.
      jit_compile: bool, compile everything but random numbers by XLA.
      max_samples: int, the most samples that a request draws or interpolates.

    Returns:
      dictionary from names, in the order of `SIGNATURES`, to `Signature`.
    """
    answers = _Answers(flow, weights, jit_compile, max_samples)
    x, z = _rows("x", flow.event_shape), _rows("z", flow.latent_shape)
    number = tf.TensorSpec((), tf.int32, name="num_samples")
    seed = tf.TensorSpec((2,), tf.int32, name="seed")
    temperature = [tf.TensorSpec((), tf.float32, name="temperature")]
    temperatures = [_rows("temperature", ())]
    if not isinstance(flow.base, str):
        temperature = temperatures = []  # Only the bases with a name have a temperature.
    inputs = {
        "log_prob": [x],
        "encode": [x],
        "decode": [z],
        "sample": [number, seed, *temperature],
        "sample_rows": [_rows("seed", (2,), tf.int32), *temperatures],
        "sample_and_log_prob": [number, seed, *temperature],
        "interpolate": [_rows("corners", (4, *flow.event_shape)), _rows("weights", (4,))],
    }
    if flow.accepts_integers and flow.levels is not None:
        pixels = _rows("x", flow.event_shape, tf.uint8)
        inputs |= {
            "log_prob_uint8": [pixels],
            "encode_uint8": [pixels],
            "log_prob_uint8_draws": [pixels, tf.TensorSpec((), tf.int32, name="draws"), seed],
        }
    given = _given(flow)
    return {
        name: Signature(
            _checked(getattr(answers, name), specifications, given), [*specifications, *given]
        )
        for name, specifications in inputs.items()
    }


def default_max_samples(flow: keras.Model) -> int:
    """Returns how many samples need about 1 GiB at most: the largest array of one decides."""
    spec = tf.TensorSpec((1, *flow.latent_shape), tf.float32)
    given = _given(flow, rows=1)
    decode = tf.function(flow.decode).get_concrete_function(spec, _as_condition(given, given))
    decoded = [t for t, _ in _internals.results_in(decode.graph) if t.shape[0] == 1]
    # Of so many draws that arrays of weights do not count.
    draw = tf.function(lambda: flow.sample_latents(_MANY, (0, 0))).get_concrete_function()
    drawn = [t for t, _ in _internals.results_in(draw.graph)]
    largest = max([max(map(_bytes, drawn)) / _MANY, *map(_bytes, decoded)])
    return max(1, int(_MEMORY / (_ARRAYS * largest)))


def _bytes(tensor):
    return tensor.shape.num_elements() * tensor.dtype.size


def _rows(name, shape, dtype=tf.float32, rows=None):
    return tf.TensorSpec((rows, *shape), dtype, name=name)


def _given(flow, rows=None):
    """Specs of the arrays of the condition, none for a flow without."""
    conditions = flow.data_spec.conditions
    parts = conditions.inputs if conditions else ()
    names = _condition_names([part.key for part in parts])
    return [
        _rows(name, part.shape, part.dtype, rows) for name, part in zip(names, parts, strict=True)
    ]


def _condition_names(keys):
    """Returns the names of inputs for the arrays of the condition.

    TensorFlow and its clients do not agree on names with other characters than ASCII letters,
    digits and underscores, nor on two names that differ in letter case only.

    Raises:
      ValueError: if two arrays would have the same name.
    """
    names = {
        key: _CONDITION
        if key is None
        else re.sub(r"\W", "_", f"{_CONDITION}_{key}", flags=re.ASCII)
        for key in keys
    }
    if len({name.lower() for name in names.values()}) < len(names):
        named = ", ".join(f"{key!r} as {name}" for key, name in names.items())
        raise ValueError(
            "the arrays of `condition` must have different names when letter case is ignored and "
            f"what is no ASCII letter or digit is an underscore. Received: {named}"
        )
    return list(names.values())


def _as_condition(given, arrays):
    """What flows take as `condition`, from arrays of the specs `given`: one, several, or None."""
    if given and given[0].name != _CONDITION:
        return tuple(arrays)
    return arrays[0] if given else None


def _checked(function, specifications, conditions):
    """Returns a graph function that checks shapes, which runtimes do not do for a SavedModel.

    Its last arguments are the arrays of the condition.
    """
    specs = [*specifications, *conditions]

    def checked(*tensors):
        tensors = [tf.ensure_shape(t, spec.shape) for spec, t in zip(specs, tensors, strict=True)]
        condition = _as_condition(conditions, tensors[len(specifications) :])
        named = {spec.name: t for spec, t in zip(specifications, tensors, strict=False)}
        return function(**named, condition=condition)

    return tf.function(checked)


class _Answers:
    """The signatures as graph code, one method for each."""

    def __init__(self, flow, weights, jit_compile, max_samples):
        def with_stored_weights(method):
            def compute(x, condition):
                # `export` refuses other weights.
                with weights.scope(), finite_weights():
                    return method(x, condition)

            return tf.function(compute, jit_compile=True) if jit_compile else compute

        self._flow, self._max_samples = flow, max_samples
        self._base = flow.distribution.distribution
        self._log_prob = with_stored_weights(flow.log_prob)
        self._encode = with_stored_weights(flow.encode)
        self._decode = with_stored_weights(flow.decode)
        self._decode_and_log_prob = with_stored_weights(flow.decode_and_log_prob)

    def log_prob(self, x, condition=None):
        return self._likelihood(self._log_prob(x, condition))

    def encode(self, x, condition=None):
        return {"z": self._encode(x, condition)}

    def decode(self, z, condition=None):
        return {"x": self._decode(z, condition)}

    def sample(self, num_samples, seed, temperature=1.0, condition=None):
        z = self._latents(num_samples, seed, temperature)
        return {"x": self._decode(z, condition)}

    def sample_rows(self, seed, temperature=None, condition=None):
        seed = self._few(seed, tf.shape(seed)[0], "the number of rows of `seed`")
        z = tf.map_fn(
            lambda row: self._flow.sample_latents(1, row, 1.0)[0],
            seed,
            fn_output_signature=tf.TensorSpec(self._flow.latent_shape, tf.float32),
        )
        if temperature is not None:
            # With the number of rows in the shape, one temperature for two seeds is an error.
            shape = tf.stack([tf.shape(seed)[0]] + [1] * len(self._flow.latent_shape))
            temperature = tf.reshape(checked_temperature(temperature), shape)
            z = heated(self._base, z, temperature)
        return {"x": self._decode(z, condition)}

    def sample_and_log_prob(self, num_samples, seed, temperature=1.0, condition=None):
        z = self._latents(num_samples, seed, temperature)
        x, nats = self._decode_and_log_prob(z, condition)
        return {"x": x, "log_prob": nats}

    def interpolate(self, corners, weights, condition=None):
        flow, conditions = self._flow, None
        weights = self._few(weights, tf.shape(weights)[0], "the number of rows of `weights`")
        if condition is not None:
            rows = tf.shape(weights)[:1]
            corners = tf.broadcast_to(corners, tf.concat([rows, tf.shape(corners)[1:]], axis=0))

            def for_corners(part):
                shape = tf.concat([rows, tf.shape(part)[1:]], axis=0)
                return tf.repeat(tf.broadcast_to(part, shape), 4, axis=0)

            conditions = tf.nest.map_structure(for_corners, condition)
        z = self._encode(tf.reshape(corners, (-1, *flow.event_shape)), conditions)
        z = tf.reshape(z, (-1, 4, *flow.latent_shape))
        weights = tf.reshape(weights, [-1, 4] + [1] * len(flow.latent_shape))
        z = combined(self._base, z, lambda z: tf.reduce_sum(weights * z, axis=1))
        return {"x": self._decode(z, condition)}

    def log_prob_uint8(self, x, condition=None):
        return self.log_prob(self._middles(x), condition)

    def encode_uint8(self, x, condition=None):
        return self.encode(self._middles(x), condition)

    def log_prob_uint8_draws(self, x, draws, seed, condition=None):
        draws = self._few(draws, draws, "`draws`", least=1)

        def of_draw(i):
            noise = tf.stack([seed[0] + _FAR * seed[1], i])
            noisy = dequantize(x, self._flow.levels, seed=noise)
            return self._log_prob(self._of_levels(x, noisy), condition)

        rows = tf.TensorSpec((None,), tf.float32)
        nats = tf.map_fn(of_draw, tf.range(draws), parallel_iterations=1, fn_output_signature=rows)
        mean = tf.reduce_logsumexp(nats, axis=0) - tf.math.log(tf.cast(draws, tf.float32))
        return self._likelihood(mean)

    def _likelihood(self, nats):
        if self._flow.levels is None:
            return {"log_prob": nats}
        return {"log_prob": nats, "bits_per_dim": self._flow.bits_per_dim(nats)}

    def _latents(self, num_samples, seed, temperature):
        num_samples = self._few(num_samples, num_samples, "`num_samples`")
        return self._flow.sample_latents(num_samples, seed, temperature)

    def _few(self, tensor, count, name, least=0):
        """Returns `tensor`; if `count` is too small or large, the answer is INVALID_ARGUMENT."""
        allowed = (count >= least) & (count <= self._max_samples)
        message = f"{name} must be from {least} to {self._max_samples}. Received:"
        with tf.control_dependencies([tf.debugging.Assert(allowed, [message, count])]):
            return tf.identity(tensor)

    def _middles(self, pixels):
        middles = (tf.cast(pixels, tf.float32) + 0.5) / float(self._flow.levels)
        return self._of_levels(pixels, middles)

    def _of_levels(self, pixels, x):
        """Returns `x`, infinite and so outside of any support where pixels are no levels."""
        return tf.where(tf.cast(pixels, tf.int32) < self._flow.levels, x, math.inf)


#: Names of all signatures.
SIGNATURES = tuple(name for name in vars(_Answers) if not name.startswith("_"))
