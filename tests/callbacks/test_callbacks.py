import csv
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfnvp
from tests.conftest import perturb
from tfnvp.callbacks import BitsPerDim, LatentDiagnostics, SampleGrid
from tfnvp.evaluation import evaluate


@pytest.fixture(scope="module")
def digits():
    """Digits, 200 for training and 60 held out, whole grey levels."""
    loaded = tfnvp.data.load_digits()
    return loaded.train[:200], loaded.validation[:60]


def fit(digits, callbacks, epochs=3, **compile_options):
    """Trains on digits, with dropout and shuffling, and returns flow and history."""
    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP(
        (8, 8), couplings=2, hidden_units=(16,), dropout=0.2, logit_alpha=0.05, levels=17
    )
    flow.compile(keras.optimizers.Adam(1e-3, **compile_options))
    history = flow.fit(
        tfnvp.data.dequantize(digits[0], 17, seed=(0, 1)).numpy(),
        batch_size=100,
        validation_data=(tfnvp.data.dequantize(digits[1], 17, seed=(0, 0)), None),
        epochs=epochs,
        callbacks=callbacks,
        verbose=0,
    )
    return flow, history.history


@pytest.mark.slow
def test_training_with_and_without_them_ends_at_the_same_weights(digits, tmp_path):
    plain, losses = fit(digits, [])
    looked, logs = fit(
        digits, [SampleGrid(tmp_path), BitsPerDim(digits[1]), LatentDiagnostics(digits[1])]
    )
    for a, b in zip(plain.get_weights(), looked.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert logs["loss"] == losses["loss"]
    assert logs["val_loss"] == losses["val_loss"]
    # The same random numbers follow.
    assert len({name.stat().st_size for name in tmp_path.iterdir()}) == 3
    # Each function was traced once, not once an epoch.
    for name, function in looked._compiled.items():
        assert function.experimental_get_tracing_count() <= 2, name


@pytest.mark.slow
def test_the_random_state_afterwards_is_the_same(digits, tmp_path):
    draws = []
    callbacks = [SampleGrid(tmp_path), BitsPerDim(digits[1]), LatentDiagnostics(digits[1])]
    for chosen in ([], callbacks):
        fit(digits, chosen, epochs=1)
        draws.append((float(tf.random.uniform([])), np.random.uniform()))
    assert draws[0] == draws[1]


def test_bits_per_dim_is_that_of_evaluate(digits, tmp_path):
    csv_file = tmp_path / "history.csv"
    callbacks = [BitsPerDim(digits[1], draws=3, every=2), keras.callbacks.CSVLogger(csv_file)]
    flow, logs = fit(digits, callbacks)
    expected = evaluate(flow, digits[1], draws=3)
    values = logs["held_out_bits_per_dim"]
    assert len(values) == 3
    assert np.isnan(values[1])
    assert values[2] == pytest.approx(expected.bits_per_dim, rel=1e-6)
    errors = logs["held_out_bits_per_dim_standard_error"]
    assert errors[2] == pytest.approx(expected.bits_per_dim_standard_error, rel=1e-6)
    with csv_file.open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[2]["held_out_bits_per_dim"]) == pytest.approx(values[2], rel=1e-6)


def test_bits_per_dim_can_be_monitored(digits):
    stopping = keras.callbacks.EarlyStopping("held_out_bits_per_dim", mode="max", patience=1)
    _, logs = fit(digits, [BitsPerDim(digits[1]), stopping], epochs=10)
    assert len(logs["loss"]) == 2  # It falls, and so is no better by this mode.


@pytest.mark.slow
def test_they_see_averaged_weights(digits):
    averages = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    look = LatentDiagnostics(digits[1])
    options = {"use_ema": True, "ema_momentum": 0.9}
    flow, logs = fit(digits, [averages, look, BitsPerDim(digits[1])], **options)
    # After training the averages are the weights.
    found = flow.check(look.x)
    assert logs["latent_mean_deviation"][-1] == pytest.approx(found.latent_mean_deviation, rel=1e-4)
    expected = evaluate(flow, digits[1], draws=5).bits_per_dim
    assert logs["held_out_bits_per_dim"][-1] == pytest.approx(expected, rel=1e-6)
    plain, without = fit(digits, [LatentDiagnostics(digits[1])], **options)
    assert logs["latent_std"][-1] != pytest.approx(without["latent_std"][-1], rel=1e-4)
    del plain


