"""One function that checks values, log-dets, gradients and variables of a bijector."""

from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.testing import contracts, values, weights
from tfnvp.testing.subject import TOLERANCES, Subject, restored

#: The properties checked, by name, in order.
CHECKS = {
    "shapes": values.check_shapes,
    "finite values": values.check_finite,
    "round trip": values.check_round_trip,
    "log-dets": values.check_log_dets,
    "variables": weights.check_variables,
    "gradients": weights.check_gradients,
    "stale answers": weights.check_stale_answers,
    "conditioner calls": weights.check_conditioner_calls,
    "tapes": contracts.check_tapes,
    "copies": contracts.check_copies,
    "equality": contracts.check_equality,
    "half precision": contracts.check_half_precision,
}


def check_bijector(
    bijector: Any,
    x: Any,
    condition: Any = None,
    *,
    atol: Any = None,
    rtol: Any = None,
    skip: Any = (),
) -> None:
    """Raises `AssertionError`, naming property and numbers, unless a bijector has these properties.

    For any `tfb.Bijector`, ours, TFP's, your own or a composition:

    - "shapes": event and batch shapes and dtypes of the four methods, for a batch, one event, two
      batch axes, no rows, and an unknown batch size in a `tf.function`; the same values in all of
      them. An unknown rank gives the same values too, or an error that says so.
    - "finite values": values and log-dets of both directions.
    - "round trip": `inverse(forward(x)) = x` and `forward(inverse(y)) = y`, without TFP's cache.
    - "log-dets": all four against each other and, in float64 where the bijector can, against
      `slogdet` of the Jacobian by automatic differentiation, with their gradients; sums over
      `event_ndims`.
    - "variables": all variables held or read are among the bijector's `variables`.
    - "gradients": values have a gradient with respect to the input; value or log-det, with
      respect to each trainable variable.
    - "stale answers": a change of weights changes the answers for tensors that are held, eagerly
      and in a `tf.function`.
    - "conditioner calls": value and log-det together run each member's `conditioner` once.
    - "tapes": gradients are right on every `tf.GradientTape` and `tf.autodiff.ForwardAccumulator`,
      whatever was computed before with the same tensors.
    - "copies": `pickle` and `copy.deepcopy` after use give equal values and variables of their own.
      Classes of TFP may refuse to be copied.
    - "equality": a bijector equals its `copy.copy`, and no bijector with other variables; its hash
      never changes.
    - "half precision": float16 and bfloat16 inputs give outputs of their dtype, near those of
      float32, or an error that names the dtype.

    "tapes" and "half precision" are what `tfnvp.bijectors.Bijector` and `Chain` promise; TFP's own
    classes do not, and are not checked for them.

    A zero-initialised network hides most errors: add noise to the weights before the check. It
    does not change them. The Jacobian costs the square of the event's size: give few points.

    Args:
      bijector: `tfb.Bijector` between events of equal size.
      x: `[batch, *event_shape]`, points of the domain of `forward`, `batch` of 1 or more.
      condition: `[batch, *condition_shape]`, where the bijector takes one.
      atol: float, absolute tolerance of values and log-dets. By default 1e-4 for float32 (which
        holds after 16 couplings), 1e-6 for float64, 5e-2 for bfloat16 and 5e-3 for float16.
        A network that computes in half precision needs more.
      rtol: float, relative tolerance, with the same defaults.
      skip: names of properties not to check. TFP's own bijectors give stale answers when they
        hold variables, and its `tfb.RealNVP` runs its network twice.

    Raises:
      AssertionError: with the first broken property; also if a method raises an error.
      TypeError: if `bijector` is not a bijector, or `x` not of a floating dtype.
      ValueError: if `x` has no batch or too few axes, or `skip` has an unknown name.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> tfnvp.testing.check_bijector(tfp.bijectors.Exp(), tf.constant([[0.5, -1.0]]))

    Source: the properties that TensorFlow Probability tests its own bijectors for, in
    `bijector_test_util.py` and `bijector_properties_test.py`.
    """
    if not isinstance(bijector, tfp.bijectors.Bijector):
        raise TypeError(f"`bijector` must be a tfb.Bijector. Received: {bijector!r}")
    x = tf.convert_to_tensor(x)
    if x.dtype not in TOLERANCES:
        raise TypeError(f"`x` must be of a floating dtype. Received: {x.dtype.name}")
    least = bijector.forward_min_event_ndims
    if x.shape.rank < 1 + least or x.shape.num_elements() == 0:
        raise ValueError(
            f"`x` must be a batch of events of rank {least} or more, with at least one point. "
            f"Received shape: {x.shape}"
        )
    if unknown := set(skip) - set(CHECKS):
        raise ValueError(f"`skip` must be among {list(CHECKS)}. Received: {sorted(unknown)}")

    condition = None if condition is None else tf.convert_to_tensor(condition)
    subject = Subject(bijector, x, condition, atol, rtol)
    with restored(weights.all_variables(bijector)):
        for name in [name for name in CHECKS if name not in skip]:
            try:
                CHECKS[name](subject)
            except AssertionError:
                raise
            except Exception as error:
                raise AssertionError(
                    f"{bijector.name}: {name}: a method raised {type(error).__name__}: {error}"
                ) from error
