"""A `tfb.Chain` that hands one `condition` to all members, and is right on every gradient tape."""

import tensorflow_probability as tfp
from tensorflow_probability.python.bijectors.chain import _Chain

from tfnvp.bijectors.gradient_tapes import OnTape
from tfnvp.bijectors.log_det import condition_kwargs, takes_condition

tfb = tfp.bijectors


class Chain(_Chain):
    """Applies bijectors one after the other, the last of the list first, as `tfb.Chain` does.

    Two things differ. `condition=...`, given to any method, reaches every member that takes a
    condition, also inside nested `tfb.Chain` and `tfb.Invert`. (A `tfb.Chain` wants the arguments
    of each member in a dictionary under the member's name.) And gradients to the argument are
    right on every tape: TFP's own members, such as `tfb.Softplus`, may answer from what they
    computed before the tape began, and then the gradient is None or that of another path.

    Args:
      bijectors: sequence of `tfb.Bijector`s, ours or TFP's.
      name: name of the bijector.

    Raises:
      TypeError: if a member is no bijector.
      ValueError: in methods, for a condition that no member takes.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> chain = tfnvp.bijectors.Chain([tfp.bijectors.Exp(), tfp.bijectors.Shift(1.0)])
    >>> chain.inverse(tf.constant([1.0])).numpy().tolist()
    [-1.0]
    """

    def __init__(self, bijectors, name="chain"):
        try:
            bijectors = list(bijectors)
        except TypeError:
            raise TypeError(
                f"`bijectors` must be a sequence of tfb.Bijectors. Received: {bijectors!r}"
            ) from None
        for bijector in bijectors:
            if not isinstance(bijector, tfb.Bijector):
                raise TypeError(f"`bijectors` must be tfb.Bijectors. Received: {bijector!r}")
        parameters = {"bijectors": bijectors, "name": name}
        self._on_tape = OnTape()
        super().__init__(bijectors, parameters=parameters, name=name)

    @property
    def takes_condition(self):
        """Whether any member takes `condition=...`."""
        return any(takes_condition(b) for b in self.bijectors)

    def _check_taken(self, condition):
        if condition is not None and not self.takes_condition:
            raise ValueError(
                f"{self.name} takes no condition: no member was made with `condition_shape`. "
                f"Received: condition={condition!r}"
            )

    def _walk_forward(self, step_fn, x, condition=None):
        self._check_taken(condition)
        x = self._on_tape(x)
        for bijector in reversed(self._bijectors):
            x = step_fn(bijector, x, **condition_kwargs(bijector, condition))
        return x

    def _walk_inverse(self, step_fn, y, condition=None):
        self._check_taken(condition)
        y = self._on_tape(y)
        for bijector in self._bijectors:
            y = step_fn(bijector, y, **condition_kwargs(bijector, condition))
        return y


def members(bijector):
    """Returns the bijectors of a chain, nested ones unfolded, from the data to the latents."""
    if not isinstance(bijector, _Chain):
        return [bijector]
    return [member for b in bijector.bijectors for member in members(b)]
