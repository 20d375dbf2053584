import keras
import pytest

import tfnvp
from tfnvp.callbacks import Backup


def backup_of(flow, file, *callbacks):
    """A backup that watches a flow, as in a training."""
    flow.compile("adam")
    flow.optimizer.build(flow.trainable_variables)
    backup = Backup(file, callbacks)
    backup.set_model(flow)
    return backup


def test_a_backup_of_something_else_is_refused(tmp_path):
    file, small = tmp_path / "backup.npz", {"couplings": 2, "hidden_units": (4,)}
    backup_of(tfnvp.RealNVP(2, **small), file).on_epoch_begin(3)
    assert backup_of(tfnvp.RealNVP(2, **small), file).epoch == 3
    with pytest.raises(ValueError, match="is of another model or optimizer"):
        backup_of(tfnvp.NICE(2, **small), file).on_train_begin()
    stopping = keras.callbacks.EarlyStopping("loss")
    with pytest.raises(ValueError, match="with 0 callbacks in its backup"):
        backup_of(tfnvp.RealNVP(2, **small), file, stopping).on_train_begin()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a backup of a training"):
        Backup(file)


def test_callbacks_whose_memory_is_unknown_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`callbacks` must be"):
        Backup(tmp_path / "backup.npz", [keras.callbacks.TerminateOnNaN()])
