"""Base distributions that are learned with the flow, and start from data."""

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfb, tfd = tfp.bijectors, tfp.distributions

# Standard deviation of a uniform distribution of width 1, over that of a logistic of scale 1.
_SCALE_OF_UNIFORM = 1.0 / (2.0 * np.pi)

_SMALLEST_SCALE = 1e-5


def logistic_mixture(z, components=10):
    """A learned factorial base: for each variable a mixture of logistics of its own.

    ::

        log p(z) = sum_d log sum_k softmax(logits_d)_k Logistic(z_d; loc_dk, scale_dk)

    It starts from quantiles of a sample of latents: cut into cells of equal share, each variable
    gets a component at the middle of every cell, as wide as the cell. Variables independent of one
    another are all that NICE asks of its base.

    Args:
      z: `[n, ...]`, latents, such as `flow.encode(x)` of a flow that is adapted to its data.
      components: int, how many for each variable.

    Returns:
      `tfd.Independent` over events of shape `z.shape[1:]`, with three variables.

    Raises:
      ValueError: if there are fewer rows than components, or fewer than one component.

    >>> import numpy as np, tfnvp
    >>> z = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    >>> base = tfnvp.bases.logistic_mixture(z, components=4)
    >>> flow = tfnvp.NICE(2, couplings=4, hidden_units=(8,), base=base)
    >>> flow.log_prob(z).shape.as_list()
    [1000]

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 3.4, where the prior may be learned.
    """
    z = np.asarray(z)
    if not 1 <= components <= len(z):
        raise ValueError(
            f"`components` must be from 1 to the number of rows, {len(z)}. Received: {components}"
        )
    edges = np.quantile(z, np.linspace(0.0, 1.0, components + 1), axis=0)
    centres = np.moveaxis((edges[1:] + edges[:-1]) / 2, 0, -1).astype("float32")
    widths = np.moveaxis(edges[1:] - edges[:-1], 0, -1)
    scales = np.maximum(_SCALE_OF_UNIFORM * widths, _SMALLEST_SCALE).astype("float32")
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable(tf.zeros(centres.shape), name="logits")),
        tfd.Logistic(
            loc=tf.Variable(centres, name="loc"),
            scale=tfp.util.TransformedVariable(scales, tfb.Exp(), name="scale"),
        ),
    )
    return tfd.Independent(mixture, z.ndim - 1, name="logistic_mixture")
