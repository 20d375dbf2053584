import json

import keras
import numpy as np
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


def change_state(**changes):
    def change(arrays):
        state = {**json.loads(str(arrays["state"])), **changes}
        return {**arrays, "state": np.array(json.dumps(state))}

    return change


CRAFTED = {
    "no_state": lambda arrays: {"variable_0": arrays["variable_0"]},
    "state_is_a_number": lambda arrays: {**arrays, "state": np.array(3)},
    "state_is_a_list": lambda arrays: {**arrays, "state": np.array("[1]")},
    "no_epoch": change_state(epoch=None),
    "epoch": change_state(epoch="first"),
    "no_callbacks": change_state(callbacks=None),
    "memories": change_state(callbacks=[3]),
    "missing_arrays": change_state(callbacks=[{"best_weights_count": 10**9}]),
    "count": change_state(callbacks=[{"best_weights_count": "many"}]),
    "name": lambda arrays: {**arrays, "variable_x": arrays["variable_0"]},
    "lost": lambda arrays: {k: v for k, v in arrays.items() if k != "variable_1"},
    "shape": lambda arrays: {**arrays, "variable_1": np.zeros((3, 3), "float32")},
    "dtype": lambda arrays: {**arrays, "variable_1": arrays["variable_1"].astype("complex64")},
    "text": lambda arrays: {**arrays, "variable_1": np.array("text")},
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_crafted_backup_is_refused_before_anything_is_restored(tmp_path, crafted):
    file = tmp_path / "backup.npz"
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    stopping = keras.callbacks.EarlyStopping("loss")
    backup_of(flow, file, stopping).on_epoch_begin(3)
    with np.load(file) as stored:
        np.savez(file, **CRAFTED[crafted](dict(stored)))
    before = flow.get_weights()
    with pytest.raises(ValueError, match=r"is not a backup|is of another model"):
        backup_of(flow, file, stopping).on_train_begin()
    for a, b in zip(before, flow.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_backup_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "backup.npz", state=np.zeros(2**27, "uint8"))
    with pytest.raises(ValueError, match=r"is not a backup .* unpacks to 134,"):
        Backup(tmp_path / "backup.npz")


def test_only_the_state_of_a_backup_is_read_for_its_epoch(tmp_path, monkeypatch):
    file = tmp_path / "backup.npz"
    backup_of(tfnvp.RealNVP(2, couplings=2, hidden_units=(4,)), file).on_epoch_begin(3)
    read, item = [], np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        np.lib.npyio.NpzFile, "__getitem__", lambda self, key: read.append(key) or item(self, key)
    )
    assert Backup(file).epoch == 3
    assert read == ["state"]
