"""Training by Keras' `fit`: no targets, the flow's own loss, many steps in one program."""

import functools
import inspect

import keras
import tensorflow as tf

from tfnvp import distribute, optimizers, quantization
from tfnvp.fitting import batches as array_batches
from tfnvp.fitting import programs as compiled_steps
from tfnvp.fitting import training_data
from tfnvp.fitting.divergence import StopOnNonFinite
from tfnvp.fitting.progress import with_bar
from tfnvp.inputs import spec as inputs

# Names of the arguments that may follow the data by their places.
_FIT_ARGUMENTS = tuple(inspect.signature(keras.Model.fit).parameters)[3:]
_EVALUATE_ARGUMENTS = tuple(inspect.signature(keras.Model.evaluate).parameters)[3:]
_PREDICT_ARGUMENTS = tuple(inspect.signature(keras.Model.predict).parameters)[2:]


class MaximumLikelihood(keras.Model):
    """The training of `Flow`, whose call gives `log p(x)`.

    It needs of the flow: `uses_xla()`, `event_size`, `levels` with its metric, `adaptation`.
    """

    _steps_are_free = True

    def compile(self, optimizer="adam", jit_compile="auto", steps_per_execution=None, **kwargs):
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
                    "Keras' metrics by name compare predictions with targets, which a flow has "
                    "not; a function of `(None, log_prob)` is a metric. "
                    f"Received: {metrics}"
                )
        strategy = self.distribute_strategy
        several = strategy.num_replicas_in_sync > 1
        if several:
            # Neither XLA nor Keras' loop over steps can hold the sums over replicas.
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

    def get_compile_config(self):
        config = super().get_compile_config()
        # Empty before `compile`: a flow that was not compiled is not when it is loaded.
        if config and self._steps_are_free:
            config["steps_per_execution"] = None
        return config

    def compile_from_config(self, config):
        """Compiles as before saving, so that training goes on with the optimizer's state."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def fit(self, x=None, y=None, *args, **kwargs):
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
        kwargs.update(zip(_FIT_ARGUMENTS, args, strict=False))
        if not self.compiled:
            raise ValueError("call `compile` before `fit`, for example `flow.compile('adam')`")
        if kwargs.get("class_weight") is not None:
            raise ValueError("a flow has no classes to weigh: give `sample_weight` instead")
        names = training_data.variable_names(x)
        x, y = training_data.from_tables((x, y))
        training_data.check(self, x, y)
        training_data.check_variables(self, x, y, names)
        training_data.check_weights(x, kwargs.get("sample_weight"))
        x, y, kwargs = array_batches.without_validation_rows(x, y, kwargs)
        if (held_out := kwargs.get("validation_data")) is not None:
            kwargs["validation_data"] = array_batches.checked_validation(self, held_out)
        self.adaptation.run_once(self, x, y)
        training_data.warn_of_conditions(self, x, y)
        if held_out is not None:
            training_data.warn_of_conditions(self, *kwargs["validation_data"][:2])
            kwargs["validation_data"] = array_batches.validation_in_batches(kwargs)
        if self.optimizer is not None and not self.optimizer.built:
            # Variables made while a step is traced would have it traced a second time.
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        callbacks = kwargs.pop("callbacks", None)
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.tree.flatten(callbacks) if callbacks else []
            guards = [c for c in callbacks if isinstance(c, StopOnNonFinite)]
            # They follow single batches only to see the first loss that is not finite.
            batches = training_data.count_batches(x, kwargs)
            self._choose_steps([c for c in callbacks if c not in guards], batches, kwargs)
            if not guards:
                guards = [StopOnNonFinite()]
                callbacks = guards + callbacks
            for guard in guards:
                guard.data = functools.partial(
                    training_data.as_dataset, x, y, kwargs.get("batch_size")
                )
            if distribute.multi_worker(self.distribute_strategy):
                callbacks.append(distribute.FollowChief())
        y = inputs.targets_beside_weights(y, kwargs.get("sample_weight"))
        shuffle = kwargs.get("shuffle", True)
        if isinstance(shuffle, bool):
            x, y, kwargs = array_batches.in_batches(x, y, kwargs, shuffle)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # The data set has its own order.
        callbacks = with_bar(callbacks, kwargs.get("verbose"))
        history = super().fit(x, y, callbacks=callbacks, **kwargs)
        if self.levels is not None:
            last = {name: values[-1] for name, values in history.history.items() if values}
            quantization.warn_of_negative(last, self.levels)
        return history

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """Returns the loss, and metrics, with the arguments of `keras.Model.evaluate`."""
        kwargs.update(zip(_EVALUATE_ARGUMENTS, args, strict=False))
        x, y = training_data.from_tables((x, y))
        training_data.check(self, x, y, finite=False)
        training_data.warn_of_conditions(self, x, y)
        training_data.check_weights(x, kwargs.get("sample_weight"))
        y = inputs.targets_beside_weights(y, kwargs.get("sample_weight"))
        x, y, kwargs = array_batches.in_batches(x, y, kwargs)
        callbacks = with_bar(kwargs.pop("callbacks", None), kwargs.get("verbose"))
        result = super().evaluate(x, y, callbacks=callbacks, **kwargs)
        if self.levels is not None:
            found = {"bits_per_dim": float(self.bits_per_dim_metric.result())}
            quantization.warn_of_negative(found, self.levels)
        return result

    def predict(self, x, *args, **kwargs):
        """Returns `log p(x)` as an array, with the arguments of `keras.Model.predict`.

        Conditions go with the data in a dictionary, `{"x": ..., "condition": ...}`.
        """
        kwargs.update(zip(_PREDICT_ARGUMENTS, args, strict=False))
        x = training_data.from_tables(x)
        training_data.check(self, x, None, finite=False)
        training_data.warn_of_conditions(self, x, None)
        x, _, kwargs = array_batches.in_batches(x, None, kwargs)
        callbacks = with_bar(kwargs.pop("callbacks", None), kwargs.get("verbose"))
        return super().predict(x, callbacks=callbacks, **kwargs)

    def _choose_steps(self, callbacks, batches, arguments):
        """Sets `steps_per_execution` where `compile` left it open."""
        if not self._steps_are_free or not self._runs_in_xla():
            return
        limits = (arguments.get("steps_per_epoch"), arguments.get("validation_steps"))
        steps = compiled_steps.choose(self.event_size, batches, callbacks, *limits)
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            self.train_function = self.test_function = None

    def _runs_in_xla(self):
        return (
            self.jit_compile is True
            and not self.run_eagerly
            and self.distribute_strategy.num_replicas_in_sync == 1
        )

    def make_train_function(self, force=False):
        own = type(self).train_step is MaximumLikelihood.train_step
        if (force or self.train_function is None) and own and self._runs_many():
            self.train_function = self._many(self.train_step)
        else:
            super().make_train_function(force)

    def make_test_function(self, force=False):
        own = type(self).test_step is MaximumLikelihood.test_step
        if (force or self.test_function is None) and own and self._runs_many():
            self.test_function = self._many(self.test_step)
        else:
            super().make_test_function(force)

    def _runs_many(self):
        return self.steps_per_execution > 1 and self._runs_in_xla()

    def _many(self, step):
        # The logs of a step are the metrics: a subclass with steps and logs of its own is Keras'.
        return compiled_steps.run_many(step, self.get_metrics_result, self.steps_per_execution)

    def train_step(self, data):
        logs = super().train_step(inputs.condition_from_targets(self, data))
        return distribute.as_step_logs(logs)

    def test_step(self, data):
        logs = super().test_step(inputs.condition_from_targets(self, data))
        return distribute.as_step_logs(logs)

    def predict_step(self, data):
        return super().predict_step(inputs.condition_from_targets(self, data))

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: a flow has its weights from the start.

        Keras' own reads a batch for it under `tf.distribute`, and fails on dictionaries.
        """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Mean of `-log p(x)` over the batch, in nats, plus the losses of regularizers."""
        del x, y, training
        nll = -y_pred
        if sample_weight is not None:
            nll *= tf.cast(sample_weight, nll.dtype)
        # Replicas' gradients are summed, so each must hold its share of the mean.
        count = tf.distribute.get_strategy().num_replicas_in_sync
        return distribute.share_of_mean(nll) + sum(self.losses) / count

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if self.levels is not None:
            self.bits_per_dim_metric.update_state(y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)
