import csv
import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import stats

import tfnvp
from tests.conftest import perturb
from tfnvp.callbacks import BitsPerDim, LatentDiagnostics, SampleGrid
from tfnvp.evaluation import evaluate
from tfnvp.quantization import MONITOR_NOISE

SMALL = {"couplings": 2, "hidden_units": (8,)}


@pytest.fixture(scope="module")
def pixels():
    """Images of 2 x 2 pixels with four grey levels: 100 for training and 40 held out."""
    images = np.random.default_rng(0).integers(0, 4, (140, 2, 2)) // 2 * 2
    return images[:100], images[100:]


@pytest.fixture(scope="module")
def flow():
    """A flow of images with four grey levels."""
    return perturb(tfnvp.RealNVP((2, 2), **SMALL, levels=4), 0.1)


@pytest.fixture(scope="module")
def conditional():
    """A flow of points with one condition, adapted to a sample."""
    rng = np.random.default_rng(0)
    x, condition = rng.normal(size=(64, 2)).astype("float32"), rng.normal(size=(64, 1))
    flow = tfnvp.RealNVP(2, **SMALL, condition_shape=1)
    flow.adapt(x, condition)
    return perturb(flow), x, condition


def train(pixels, callbacks, epochs=3, **options):
    """Trains with dropout and shuffling; returns flow and logs."""
    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP((2, 2), **SMALL, dropout=0.2, levels=4)
    flow.compile(keras.optimizers.Adam(1e-2, **options), jit_compile=False)
    x = tfnvp.data.dequantize(pixels, 4, seed=(0, 1)).numpy()
    history = flow.fit(x, batch_size=50, epochs=epochs, callbacks=callbacks, verbose=0)
    return flow, history.history


def observe(callback, flow, epochs=1):
    """Calls a callback as `fit` does, and returns its logs of every epoch."""
    callback.set_model(flow)
    callback.on_train_begin()
    logs = [{} for _ in range(epochs)]
    for epoch in range(epochs):
        callback.on_epoch_end(epoch, logs[epoch])
    callback.on_train_end()
    return logs


