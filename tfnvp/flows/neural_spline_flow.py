"""Neural Spline Flows on vectors: spline couplings."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow_probability as tfp

from tfnvp.bijectors import SplineCoupling
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.flows.serialization import serialize
from tfnvp.flows.vector_flow import VectorFlow, VectorOptions, with_linear_maps
from tfnvp.inputs.bounds import Pair, are_circles, circles_of
from tfnvp.partitions import Partition


@keras.saving.register_keras_serializable("tfnvp")
class NeuralSplineFlow(VectorFlow):
    """A stack of spline couplings over the base, for vectors (flattened where they are not).

    Generating, with couplings `f_1 ... f_n` and latents `z`::

        x = f_1(f_2(... f_n(z)))      log p(x) = log p_base(z) - sum of the logarithms of slopes

    Each coupling is a spline after a scale and a shift (`SplineCoupling` with `tails="affine"`), so
    that it contains the affine coupling. A spline has several steep and flat parts, so a density
    with many modes or sharp edges takes fewer couplings than with `tfnvp.RealNVP`. Each takes more
    time: for 64 variables and the default networks about six times as much.

    Args:
      event_shape: int or tuple, shape of one data point; couplings act on it flattened.
      couplings: int, how many.
      hidden_units: widths of the hidden layers of each coupling's `MLP`; or one such sequence for
        each coupling.
      bins: int, number of bins of each spline.
      bound: float, end of the interval that the splines change, in units of the standardised data;
        values beyond it are only scaled and shifted. `check` counts the rows that have some.
      condition_shape: as for `tfnvp.RealNVP`, like all that follow.
      base: "normal", "logistic", or a `tfd.Distribution` over vectors of the event's size.
      partition: a partition, a sequence of them, or "random".
      activation: Keras activation of the hidden layers: a name, a function registered with
        Keras, or a Keras layer, of which each network gets a copy without weights.
      dropout: float, dropout of the hidden layers.
      residual: bool, residual connections between hidden layers of equal width.
      logit_alpha: float or None, for data in [0, 1] in logit space.
      standardize: what is next to the data: True, "robust", "trained" or False.
      levels: int or None, number of grey levels of quantized data.
      conditioner_dtype: Keras dtype policy of the networks.
      whiten: bool, or the `epsilon` of `tfnvp.bijectors.Whitening`.
      linear: "lu" for learned linear maps around and between the couplings, or None.
      gradient_checkpointing: bool, less memory and more time in training.
      standardize_condition: bool or "robust".
      bounds: bounds of variables.
      name: name of the model.
      condition_network: Keras layer or model that all couplings share.
      circular: variables that are angles, times of day and the like, both ends of whose interval
        `(low, high)` are one point, such as `{1: (0, 360)}`: a dictionary from indices of the
        flattened variables, or one pair, or None, for each. Their density is continuous where both
        ends meet, samples lie in [low, high), and the density beyond is 0. In the base they are
        uniform. The base must be "normal" or "logistic"; not with `logit_alpha`, `levels`,
        `whiten`, `linear`, or `standardize="trained"`, and not for a variable with `bounds`.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import tfnvp
    >>> flow = tfnvp.NeuralSplineFlow(2, couplings=4, hidden_units=(8, 8))
    >>> round(float(flow.log_prob([[0.0, 0.0]])[0]), 3)
    -1.838

    Source: Durkan, Bekasov, Murray and Papamakarios 2019 (Neural Spline Flows), the coupling flow;
    Rezende et al. 2020 (Normalizing Flows on Tori and Spheres) for circular variables.
    """

    bijector_name = "neural_spline_flow"

    def __init__(
        self,
        event_shape: int | Sequence[int],
        couplings: int = 8,
        hidden_units: Sequence = (128, 128),
        bins: int = 8,
        bound: float = 5.0,
        condition_shape: int | Sequence[int] | None = None,
        base: str | tfp.distributions.Distribution = "normal",
        partition: Partition | Sequence[Partition] | str | None = None,
        activation: str | Callable | None = "relu",
        dropout: float = 0.0,
        residual: bool = False,
        logit_alpha: float | None = None,
        standardize: bool | str = True,
        levels: int | None = None,
        conditioner_dtype: str | keras.DTypePolicy | None = None,
        whiten: bool | float = False,
        linear: str | None = None,
        gradient_checkpointing: bool = False,
        standardize_condition: bool | str = True,
        bounds: Mapping[int, Pair] | Sequence[Pair | None] | None = None,
        name: str | None = None,
        condition_network: keras.layers.Layer | None = None,
        circular: Mapping[int, Pair] | Sequence[Pair | None] | None = None,
    ):
        circles = circles_of(circular, math.prod(event_shape_tuple(event_shape)))
        tails = "affine"
        if circles is not None:
            tails = np.where(are_circles(circles), "circular", "affine").tolist()
            _check_of_angles(
                logit_alpha=logit_alpha,
                levels=levels,
                whiten=whiten,
                linear=linear,
                standardize=standardize == "trained" and standardize,
                base=None if isinstance(base, str) else base,
            )
        super().__init__(
            VectorOptions.of(locals()),
            functools.partial(SplineCoupling, tails=tails),
            coupling_options={"bins": bins, "bound": bound},
            other_options={"linear": linear},
            arrange=functools.partial(with_linear_maps, linear=linear),
            circular=circles,
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "circular": serialize(self.circular)}


def _check_of_angles(**options):
    """Raises `ValueError` for an option that is given: it would move angles as real numbers."""
    for name, value in options.items():
        if value is not None and value is not False:
            raise ValueError(
                f"`{name}` is for real numbers, and `circular` variables are angles. Received: "
                f"{name}={value!r}"
            )
