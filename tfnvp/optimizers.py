"""Keras' Adam with one fused operation per variable."""

from typing import Any

import keras
import tensorflow as tf

from tfnvp import _internals


class _FusedUpdate:
    """Updates each variable by one operation, where Keras uses a dozen."""

    def update_step(self, gradient, variable, learning_rate) -> None:
        if self.amsgrad or isinstance(gradient, tf.IndexedSlices):
            return super().update_step(gradient, variable, learning_rate)
        momentum, velocity = _internals.adam_slots(self, variable)

        def number(value):
            return tf.cast(value, variable.dtype)

        step = number(self.iterations + 1)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(momentum),
            v=_handle(velocity),
            beta1_power=tf.pow(number(self.beta_1), step),
            beta2_power=tf.pow(number(self.beta_2), step),
            lr=number(learning_rate),
            beta1=number(self.beta_1),
            beta2=number(self.beta_2),
            epsilon=number(self.epsilon),
            grad=number(gradient),
        )


def _handle(variable):
    # Keras passes weights as `tf.Variable`s, but the optimizer's variables as Keras variables.
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


@keras.saving.register_keras_serializable("tfnvp")
class Adam(_FusedUpdate, keras.optimizers.Adam):
    """`keras.optimizers.Adam`, with its arguments and its result, computed by one fused operation.

    ::

        m = beta_1 m + (1 - beta_1) g,    v = beta_2 v + (1 - beta_2) g^2
        w = w - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon)

    `flow.compile("adam")` means this one.

    >>> import tfnvp
    >>> flow = tfnvp.RealNVP(2)
    >>> flow.compile(tfnvp.optimizers.Adam(1e-3, global_clipnorm=100.0))

    Source: Kingma and Ba 2015, algorithm 1, with the order of section 2's last paragraph.
    """


@keras.saving.register_keras_serializable("tfnvp")
class AdamW(_FusedUpdate, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`: `Adam` with decoupled weight decay, computed the same way.

    `flow.compile("adamw")` means this one.

    >>> import tfnvp
    >>> flow = tfnvp.RealNVP(2)
    >>> flow.compile(tfnvp.optimizers.AdamW(1e-3, weight_decay=1e-2))

    Source: Loshchilov and Hutter 2019, algorithm 2.
    """


def get(optimizer: Any) -> keras.Optimizer | dict | str:
    """Returns the optimizer of a name; anything but a known name is returned unchanged."""
    fused = {"adam": Adam, "adamw": AdamW}
    if isinstance(optimizer, str) and optimizer.lower() in fused:
        return fused[optimizer.lower()]()
    return optimizer
