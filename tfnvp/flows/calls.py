"""The public methods of a flow as compiled functions: densities, latents, samples."""

import collections
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp._internals import tape_is_recording
from tfnvp.arguments import check_int
from tfnvp.bases.named import combined, sample_base
from tfnvp.flows.interpolation import four_corner_latents
from tfnvp.inputs.conversion import column_names
from tfnvp.inputs.sampling import (
    check_conditions,
    check_sampling,
    checked_temperature,
    seed_pair,
)
from tfnvp.inputs.spec import DataSpec
from tfnvp.inputs.support import like_rows

# Rows are evaluated in pieces of at most this many numbers, so that memory stays bounded.
_CHUNK_ELEMENTS = 2**20

# Most values of a grid of interpolations: 1 GiB.
_MOST_VALUES = 2**28

# Least rows for XLA, which compiles for seconds for each number of rows, and keeps every program:
# fewer would not gain. After so many numbers of rows, others are filled up to one of four for each
# power of two.
_COMPILED_ROWS = 2**12
_EXACT_SIZES = 4


class CompiledCalls:
    """Runs methods of a flow as `tf.function`s, traced once.

    Args:
      flow: a `tfnvp.Flow`.
    """

    def __init__(self, flow: Any):
        self._flow = flow
        self._functions, self._sizes = {}, collections.defaultdict(set)

    def run(self, name: str, x: tf.Tensor, condition: tf.Tensor | None) -> Any:
        """Returns `flow.name(x, condition)`: in a graph as it is, else compiled and in pieces."""
        if not tf.executing_eagerly():
            return getattr(self._flow, name)(x, condition)
        most = max(1, _CHUNK_ELEMENTS // self._flow.event_size)
        if len(x) <= most:
            return self._run_piece(name, x, condition)
        pieces = [
            self._run_piece(name, *(v if v is None else v[i : i + most] for v in (x, condition)))
            for i in range(0, len(x), most)
        ]
        return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *pieces)

    def _run_piece(self, name, x, condition):
        rows = len(x)
        if rows < _COMPILED_ROWS or not self._flow.uses_xla():
            return self.function(name)(x, condition)
        sizes = self._sizes[name]
        if len(sizes) < _EXACT_SIZES:
            sizes.add(rows)
        more = 0 if rows in sizes else -rows % 2 ** (rows.bit_length() - 3)
        if more:
            x = _filled_up(x, more)
            condition = None if condition is None else _filled_up(condition, more)
        result = self.function(name, xla=True)(x, condition)
        if more:  # Faster than to slice.
            return tf.nest.map_structure(lambda part: tf.split(part, [rows, more])[0], result)
        return result

    def embed(self, condition: Any) -> Any:
        """Returns what the bijector takes of prepared conditions, each row of which runs once."""
        flow = self._flow
        if condition is None or flow.condition_network is None:
            return condition
        if not tf.executing_eagerly():
            return flow.embed_prepared(condition)
        leaves = tf.nest.flatten(condition)
        most = max(1, _CHUNK_ELEMENTS // sum(math.prod(leaf.shape[1:]) for leaf in leaves))
        embed = self.function("embed_prepared")
        pieces = [
            embed(tf.nest.map_structure(lambda part, i=i: part[i : i + most], condition))
            for i in range(0, len(leaves[0]), most)
        ]
        return tf.concat(pieces, axis=0) if pieces else embed(condition)

    def function(self, name: str, xla: bool = False) -> Callable:
        """Returns a method as a graph, perhaps compiled by XLA."""
        if (name, xla) not in self._functions:
            # TensorFlow counts the graphs made of one function's code, and warns of many: a
            # partial has no code.
            self._functions[name, xla] = tf.function(
                functools.partial(getattr(self._flow, name)),
                reduce_retracing=not xla,
                jit_compile=xla or None,
            )
        return self._functions[name, xla]


def _filled_up(x, rows):
    """Returns `x` with more rows, of zeros."""
    # `tf.pad` takes twice as long.
    return tf.raw_ops.Pad(input=x, paddings=[[0, rows], *[[0, 0]] * (x.shape.rank - 1)])


class FlowCalls(keras.Model):
    """Densities, latents and samples of `Flow`; all can be used inside of a `tf.function`."""

    def log_prob(self, x: Any, condition: Any = None, per_condition: bool = False) -> tf.Tensor:
        """Log-density of data points, in nats in data space.

        Args:
          x: `[batch, *event_shape]`, floating point.
          condition: `[batch, *condition_shape]` or `[*condition_shape]`, for conditional flows; a
            dictionary or tuple of such arrays for a condition network of several inputs.
          per_condition: bool, for several data points for each of `C` conditions: `x` is then
            `[C, n, *event_shape]` as `sample` returns it, and the result `[C, n]`. A condition
            network runs on the `C` conditions only.

        Returns:
          `[batch]`: -inf for finite rows outside of the flow's support, such as negative numbers
          where it begins with a softplus, and for rows whose numbers leave the range of float32;
          NaN where a row, its condition or a weight is NaN. The gradient of such rows is 0.
        """
        if not per_condition:
            return self._log_prob_of_prepared(*self._prepared(x, condition))
        condition = self._advise_and_embed(self.data_spec.prepare_condition(condition))
        x, n = self.data_spec.rows_of_each(x, condition)
        nats = self._log_prob_of_prepared(x, tf.repeat(condition, n, axis=0))
        return tf.reshape(nats, (-1, n))

    def _log_prob_of_prepared(self, x, condition):
        if not tf.executing_eagerly():
            return self._log_prob(x, condition)
        nats = self._calls.run("_unmarked_log_prob", x, condition)
        if np.isfinite(nats).all():
            return nats
        nats = self._calls.run("_log_prob", x, condition)
        good = tf.math.is_finite(nats)
        if not (tape_is_recording() and tf.reduce_any(good)):
            return nats
        # The gradient of a row whose numbers overflow is NaN, and so would be that of the others.
        row = tf.argmax(good)
        x, condition = (
            None if part is None else tf.where(like_rows(good, part), part, part[row])
            for part in (x, condition)
        )
        return tf.where(good, self._calls.run("_log_prob", x, condition), tf.stop_gradient(nats))

    def encode(self, x: Any, condition: Any = None) -> tf.Tensor:
        """Latents of data points, by exact inversion: `[batch, *latent_shape]`.

        They are NaN for rows that are not finite or outside of the flow's support, and for rows
        whose latents leave the range of float32.
        """
        return self._calls.run("_encode", *self._prepared(x, condition))

    def unmarked_latents(self, x: Any, condition: Any = None) -> tf.Tensor:
        """Latents as the bijector gives them, infinite ones too: `[batch, *latent_shape]`."""
        return self._calls.run("_unmarked_encode", *self._prepared(x, condition))

    def decode(self, z: Any, condition: Any = None) -> tf.Tensor:
        """Data points of latents, the inverse of `encode`: `[batch, *event_shape]`."""
        return self._calls.run("_decode", *self._prepared(z, condition, self._latent_spec))

    def embed_condition(self, condition: Any) -> tf.Tensor:
        """Conditions as `flow.distribution` and `flow.bijector` take them.

        Args:
          condition: as for `log_prob`.

        Returns:
          `[batch, ...]`, or `[1, ...]` of one condition: the output of the flow's condition
          network; without one, the conditions as float32.
        """
        return self._calls.embed(self.data_spec.prepare_condition(condition))

    def _prepared(self, x: Any, condition: Any, spec: DataSpec | None = None) -> tuple:
        given = x
        x, condition = (spec or self.data_spec).prepare(x, condition, self._advise_and_embed)
        if spec is None and tf.executing_eagerly():
            self.data_spec.advise_on_rows(x, column_names(given))
        return x, condition

    def _advise_and_embed(self, condition):
        if tf.executing_eagerly():
            self.condition_scale.advise(condition)
        return self._calls.embed(condition)

    def decode_and_log_prob(self, z: Any, condition: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Data points of latents with their log-densities, in one pass.

        Args:
          z: `[batch, *latent_shape]`.
          condition: as for `log_prob`.

        Returns:
          The pair `(decode(z), log_prob(decode(z)))`.
        """
        prepared = self._prepared(z, condition, self._latent_spec)
        return self._calls.run("_decode_and_log_prob", *prepared)

    def sample_latents(self, n: Any, seed: Any, temperature: Any = 1.0) -> tf.Tensor:
        """Draws from the base distribution, its standard deviation times `temperature`.

        The numbers are those that `sample` decodes, in graphs and compiled by XLA too.

        Args:
          n: int or int tensor, how many.
          seed: int tensor `[2]`, or a pair of ints.
          temperature: float or float tensor; must be 1 for a custom base distribution.

        Returns:
          `[n, *latent_shape]`.
        """
        base, temperature = self.distribution.distribution, checked_temperature(temperature)
        return sample_base(self.base, base, n, seed, temperature)

    def sample(
        self,
        n: int,
        seed: Any = None,
        temperature: float = 1.0,
        condition: Any = None,
        per_condition: bool = False,
    ) -> tf.Tensor:
        """Draws data points.

        Args:
          n: int, how many.
          seed: int or pair of ints; the same seed gives the same samples, and an int `s` those of
            the pair `(s, 0)`. Default: a seed from TensorFlow's global generator, so that
            `keras.utils.set_random_seed` reproduces.
          temperature: float; the base's standard deviation is multiplied by it. Below 1, samples
            are more typical and less varied. Only for the bases "normal" and "logistic".
          condition: `[*condition_shape]`, or `[n, *condition_shape]`, one for each sample; a
            dictionary or tuple of such arrays for a condition network of several inputs.
          per_condition: bool, draw `n` data points for each of `C` conditions
            `[C, *condition_shape]`. A condition network runs on the `C` conditions only.

        Returns:
          `[n, *event_shape]`, or `[C, n, *event_shape]` with `per_condition`.

        Raises:
          ValueError: if `n` or `temperature` is negative, `temperature` is NaN or infinite, or a
            custom base has a temperature.
        """
        check_sampling(n, temperature, self.base)
        seed = seed_pair(seed)
        if per_condition:
            condition = self._advise_and_embed(self.data_spec.prepare_condition(condition))
            count = tf.shape(condition)[0]
            z = self._latents(count * n, seed, temperature)
            x = self._calls.run("_decode", z, tf.repeat(condition, n, axis=0))
            return tf.reshape(x, (count, n, *self.event_shape))
        check_conditions(condition, n, self.data_spec.conditions)
        return self.decode(self._latents(tf.constant(n, tf.int32), seed, temperature), condition)

    def _latents(self, n, seed, temperature):
        # The noise is drawn outside of what is compiled: XLA makes it slowly on CPUs.
        if tf.executing_eagerly():
            draw = self._calls.function("sample_latents")
            return draw(n, seed, tf.constant(temperature, tf.float32))
        return self.sample_latents(n, seed, temperature)

    def interpolate(
        self, corners: Any, rows: int = 8, columns: int = 8, condition: Any = None
    ) -> tf.Tensor:
        """Decodes a grid of latents spanned by four data points.

        ::

            z = cos(a) (cos(b) z1 + sin(b) z2) + sin(a) (cos(b) z3 + sin(b) z4)

        with `a` from 0 to pi/2 down the rows and `b` from 0 to pi/2 along the columns, so that
        the corners of the grid are the data points themselves. Of latents that are angles, the
        directions are combined in this way.

        Args:
          corners: `[4, *event_shape]`: top left, top right, bottom left, bottom right.
          rows: int, 2 or more.
          columns: int, 2 or more. The grid has at most 2**28 values, 1 GiB.
          condition: one condition for all, where the flow takes one.

        Returns:
          `[rows, columns, *event_shape]`.

        Raises:
          ValueError: if there are not four corners, or `rows` or `columns` is out of range.

        Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), equation 19.
        """
        if len(corners) != 4:
            raise ValueError(f"`corners` must be 4 data points. Received: {len(corners)}")
        check_int("rows", rows, least=2)
        check_int("columns", columns, least=2)
        most = _MOST_VALUES // math.prod(self.event_shape)
        check_int("rows * columns", rows * columns, most=most)
        z = combined(
            self.distribution.distribution,
            self.encode(corners, condition),
            lambda z: four_corner_latents(z, rows, columns),
        )
        images = self.decode(tf.reshape(z, (-1, *self.latent_shape)), condition)
        return tf.reshape(images, (rows, columns, *self.event_shape))
