"""Training by Keras' `fit`: no targets, the flow's own loss, many steps in one program."""

import functools
import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice, distribute, optimizers
from tfnvp._internals import BuiltModel
from tfnvp.fitting import batches, programs
from tfnvp.fitting.batches import Data
from tfnvp.fitting.divergence import StopOnNonFinite
from tfnvp.fitting.progress import with_bar
from tfnvp.inputs.conversion import column_names

# Names of the arguments that may follow the data by their places.
_FIT_ARGUMENTS = tuple(inspect.signature(keras.Model.fit).parameters)[3:]
_EVALUATE_ARGUMENTS = tuple(inspect.signature(keras.Model.evaluate).parameters)[3:]
_PREDICT_ARGUMENTS = tuple(inspect.signature(keras.Model.predict).parameters)[2:]


class MaximumLikelihood(BuiltModel):
    """The training of `Flow`, whose call gives `log p(x)`.

    It needs of the flow: `data_spec`, `adaptation`, `condition_scale`, `levels` with its metric,
    `event_size` and `uses_xla()`.
    """

    _steps_are_free = True

    def compile(
        self,
        optimizer: str = "adam",
        jit_compile: str = "auto",
        steps_per_execution: Any = None,
        **kwargs,
    ) -> None:
        """Configures training as `keras.Model.compile`; the loss is the flow's own.

        A flow made under a `tf.distribute` strategy of several replicas trains as in one process
        with the whole batch; `jit_compile` and `steps_per_execution` then have no effect.

        Args:
          optimizer: name or Keras optimizer; "adam" and "adamw" are those of `tfnvp.optimizers`.
          jit_compile: bool, whether XLA compiles the steps. "auto": where it is known to be
            faster, which is for flows whose networks are dense.
          steps_per_execution: int, how many batches run in one call, after which Keras calls its
            callbacks. Default: up to 64, the fewer the more variables a data point has, where XLA
            compiles and no callback follows single batches.
          **kwargs: further arguments of `keras.Model.compile`.

        Raises:
          ValueError: if a `loss` or a metric by name is given, or an optimizer that was made
            outside of the scope of the flow's strategy.
        """
        if kwargs.get("loss") is not None:
            raise ValueError(
                "a flow is trained on its own loss, the mean of -log p(x). "
                f"Received: loss={kwargs['loss']!r}"
            )
        for metrics in (kwargs.get("metrics"), kwargs.get("weighted_metrics")):
            if any(isinstance(metric, str) for metric in keras.tree.flatten(metrics)):
                raise ValueError(
                    "Keras' metrics by name compare predictions with targets, which a flow does "
                    "not have; a function of `(None, log_prob)` is a metric. "
                    f"Received: {metrics}"
                )
        strategy = self.distribute_strategy
        several = strategy.num_replicas_in_sync > 1
        if several:
            # Neither XLA nor Keras' loop over steps supports the sums over replicas.
            jit_compile, steps_per_execution = False, 1
        with strategy.scope():
            super().compile(
                optimizer=optimizers.get(optimizer),
                jit_compile=True if jit_compile == "auto" and self.uses_xla() else jit_compile,
                steps_per_execution=steps_per_execution or 1,
                **kwargs,
            )
        self._steps_are_free = steps_per_execution is None
        if several:
            distribute.check_optimizer(self.optimizer, strategy)
            distribute.sum_before_clipping(self.optimizer)

    def get_compile_config(self) -> dict:
        config = super().get_compile_config()
        # Empty before `compile`: then the loaded flow is not compiled, either.
        if config and self._steps_are_free:
            config["steps_per_execution"] = None
        return config

    def compile_from_config(self, config: Any) -> None:
        """Compiles as before saving, so that training continues with the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x: Any = None, y: Any = None, *args, **kwargs) -> keras.callbacks.History:
        """Trains by maximum likelihood, with the arguments of `keras.Model.fit`.

        Args:
          x: array `[batch, *event_shape]`, or a `tf.data.Dataset` or other Keras input of such
            batches, alone or paired with conditions.
          y: conditions `[batch, *condition_shape]` for a conditional flow, otherwise None.
          *args: further arguments of `keras.Model.fit`.
          **kwargs: further arguments of `keras.Model.fit`.

        Raises:
          ValueError: for data of the wrong shape or type, or that is not finite; and when the
            loss stops being finite, before any callback can save the broken weights.
        """
        arguments = kwargs | dict(zip(_FIT_ARGUMENTS, args, strict=False))
        if not self.compiled:
            raise ValueError("call `compile` before `fit`, for example `flow.compile('adam')`")
        if arguments.get("class_weight") is not None:
            raise ValueError("a flow has no classes to weigh: give `sample_weight` instead")
        names = column_names(x)
        weights = arguments.pop("sample_weight", None)
        data = Data(*self.data_spec.check(x, y, weights, training=True))
        held_out = self._held_out(arguments)
        if held_out is None:
            data, held_out = batches.split_validation(data, arguments.pop("validation_split", 0))
        self._initialize_and_advise(data, held_out, names)
        if held_out is not None:
            arguments["validation_data"] = batches.validation_for_keras(held_out, arguments)
        if self.optimizer is not None and not self.optimizer.built:
            # Variables that are created while a step is traced would cause a second trace.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        callbacks = self._training_callbacks(arguments.pop("callbacks", None), data, arguments)
        shuffle = arguments.get("shuffle", True)
        if isinstance(shuffle, bool):
            arguments = batches.for_keras(data, arguments, shuffle)
        else:
            arguments |= {"x": data.x, "y": data.targets, "sample_weight": data.sample_weight}
        if isinstance(arguments["x"], tf.data.Dataset):
            arguments.setdefault("shuffle", False)  # The data set has its own order.
        history = super().fit(callbacks=callbacks, **arguments)
        if self.levels is not None:
            last = {name: values[-1] for name, values in history.history.items() if values}
            advice.warn_of_negative_bits(last, self.levels)
        return history

    def _held_out(self, arguments: dict) -> Data | None:
        """Returns the checked `validation_data` of `fit`."""
        given = arguments.get("validation_data")
        if given is None:
            return None
        if isinstance(given, list) and all(hasattr(part, "__array__") for part in given):
            given = tuple(given)  # As Keras takes it.
        given = given if isinstance(given, tuple) else (given,)
        return Data(*self.data_spec.named("validation_data").check(*given, training=True))

    def _initialize_and_advise(self, data: Data, held_out: Data | None, names: Any) -> None:
        """Initialises what depends on data, and gives all advice on data before training."""
        spec = self.data_spec
        x, condition = data.parts
        if self.adaptation.is_needed:
            x, condition = batches.sample(data, self.adaptation_rows)
            if fault := spec.find_fault(x, condition):
                raise ValueError(
                    f"{fault} (in the {len(x)} rows that initialise the flow); for a "
                    "tf.data.Dataset, `dataset.apply(tfnvp.data.FiniteRows())` leaves out rows "
                    "that are not finite"
                )
            self.adaptation.run(spec.to_floats(x), condition, overwrite=False)
        if data.is_arrays:
            x, condition = data.parts
            if condition is not None and self.condition_shape is not None:
                advice.warn_of_labels(np.asarray(condition))
        if isinstance(x, (np.ndarray, tf.Tensor)):
            spec.advise_on_training_rows(np.asarray(x), names)
        self._advise_on_conditions(data)
        if held_out is not None and held_out.is_arrays:
            spec.named("validation_data").advise_on_rows(held_out.parts[0])
            self._advise_on_conditions(held_out)

    def _advise_on_conditions(self, data: Data) -> None:
        condition = data.parts[1] if data.is_arrays else None
        if condition is not None and self.condition_shape is not None and np.size(condition):
            self.condition_scale.advise(condition)

    def _training_callbacks(self, callbacks: Any, data: Data, arguments: dict) -> Any:
        """Returns the callbacks of `fit`, with those that watch the loss and show progress."""
        if isinstance(callbacks, keras.callbacks.CallbackList):
            return callbacks
        callbacks = keras.tree.flatten(callbacks) if callbacks else []
        guards = [c for c in callbacks if isinstance(c, StopOnNonFinite)]
        # Guards follow single batches only to see the first loss that is not finite.
        others = [c for c in callbacks if c not in guards]
        self._choose_steps(others, data, arguments)
        if not guards:
            guards = [StopOnNonFinite()]
            callbacks = guards + callbacks
        for guard in guards:
            guard.data = functools.partial(batches.as_dataset, data, arguments.get("batch_size"))
        if distribute.multi_worker(self.distribute_strategy):
            callbacks.append(distribute.FollowChief())
        return with_bar(callbacks, arguments.get("verbose"))

    def evaluate(self, x: Any = None, y: Any = None, *args, **kwargs) -> Any:
        """Returns the loss, and metrics, with the arguments of `keras.Model.evaluate`."""
        arguments = kwargs | dict(zip(_EVALUATE_ARGUMENTS, args, strict=False))
        data = Data(*self.data_spec.check(x, y, arguments.pop("sample_weight", None)))
        result = super().evaluate(**self._for_scoring(data, arguments))
        if self.levels is not None:
            found = {"bits_per_dim": float(self.bits_per_dim_metric.result())}
            advice.warn_of_negative_bits(found, self.levels)
        return result

    def predict(self, x: Any, *args, **kwargs) -> np.ndarray:
        """Returns `log p(x)` as an array, with the arguments of `keras.Model.predict`.

        Conditions go with the data in a dictionary, `{"x": ..., "condition": ...}`.
        """
        arguments = kwargs | dict(zip(_PREDICT_ARGUMENTS, args, strict=False))
        data = Data(*self.data_spec.check(x))
        return super().predict(**self._for_scoring(data, arguments))

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs
    ) -> float | list | dict:
        """One step on one batch; arguments of `keras.Model.train_on_batch`, conditions as `y`."""
        data = self.data_spec.check(x, y, sample_weight, training=True)
        return super().train_on_batch(*data, **kwargs)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs
    ) -> float | list | dict:
        """Loss of one batch; arguments of `keras.Model.test_on_batch`, conditions as `y`."""
        return super().test_on_batch(*self.data_spec.check(x, y, sample_weight), **kwargs)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Returns `log p(x)` of one batch, as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self.data_spec.check(x)[0])

    def _for_scoring(self, data: Data, arguments: dict) -> dict:
        if data.is_arrays:
            self.data_spec.advise_on_rows(data.parts[0])
            self._advise_on_conditions(data)
        callbacks = with_bar(arguments.pop("callbacks", None), arguments.get("verbose"))
        return batches.for_keras(data, arguments) | {"callbacks": callbacks}

    def _choose_steps(self, callbacks: list, data: Data, arguments: dict) -> None:
        """Sets `steps_per_execution` where `compile` left it open."""
        if not self._steps_are_free or not self._runs_in_xla():
            return
        limits = (arguments.get("steps_per_epoch"), arguments.get("validation_steps"))
        count = batches.count_batches(data, arguments.get("batch_size"))
        steps = programs.choose_steps(self.event_size, count, callbacks, *limits)
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def _runs_in_xla(self):
        return (
            self.jit_compile is True
            and not self.run_eagerly
            and self.distribute_strategy.num_replicas_in_sync == 1
        )

    def make_train_function(self, force: bool = False) -> None:
        own = type(self).train_step is MaximumLikelihood.train_step
        if (force or self.train_function is None) and own and self._runs_many():
            self.train_function = self._many(self.train_step)
        else:
            super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> None:
        own = type(self).test_step is MaximumLikelihood.test_step
        if (force or self.test_function is None) and own and self._runs_many():
            self.test_function = self._many(self.test_step)
        else:
            super().make_test_function(force)

    def _runs_many(self):
        return self.steps_per_execution > 1 and self._runs_in_xla()

    def _many(self, step):
        # The logs are the metrics; a subclass with its own step and logs uses Keras' loop.
        return programs.run_many(step, self.get_metrics_result, self.steps_per_execution)

    def train_step(self, data: Any) -> dict:
        logs = super().train_step(self.data_spec.unpack_batch(data))
        return distribute.as_step_logs(logs)

    def test_step(self, data: Any) -> dict:
        logs = super().test_step(self.data_spec.unpack_batch(data))
        return distribute.as_step_logs(logs)

    def predict_step(self, data: Any) -> tf.Tensor:
        return super().predict_step(self.data_spec.unpack_batch(data))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Mean of `-log p(x)` over the batch, in nats, plus the losses of regularizers."""
        del x, y, training
        nll = -y_pred
        if sample_weight is not None:
            weight = tf.cast(sample_weight, nll.dtype)
            usable = (weight >= 0) & (weight < np.inf)
            # A weight that is unusable makes the loss NaN, which ends training, without a gradient.
            nll = tf.where(usable, nll * tf.where(usable, weight, 0), np.nan)
        # Replicas' gradients are summed, so each must hold its share of the mean.
        count = tf.distribute.get_strategy().num_replicas_in_sync
        return distribute.share_of_mean(nll) + sum(self.losses) / count

    def compute_metrics(
        self, x: tf.Tensor, y: tf.Tensor, y_pred: Any, sample_weight: Any = None
    ) -> dict:
        if self.levels is not None:
            self.bits_per_dim_metric.update_state(y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)
