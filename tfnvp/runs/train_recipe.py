"""A training run from a recipe: data in, run folder and SavedModel out."""

import dataclasses
import functools
import inspect
import math
import pathlib

import keras
import tensorflow as tf

from tfnvp import bases, optimizers, plotting, recipes, scoring
from tfnvp.runs import learning_curve
from tfnvp import distribute
from tfnvp.runs import resuming
from tfnvp.runs import card as run_card
from tfnvp.runs import folder as run_folder
from tfnvp._version import __version__
from tfnvp.callbacks.backup import Backup
from tfnvp.data import Epoch, dequantize, training_dataset
from tfnvp.evaluation import evaluate
from tfnvp.flows import NICE, ImageRealNVP, RealNVP
from tfnvp.fitting.divergence import RollBackOnNonFinite
from tfnvp.fitting.divergence import NonFiniteLossError

MODELS = {"nice": NICE, "real_nvp": RealNVP, "image_real_nvp": ImageRealNVP}

# Numbers in the validation set above which one draw of dequantization noise says enough.
_MANY = 2**20
_VALIDATION_DRAWS = 5

# How often to go back at most, where training diverges.
_ROLL_BACKS = {"stop": 0, "roll-back": 3}

# The most of all steps that warm-up takes, and that the average of weights spans.
_WARMUP_SHARE = 1 / 5
_AVERAGED_SHARE = 2 / 3

# How many training rows a learned base starts from.
_ROWS_FOR_BASE = 5000

# Patterns of the names of weights that weight decay leaves alone.
_NOT_DECAYED = ("bias", "scale", "shift", "gamma", "beta", "^loc$", "logits")

# Options that the data decides, and fields that change nothing.
_OF_DATA = ("event_shape", "image_shape", "levels", "condition_shape", "name")
_WORDS = ("name", "description", "options", "published", "source")

_REMEMBERING = (keras.callbacks.EarlyStopping, RollBackOnNonFinite)


def make_flow(recipe, splits):
    """Returns the recipe's flow for the data's shape and levels, untrained.

    The base "logistic_mixture" is that of `tfnvp.bases`, started from training data.

    Raises:
      ValueError: for options that the model does not have, or data that it is not for.
    """
    options = dict(recipe.options)
    known = [n for n in inspect.signature(MODELS[recipe.model]).parameters if n not in _OF_DATA]
    if unknown := [name for name in options if name not in known]:
        fields = [name for name in recipes.FIELDS if name not in _WORDS]
        raise ValueError(
            f"{recipe.model} has no option {unknown[0]!r}: it has {', '.join(known)}; fields of "
            f"recipes are {', '.join(fields)}"
        )
    if splits.levels is not None:
        options["levels"] = splits.levels
    elif options.get("logit_alpha") is not None:
        raise ValueError(
            f"the recipe {recipe.name} is for pixels: its logit takes numbers from 0 to 1. "
            f"Received: the table {splits.name}; realnvp-table is for tables"
        )
    make = functools.partial(MODELS[recipe.model], splits.event_shape)
    if options.get("base") == "logistic_mixture":
        rows = splits.train[:_ROWS_FOR_BASE]
        if splits.levels is not None:
            rows = dequantize(rows, splits.levels, seed=(3, 0))
        started = make(**{**options, "base": "normal"})
        started.adapt(rows)
        options["base"] = bases.logistic_mixture(started.encode(rows))
    return make(**options)


