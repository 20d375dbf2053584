"""NICE: additive couplings and a learned diagonal rescaling."""

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow_probability as tfp

from tfnvp.bijectors import AdditiveCoupling, DiagonalScaling
from tfnvp.flows.vector_flow import VectorFlow, VectorOptions
from tfnvp.inputs.bounds import Pair
from tfnvp.partitions import Partition


@keras.saving.register_keras_serializable("tfnvp")
class NICE(VectorFlow):
    """A stack of additive couplings over a learned diagonal rescaling of the base.

    Generating, with couplings `f_1 ... f_n` and latents `z`::

        x = f_1(f_2(... f_n(exp(s) * z)))      log p(x) = log p_base(z) - sum s

    Args:
      event_shape: int or tuple, shape of one data point; couplings act on it flattened.
      couplings: int, how many; at least 3 are needed for every variable to influence every other.
      hidden_units: widths of the hidden layers of each coupling's `MLP`; or one such sequence for
        each coupling.
      base: "normal", "logistic" (the paper's choice for MNIST), or a `tfd.Distribution` over
        vectors of the event's size.
      condition_shape: as for `tfnvp.RealNVP`, like all that follow.
      partition: a partition, a sequence of them, or "random".
      activation: Keras activation of the hidden layers: a name, a function registered with
        Keras, or a Keras layer, of which each network gets a copy without weights.
      dropout: float, dropout of the hidden layers.
      residual: bool, residual connections between hidden layers of equal width.
      logit_alpha: float or None, for data in [0, 1] in logit space.
      standardize: what is next to the data: True, "robust", "trained" or False. The rescaling `s`
        always starts from the data.
      levels: int or None, number of grey levels of quantized data.
      conditioner_dtype: Keras dtype policy of the networks.
      whiten: bool, or the `epsilon` of `tfnvp.bijectors.Whitening`.
      gradient_checkpointing: bool, less memory and more time in training.
      standardize_condition: bool or "robust".
      bounds: bounds of variables.
      name: name of the model.
      condition_network: Keras layer or model that all couplings share.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import tfnvp
    >>> flow = tfnvp.NICE(4, couplings=4, hidden_units=(8, 8))
    >>> flow.sample(3, seed=0).shape.as_list()
    [3, 4]

    Source: Dinh, Krueger and Bengio 2014 (NICE).
    """

    bijector_name = "nice"

    def __init__(
        self,
        event_shape: int | Sequence[int],
        couplings: int = 4,
        hidden_units: Sequence = (1000,) * 5,
        base: str | tfp.distributions.Distribution = "normal",
        partition: Partition | Sequence[Partition] | str | None = None,
        activation: str | Callable | None = "relu",
        dropout: float = 0.0,
        residual: bool = False,
        logit_alpha: float | None = None,
        standardize: bool | str = True,
        whiten: bool | float = False,
        condition_shape: int | Sequence[int] | None = None,
        levels: int | None = None,
        conditioner_dtype: str | keras.DTypePolicy | None = None,
        gradient_checkpointing: bool = False,
        standardize_condition: bool | str = True,
        bounds: Mapping[int, Pair] | Sequence[Pair | None] | None = None,
        name: str | None = None,
        condition_network: keras.layers.Layer | None = None,
    ):
        super().__init__(
            VectorOptions.of(locals()),
            AdditiveCoupling,
            arrange=lambda couplings, size: [*couplings, DiagonalScaling(size)],
        )
