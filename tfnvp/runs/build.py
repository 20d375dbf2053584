"""From a recipe and data to a compiled flow and its validation batches."""

import functools
import math
import os
import re

import keras
import tensorflow as tf

from tfnvp import bases, flows, optimizers, recipes
from tfnvp.data.splits import Splits
from tfnvp.fitting.batches import without_tuning
from tfnvp.flows import Flow
from tfnvp.quantization import PICTURE_NOISE, VALIDATION_NOISE, dequantize
from tfnvp.recipes import Recipe
from tfnvp.runs.folder import load_model

# Validation sets with more numbers than this need only one draw of dequantization noise.
_MANY = 2**20
_VALIDATION_DRAWS = 5
_VALIDATION_BATCH = 1000

# Largest shares of all steps for the warm-up, and for the span of the average of the weights.
_WARMUP_SHARE = 1 / 5
_AVERAGED_SHARE = 2 / 3

_LEARNED_BASES = {
    "logistic_mixture": bases.logistic_mixture,
    "gaussian_mixture": bases.gaussian_mixture,
}

# Training rows that a learned base is initialised from.
_ROWS_FOR_BASE = 40_000

# Weights without weight decay, by parts of their own names, without those of layers: only matrices
# and filters decay, since learned scales and shifts need not tend to 1 and 0.
_NOT_DECAYED = re.compile(
    "bias|scale|shift|gamma|beta|^loc$|logits|precision_factor|log_diagonal|magnitude|offset"
)


def make_flow(recipe: Recipe, splits: Splits) -> Flow:
    """Returns the recipe's flow for the data's shape, levels, bounds and circles, untrained.

    The bases "logistic_mixture" and "gaussian_mixture" are those of `tfnvp.bases`, initialised from
    training data.

    Raises:
      ValueError: for values of options that the model refuses, or data of the wrong kind.
    """
    options = dict(recipe.options)
    model = getattr(flows, recipes.MODELS[recipe.model])
    if splits.levels is not None:
        options["levels"] = splits.levels
    elif options.get("logit_alpha") is not None:
        raise ValueError(
            f"the recipe {recipe.name} is for pixels: its logit takes numbers from 0 to 1. "
            f"Received: the table {splits.name}; realnvp-table and neural-spline-table are for them"
        )
    if splits.bounds is not None:
        if recipe.model in ("image_real_nvp", "jet"):
            raise ValueError(f"bounds are those of columns of a table. Received: {recipe.name}")
        options["bounds"] = splits.bounds
    if splits.circular is not None:
        if recipe.model != "neural_spline":
            raise ValueError(
                "circular columns need a flow of spline couplings, as of the recipe "
                f"neural-spline-table. Received: {recipe.name}"
            )
        options["circular"] = splits.circular
    make = functools.partial(model, splits.event_shape)
    learned = _LEARNED_BASES.get(options.get("base"))
    if learned is not None and splits.circular is not None:
        options["base"] = "normal"  # Bases that are given know no angles.
    elif learned is not None:
        rows = splits.source().take(_ROWS_FOR_BASE)
        if splits.levels is not None:
            rows = dequantize(rows, splits.levels, seed=(PICTURE_NOISE, 0))
        standardized = make(**{**options, "base": "normal"})
        standardized.adapt(rows)
        options["base"] = learned(standardized.encode(rows))
    return make(**options)


def start_from(flow: Flow, path: str | os.PathLike) -> None:
    """Gives a flow the weights of a trained one.

    Args:
      flow: the flow, of a recipe.
      path: the `.keras` file of the trained one, or its run folder.

    Raises:
      ValueError: if the two have other weights.
    """
    trained = load_model(path)
    ours, theirs = ([tuple(w.shape) for w in f.weights] for f in (flow, trained))
    if ours != theirs:
        raise ValueError(
            f"`start_from` must be a {type(flow).__name__} with the options of the recipe, for "
            f"events of shape {flow.event_shape}, with {flow.count_params()} parameters. Received: "
            f"{path}: {type(trained).__name__}, {trained.event_shape}, {trained.count_params()} "
            "parameters"
        )
    flow.set_weights(trained.get_weights())


def compile_flow(flow: Flow, recipe: Recipe, rows: int) -> keras.Optimizer:
    """Compiles a flow with the recipe's optimizer, which it returns, for `rows` training rows.

    The schedule is a warm-up and a cosine.
    """
    steps = math.ceil(rows / recipe.batch_size)
    total = recipe.epochs * steps
    warmup = max(1, min(recipe.warmup_epochs * steps, int(total * _WARMUP_SHARE)))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total - warmup),
    )
    optimizer = optimizers.NAMED[recipe.optimizer](
        schedule,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        weight_decay=recipe.weight_decay or 0.0,
        global_clipnorm=recipe.clipnorm,
        use_ema=recipe.ema_momentum is not None,
        ema_momentum=min(recipe.ema_momentum or 0.99, max(0.0, 1 - 1 / (_AVERAGED_SHARE * total))),
    )
    optimizer.exclude_from_weight_decay(
        [weight for weight in flow.trainable_variables if _NOT_DECAYED.search(weight.name)]
    )
    flow.compile(optimizer)
    return optimizer


def validation_dataset(splits: Splits) -> tf.data.Dataset:
    """Returns the validation rows in batches; quantized data always has the same noise."""
    rows = splits.validation
    if splits.levels is not None:
        draws = _VALIDATION_DRAWS if rows.size < _MANY else 1
        noisy = [dequantize(rows, splits.levels, seed=(VALIDATION_NOISE, i)) for i in range(draws)]
        rows = tf.concat(noisy, axis=0)
    # Batches of one size, so that evaluation is compiled once.
    batch = min(len(splits.validation), _VALIDATION_BATCH)
    return without_tuning(tf.data.Dataset.from_tensor_slices(rows).batch(batch))
