"""Real NVP on vectors: affine couplings."""

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow_probability as tfp

from tfnvp.bijectors import AffineCoupling
from tfnvp.flows.vector_flow import VectorFlow, VectorOptions, with_linear_maps
from tfnvp.inputs.bounds import Pair
from tfnvp.partitions import Partition


@keras.saving.register_keras_serializable("tfnvp")
class RealNVP(VectorFlow):
    """A stack of affine couplings over the base, for vectors (flattened where they are not).

    Generating, with couplings `f_1 ... f_n` and latents `z`::

        x = f_1(f_2(... f_n(z)))      log p(x) = log p_base(z) - sum of the couplings' log-scales

    For images with the paper's convolutions and multi-scale structure see `tfnvp.ImageRealNVP`.

    Args:
      event_shape: int or tuple, shape of one data point; couplings act on it flattened.
      couplings: int, how many.
      hidden_units: widths of the hidden layers of each coupling's `MLP`; or one such sequence for
        each coupling.
      scale: how raw outputs become log-scales: "tanh" (bounded by a learned factor), "sigmoid",
        "softclamp", "double_sigmoid" or "exp"; see `tfnvp.bijectors.AffineCoupling`.
      condition_shape: int or tuple, for a conditional flow `p(x | condition)`; with a
        `condition_network`, the shape or shapes of its inputs, which functional models know.
      standardize_condition: bool, whether networks get conditions of mean 0 and standard deviation
        1, computed by `fit` or `adapt` from the data, while entries of only zeros and ones are
        unchanged; or "robust", for median and quartiles instead; see
        `tfnvp.conditioners.StandardizedCondition`.
      base: "normal", "logistic", or a `tfd.Distribution` over vectors of the event's size.
      partition: a partition, which alternates with its swap; a sequence with one for each
        coupling; or "random", for random halves that are always the same. Default: `EvenOdd()`.
      activation: Keras activation of the hidden layers: a name, a function registered with
        Keras, or a Keras layer, of which each network gets a copy without weights.
      dropout: float, dropout of the hidden layers.
      residual: bool, residual connections between hidden layers of equal width.
      logit_alpha: float or None; with a number, data in [0, 1] goes through
        `tfnvp.bijectors.Logit(alpha)` first (log-dets included in the likelihood).
      standardize: what is next to the data: True for `tfnvp.bijectors.Standardization`, a fixed
        mean and deviation of every variable, set from the data by `fit` or `adapt`, with which the
        units of the data do not matter; "robust" for its median and quartiles, which outliers do
        not move; "trained" for a learned shift and scale (`ActNorm`), as saved flows of tfnvp 0.1.0
        have them; or False.
      whiten: bool, next to it `tfnvp.bijectors.Whitening`, fitted to the data by `fit` or `adapt`;
        its log-det counts. Or a number: the whitening's `epsilon`, which should be no larger than
        the smallest variances that matter, in the units of the whitening's input: for pixels in
        [0, 1] without `standardize` about 1e-5.
      linear: "lu", for a learned `tfnvp.bijectors.LULinear`, which starts as a random permutation,
        around and between the couplings; or None.
      conditioner_dtype: Keras dtype policy of the networks, such as "mixed_bfloat16"; default: the
        global policy. Likelihoods are float32 with any policy.
      levels: int or None, number of grey levels of quantized data; see `tfnvp.Flow`.
      gradient_checkpointing: bool, keep no activations of the networks in training, but compute
        them again for the backward pass: less memory, more time, the same gradients; see
        `tfnvp.conditioners.GradientCheckpointing`.
      bounds: bounds of variables, such as `{0: (0, None), 3: (0, 1)}`: a dictionary from indices of
        variables (of the flattened data point) to `(low, high)`, or a sequence with one such pair,
        or None, for each variable; None is no bound. Next to the data is then
        `tfnvp.bijectors.Bounds`: the density is 0 on a bound and beyond it, samples lie strictly
        between, and `standardize` and all else see the unbounded variables.
      name: name of the model.
      condition_network: Keras layer or model `c = network(condition)` that all couplings share: it
        runs once in each call, is trained with the flow, saved and exported with it. It takes
        several inputs, as a dictionary or tuple, and whole numbers such as labels; its other
        inputs are standardised as `standardize_condition` says. See `tfnvp.Flow`.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=4, hidden_units=(8, 8))
    >>> round(float(flow.log_prob([[0.0, 0.0]])[0]), 3)
    -1.838

    Labels from 0 to 9 as conditions, by an embedding that is trained with the flow:

    >>> import keras
    >>> labels = keras.Sequential([keras.layers.Embedding(10, 8), keras.layers.Flatten()])
    >>> flow = tfnvp.RealNVP(2, 2, (8,), condition_shape=1, condition_network=labels)
    >>> flow.sample(5, seed=0, condition=[3, 7], per_condition=True).shape.as_list()
    [2, 5, 2]
    >>> flow.log_prob([[0.0, 0.0], [1.0, 1.0]], condition=[3, 7]).shape.as_list()
    [2]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.
    """

    bijector_name = "real_nvp"

    def __init__(
        self,
        event_shape: int | Sequence[int],
        couplings: int = 8,
        hidden_units: Sequence = (128, 128),
        scale: str = "tanh",
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
    ):
        super().__init__(
            VectorOptions.of(locals()),
            AffineCoupling,
            coupling_options={"scale": scale},
            other_options={"linear": linear},
            arrange=functools.partial(with_linear_maps, linear=linear),
        )
