"""Jet: couplings with transformers on the patches of images."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow_probability as tfp

from tfnvp.arguments import check_flags, check_int
from tfnvp.bijectors import AffineCoupling, Chain, ScannedCouplings, Squeeze
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.conditioners import VisionTransformer
from tfnvp.flows.image_flow import ImageFlow, check_image_shape, stored_arguments
from tfnvp.flows.vector_flow import policy_name, wrapped_inputs
from tfnvp.inputs.condition_network import describe_conditions
from tfnvp.partitions import PackedCheckerboard, Partition, RandomHalves, Split, Stripes

# The spatial couplings in their order, each before its swap. Where the paper says "checkerboard",
# patches pass whose row and column add up to an even number.
_SPATIAL = (PackedCheckerboard(True), Stripes("vertical"), Stripes("horizontal"))


@keras.saving.register_keras_serializable("tfnvp")
class Jet(ImageFlow):
    """Affine couplings with transformers, on the patches of images at one resolution.

    From data to latents::

        y = 2 x L / (L - 1) - 1          for L grey levels: from -1 to 1 and the width of a level
        y -> patches                     [rows, columns, patch^2 channels]
        y1, y2 = halves of y             in each of the couplings
        b, s = transformer(y1)
        y2 <- (y2 + b) * 2 sigmoid(s)    log|det J| = sum(log sigmoid(s) + log 2)

    The halves are, in every coupling but each `spatial_every`-th, random halves of the channels of
    a patch, drawn once. In the other couplings, they are halves of the patches: a checkerboard, its
    swap, columns, their swap, rows and their swap, in turn. Each half is `rows * columns` tokens
    for the transformer, of half the channels of a patch: a half of the patches has two of them for
    each patch. So all couplings have the same shape, and `tfnvp.bijectors.ScannedCouplings` runs
    them as one program, which compiles as fast for many couplings as for few.

    Images are floats in [0, 1], or whole grey levels (such as uint8), to which every call adds
    fresh uniform noise: `x = (level + u) / levels`. Likelihoods are densities of `x`, in nats, and
    `bits_per_dim = (D log levels - log p(x)) / (D log 2)`. Samples are floats that can lie a
    little outside of [0, 1]; `sample_images` gives whole grey levels.

    Args:
      image_shape: `(height, width, channels)`; height and width divisible by `2 * patch`, or by
        `patch` without spatial couplings.
      couplings: int, number of couplings.
      blocks: int, number of blocks of each transformer.
      width: int, size of a token inside of the transformers; a multiple of `heads`.
      heads: int, number of heads of each attention.
      patch: int, height and width of a patch, whose number of variables must be even.
      spatial_every: int, of so many couplings the last one is spatial; 0 for none.
      seed: int from 0 to 2^32 - 1, of the random halves. They are the same after loading, in each
        version and on each machine.
      condition_shape: int or tuple, for a conditional flow `p(x | condition)`, for example the
        number of classes for one-hot labels. The transformers attend to the condition: a vector is
        one token, an array `[length, features]` a sequence of them.
      standardize_condition: bool, whether conditions, or the inputs of `condition_network`, get
        mean 0 and standard deviation 1, computed by `fit` or `adapt` from the data, while entries
        of only zeros and ones are unchanged; or "robust", for median and quartiles instead. It is
        done by a condition network, a `tfnvp.conditioners.StandardizedInputs`.
      base: "normal", "logistic", or a `tfd.Distribution` over `image_shape`.
      conditioner_dtype: Keras dtype policy of the networks, such as "mixed_bfloat16"; default: the
        global policy. Likelihoods are float32 with any policy.
      levels: int, number of grey levels, or None for images that were never quantized, for which
        `y = 2 x - 1`.
      gradient_checkpointing: bool, keep no activations of the networks in training, but compute
        them again for the backward pass: less memory, more time, the same gradients.
      name: name of the model.
      condition_network: Keras layer or model `c = network(condition)` that all couplings share: it
        runs once in each call, is trained with the flow, saved and exported with it. See
        `tfnvp.Flow`.

    Raises:
      TypeError, ValueError: for arguments that do not fit, and see `tfnvp.Flow`.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.Jet((4, 4, 1), couplings=2, blocks=1, width=8, heads=2, patch=2)
    >>> flow.log_prob(np.zeros([3, 4, 4, 1], "uint8")).shape.as_list()
    [3]
    >>> flow.sample_images(2).dtype.name
    'uint8'

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), with the sizes of table 1 for ImageNet of
    64 x 64. Unlike there, a condition is attended to in every block and not before the first.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        couplings: int = 32,
        blocks: int = 2,
        width: int = 512,
        heads: int = 8,
        patch: int = 4,
        spatial_every: int = 5,
        seed: int = 0,
        condition_shape: int | Sequence[int] | None = None,
        base: str | tfp.distributions.Distribution = "normal",
        levels: int | None = 256,
        conditioner_dtype: str | keras.DTypePolicy | None = None,
        gradient_checkpointing: bool = False,
        standardize_condition: bool | str = True,
        name: str | None = None,
        condition_network: keras.layers.Layer | None = None,
    ):
        conditioner_dtype = policy_name(conditioner_dtype)
        config = stored_arguments(locals())
        check_int("couplings", couplings, most=10_000)
        check_int("patch", patch, most=10_000)
        check_int("spatial_every", spatial_every, least=0)
        check_int("seed", seed, least=0, most=2**32 - 1)
        check_flags(gradient_checkpointing=gradient_checkpointing)
        check_flags("robust", standardize_condition=standardize_condition)
        if levels is not None:
            check_int("levels", levels, least=2)
        factor = 2 * patch if spatial_every else patch
        rule = f"{'2 * ' * bool(spatial_every)}patch = {factor}"
        image_shape = check_image_shape(image_shape, factor, rule)
        height, width_of_image, channels = image_shape
        patches = (height // patch, width_of_image // patch, patch**2 * channels)
        if patches[2] % 2:
            raise ValueError(
                "`patch` must give patches of an even number of variables, patch**2 * channels. "
                f"Received: patch={patch}, image_shape={image_shape}"
            )

        condition_network = wrapped_inputs(condition_network, standardize_condition)
        if condition_shape is not None and condition_network is None and standardize_condition:
            condition_shape = event_shape_tuple(condition_shape, "condition_shape")
            condition_network = wrapped_inputs(keras.layers.Identity(), standardize_condition)
        _, seen = describe_conditions(condition_network, condition_shape)

        half = patches[2] // 2
        network = VisionTransformer(
            AffineCoupling.parameters_per_variable * half,
            width,
            blocks,
            heads,
            dtype=conditioner_dtype,
            name="network",
        )
        tokens = (patches[0] * patches[1], patches[2])
        scanned = ScannedCouplings(
            AffineCoupling(network, Split(half), tokens, "double_sigmoid", seen, "coupling"),
            _partitions(couplings, spatial_every, seed),
            patches,
            gradient_checkpointing,
            name="couplings",
        )
        bijectors = [scanned]
        if patch > 1:
            squeeze = Squeeze(patch, "position_major")
            bijectors = [tfp.bijectors.Invert(squeeze), scanned, squeeze]
        # The noise of a level reaches beyond 1, as published.
        bin_width = 0.0 if levels is None else 1.0 / levels
        scale = tfp.bijectors.Scale((1.0 - bin_width) / 2.0)
        chain = Chain([scale, tfp.bijectors.Shift(1.0), *bijectors], name="jet")
        super().__init__(chain, image_shape, base, condition_shape, levels, name, condition_network)
        self._config = config


def _partitions(couplings: int, spatial_every: int, seed: int) -> list[Partition]:
    """Returns the partition of each coupling, from the data to the latents."""
    spatial = itertools.cycle(part for first in _SPATIAL for part in (first, first.swap()))
    # NumPy guarantees that this generator's numbers stay the same.
    seeds = np.random.RandomState(seed).randint(2**31, size=couplings)
    return [
        next(spatial)
        if spatial_every and i % spatial_every == spatial_every - 1
        else RandomHalves(int(of_halves))
        for i, of_halves in enumerate(seeds)
    ]
