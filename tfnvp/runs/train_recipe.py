"""A training run from a recipe: data in, run folder and SavedModel out."""

import contextlib
import dataclasses
import os
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfnvp import distribute, plotting, scoring
from tfnvp._version import __version__
from tfnvp.arguments import check_choice
from tfnvp.callbacks.backup import Backup
from tfnvp.data import Epoch, training_dataset
from tfnvp.data.foreign_files import DamagedRecordsError
from tfnvp.data.record_stream import damage_named
from tfnvp.data.splits import Splits
from tfnvp.evaluation import evaluate
from tfnvp.export.card import SIGNATURE_FILE
from tfnvp.fitting.divergence import NonFiniteLossError, RollBackOnNonFinite
from tfnvp.flows import Flow
from tfnvp.recipes import Recipe
from tfnvp.runs import data_of_run, resuming
from tfnvp.runs.build import compile_flow, make_flow, start_from, validation_dataset
from tfnvp.runs.card import read_card
from tfnvp.runs.folder import RunFolder, require_writable, stem_of, unfinished
from tfnvp.runs.interruption import ending_between_steps

# How many times, at most, a diverged training goes back to good weights.
_ROLL_BACKS = {"stop": 0, "roll-back": 3}

# Callbacks whose state a backup includes.
_REMEMBERING = (keras.callbacks.EarlyStopping, RollBackOnNonFinite)

# Training rows that are hashed at a time.
_ROWS_TO_HASH = 10_000

