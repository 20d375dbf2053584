"""Training by Keras' `fit`: no targets, the flow's own loss, many steps in one program."""

import functools
import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import _internals, advice, distribute, optimizers
from tfnvp.fitting import batches
from tfnvp.fitting.batches import Data
from tfnvp.fitting.divergence import StopOnNonFinite
from tfnvp.fitting.divergence_causes import REMEDY
from tfnvp.fitting.progress import with_bar
from tfnvp.fitting.steps import Steps
from tfnvp.fitting.weights import relative
from tfnvp.inputs.columns import largest_error
from tfnvp.inputs.conversion import column_names

# Names of the arguments that may follow the data by their places.
_FIT_ARGUMENTS = tuple(inspect.signature(keras.Model.fit).parameters)[3:]
_EVALUATE_ARGUMENTS = tuple(inspect.signature(keras.Model.evaluate).parameters)[3:]
_PREDICT_ARGUMENTS = tuple(inspect.signature(keras.Model.predict).parameters)[2:]


class MaximumLikelihood(Steps):
    """The training of `Flow`, whose call gives `log p(x)`.

    It needs of the flow: `data_spec`, `adaptation`, `condition_scale`, `levels` with its metric,
    `event_size` and `uses_xla()`.
    """

    def compile(
        self,
        optimizer: str | keras.Optimizer = "adam",
        jit_compile: bool | str = "auto",
        steps_per_execution: Any = None,
        **kwargs,
    ) -> None:
        """Configures training as `keras.Model.compile`; the loss is the flow's own.

        A flow made under a `tf.distribute` strategy of several replicas trains as in one process
        with the whole batch; `jit_compile` and `steps_per_execution` then have no effect.

        Args:
          optimizer: name or Keras optimizer; "adam", "adamw" and "muon" are those of
            `tfnvp.optimizers`.
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
            `sample_weight`, `[batch]`, is relative: the loss is `sum(w * nll) / sum(w)` over the
            data set, the same for any common factor of the weights.
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
        given, data = data, relative(data, arguments.get("steps_per_epoch"))
        self._initialize_and_advise(data, held_out, names)
        if held_out is not None:
            held_out = relative(held_out, arguments.get("validation_steps"))
            arguments["validation_data"] = batches.validation_for_keras(held_out, arguments)
        if self.optimizer is not None and not self.optimizer.built:
            # Variables that are created while a step is traced would cause a second trace.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        callbacks = self._training_callbacks(arguments.pop("callbacks", None), given, arguments)
        shuffle = arguments.get("shuffle", True)
        if isinstance(shuffle, bool):
            arguments = batches.for_keras(data, arguments, shuffle)
        else:
            arguments |= {"x": data.x, "y": data.targets, "sample_weight": data.sample_weight}
        if isinstance(arguments["x"], tf.data.Dataset):
            arguments.setdefault("shuffle", False)  # The data set has its own order.
        history = super().fit(callbacks=callbacks, **arguments)
        if held_out is not None and held_out.is_arrays:
            self._advise_on_round_trip(held_out)
        if self.levels is not None:
            last = {name: values[-1] for name, values in history.history.items() if values}
            advice.warn_of_negative_bits(last, self.levels)
        return history

    @property
    def _has_trained(self) -> bool:
        """Whether the optimizer has taken a step."""
        optimizer = getattr(self, "optimizer", None)
        # `int` takes no variable of several replicas.
        return optimizer is not None and int(tf.convert_to_tensor(optimizer.iterations)) > 0

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
                    f"{fault} (in the {len(x)} rows that initialise the flow). For a "
                    f"tf.data.Dataset, {REMEDY}"
                )
            self.adaptation.run(spec.to_floats(x), condition, overwrite=False)
            self.adaptation.advise(x, condition, names)
        if data.is_arrays:
            x, condition = data.parts
            if condition is not None and self.condition_shape is not None:
                self.condition_scale.advise_on_labels(condition)
        elif x is data.x and not self._has_trained:
            x = batches.first_rows(data, self.event_shape)
        if isinstance(x, (np.ndarray, tf.Tensor)):
            spec.advise_on_training_rows(np.asarray(x), names)
        self._advise_on_conditions(data)
        if held_out is not None and held_out.is_arrays:
            spec.named("validation_data").advise_on_rows(held_out.parts[0])
            self._advise_on_conditions(held_out)

    def _advise_on_conditions(self, data: Data) -> None:
        condition = data.parts[1] if data.is_arrays else None
        if condition is not None and self.condition_shape is not None:
            self.condition_scale.advise(condition)

    def _advise_on_round_trip(self, data: Data) -> None:
        """Warns if a trained flow does not give back validation rows; a few of them are enough."""
        rows = min(256, max(2, 2**16 // self.event_size))
        parts = data.map(lambda part: part[:rows]).parts
        x = self.data_spec.to_floats(parts[0])
        x, condition = self.data_spec.prepare(x, parts[1], self.embed_condition)
        back, _ = self._forward(self._inverse(x, condition)[0], condition)
        advice.warn_of_round_trip(largest_error(x, self.data_spec.data_side.nearest(back, x)))

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
        if _internals.is_validation_in_fit(arguments):  # `fit` has prepared the data.
            return super().evaluate(x, y, **arguments)
        data = Data(*self.data_spec.check(x, y, arguments.pop("sample_weight", None)))
        data = relative(data, arguments.get("steps"))
        result = super().evaluate(**self._for_scoring(data, arguments, column_names(x)))
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
        return super().predict(**self._for_scoring(data, arguments, column_names(x)))

    def _for_scoring(self, data: Data, arguments: dict, names: list[str] | None) -> dict:
        if data.is_arrays:
            self.data_spec.advise_on_rows(data.parts[0], names)
            self._advise_on_conditions(data)
        self._stop_after(arguments.get("steps"))
        callbacks = with_bar(arguments.pop("callbacks", None), arguments.get("verbose"))
        return batches.for_keras(data, arguments) | {"callbacks": callbacks}
