"""Stops training at a loss that is not finite, or goes back to the last good weights."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfnvp import _internals, advice
from tfnvp.arguments import check_int
from tfnvp.fitting.divergence_causes import find_bad_data, find_explosion

_Schedule = keras.optimizers.schedules.LearningRateSchedule


class NonFiniteLossError(ValueError):
    """The loss of a flow became NaN or infinite in training."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteLossError` before other callbacks can save broken weights.

    The message has epoch and batch, and names the first row of the data that is not finite, if
    there is one. `Flow.fit` adds this callback itself, unless it gets one of this class.

    Attributes:
      data: function that returns the data as a `tf.data.Dataset`, or None; set by `Flow.fit`.
    """

    def __init__(self):
        super().__init__()
        self.data = lambda: None
        self._epoch = 0
        self._empty = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._empty = False
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self._on_loss(loss, batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._empty:
            raise ValueError("the training data is empty: it gave no batch")
        loss = float((logs or {}).get("val_loss", 0.0))
        if not math.isfinite(loss):
            self._on_validation_loss(loss)

    def _on_loss(self, loss, batch):
        bad = find_bad_data(self.model, self.data(), batch + 1)
        cure = (
            "Lower the learning rate, clip gradients (`global_clipnorm`), or give `fit` the "
            "callback `tfnvp.callbacks.RollBackOnNonFinite()`, which finds the cause"
        )
        raise NonFiniteLossError(f"training stopped: {self._what(loss, batch)}. {bad or cure}")

    def _on_validation_loss(self, loss):
        raise NonFiniteLossError(
            f"training stopped: the validation loss became {loss} in epoch {self._epoch + 1}. Look "
            "for validation data that is not finite or out of range; if there "
            "is none, lower the learning rate"
        )

    def _what(self, loss, batch):
        # If several batches run in one program, Keras calls callbacks only after the last of them.
        single = self.model.steps_per_execution == 1
        last = min(batch + 1, self.params.get("steps") or batch + 1)
        return (
            f"the loss became {loss} in epoch {self._epoch + 1}, batch {last}"
            f"{'' if single else ' at the latest'}"
        )


@keras.saving.register_keras_serializable("tfnvp")
class ScaledSchedule(_Schedule):
    """A learning-rate schedule multiplied by a factor.

    >>> import keras
    >>> schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    >>> float(ScaledSchedule(schedule, 0.1)(1))
    0.05000000074505806
    """

    def __init__(self, schedule: Any, factor: float):
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        return self.factor * self.schedule(step)

    def get_config(self) -> dict:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "factor": self.factor}

    @classmethod
    def from_config(cls, config: dict) -> "ScaledSchedule":
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(schedule, config["factor"])


class RollBackOnNonFinite(StopOnNonFinite):
    """Restores the weights of the beginning of the epoch where the loss becomes NaN or infinite.

    The learning rate, a number or a schedule, is lowered, training continues with the next batch,
    and a warning names the coupling whose log-scale exploded, or the first bijector whose output
    is not finite; to find it, the steps of the epoch are repeated. Data that is not finite, or
    outside of the flow's range, stops training at once.

    It keeps a copy of weights and optimizer state in memory. Among the callbacks it must come after
    `keras.callbacks.SwapEMAWeights` and before `tfnvp.callbacks.Backup`.

    Args:
      times: int, how often to go back at most. With 0, training stops with the good weights, and
        the error names the cause.
      factor: float in (0, 1), by which the learning rate is multiplied each time.

    Raises:
      ValueError: for arguments out of range.
      NonFiniteLossError: from `fit`, if the loss is not finite once more, or the validation loss of
        the first epoch, or the data.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> flow.compile("adam")
    >>> _ = flow.fit(np.eye(2, dtype="float32"), callbacks=[RollBackOnNonFinite()], verbose=0)

    Source: tfnvp.
    """

    #: Attributes that `tfnvp.callbacks.Backup` saves.
    state_attributes = ("rolled_back",)

    def __init__(self, times: int = 3, factor: float = 0.3):
        super().__init__()
        check_int("times", times, least=0)
        if not 0 < factor < 1:
            raise ValueError(f"`factor` must be between 0 and 1. Received: {factor!r}")
        self.times = times
        self.factor = factor
        self.rolled_back = 0
        self._good = None

    def on_train_begin(self, logs: Any = None) -> None:
        self.rolled_back = 0
        self._lowered = 0
        self._good = None
        self._bad_validation = False
        rate = _internals.learning_rate(self._optimizer)
        self._schedule = rate if isinstance(rate, _Schedule) else None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        if self._bad_validation:
            self._restore()
            self._bad_validation = False
        # `Backup` restores a learning rate that is a number, as a variable, but not a schedule.
        self._lower_schedule()
        self._good = [v.numpy() for v in self._variables()]

    def on_train_end(self, logs: Any = None) -> None:
        if self._bad_validation:
            self._restore()
        self._good = None

    def _on_loss(self, loss, batch):
        what = self._what(loss, batch)
        bad = find_bad_data(self.model, self.data(), batch + 1)
        cause = bad or self._find_explosion(batch + 1)
        self._restore()
        self.model.reset_metrics()
        if bad or self.rolled_back == self.times:
            raise NonFiniteLossError(f"training stopped: {what}. {cause}")
        self._go_on(what, cause)

    def _on_validation_loss(self, loss):
        what = f"the validation loss became {loss} in epoch {self._epoch + 1}"
        if self.rolled_back == self.times or self._bad_validation or self._epoch == 0:
            super()._on_validation_loss(loss)
        # Restored when the next epoch begins: until then the model can hold averaged weights.
        self._bad_validation = True
        self._go_on(what, "The cause is unknown")

    def _go_on(self, what, cause):
        self.rolled_back += 1
        self._lower_schedule()
        if self._schedule is None:
            self._optimizer.learning_rate = self.factor * self._rate()
        advice.warn_of_roll_back(what, cause, self.factor, self.rolled_back, self.times)

    def _find_explosion(self, batches):
        self._restore()
        found = find_explosion(self.model, self.data(), batches)
        return found or "Repeating the epoch did not show the cause"

    @property
    def _optimizer(self):
        optimizer = self.model.optimizer
        return getattr(optimizer, "inner_optimizer", optimizer)

    def _rate(self):
        # `float` takes no variable of several replicas.
        return float(tf.convert_to_tensor(self._optimizer.learning_rate))

    def _variables(self):
        return [*self.model.variables, *self.model.optimizer.variables]

    def _restore(self):
        """Restores everything but the learning rate."""
        rate = self._rate()
        for variable, value in zip(self._variables(), self._good, strict=True):
            variable.assign(value)
        if self._schedule is None:
            self._optimizer.learning_rate = rate

    def _lower_schedule(self):
        if self._schedule is not None and self._lowered != self.rolled_back:
            scaled = ScaledSchedule(self._schedule, self.factor**self.rolled_back)
            self._optimizer.learning_rate = scaled
            self._lowered = self.rolled_back
            # The step was compiled with the old schedule.
            self.model.make_train_function(force=True)