def test_latent_diagnostics_measure_the_latents():
    x = np.random.default_rng(0).standard_t(5, (500, 2)).astype("float32")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    flow.compile(keras.optimizers.SGD(0.0))
    logs = flow.fit(x, epochs=1, callbacks=[LatentDiagnostics(x)], verbose=0).history
    # Only standardised: the couplings are the identity still.
    z = (x - x.mean(0)) / x.std(0)
    assert logs["latent_mean"][0] == pytest.approx(0.0, abs=1e-5)
    assert logs["latent_std"][0] == pytest.approx(1.0, rel=1e-4)
    kurtosis = np.mean((z - z.mean()) ** 4) / z.var() ** 2 - 3
    assert logs["latent_kurtosis"][0] == pytest.approx(kurtosis, rel=1e-3)
    assert logs["round_trip_max"][0] < 1e-5


def test_sample_grids_are_of_the_same_latents(digits, tmp_path):
    flow, _ = fit(digits, [SampleGrid(tmp_path, n=9, every=2, seed=3)])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["samples-0001.png", "samples-0003.png"]
    expected = np.asarray(tfnvp.plotting.samples_picture(flow.sample(9, seed=3), flow.levels))
    drawn = np.asarray(Image.open(tmp_path / "samples-0003.png"))
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_conditional_points(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=1)
    flow.compile("adam")
    condition = x[:, :1]
    callbacks = [SampleGrid(tmp_path, condition=[0.5]), LatentDiagnostics(x, condition)]
    logs = flow.fit(x, condition, epochs=1, callbacks=callbacks, verbose=0).history
    assert np.isfinite(logs["latent_std"][0])
    assert (tmp_path / "samples-0001.png").is_file()
    for callback in (SampleGrid(tmp_path), LatentDiagnostics(x)):
        with pytest.raises(
            ValueError, match=r"needs `condition=`, as the flow has condition_shape"
        ):
            flow.fit(x, condition, callbacks=[callback], verbose=0)
    plain = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    plain.compile("adam")
    with pytest.raises(ValueError, match="LatentDiagnostics has a `condition`, and the flow takes"):
        plain.fit(x, callbacks=[LatentDiagnostics(x, condition)], verbose=0)


def test_bits_per_dim_of_a_conditional_flow():
    rng = np.random.default_rng(0)
    x, condition = rng.integers(0, 4, (1100, 2)), rng.normal(size=(1100, 1)).astype("float32")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=1, levels=4)
    perturb(flow)
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    look = BitsPerDim(x, draws=2, condition=condition)
    noisy = tfnvp.data.dequantize(x, 4, seed=(0, 0))
    logs = flow.fit(noisy, condition, callbacks=[look], verbose=0).history
    # Every row with its own condition, also beyond the first thousand.
    expected = tfnvp.evaluation.evaluate(flow, x[1000:], 2, seed=1002, condition=condition[1000:])
    first = tfnvp.evaluation.evaluate(flow, x[:1000], 2, condition=condition[:1000])
    mean = (1000 * first.bits_per_dim + 100 * expected.bits_per_dim) / 1100
    np.testing.assert_allclose(logs["held_out_bits_per_dim"][0], mean, rtol=1e-5)
    one = tfnvp.evaluation.evaluate(flow, x[:10], 2, condition=[0.5])
    each = tfnvp.evaluation.evaluate(flow, x[:10], 2, condition=np.full((10, 1), 0.5, "float32"))
    np.testing.assert_allclose(one.nats, each.nats, rtol=1e-5)


def test_pictures_for_tensorboard(digits, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    callbacks = [SampleGrid(log_dir=tmp_path / "images"), LatentDiagnostics(digits[1]), board]
    fit(digits, callbacks, epochs=2)
    events = EventAccumulator(str(tmp_path / "images")).Reload()
    assert [event.step for event in events.Tensors("samples")] == [0, 1]
    png = events.Tensors("samples")[0].tensor_proto.string_val[2]
    assert tf.io.decode_png(png).shape[-1] == 3
    scalars = EventAccumulator(str(tmp_path / "train")).Reload()
    assert "epoch_latent_std" in scalars.Tags()["tensors"]


def test_bad_arguments(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`folder` or `log_dir`"):
        SampleGrid()
    with pytest.raises(ValueError, match="`every` must be a positive int"):
        SampleGrid(tmp_path, every=0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        SampleGrid(log_dir=tmp_path)
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.compile("adam")
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    with pytest.raises(ValueError, match="a flow of shape"):
        flow.fit(x, callbacks=[SampleGrid(tmp_path)], verbose=0)
    with pytest.raises(ValueError, match="made with `levels`"):
        flow.fit(x, callbacks=[BitsPerDim(x)], verbose=0)
