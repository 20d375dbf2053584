"""The coupling of Neural Spline Flows: a monotone spline for every moved variable."""

from typing import Any

import tensorflow as tf

from tfnvp._internals import prefer_static as ps
from tfnvp.arguments import check_int
from tfnvp.bijectors import rational_quadratic
from tfnvp.bijectors.coupling import Coupling


class SplineCoupling(Coupling):
    """Maps every moved variable by a monotone spline, a function of the passed variables.

    With `(x1, x2) = partition.split(x)` and one rational-quadratic spline `g` of `bins` bins for
    each moved variable::

        forward:  y1 = x1,  y2 = g(x2; x1)          log|det J| =  sum log g'(x2)
        inverse:  x1 = y1,  x2 = g^-1(y2; y1)       log|det J| = -sum log g'(x2)

    Both directions are analytic. `g` maps `[-bound, bound]` to itself and is the identity outside,
    where its derivative is continuous too. The conditioner's raw outputs become widths and heights
    of the bins, by a softmax, and slopes at the inner knots. No bin is much smaller than the mean,
    and no slope much steeper or flatter than its two bins, so that float32 can invert the spline.
    Zeros give the identity.

    Args:
      conditioner: Keras layer or model from the passed variables `[batch, *passed_shape]` to
        the parameters: one tensor `[batch, ..., (3 * bins - 1) * n]`, where `n` is the last axis of
        the moved variables: `bins` raw widths, then heights, then `bins - 1` raw slopes, `n` of
        each; or a list of `3 * bins - 1` tensors `[batch, *moved_shape]`. With `condition_shape`
        it is called with the list `[passed, condition]`.
      partition: a `tfnvp.partitions.Partition`.
      event_shape: int or tuple, shape of one event. Needed when the conditioner is not built
        yet: it is then built here. Where given, shapes are checked here.
      bins: int, number of bins of each spline, at least 2.
      bound: float, end of the interval that the splines change. Latents and data should be of unit
        size, as behind `tfnvp.bijectors.Standardization`.
      condition_shape: int or tuple, shape of the `condition` that every call then takes.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      TypeError: if `conditioner` is not a Keras layer or `partition` not a partition.
      ValueError: if `bins` or `bound` is out of range; if the conditioner is unbuilt and
        `event_shape` is not given; if the shapes of event, partition and conditioner do not fit;
        from calls, if the event shape is wrong or a condition is missing or unexpected.

    >>> import keras, tensorflow as tf, tfnvp
    >>> coupling = tfnvp.bijectors.SplineCoupling(
    ...     tfnvp.conditioners.MLP(2 * 11, (8,)), tfnvp.partitions.Split(1), 3, bins=4)
    >>> coupling.forward(tf.constant([[1.0, 2.0, 30.0]])).numpy().round(4).tolist()
    [[1.0, 2.0, 30.0]]

    Source: Durkan, Bekasov, Murray and Papamakarios 2019 (Neural Spline Flows), section 3.1.
    """

    def __init__(
        self,
        conditioner: Any,
        partition: Any,
        event_shape: Any = None,
        bins: int = 8,
        bound: float = 5.0,
        condition_shape: Any = None,
        name: str = "spline_coupling",
    ):
        parameters = dict(locals())
        check_int("bins", bins, least=2, most=1000)
        self.bins = bins
        self.bound = float(bound)
        if not 0.0 < self.bound < float("inf"):
            raise ValueError(f"`bound` must be a finite number above 0. Received: {bound!r}")
        super().__init__(conditioner, partition, event_shape, condition_shape, parameters, name)

    @property
    def parameters_per_variable(self) -> int:
        return 3 * self.bins - 1

    def _divide(self, parameters):
        # Bins first: what is summed over bins is then next to each other for many variables.
        count = self.parameters_per_variable
        variables = parameters.shape[-1] // count
        parameters = tf.reshape(parameters, (-1, count, variables))
        return [tf.reshape(tf.transpose(parameters, (1, 0, 2)), (count, -1))]

    def _forward_moved(self, moved, raw):
        return self._moved(rational_quadratic.forward, moved, raw)

    def _inverse_moved(self, moved, raw):
        return self._moved(rational_quadratic.inverse, moved, raw)

    def _moved(self, spline, moved, raw):
        inside = tf.abs(moved) < self.bound
        # What is not chosen needs a finite gradient, too.
        position = tf.where(inside, moved, 0.0) * (0.5 / self.bound) + 0.5
        results = spline(tf.reshape(position, [-1]), raw)
        position, log_scale = (tf.reshape(result, ps.shape(moved)) for result in results)
        return (
            tf.where(inside, (position - 0.5) * (2.0 * self.bound), moved),
            tf.where(inside, log_scale, 0.0),
        )
