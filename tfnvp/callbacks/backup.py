"""One file from which training resumes as if it had never stopped."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable

import keras
import numpy as np

from tfnvp import _internals
from tfnvp._atomic import check_unpacked, replacing

# The state of Keras' own callbacks.
_STATES = (
    (keras.callbacks.EarlyStopping, ("wait", "best", "best_epoch", "best_weights")),
    (keras.callbacks.ReduceLROnPlateau, ("wait", "best", "cooldown_counter")),
    (keras.callbacks.ModelCheckpoint, ("best", "epochs_since_last_save")),
)


class Backup(keras.callbacks.Callback):
    """Saves the complete state of training at the start of every epoch, and restores it.

    That is: weights, states of random generators, the optimizer with its step count (the place
    in the learning-rate schedule) and averages of weights, the number of the epoch, and the state
    of the other callbacks. It is one file, written under a temporary name and renamed, so that a
    complete one exists whenever the process is killed. `keras.callbacks.BackupAndRestore` writes
    two files in place, and leaves the other callbacks out.

    It must be the last callback, after those whose state it saves, and `fit` needs the first
    epoch::

        backup = tfnvp.callbacks.Backup("backup.npz", [early_stopping])
        flow.fit(..., initial_epoch=backup.epoch, callbacks=[early_stopping, backup])

    Args:
      file: path of the backup, ending in `.npz`; training resumes from it if it exists.
      callbacks: the other callbacks whose state is saved: `EarlyStopping`, `ReduceLROnPlateau`,
        `ModelCheckpoint`, and callbacks with a tuple `state_attributes` of names of attributes.

    Attributes:
      epoch: int, the first epoch of training: 0 without a backup.

    Raises:
      ValueError: if the file is not a backup, or one of another model, optimizer or callbacks.
      OSError: if the file cannot be written; the previous one stays.

    >>> import tempfile, numpy as np, tfnvp
    >>> file = tempfile.mkdtemp() + "/backup.npz"
    >>> def train(epochs):
    ...     flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    ...     flow.compile()
    ...     backup = Backup(file)
    ...     options = {"initial_epoch": backup.epoch, "callbacks": [backup], "verbose": 0}
    ...     return flow.fit(np.ones([8, 2], "float32"), epochs=epochs, **options).epoch
    >>> train(3), train(5)
    ([0, 1, 2], [2, 3, 4])
    """

    def __init__(self, file: str | os.PathLike, callbacks: Iterable[keras.callbacks.Callback] = ()):
        super().__init__()
        self.file = pathlib.Path(file)
        self._callbacks = [(callback, _attributes(callback)) for callback in callbacks]
        self.epoch = 0
        if self.file.exists():
            with self._stored() as stored:
                self.epoch = int(json.loads(str(stored["state"]))["epoch"])

    def on_train_begin(self, logs: dict | None = None) -> None:
        if self.file.exists():
            with self._stored() as stored:
                arrays = dict(stored)
                memories = json.loads(str(arrays["state"]))["callbacks"]
                values = [
                    (callback, name, _value(name, i, memories[i], arrays))
                    for i, (callback, attributes) in enumerate(self._callbacks[: len(memories)])
                    for name in attributes
                ]
            self._restore(arrays, len(memories), values)
        # Keras sends this epoch to the other workers.
        _internals.set_initial_epoch(self.model, self.epoch)

    def on_train_end(self, logs: dict | None = None) -> None:
        _internals.set_initial_epoch(self.model, None)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        arrays = {name: _array(variable) for name, variable in self._variables().items()}
        memories = []
        for i, (callback, attributes) in enumerate(self._callbacks):
            memories.append(memory := {})
            for name in attributes:
                value = getattr(callback, name, None)
                if isinstance(value, list):
                    memory[f"{name}_count"] = len(value)
                    arrays |= {f"{name}_{i}_{j}": _array(w) for j, w in enumerate(value)}
                else:
                    memory[name] = _number(value)
        state = {"epoch": epoch, "callbacks": memories}
        try:
            with replacing(self.file) as temporary, temporary.open("wb") as file:
                np.savez(file, state=np.array(json.dumps(state)), **arrays)
        except OSError as error:
            reason = f"no backup could be written: {error.strerror or error}"
            raise OSError(error.errno, reason, str(self.file)) from error

    def _variables(self):
        """Variables by the names of their arrays."""
        variables = [*self.model.variables, *self.model.optimizer.variables]
        return {f"variable_{i}": variable for i, variable in enumerate(variables)}

    @contextlib.contextmanager
    def _stored(self):
        """Gives the arrays in the backup by name; each is read when it is asked for."""
        try:
            check_unpacked(self.file)
            with np.load(self.file, allow_pickle=False) as stored:
                yield stored
        except Exception as error:
            raise ValueError(f"{self.file} is not a backup of a training: {error}") from error

    def _restore(self, arrays, callbacks, values):
        variables = self._variables()
        stored = {name: array for name, array in arrays.items() if name.startswith("variable_")}
        current = {name: _array(variable) for name, variable in variables.items()}
        if _types(stored) != _types(current):
            raise ValueError(
                f"{self.file} is of another model or optimizer: its {len(stored)} variables differ "
                f"from the {len(variables)} of {self.model.name}"
            )
        if callbacks != len(self._callbacks):
            raise ValueError(
                f"{self.file} is of a training with {callbacks} callbacks in its backup. "
                f"Received: {len(self._callbacks)}"
            )
        for name, variable in variables.items():
            variable.assign(stored[name])
        for callback, name, value in values:
            setattr(callback, name, value)


def _attributes(callback):
    known = [attributes for kind, attributes in _STATES if isinstance(callback, kind)]
    if hasattr(callback, "state_attributes"):
        return callback.state_attributes
    if not known:
        raise ValueError(
            "`callbacks` must be EarlyStopping, ReduceLROnPlateau, ModelCheckpoint, or callbacks "
            f"with `state_attributes`. Received: {callback!r}"
        )
    return known[0]


def _types(arrays):
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def _value(name, i, memory, arrays):
    """Returns an attribute of callback `i`: a list of arrays, or a number."""
    if (count := memory.get(f"{name}_count")) is None:
        return memory.get(name)
    return [arrays[f"{name}_{i}_{j}"] for j in range(count)]


def _array(value):
    array = np.asarray(value)
    # NumPy's files have no bfloat16; float32 holds the same numbers.
    return array.astype("float32") if array.dtype.kind == "V" else array


def _number(value):
    return value if value is None or isinstance(value, int) else float(value)
