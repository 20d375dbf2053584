"""NICE's coupling: shift one part of the variables by a function of the other."""

from typing import Any

from tfnvp.bijectors.coupling import Coupling


class AdditiveCoupling(Coupling):
    """Shifts the moved variables by a function of the passed ones; preserves volume.

    With `(x1, x2) = partition.split(x)` and any function `m`::

        forward:  y1 = x1,  y2 = x2 + m(x1)        log|det J| = 0
        inverse:  x1 = y1,  x2 = y2 - m(y1)        log|det J| = 0

    Args:
      conditioner: Keras layer or model, the function `m`: from the passed variables
        `[batch, *passed_shape]` to one shift for each moved variable, `[batch, *moved_shape]`.
        With `condition_shape` it is called with the list `[passed, condition]`.
      partition: a `tfnvp.partitions.Partition`.
      event_shape: int or tuple, shape of one event. Needed when the conditioner is not built
        yet: it is then built here. Where given, shapes are checked here.
      condition_shape: int or tuple, shape of the `condition` that every call then takes.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; both log-dets are zeros
    of the batch shape.

    Raises:
      TypeError: if `conditioner` is not a Keras layer or `partition` not a partition.
      ValueError: if the conditioner is unbuilt and `event_shape` is not given; if the shapes of
        event, partition and conditioner do not fit; from calls, if the event shape is wrong or a
        condition is missing or unexpected.

    >>> import keras, tensorflow as tf, tfnvp
    >>> coupling = tfnvp.bijectors.AdditiveCoupling(
    ...     keras.layers.Dense(2), tfnvp.partitions.Split(1), event_shape=3)
    >>> x = tf.constant([[1.0, 2.0, 3.0]])
    >>> coupling.forward_log_det_jacobian(x).numpy().tolist()
    [0.0]

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 3.2.
    """

    def __init__(
        self,
        conditioner: Any,
        partition: Any,
        event_shape: Any = None,
        condition_shape: Any = None,
        name: str = "additive_coupling",
    ):
        parameters = dict(locals())
        super().__init__(conditioner, partition, event_shape, condition_shape, parameters, name)

    def _forward_moved(self, moved, shift):
        return moved + shift, None

    def _inverse_moved(self, moved, shift):
        return moved - shift, None