# Samples in the picture of a run.
_SAMPLES = 100


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Further options of a training, besides its recipe, data, seed and folders.

    Attributes:
      callbacks: further Keras callbacks.
      strategy: `tf.distribute.Strategy`, see `tfnvp.distribute.make_strategy`; None: one replica.
      on_divergence: "stop", or "roll-back": see `tfnvp.callbacks.RollBackOnNonFinite`.
      start_from: path of a trained flow of the same recipe, whose weights this one begins with.
      source_of_data: dictionary kept in `config.json`, from which the data can be loaded again.

    Raises:
      ValueError: for another value of `on_divergence`.
    """

    callbacks: Sequence[keras.callbacks.Callback] = ()
    strategy: tf.distribute.Strategy | None = None
    on_divergence: str = "stop"
    start_from: str | os.PathLike | None = None
    source_of_data: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("on_divergence", self.on_divergence)


class TrainedRun(NamedTuple):
    """The result of `train`; unpacks as `flow, metrics, folder, exported`.

    Attributes:
      flow: the trained flow.
      metrics: contents of `metrics.json`.
      folder: path of the run folder.
      exported: path of the SavedModel.

    Of several workers only the first one writes files; on the others all but `flow` are None.
    """

    flow: Flow
    metrics: dict[str, Any] | None = None
    folder: pathlib.Path | None = None
    exported: pathlib.Path | None = None


def train(
    recipe: Recipe,
    splits: Splits,
    output: str | os.PathLike | None = None,
    saved_models: str | os.PathLike = "saved_models",
    seed: int = 0,
    verbose: str | int = "auto",
    resume: bool = False,
    options: RunOptions | None = None,
) -> TrainedRun:
    """Trains a flow by a recipe, and writes a run folder and a SavedModel.

    The run folder gets the files that `tfnvp.runs.folder` lists; `model.keras` has the weights
    with the best validation loss. The SavedModel goes to `SAVED_MODELS/NAME/VERSION`, with the
    name of the run folder, or DATASET-MODEL for a folder of the default name. During training,
    `backup.npz` holds what is needed to resume from the beginning of the current epoch, however
    the process ends.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      output: run folder; default: the next free `runs/DATASET-MODEL-N`, or with `resume` the
        newest unfinished run of the recipe on the data set.
      saved_models: folder of SavedModels.
      seed: int; on CPU the same seed gives the same weights.
      verbose: as in `keras.Model.fit`.
      resume: bool, resume the run in `output`; the result is that of a run that was never stopped.
        A folder that is empty or does not exist begins a new run.
      options: `RunOptions`.

    Returns:
      `TrainedRun`.

    Raises:
      ValueError: if `output` is not empty (without `resume`), or holds a run that is finished, in
        use, or another training (with it).
      OSError: if a folder cannot be written to, or a disk is full.
      InterruptedError: after Ctrl-C or SIGTERM.
      RuntimeError: if training diverged.

      The last three save the best weights first. If the run can be resumed, the error's attribute
      `unfinished_run` is its folder.
    """
    options = options or RunOptions()
    strategy = options.strategy or tf.distribute.get_strategy()
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        training = _Training(recipe, splits, seed, verbose, options)
    if distribute.is_chief(strategy):
        with _opened(training, output, saved_models, resume) as run:
            result = training.run(run, saved_models)
    else:
        training.fit()
        result = TrainedRun(training.flow)
    distribute.wait_for_chief(strategy)
    return result


@contextlib.contextmanager
def _opened(training, output, saved_models, resume):
    """Gives the folder of the run to resume, or a new one, with its configuration, and holds it."""
    recipe, splits = training.recipe, training.splits
    config = {**training.config(), "run": uuid.uuid4().hex}
    if resume:
        output = resuming.run_to_resume(output, recipe.name, splits.name).path
    if output is not None:
        RunFolder(output).served_name(splits.name, recipe.model)  # Fails before training.
    is_begun = resume and RunFolder(output).is_run
    if is_begun:
        run = RunFolder(output)
    else:
        run = RunFolder.create(output, stem_of(splits.name, recipe.model))
    require_writable(saved_models)
    with run.held():
        if (run.is_run, run.is_finished) != (is_begun, False):
            raise ValueError(f"{run.path} is in use: another process has just trained into it")
        if is_begun:
            resuming.check_same(run, config)
            config["run"] = run.config().get("run", config["run"])
        run.write_config(config)
        yield run


class _Training:
    """A flow in training: the state that fitting, saving and measuring share."""

    def __init__(self, recipe, splits, seed, verbose, options):
        self.recipe, self.splits, self.seed = recipe, splits, seed
        self.verbose, self.options = verbose, options
        self.flow, self.training_rows = make_flow(recipe, splits), None
        if options.start_from is not None:
            start_from(self.flow, options.start_from)
        compile_flow(self.flow, recipe, len(splits.train))
        self.stopping = keras.callbacks.EarlyStopping(
            patience=recipe.patience or recipe.epochs, restore_best_weights=True
        )

    def config(self):
        """Returns what `config.json` says of the run."""
        source = self.options.source_of_data.items()
        splits = self.splits
        intervals = {"bounds": splits.named_bounds(), "circular": splits.named_circles()}
        start = self.options.start_from
        return {
            **dataclasses.asdict(self.recipe),
            **({} if start is None else {"start_from": os.path.abspath(start)}),
            **{name: pairs for name, pairs in intervals.items() if pairs},
            "dataset": self.splits.name,
            **data_of_run.checksums(self.splits),
            "division": self.splits.division,
            "seed": self.seed,
            "source_of_data": {k: v if isinstance(v, int) else str(v) for k, v in source},
            "tfnvp": __version__,
        }

    def run(self, run, saved_models):
        """Trains, measures and exports; whatever stops it, the best weights are saved."""
        try:
            if len(self.splits.event_shape) == 1:
                # First: it reads all records, which can be damaged later.
                rows = self.splits.source().chunks(_ROWS_TO_HASH)
                self.training_rows = scoring.smallest_hashes(rows)
            self.fit(run)
            self.save(run)
            metrics = self.measure(run)
            samples = self.flow.sample(_SAMPLES, seed=self.seed)
            plotting.save_samples(run.samples, samples, self.flow.levels)
            name = run.served_name(self.splits.name, self.recipe.model)
            exported = self.publish(run, pathlib.Path(saved_models) / name)
        except KeyboardInterrupt:
            saved = self.save_best(run)
            raise unfinished(InterruptedError(f"training interrupted: {saved}"), run.path) from None
        except NonFiniteLossError as error:
            raise RuntimeError(
                f"{error}; {self.save_best(run)}. Remove the cause and train into another folder: "
                "a resumed run would diverge again"
            ) from error
        except (OSError, DamagedRecordsError) as error:
            saved = self.save_best(run)
            raise unfinished(OSError(f"training stopped, {error}; {saved}"), run.path) from error
        # Last: a run with a backup is unfinished.
        run.backup.unlink()
        return TrainedRun(self.flow, metrics, run.path, exported)

    def publish(self, run, path):
        """Exports the flow, unless this run has published it before it was stopped."""
        mark = f'"run": "{run.config()["run"]}"'
        for file in path.glob(f"[0-9]*/{SIGNATURE_FILE}"):
            if mark in file.read_text(errors="replace"):
                return file.parent
        return self.flow.export(path, card=read_card(run.path))

    def fit(self, run=None):
        """Fits the flow; in a run folder with a learning curve and a backup."""
        recipe, splits = self.recipe, self.splits
        guard = RollBackOnNonFinite(_ROLL_BACKS[self.options.on_divergence])
        epoch, begin = Epoch(), 0
        callbacks = [epoch, guard, self.stopping, *self.options.callbacks]
        if recipe.ema_momentum is not None:
            # First, so that the others see the averaged weights.
            callbacks.insert(0, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
        if run is not None:
            backup = Backup(run.backup, [c for c in callbacks if isinstance(c, _REMEMBERING)])
            begin = backup.epoch
            run.cut_history(begin)
            callbacks += [keras.callbacks.CSVLogger(run.history, append=True), backup]
        rows = training_dataset(
            splits.train, splits.levels, recipe.batch_size, self.seed, splits.flip, epoch=epoch
        )
        with ending_between_steps() as end, damage_named(splits.train):
            self.flow.fit(
                rows,
                initial_epoch=begin,
                epochs=recipe.epochs,
                validation_data=validation_dataset(splits).cache(),
                callbacks=[*callbacks, end],
                verbose=self.verbose,
            )

    def save(self, run):
        """Saves the model and, of a table, its columns and the reference for scores."""
        run.save_model(self.flow)
        if self.flow.distribute_strategy is not tf.distribute.get_strategy():
            # The flow that is measured and exported has plain variables, not one per replica.
            self.flow = run.load_model()
        if len(self.splits.event_shape) == 1:
            validation, columns = self.splits.validation, self.splits.columns
            reference = scoring.make_reference(self.flow, validation, columns)
            run.write_reference(reference._replace(training_rows=self.training_rows))

    def save_best(self, run):
        """Saves the best weights so far, and says where they are."""
        if self.stopping.best_weights is None:
            return "no epoch had ended"
        self.flow.set_weights(self.stopping.best_weights)
        try:
            self.save(run)
        except OSError as error:
            return f"the best weights are only in the backup, as the disk is full ({error})"
        return f"the best weights, of epoch {self.stopping.best_epoch + 1}, are in {run.model}"

    def measure(self, run):
        """Evaluates the trained flow, and writes `metrics.json`."""
        losses, parts = run.losses(), ("train", "validation", "test")
        metrics = {
            "test": evaluate(self.flow, self.splits.test)._asdict(),
            "validation_loss": min(losses),
            "epochs": len(losses),
            "best_epoch": losses.index(min(losses)) + 1,
            "parameters": self.flow.count_params(),
            "rows": {part: len(getattr(self.splits, part)) for part in parts},
        }
        run.write_metrics(metrics)
        return metrics