class CountTraces(keras.callbacks.Callback):
    """Counts after every epoch how often the inverse of the flow was traced."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.calls, self.counts = 0, []
        inverse = tfnvp.RealNVP._inverse

        def counted(flow, x, condition):
            self.calls += 1
            return inverse(flow, x, condition)

        monkeypatch.setattr(tfnvp.RealNVP, "_inverse", counted)

    def on_epoch_end(self, epoch, logs=None):
        self.counts.append(self.calls)


def test_training_with_and_without_them_is_the_same(pixels, tmp_path, monkeypatch):
    plain, losses = train(pixels[0], [])
    random_numbers = float(tf.random.uniform([])), np.random.uniform()
    counts = CountTraces(monkeypatch)
    stopping = keras.callbacks.EarlyStopping("held_out_bits_per_dim", mode="min", patience=9)
    log = keras.callbacks.CSVLogger(tmp_path / "history.csv")
    callbacks = [
        SampleGrid(tmp_path / "samples", n=9, every=2, seed=3),
        BitsPerDim(pixels[1], draws=3),
        LatentDiagnostics(pixels[1]),
    ]
    flow, logs = train(pixels[0], [*callbacks, counts, stopping, log])
    for a, b in zip(plain.get_weights(), flow.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert logs["loss"] == losses["loss"]
    assert (float(tf.random.uniform([])), np.random.uniform()) == random_numbers
    # Each function is traced in the first epoch, and never again.
    assert counts.counts[0] == counts.counts[2]
    # Later callbacks read the logs.
    found = logs["held_out_bits_per_dim"]
    assert found[2] == pytest.approx(evaluate(flow, pixels[1], draws=3).bits_per_dim, rel=1e-6)
    assert stopping.best == pytest.approx(min(found))
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[2]["held_out_bits_per_dim"]) == pytest.approx(found[2], rel=1e-6)
    assert np.isfinite(float(rows[0]["latent_std"]))
    # The last picture shows the last weights.
    names = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert names == ["samples-0001.png", "samples-0003.png"]
    expected = np.asarray(tfnvp.plotting.samples_picture(flow.sample(9, seed=3), flow.levels))
    drawn = np.asarray(Image.open(tmp_path / "samples" / names[-1]))
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@pytest.mark.slow
def test_they_see_averaged_weights(pixels):
    averages = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    diagnostics = LatentDiagnostics(pixels[1])
    options = {"use_ema": True, "ema_momentum": 0.9}
    flow, logs = train(pixels[0], [averages, diagnostics, BitsPerDim(pixels[1])], **options)
    # After training the averages are the weights.
    found = flow.check(tfnvp.data.dequantize(pixels[1], 4, seed=(MONITOR_NOISE, 0)))
    assert logs["latent_mean_deviation"][-1] == pytest.approx(found.latent_mean_deviation, rel=1e-4)
    expected = evaluate(flow, pixels[1], draws=5).bits_per_dim
    assert logs["held_out_bits_per_dim"][-1] == pytest.approx(expected, rel=1e-6)
    _, without = train(pixels[0], [LatentDiagnostics(pixels[1])], **options)
    assert logs["latent_std"][-1] != pytest.approx(without["latent_std"][-1], rel=1e-4)


def test_epochs_between_measurements_have_nan(flow, pixels):
    logs = observe(BitsPerDim(pixels[1], draws=3, every=2), flow, epochs=3)
    expected = evaluate(flow, pixels[1], draws=3)
    names = ("held_out_bits_per_dim", "held_out_bits_per_dim_standard_error")
    assert [set(log) for log in logs] == [set(names)] * 3
    assert np.isnan([logs[1][name] for name in names]).all()
    assert logs[2][names[0]] == pytest.approx(expected.bits_per_dim, rel=1e-6)
    assert logs[2][names[1]] == pytest.approx(expected.bits_per_dim_standard_error, rel=1e-6)


def test_bits_per_dim_of_a_conditional_flow(pixels):
    flow = perturb(tfnvp.RealNVP((2, 2), **SMALL, condition_shape=1, levels=4))
    condition = np.linspace(-1, 1, 40)[:, np.newaxis]
    (log,) = observe(BitsPerDim(pixels[1], draws=2, condition=condition, name="test"), flow)
    expected = evaluate(flow, pixels[1], 2, condition=condition).bits_per_dim
    assert log["test_bits_per_dim"] == pytest.approx(expected, rel=1e-6)


def test_latent_diagnostics_measure_the_latents(conditional):
    flow, x, condition = conditional
    (log,) = observe(LatentDiagnostics(x, condition), flow)
    z = flow.encode(x, condition).numpy()
    assert log["latent_mean"] == pytest.approx(z.mean(), abs=1e-5)
    assert log["latent_std"] == pytest.approx(z.std(), rel=1e-4)
    assert log["latent_kurtosis"] == pytest.approx(stats.kurtosis(z, axis=None), rel=1e-3)
    found = flow.check(x, condition)
    assert log["latent_mean_deviation"] == pytest.approx(found.latent_mean_deviation, rel=1e-4)
    assert log["latent_covariance_deviation"] == pytest.approx(
        found.latent_covariance_deviation, rel=1e-4
    )
    assert log["round_trip_max"] < 1e-4
    # Rows of density 0 have no latents.
    more = LatentDiagnostics(np.append(x, [[np.nan, 0.0]], 0), np.append(condition, [[0.0]], 0))
    assert observe(more, flow)[0] == pytest.approx(log, rel=1e-4, abs=1e-5)


def test_a_monitor_serves_flows_of_other_levels(flow, pixels):
    other = tfnvp.RealNVP((2, 2), **SMALL, levels=8)
    monitor = LatentDiagnostics(pixels[1])
    observe(monitor, flow)
    assert observe(monitor, other) == observe(LatentDiagnostics(pixels[1]), other)


def test_pictures_of_points(conditional, tmp_path):
    flow, *_ = conditional
    observe(SampleGrid(tmp_path, n=5, condition=[0.5]), flow)
    assert (tmp_path / "samples-0001.png").is_file()


def test_pictures_for_tensorboard(flow, tmp_path):
    pytest.importorskip("tensorboard", reason="needs the package tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    observe(SampleGrid(log_dir=tmp_path), flow, epochs=2)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Tensors("samples")] == [0, 1]
    png = events.Tensors("samples")[0].tensor_proto.string_val[2]
    assert tf.io.decode_png(png).shape[-1] == 3


def test_bad_arguments(flow, conditional, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`folder` or `log_dir`"):
        SampleGrid()
    with pytest.raises(ValueError, match="`every` must be a positive int"):
        SampleGrid(tmp_path, every=0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        SampleGrid(log_dir=tmp_path)
    x = np.zeros((8, 3), "float32")
    vectors = tfnvp.RealNVP(3, **SMALL)
    with pytest.raises(ValueError, match="a flow of shape"):
        observe(SampleGrid(tmp_path), vectors)
    with pytest.raises(ValueError, match="made with `levels`"):
        observe(BitsPerDim(x), vectors)
    for callback in (SampleGrid(tmp_path), LatentDiagnostics(x)):
        with pytest.raises(ValueError, match=r"needs `condition=`, as the flow has condition_shap"):
            observe(callback, conditional[0])
    with pytest.raises(ValueError, match="LatentDiagnostics has a `condition`, and the flow takes"):
        observe(LatentDiagnostics(x, x[:, :1]), flow)
