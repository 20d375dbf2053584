"""The options of each model: the arguments of its constructor that a recipe can give.

They are listed, so that a recipe is checked without TensorFlow; those that only data or Python can
give are not options. The tests compare the lists with the constructors.
"""

_DENSE = ("couplings", "hidden_units", "base", "partition", "activation", "dropout", "residual")
_DENSE += ("logit_alpha", "standardize", "conditioner_dtype", "whiten", "gradient_checkpointing")
_DENSE += ("standardize_condition",)
_IMAGES = ("scales", "base_filters", "residual_blocks", "scale", "alpha", "normalization")
_IMAGES += ("network_batch_norm", "base", "conditioner_dtype", "gradient_checkpointing")
_IMAGES += ("standardize_condition", "network", "squeeze_first", "channel_maps", "dequantization")
_PATCHES = ("couplings", "blocks", "width", "heads", "patch", "spatial_every", "seed", "base")
_PATCHES += ("conditioner_dtype", "gradient_checkpointing", "standardize_condition")

#: Names of options, by the name of the model.
OPTIONS = {
    "nice": _DENSE,
    "real_nvp": (*_DENSE, "scale", "linear"),
    "neural_spline": (*_DENSE, "bins", "bound", "linear"),
    "image_real_nvp": _IMAGES,
    "jet": _PATCHES,
}
