"""Real NVP on images: convolutions, checkerboards, channels and several scales."""

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow_probability as tfp

from tfnvp.arguments import check_flags, check_int, check_one_of
from tfnvp.bijectors import (
    ActNorm,
    AffineCoupling,
    BatchNormalization,
    Chain,
    Logit,
    LULinear,
    MultiScale,
    Squeeze,
)
from tfnvp.conditioners import GatedConvNet, ResidualCNN
from tfnvp.flows.dequantizer import dequantizer
from tfnvp.flows.image_flow import ImageFlow, check_image_shape, stored_arguments
from tfnvp.flows.vector_flow import policy_name, wrapped, wrapped_inputs
from tfnvp.inputs.condition_network import describe_conditions
from tfnvp.partitions import Channels, Checkerboard

NORMALIZATIONS = {
    "batch_norm": functools.partial(BatchNormalization, epsilon=1e-4),
    "act_norm": ActNorm,
    None: None,
}


@keras.saving.register_keras_serializable("tfnvp")
class ImageRealNVP(ImageFlow):
    """Affine couplings with residual convolutional networks, at several resolutions.

    From data to latents, each scale but the last is::

        3 checkerboard couplings -> squeeze -> 3 channel couplings -> unsqueeze
        -> half of the variables are final, the others continue to the next scale

    and the last one is 4 checkerboard couplings. The widths of the networks double at every
    scale, and once more for the channel couplings of a scale.

    Images are floats in [0, 1], or whole grey levels (such as uint8), to which every call adds
    fresh uniform noise: `x = (level + u) / levels`. Likelihoods are densities of `x`, in nats, and
    `bits_per_dim = (D log levels - log p(x)) / (D log 2)`. Samples are floats that can lie a
    little outside of [0, 1], or in it with learned dequantization; `sample_images` gives whole grey
    levels.

    Args:
      image_shape: `(height, width, channels)`; height and width divisible by `2**(scales - 1)`, or
        by `2**scales` with `squeeze_first`.
      scales: int, number of resolutions.
      base_filters: int, width of the networks of the first scale's checkerboard couplings.
      residual_blocks: int, number of residual blocks of each network.
      scale: how raw outputs become log-scales: "tanh" (bounded by a learned factor), "sigmoid",
        "softclamp", "double_sigmoid" or "exp"; see `tfnvp.bijectors.AffineCoupling`.
      alpha: float in [0, 0.5), of the `tfnvp.bijectors.Logit` between pixels and real numbers.
        None leaves it out.
      normalization: what follows each coupling: "batch_norm" (the paper's), "act_norm" or None.
      network_batch_norm: bool, batch normalization inside of the networks.
      condition_shape: int or tuple, for a conditional flow `p(x | condition)`, for example the
        number of classes for one-hot labels.
      standardize_condition: bool, whether networks get conditions of mean 0 and standard deviation
        1, computed by `fit` or `adapt` from the data, while entries of only zeros and ones are
        unchanged; or "robust", for median and quartiles instead; see
        `tfnvp.conditioners.StandardizedCondition`.
      base: "normal", "logistic", or a `tfd.Distribution` over `image_shape`.
      conditioner_dtype: Keras dtype policy of the networks, such as "mixed_bfloat16"; default: the
        global policy. Likelihoods are float32 with any policy.
      levels: int, number of grey levels, or None for images that were never quantized.
      gradient_checkpointing: bool, keep no activations of the networks in training, but compute
        them again for the backward pass: less memory, more time, the same gradients; see
        `tfnvp.conditioners.GradientCheckpointing`.
      name: name of the model.
      condition_network: Keras layer or model `c = network(condition)` that all couplings share: it
        runs once in each call, is trained with the flow, saved and exported with it. It takes
        several inputs, as a dictionary or tuple, and whole numbers such as labels; its other
        inputs are standardised as `standardize_condition` says. See `tfnvp.Flow`.
      network: "residual" (the paper's, `tfnvp.conditioners.ResidualCNN`) or "gated"
        (`tfnvp.conditioners.GatedConvNet`, without batch normalization).
      squeeze_first: bool, all scales work on images of half the height and width and four times
        the channels: a quarter of the arithmetic, for networks of the same width.
      channel_maps: "lu" puts a `tfnvp.bijectors.LULinear` of the channels before each coupling;
        None puts nothing there.
      dequantization: "uniform", or "variational": the noise of grey levels is learned, see
        `tfnvp.bijectors.LearnedDequantization`. Its networks are gated, of half the width.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.ImageRealNVP((4, 4, 1), scales=2, base_filters=4, residual_blocks=1)
    >>> flow.log_prob(np.zeros([3, 4, 4, 1], "uint8")).shape.as_list()
    [3]
    >>> flow.sample_images(2).dtype.name
    'uint8'

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3 and equations 13 to 16. Where
    the paper leaves a choice, or differs, this is the authors' released code: the order of the
    masks, the channels of the squeeze, the ordered squeeze before factoring out, the symmetric
    logit, `(x + t) exp(s)` from data to latents (with the signs of `s` and `t` reversed). As in
    the paper, and unlike the code, whole outputs of couplings are normalised, and by statistics
    that run over recent batches. Unlike both, log-scales have a factor for every channel and not
    one for each coupling, and every coupling starts as the identity.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        scales: int = 2,
        base_filters: int = 64,
        residual_blocks: int = 8,
        scale: str = "tanh",
        alpha: float | None = 0.05,
        normalization: str | None = "batch_norm",
        network_batch_norm: bool = True,
        condition_shape: int | Sequence[int] | None = None,
        base: str | tfp.distributions.Distribution = "normal",
        levels: int | None = 256,
        conditioner_dtype: str | keras.DTypePolicy | None = None,
        gradient_checkpointing: bool = False,
        standardize_condition: bool | str = True,
        name: str | None = None,
        condition_network: keras.layers.Layer | None = None,
        network: str = "residual",
        squeeze_first: bool = False,
        channel_maps: str | None = None,
        dequantization: str = "uniform",
    ):
        conditioner_dtype = policy_name(conditioner_dtype)
        config = stored_arguments(locals())
        check_flags(
            network_batch_norm=network_batch_norm,
            gradient_checkpointing=gradient_checkpointing,
            squeeze_first=squeeze_first,
        )
        check_flags("robust", standardize_condition=standardize_condition)
        check_one_of("normalization", normalization, NORMALIZATIONS)
        check_one_of("network", network, ("residual", "gated"))
        check_one_of("channel_maps", channel_maps, (None, "lu"))
        check_one_of("dequantization", dequantization, ("uniform", "variational"))
        image_shape = _image_shape(image_shape, scales, squeeze_first)

        standardize = (
            condition_shape is not None and condition_network is None and standardize_condition
        )
        condition_network = wrapped_inputs(condition_network, standardize_condition)
        _, seen = describe_conditions(condition_network, condition_shape)

        make_network = GatedConvNet
        if network == "residual":
            make_network = functools.partial(ResidualCNN, batch_norm=network_batch_norm)

        def conditioner(network, partition, shape, filters, name, standardize=False):
            """Returns the network of an affine coupling; all of the flow's are made here."""
            moved_channels = partition.shapes(shape)[1][-1]
            made = network(
                AffineCoupling.parameters_per_variable * moved_channels,
                filters,
                residual_blocks,
                parity=getattr(partition, "parity", None),
                dtype=conditioner_dtype,
                name=f"{name}_network",
            )
            return wrapped(made, gradient_checkpointing, standardize)

        def coupling(partition, shape, filters, name):
            """Returns a coupling, with the map before it and the normalization after it."""
            network = conditioner(make_network, partition, shape, filters, name, standardize)
            members = [AffineCoupling(network, partition, shape, scale, seen, name)]
            if channel_maps is not None:
                members.insert(0, LULinear(shape, name=f"{name}_map", per_pixel=True))
            if normalization is not None:
                members.append(NORMALIZATIONS[normalization](shape, name=f"{name}_{normalization}"))
            return members

        members = []
        if dequantization == "variational":
            check_int("levels", levels, least=2)
            check_image_shape(image_shape, 2, "2, for learned dequantization")
            small = functools.partial(conditioner, GatedConvNet, filters=max(1, base_filters // 2))
            members.append(dequantizer(image_shape, levels, small))
        if alpha is not None:
            members.append(tfp.bijectors.Invert(Logit(alpha)))
        if squeeze_first:
            shape = tuple(Squeeze().forward_event_shape(image_shape))
            inner = _scale(coupling, shape, base_filters, 0, scales)
            members += [tfp.bijectors.Invert(Squeeze()), *inner, Squeeze()]
        else:
            members += _scale(coupling, image_shape, base_filters, 0, scales)
        chain = Chain(members, name="image_real_nvp")
        super().__init__(chain, image_shape, base, condition_shape, levels, name, condition_network)
        self.scales = scales
        self._squeeze_first = squeeze_first
        self._config = config

    def latent_scales(self) -> np.ndarray:
        """Returns the scale at which each latent leaves, 0 the finest: int array `image_shape`."""
        if not self._squeeze_first:
            return _latent_scales(self.event_shape, self.scales)
        shape = Squeeze().forward_event_shape(self.event_shape)
        return Squeeze().inverse(_latent_scales(shape, self.scales)).numpy()


def _scale(coupling, shape, filters, index, scales):
    """Returns the members of a scale and of all that follow it, from the data to the latents."""
    # The order of the released code, which starts with the swapped pattern of the paper.
    partitions = [Checkerboard(i % 2 == 0) for i in range(3 if index + 1 < scales else 4)]
    members = []
    for i, partition in enumerate(partitions):
        members += coupling(partition, shape, filters, f"scale_{index}_checkerboard_{i}")
    if index + 1 == scales:
        return members
    height, width, channels = shape
    squeezed = (height // 2, width // 2, 4 * channels)
    members.append(tfp.bijectors.Invert(Squeeze()))
    for i in range(3):
        partition = Channels(i % 2 == 1)
        members += coupling(partition, squeezed, 2 * filters, f"scale_{index}_channels_{i}")
    kept = (height // 2, width // 2, 2 * channels)
    following = _scale(coupling, kept, 2 * filters, index + 1, scales)
    inner = Chain(following, name=f"scale_{index + 1}")
    return [*members, Squeeze(), MultiScale(inner, name=f"after_scale_{index}")]


def _latent_scales(shape, scales):
    if scales == 1:
        return np.zeros(shape, "int32")
    height, width, channels = shape
    kept = 1 + _latent_scales((height // 2, width // 2, 2 * channels), scales - 1)
    both = np.concatenate([kept, np.zeros_like(kept)], axis=-1)
    return Squeeze(order="ordered").inverse(both).numpy()


def _image_shape(image_shape, scales, squeeze_first):
    check_int("scales", scales, most=30)
    halvings = "scales" if squeeze_first else "(scales - 1)"
    factor = 2 ** (scales - (not squeeze_first))
    shape = check_image_shape(image_shape, factor, f"2**{halvings} = {factor}")
    if shape[0] * shape[1] < 2 * factor**2:
        raise ValueError(
            f"`image_shape` must leave two pixels or more to the last of the `scales`, {scales}. "
            f"Received: image_shape={shape}"
        )
    return shape
