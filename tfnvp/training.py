"""A training run from a recipe: data in, run folder and SavedModel out."""

import dataclasses
import functools
import math
import pathlib

import keras
import tensorflow as tf

from tfnvp import plotting, replicas, run_folder, scoring
from tfnvp._version import __version__
from tfnvp.data import dequantize, training_dataset
from tfnvp.evaluation import evaluate
from tfnvp.flows import NICE, ImageRealNVP, RealNVP

MODELS = {"nice": NICE, "real_nvp": RealNVP, "image_real_nvp": ImageRealNVP}

# Numbers in the validation set above which one draw of dequantization noise says enough.
_MANY = 2**20
_VALIDATION_DRAWS = 5


def make_flow(recipe, splits):
    """Returns the recipe's flow for the data's shape and levels, untrained."""
    options = dict(recipe.options)
    if splits.levels is not None:
        options["levels"] = splits.levels
    return MODELS[recipe.model](splits.event_shape, **options)


def train(
    recipe,
    splits,
    output=None,
    saved_models="saved_models",
    seed=0,
    verbose="auto",
    callbacks=(),
    strategy=None,
):
    """Trains a flow by a recipe and writes everything it leaves behind.

    The run folder gets `config.json`, `history.csv`, `model.keras` (the weights that did best on
    the validation split), `metrics.json`, of images and points `samples.png`, of tables
    `reference.json` for `tfnvp score`; the SavedModel goes to `SAVED_MODELS/DATASET-MODEL/VERSION`.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      output: run folder; default: the next free `runs/DATASET-MODEL-N`.
      saved_models: folder of SavedModels.
      seed: int; on CPU the same seed gives the same weights.
      verbose: as in `keras.Model.fit`.
      callbacks: further Keras callbacks.
      strategy: `tf.distribute.Strategy`, see `tfnvp.replicas.make_strategy`; default: one replica.

    Returns:
      `(flow, metrics, folder, exported)`: the trained flow, the contents of `metrics.json`, and
      the paths of run folder and SavedModel. Of several workers only the first writes; the others
      return the flow and None.
    """
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        flow = make_flow(recipe, splits)
        compile_flow(flow, recipe, len(splits.train))
    fit = functools.partial(_fit, flow, recipe, splits, seed, verbose, callbacks)
    if replicas.is_chief(strategy):
        result = _train_and_write(flow, recipe, splits, output, saved_models, seed, fit)
    else:
        fit(folder=None)
        result = flow, None, None, None
    replicas.wait_for_chief(strategy)
    return result


def _train_and_write(flow, recipe, splits, output, saved_models, seed, fit):
    stem = f"{splits.name}-{recipe.model}"
    folder = run_folder.create(output, stem)
    config = {**dataclasses.asdict(recipe), "dataset": splits.name, "seed": seed}
    run_folder.write_json(folder / "config.json", {**config, "tfnvp": __version__})

    history = fit(folder)
    run_folder.save_model(flow, folder)
    if len(splits.event_shape) == 1:
        reference = scoring.make_reference(flow, splits.validation, splits.columns)
        scoring.write_reference(folder, reference)
    metrics = {
        "test": evaluate(flow, splits.test)._asdict(),
        "validation_loss": min(history["val_loss"]),
        "epochs": len(history["val_loss"]),
        "parameters": flow.count_params(),
        "rows": {part: len(getattr(splits, part)) for part in ("train", "validation", "test")},
    }
    run_folder.write_json(folder / "metrics.json", metrics)
    plotting.save_samples(folder / "samples.png", flow.sample(100, seed=seed))
    exported = flow.export(pathlib.Path(saved_models) / stem, card=run_folder.read_card(folder))
    return flow, metrics, folder, exported


def compile_flow(flow, recipe, rows):
    """Compiles a flow with the recipe's optimizer and schedule, for so many training rows."""
    steps = math.ceil(rows / recipe.batch_size)
    # On CPUs XLA more than doubles the step of convolutions.
    flow.compile(_optimizer(recipe, steps), jit_compile=recipe.model != "image_real_nvp")


def _fit(flow, recipe, splits, seed, verbose, more_callbacks, folder):
    """Fits, and on an interruption saves the best weights so far before it says so."""
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=recipe.patience, restore_best_weights=True
    )
    callbacks = [stopping, *more_callbacks]
    if folder is not None:
        callbacks.append(keras.callbacks.CSVLogger(folder / "history.csv"))
    if recipe.ema_momentum is not None:
        # First, so that the others see the averaged weights.
        callbacks.insert(0, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    try:
        return flow.fit(
            training_dataset(splits.train, splits.levels, recipe.batch_size, seed, splits.flip),
            epochs=recipe.epochs,
            validation_data=validation_dataset(splits),
            callbacks=callbacks,
            verbose=verbose,
        ).history
    except KeyboardInterrupt:
        if stopping.best_weights is None or folder is None:
            raise InterruptedError("training interrupted: nothing was written") from None
        flow.set_weights(stopping.best_weights)
        run_folder.save_model(flow, folder)
        raise InterruptedError(
            f"training interrupted: the best weights, of epoch {stopping.best_epoch + 1}, are in "
            f"{folder / run_folder.MODEL}"
        ) from None


def _optimizer(recipe, steps):
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=max(1, recipe.warmup_epochs * steps),
        decay_steps=max(1, (recipe.epochs - recipe.warmup_epochs) * steps),
    )
    return keras.optimizers.AdamW(
        schedule,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        weight_decay=recipe.weight_decay or 0.0,
        # Loose: it only catches explosions. The loss is in nats, so gradients are large.
        global_clipnorm=100.0,
        use_ema=recipe.ema_momentum is not None,
        ema_momentum=recipe.ema_momentum or 0.99,
    )


def validation_dataset(splits):
    """The validation split in batches, quantized data with noise that is always the same."""
    rows = splits.validation
    if splits.levels is not None:
        draws = _VALIDATION_DRAWS if rows.size < _MANY else 1
        rows = tf.concat(
            [dequantize(rows, splits.levels, seed=(1, i)) for i in range(draws)], axis=0
        )
    # Batches of one size, so that evaluation is compiled once.
    batch = min(len(splits.validation), 1000)
    return tf.data.Dataset.from_tensor_slices(rows).batch(batch).cache()