def train(
    recipe,
    splits,
    output=None,
    saved_models="saved_models",
    seed=0,
    verbose="auto",
    callbacks=(),
    strategy=None,
    resume=False,
    on_divergence="stop",
    source_of_data=None,
):
    """Trains a flow by a recipe and writes everything it leaves behind.

    The run folder gets `config.json`, `history.csv`, `model.keras` (the weights that did best on
    the validation split), `metrics.json`, of images and points `samples.png`, of tables
    `reference.json` for `tfnvp score`; the SavedModel goes to `SAVED_MODELS/NAME/VERSION`, with the
    name of the run folder, or DATASET-MODEL for a folder of the default name. While training
    runs, `backup.npz` holds what it needs to go on from the epoch that last began, whenever and
    however the process ends.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      output: run folder; default: the next free `runs/DATASET-MODEL-N`, or with `resume` the
        newest unfinished run of the recipe on the data set.
      saved_models: folder of SavedModels.
      seed: int; on CPU the same seed gives the same weights.
      verbose: as in `keras.Model.fit`.
      callbacks: further Keras callbacks.
      strategy: `tf.distribute.Strategy`, see `tfnvp.distribute.make_strategy`; default: one replica.
      resume: bool, go on with the run in `output`; the result is that of a run never stopped.
        A folder that is not there or empty begins a new run.
      on_divergence: "stop", or "roll-back": see `tfnvp.callbacks.RollBackOnNonFinite`.
      source_of_data: dictionary kept in `config.json`, from which the command line finds the data
        again.

    Returns:
      `(flow, metrics, folder, exported)`: the trained flow, the contents of `metrics.json`, and
      the paths of run folder and SavedModel. Of several workers only the first writes; the others
      return the flow and None.

    Raises:
      ValueError: if `output` holds something (without `resume`), or a run that is finished, in
        use, or another training (with it).
      OSError: if a folder cannot be written to, or a disk is full.
      InterruptedError: after Ctrl-C or SIGTERM, with the best weights saved.
      RuntimeError: if training diverged, with the best weights saved.
    """
    if on_divergence not in _ROLL_BACKS:
        raise ValueError(
            f"`on_divergence` must be one of {', '.join(_ROLL_BACKS)}. Received: {on_divergence!r}"
        )
    strategy = strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        flow = make_flow(recipe, splits)
        compile_flow(flow, recipe, len(splits.train))
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=recipe.patience or recipe.epochs, restore_best_weights=True
    )
    guard = RollBackOnNonFinite(_ROLL_BACKS[on_divergence])
    fit = functools.partial(
        _fit, flow, recipe, splits, seed, verbose, [guard, stopping, *callbacks]
    )
    if distribute.is_chief(strategy):
        source = {
            name: value if isinstance(value, int) else str(value)
            for name, value in (source_of_data or {}).items()
        }
        folder = _open(recipe, splits, output, saved_models, seed, resume, source)
        with run_folder.held(folder):
            result = _train_and_write(
                flow, recipe, splits, folder, saved_models, seed, stopping, fit
            )
    else:
        fit(folder=None)
        result = flow, None, None, None
    distribute.wait_for_chief(strategy)
    return result


def _open(recipe, splits, output, saved_models, seed, resume, source_of_data):
    """Returns the run folder: that of the run to resume, or a new one with its `config.json`."""
    config = {
        **dataclasses.asdict(recipe),
        "dataset": splits.name,
        "data_crc32": resuming.fingerprint(splits),
        "seed": seed,
        "source_of_data": source_of_data,
        "tfnvp": __version__,
    }
    if resume and output is None:
        output = resuming.newest_unfinished(recipe.name, splits.name)
    if output is not None:
        run_folder.served_name(output, splits.name, recipe.model)  # Fails now, or never.
    if resume and resuming.is_run(output):
        folder = pathlib.Path(output)
        resuming.check_same(folder, config)
    else:
        folder = run_folder.create(output, run_folder.stem(splits.name, recipe.model))
    run_folder.require_writable(saved_models)
    with run_folder.held(folder):
        run_folder.write_json(folder / "config.json", config)
    return folder


def _train_and_write(flow, recipe, splits, folder, saved_models, seed, stopping, fit):
    try:
        fit(folder)
        flow = _save(flow, splits, folder)
        metrics = _measure(flow, splits, folder)
        plotting.save_samples(folder / "samples.png", flow.sample(100, seed=seed), flow.levels)
        name = run_folder.served_name(folder, splits.name, recipe.model)
        exported = flow.export(pathlib.Path(saved_models) / name, card=run_card.read_card(folder))
    except KeyboardInterrupt:
        raise InterruptedError(
            f"training interrupted: {_save_best(flow, stopping, splits, folder)}"
        ) from None
    except NonFiniteLossError as error:
        mended = "Mend the cause and train into another folder: --resume would end in the same"
        saved = _save_best(flow, stopping, splits, folder, mended)
        raise RuntimeError(f"{error}; {saved}") from error
    except OSError as error:
        saved = _save_best(flow, stopping, splits, folder)
        raise OSError(f"training stopped, {error}; {saved}") from error
    # Last: as long as it is there, the run is unfinished.
    (folder / resuming.BACKUP).unlink()
    return flow, metrics, folder, exported


