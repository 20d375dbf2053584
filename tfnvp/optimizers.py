"""Keras' Adam with one fused operation per variable, and Muon."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfnvp import _internals
from tfnvp.arguments import check_int, is_number

# Of the polynomial that moves singular values towards 1 (Jordan 2024).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)

# Root mean square of an update at a learning rate of 1, about as large as Adam's (Liu et al. 2025).
_RMS = 0.2

#: Names of weights that hold those of several layers alike, along their first axis, start so.
STACK = "stack_of_"


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


@keras.saving.register_keras_serializable("tfnvp")
class Muon(AdamW):
    """Muon: moves the kernels of hidden layers by orthogonal matrices, all else as `AdamW` does.

    ::

        m = momentum m + g,    G = g + momentum m
        w = w - learning_rate 0.2 sqrt(max(rows, columns)) U V^T,    with G = U S V^T

    `U V^T` is approximated by `newton_schulz_steps` products of matrices. Kernels are the weights
    of that name with two axes or more: the last axis has the columns, all others the rows, as
    `[height width inputs, outputs]` of a convolution. Of stacked couplings, as in `tfnvp.Jet`, each
    has matrices of its own. Steps are as large as Adam's, so its learning rates can be kept. The
    filters of `tfnvp.ImageRealNVP` with `network="residual"`, whose weights are normalised, are no
    kernels: for them AdamW was better.

    `flow.compile("muon")` means this one; `keras.optimizers.Muon` moves only kernels of two axes
    so.

    Args:
      learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
      momentum: float, at least 0 and below 1, of the gradients of kernels.
      newton_schulz_steps: int, products for one orthogonal matrix.
      exclude_layers: strings; weights with one of them in their name are moved by AdamW, by default
        the last layers of tfnvp's networks, which start at zero.
      **kwargs: arguments of `AdamW`: `weight_decay` is for all weights, `beta_1`, `beta_2` and
        `epsilon` are for those that AdamW moves.

    Raises:
      ValueError: if `momentum` or `newton_schulz_steps` is out of range.
      TypeError: if `exclude_layers` is a string.

    >>> import tfnvp
    >>> flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=4, network="gated")
    >>> flow.compile(tfnvp.optimizers.Muon(8e-3, weight_decay=0.0))

    Source: Jordan et al. 2024 (Muon: an optimizer for hidden layers in neural networks);
    Liu et al. 2025 (Muon is scalable for LLM training), equation 4, for the size of a step.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        momentum: float = 0.95,
        newton_schulz_steps: int = 5,
        exclude_layers: Sequence[str] = ("projection",),
        **kwargs,
    ):
        super().__init__(learning_rate, **kwargs)
        if not (is_number(momentum) and 0 <= momentum < 1):
            raise ValueError(f"`momentum` must be at least 0 and below 1. Received: {momentum!r}")
        check_int("newton_schulz_steps", newton_schulz_steps)
        if isinstance(exclude_layers, str):
            raise TypeError(
                f"`exclude_layers` must be several strings. Received: {exclude_layers!r}"
            )
        self.momentum = float(momentum)
        self.newton_schulz_steps = int(newton_schulz_steps)
        self.exclude_layers = tuple(exclude_layers)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        weight = _internals.trained_variable(self, variable)
        excluded = any(layer in weight.path for layer in self.exclude_layers)
        if excluded or len(weight.shape) < 2 or not weight.name.endswith("kernel"):
            return super().update_step(gradient, variable, learning_rate)
        average, _ = _internals.adam_slots(self, variable)
        gradient = tf.cast(gradient, variable.dtype)
        average.assign(self.momentum * average + gradient)
        stack = weight.shape[:1] if weight.name.startswith(STACK) else []
        matrices = tf.reshape(gradient + self.momentum * average, [*stack, -1, variable.shape[-1]])
        step = self._orthogonal(matrices)
        size = _RMS * max(matrices.shape[-2:]) ** 0.5 * tf.cast(learning_rate, variable.dtype)
        variable.assign_sub(tf.reshape(size * step, variable.shape))

    def _orthogonal(self, matrices):
        """Returns `U V^T` of `U S V^T`, roughly: singular values from 0.7 to 1.2."""
        wide = matrices.shape[-2] <= matrices.shape[-1]
        x = matrices if wide else tf.linalg.matrix_transpose(matrices)
        x /= tf.norm(x, axis=(-2, -1), keepdims=True) + 1e-7
        a, b, c = _COEFFICIENTS
        for _ in range(self.newton_schulz_steps):
            square = tf.matmul(x, x, transpose_b=True)
            x = a * x + tf.matmul(b * square + c * tf.matmul(square, square), x)
        return x if wide else tf.linalg.matrix_transpose(x)

    def get_config(self) -> dict:
        own = ("momentum", "newton_schulz_steps", "exclude_layers")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


#: The optimizers by the names that `flow.compile` and recipes know.
NAMED = {"adam": Adam, "adamw": AdamW, "muon": Muon}


def get(optimizer: Any) -> keras.Optimizer | dict | str:
    """Returns the optimizer of a name; anything but a known name is returned unchanged."""
    if isinstance(optimizer, str) and optimizer.lower() in NAMED:
        return NAMED[optimizer.lower()]()
    return optimizer
