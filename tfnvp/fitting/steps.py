"""Single steps of training and evaluation: the loss, the metrics, many steps in one program."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp import distribute
from tfnvp._internals import BuiltModel
from tfnvp.fitting import batches, programs
from tfnvp.fitting.batches import Data
from tfnvp.fitting.weights import relative


class Steps(BuiltModel):
    """The steps of `MaximumLikelihood`, for batches that `fit` brings and for single ones."""

    _steps_are_free = True

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs
    ) -> float | list | dict:
        """One step on one batch; arguments of `keras.Model.train_on_batch`, conditions as `y`."""
        data = Data(*self.data_spec.check(x, y, sample_weight, training=True))
        return super().train_on_batch(*relative(data), **kwargs)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs
    ) -> float | list | dict:
        """Loss of one batch; arguments of `keras.Model.test_on_batch`, conditions as `y`."""
        data = Data(*self.data_spec.check(x, y, sample_weight))
        return super().test_on_batch(*relative(data), **kwargs)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Returns `log p(x)` of one batch, as `keras.Model.predict_on_batch`."""
        return super().predict_on_batch(self.data_spec.check(x)[0])

    def _choose_steps(self, callbacks: list, data: Data, arguments: dict) -> None:
        """Sets `steps_per_execution` where `compile` left it open."""
        if not self._steps_are_free or not self._runs_in_xla():
            return
        limits = (arguments.get("steps_per_epoch"), arguments.get("validation_steps"))
        count = batches.count_batches(data, arguments.get("batch_size"))
        self._set_steps(programs.choose_steps(self.event_size, count, callbacks, *limits))

    def _stop_after(self, batches: int | None) -> None:
        """Lets a call end after some batches: Keras does not stop between those of one program."""
        if batches and self._steps_are_free:
            self._set_steps(math.gcd(batches, self.steps_per_execution))

    def _set_steps(self, steps):
        if steps != self.steps_per_execution:
            self.steps_per_execution = steps
            # Keras' functions keep the number of steps with which they were made.
            for name in ("train", "test", "predict"):
                if not self._is_own(name):
                    setattr(self, f"{name}_function", None)

    def _runs_in_xla(self):
        return (
            self.jit_compile is True
            and not self.run_eagerly
            and self.distribute_strategy.num_replicas_in_sync == 1
        )

    def _is_own(self, name):
        """Whether the step is that of this class, whose logs are the metrics."""
        return getattr(type(self), f"{name}_step") is getattr(Steps, f"{name}_step")

    def make_train_function(self, force: bool = False) -> None:
        if not self._make_own("train", force):
            super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> None:
        if not self._make_own("test", force):
            super().make_test_function(force)

    def make_predict_function(self, force: bool = False) -> None:
        if not (self._is_own("predict") and self._runs_in_xla()):
            super().make_predict_function(force)
        elif force or self.predict_function is None:
            self.predict_function = programs.run_each(self.predict_step)

    def _make_own(self, name, force):
        """Makes a function of many steps where XLA compiles it; returns whether it did."""
        if not (self._is_own(name) and self._runs_in_xla()):
            return False
        if force or getattr(self, f"{name}_function") is None:
            step = getattr(self, f"{name}_step")
            many = programs.run_many(
                step, self.get_metrics_result, lambda: self.steps_per_execution
            )
            setattr(self, f"{name}_function", many)
        return True

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
        """Mean of `-log p(x)` over the batch, in nats, plus the losses of regularizers.

        Weights have the mean 1 over the data set, see `tfnvp.fitting.weights`.
        """
        del x, y, training
        nll = -y_pred
        if sample_weight is not None:
            nll = -_without_zero_weights(y_pred, sample_weight)
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
            counted = _without_zero_weights(y_pred, sample_weight)
            self.bits_per_dim_metric.update_state(counted, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)


def _without_zero_weights(log_prob, weight):
    """Returns log-densities without the -inf of rows whose weight is 0, which do not count."""
    if weight is None:
        return log_prob
    left_out = (tf.cast(weight, log_prob.dtype) == 0) & (log_prob == -np.inf)
    return tf.where(left_out, tf.zeros_like(log_prob), log_prob)
