import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb
from tfnvp.data import Splits, dequantize
from tfnvp.report.charts import mean_and_error
from tfnvp.report.latents import latents, spectrum
from tfnvp.report.likelihoods import unusual_data
from tfnvp.report.report_data import ReportData
from tfnvp.report.samples import reconstruction


def test_unusual_images_keep_their_grey_levels():
    flow = tfnvp.RealNVP((2, 3), couplings=2, hidden_units=(8,), levels=256)
    images = np.random.default_rng(0).integers(0, 256, (20, 2, 3)).astype("uint8")
    data = ReportData(flow, Splits("x", images, images, images, 256), None, None, 20, 0)
    shuffled = unusual_data(data)["pixels shuffled"]
    assert not np.array_equal(shuffled, data.test)
    np.testing.assert_array_equal(
        np.sort(shuffled.reshape(20, -1)), np.sort(data.test.reshape(20, -1))
    )
    # The rows are random, and their noise is that of the seed.
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(data.test, dequantize(images[order], 256, seed=(4, 0)))


def test_unusual_rows_of_tables_keep_their_columns():
    table = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    data = ReportData(flow, Splits("x", table, table, table), None, None, 20, 0)
    made = unusual_data(data)
    np.testing.assert_array_equal(
        np.sort(made["columns shuffled"], axis=0), np.sort(data.test, axis=0)
    )
    assert (made["uniform"] >= table.min(0)).all()
    assert (made["uniform"] <= table.max(0)).all()


def test_likelihoods_are_shown_in_bits_or_nats():
    real = ReportData(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)), None, None, None, 5, 0)
    assert (real.likelihood(1.5), real.unit) == (1.5, "log-density, nats")
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), levels=4)
    quantized = ReportData(flow, None, None, None, 5, 0)
    assert quantized.likelihood(0.0) == pytest.approx(2.0)
    assert quantized.unit == "bits per dimension"


@pytest.mark.filterwarnings("ignore:.*log-density of such rows")
def test_rows_of_density_0_are_left_out_and_counted():
    flow = perturb(tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), bounds={1: (0, None)}))
    table = np.random.default_rng(0).uniform(1, 2, (20, 3)).astype("float32")
    without = ReportData(flow, Splits("x", table, table, table), None, None, 40, 0)
    more = np.append(table, [[1.0, -1.0, 1.0]], axis=0).astype("float32")
    data = ReportData(flow, Splits("x", more, more, more), None, None, 40, 0)
    found, expected = dict(latents(data).table), dict(latents(without).table)
    left_out, other = "rows of density 0, left out", "share of values that are not finite"
    assert (found.pop(left_out), expected.pop(left_out)) == ("1", "0")
    assert float(found.pop(other)) > float(expected.pop(other)) == 0
    assert found == expected
    found = dict(reconstruction(data).table)
    assert 0 < float(found["largest error"]) < 1e-5
    assert found.keys() == dict(reconstruction(without).table).keys()
    assert mean_and_error([-np.inf, 1.0], 2) == "-inf"


def test_the_errors_of_angles_are_those_on_the_circle():
    flow = perturb(tfnvp.NeuralSplineFlow(3, 2, (8,), bins=3, circular={2: (0, 360)}), 0.1)
    rows = np.random.default_rng(0).normal(size=(300, 3)).astype("float32")
    # Near the ends, where rounding can be a whole turn.
    rows[:, 2] = np.linspace(-1e-4, 1e-4, 300) % 360
    data = ReportData(flow, Splits("x", rows, rows, rows), None, None, 300, 0)
    assert np.abs(flow.decode(flow.encode(rows)) - rows).max() > 359
    assert float(dict(reconstruction(data).table)["largest error"]) < 1e-3
    assert "Angles are shown as latents of the same probability" in latents(data).text


def test_the_spectrum_is_that_of_the_rescaling():
    flow = tfnvp.NICE(3, couplings=3, hidden_units=(8,))
    flow.bijector.bijectors[-1].log_scale.assign(np.log([0.5, 2.0, 1.0]))
    section = spectrum(ReportData(flow, None, None, None, 10, 0))
    assert section.table[0][1] == "2, 1, 0.5"
    plain = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    assert spectrum(ReportData(plain, None, None, None, 10, 0)) is None
