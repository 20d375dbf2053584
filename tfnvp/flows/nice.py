"""NICE: additive couplings and a learned diagonal rescaling."""

import math

import keras

from tfnvp.bijectors import AdditiveCoupling, Chain, DiagonalScaling
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.flows import vector_flow as assembly
from tfnvp.flows.flow import Flow
from tfnvp.flows.serialization import serialize


@keras.saving.register_keras_serializable("tfnvp")
class NICE(Flow):
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
      partition: a partition, which alternates with its swap; a sequence with one for each
        coupling; or "random", for random halves that are always the same. Default: `EvenOdd()`.
      activation: Keras activation of the hidden layers.
      dropout: float, dropout of the hidden layers.
      residual: bool, residual connections between hidden layers of equal width.
      logit_alpha: float or None; with a number, data in [0, 1] goes through
        `tfnvp.bijectors.Logit(alpha)` first (log-dets included in the likelihood).
      standardize: bool, start with a learned shift and scale of every variable (`ActNorm`), set
        from the data by `fit` or `adapt`. The rescaling `s` starts from the data's spread anyway.
      whiten: bool, start with `tfnvp.bijectors.Whitening`, fitted to the data by `fit` or `adapt`;
        its log-det counts. Or a number: the whitening's `epsilon`, which should be no larger than
        the smallest variances that matter, for pixels in [0, 1] about 1e-5.
      condition_shape: int or tuple, for a conditional flow `p(x | condition)`.
      standardize_condition: bool, whether networks get conditions of mean 0 and standard deviation
        1, by figures that `fit` or `adapt` takes from the data, while zeros and ones stay as they
        are; see `tfnvp.conditioners.StandardizedCondition`.
      conditioner_dtype: Keras dtype policy of the networks, such as "mixed_bfloat16"; default: the
        global policy. Whatever it is, likelihoods are float32.
      levels: int or None, number of grey levels of quantized data; see `tfnvp.Flow`.
      gradient_checkpointing: bool, keep no activations of the networks in training, but compute
        them again for the backward pass: less memory, more time, the same gradients; see
        `tfnvp.conditioners.GradientCheckpointing`.
      name: name of the model.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import tfnvp
    >>> flow = tfnvp.NICE(4, couplings=4, hidden_units=(8, 8))
    >>> flow.sample(3, seed=0).shape.as_list()
    [3, 4]

    Source: Dinh, Krueger and Bengio 2014 (NICE).
    """

    compiles_well = True

    def __init__(
        self,
        event_shape,
        couplings=4,
        hidden_units=(1000,) * 5,
        base="normal",
        partition=None,
        activation="relu",
        dropout=0.0,
        residual=False,
        logit_alpha=None,
        standardize=False,
        whiten=False,
        condition_shape=None,
        levels=None,
        conditioner_dtype=None,
        gradient_checkpointing=False,
        standardize_condition=True,
        name=None,
    ):
        conditioner_dtype = assembly.policy_name(conditioner_dtype)
        config = {k: serialize(v) for k, v in locals().items() if k not in ("self", "__class__")}
        event_shape = event_shape_tuple(event_shape)
        assembly.check_couplings(couplings)
        assembly.check_flags(
            residual=residual,
            standardize=standardize,
            gradient_checkpointing=gradient_checkpointing,
            standardize_condition=standardize_condition,
        )
        before = assembly.data_side(event_shape, logit_alpha, standardize, whiten)
        size = math.prod(event_shape)
        layers = assembly.couplings(
            AdditiveCoupling,
            size,
            assembly.partitions_for(partition, couplings, size),
            assembly.hidden_units_for(hidden_units, couplings),
            condition_shape,
            {
                "activation": activation,
                "dropout": dropout,
                "residual": residual,
                "dtype": conditioner_dtype,
            },
            gradient_checkpointing,
            standardize_condition,
        )
        chain = Chain([*before, *layers, DiagonalScaling(size)], name="nice")
        super().__init__(chain, event_shape, base, condition_shape, levels, name)
        self._config = config

    def get_config(self):
        return {**self._config, "name": self.name}