def compile_flow(flow, recipe, rows):
    """Compiles a flow with the recipe's optimizer and schedule, for so many training rows."""
    flow.compile(_optimizer(recipe, math.ceil(rows / recipe.batch_size)))


def _fit(flow, recipe, splits, seed, verbose, callbacks, folder):
    """Fits; in a folder, with a learning curve, and a backup from which it goes on."""
    epoch, begin = Epoch(), 0
    callbacks = [epoch, *callbacks]
    if recipe.ema_momentum is not None:
        # First, so that the others see the averaged weights.
        callbacks.insert(0, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if folder is not None:
        remembering = [c for c in callbacks if isinstance(c, _REMEMBERING)]
        backup = Backup(folder / resuming.BACKUP, remembering)
        begin = backup.epoch
        history = folder / "history.csv"
        learning_curve.cut(history, begin)
        callbacks += [keras.callbacks.CSVLogger(history, append=True), backup]
    flow.fit(
        training_dataset(
            splits.train, splits.levels, recipe.batch_size, seed, splits.flip, epoch=epoch
        ),
        initial_epoch=begin,
        epochs=recipe.epochs,
        validation_data=validation_dataset(splits),
        callbacks=callbacks,
        verbose=verbose,
    )


def _measure(flow, splits, folder):
    """Evaluates the trained flow, and writes `metrics.json`."""
    losses = learning_curve.read(folder / "history.csv", "val_loss")
    metrics = {
        "test": evaluate(flow, splits.test)._asdict(),
        "validation_loss": min(losses),
        "epochs": len(losses),
        "best_epoch": losses.index(min(losses)) + 1,
        "parameters": flow.count_params(),
        "rows": {part: len(getattr(splits, part)) for part in ("train", "validation", "test")},
    }
    run_folder.write_json(folder / "metrics.json", metrics)
    return metrics


def _save(flow, splits, folder):
    """Saves the model and, of a table, columns and reference; returns the flow to measure."""
    run_folder.save_model(flow, folder)
    if flow.distribute_strategy is not tf.distribute.get_strategy():
        # What is measured and exported has plain variables, not one for each replica.
        flow = run_folder.load_model(folder)
    if len(splits.event_shape) == 1:
        reference = scoring.make_reference(flow, splits.validation, splits.columns)
        scoring.write_reference(folder, reference)
    return flow


def _save_best(flow, stopping, splits, folder, go_on=None):
    """Saves the best weights so far; returns where they are, and how to go on, as a sentence."""
    go_on = go_on or f"`tfnvp train --resume --output {folder}` goes on"
    if stopping.best_weights is None:
        return f"no epoch had ended. {go_on}"
    flow.set_weights(stopping.best_weights)
    try:
        _save(flow, splits, folder)
    except OSError as error:
        return f"the best weights are only in the backup, there was no room ({error}). {go_on}"
    return (
        f"the best weights, of epoch {stopping.best_epoch + 1}, are in "
        f"{folder / run_folder.MODEL}. {go_on}"
    )


def _optimizer(recipe, steps):
    """The recipe's, for so many steps an epoch; short trainings warm up and average less."""
    total = recipe.epochs * steps
    warmup = max(1, min(recipe.warmup_epochs * steps, int(total * _WARMUP_SHARE)))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, total - warmup),
    )
    optimizer = optimizers.AdamW(
        schedule,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        weight_decay=recipe.weight_decay or 0.0,
        global_clipnorm=recipe.clipnorm,
        use_ema=recipe.ema_momentum is not None,
        ema_momentum=min(recipe.ema_momentum or 0.99, max(0.0, 1 - 1 / (_AVERAGED_SHARE * total))),
    )
    # As usual, only matrices and filters decay: a learned scale has no reason to tend to 1.
    optimizer.exclude_from_weight_decay(var_names=_NOT_DECAYED)
    return optimizer


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
