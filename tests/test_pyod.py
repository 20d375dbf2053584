"""The detector of PyOD keeps the contract of its `BaseDetector`."""

import importlib
import sys

import joblib
import numpy as np
import pytest
from scipy import special
from sklearn.base import clone

TINY = {"couplings": 2, "hidden_units": (8,), "noise": 0.1, "steps": 10, "random_state": 0}
ROWS = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 100.0, 0.01]
NEW = np.concatenate([ROWS[:5], ROWS[:5] * 9.0])


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("pyod", reason="PyOD is an extra: pip install 'tfnvp[pyod]'")
    from tfnvp.pyod import FlowDetector

    return FlowDetector(contamination=0.2, **TINY).fit(ROWS)


def test_scores_are_minus_the_log_densities_of_the_flow(detector):
    nats = detector.flow_.log_prob(ROWS.astype("float32")).numpy()
    np.testing.assert_allclose(detector.decision_scores_, -nats, rtol=1e-4)
    np.testing.assert_array_equal(detector.decision_function(ROWS), detector.decision_scores_)
    assert detector.labels_.sum() == 12
    np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)


def test_what_pyod_derives_from_the_scores(detector):
    scores = detector.decision_function(NEW)
    labels, confidence = detector.predict(NEW, return_confidence=True)
    np.testing.assert_array_equal(labels, scores > detector.threshold_)
    assert labels[5:].all()
    np.testing.assert_array_equal(detector.predict_confidence(NEW), confidence)
    known = detector.decision_scores_
    standardized = (scores - known.mean()) / known.std()
    for method, expected in {
        "linear": (scores - known.min()) / (known.max() - known.min()),
        "unify": special.erf(standardized / np.sqrt(2.0)),
    }.items():
        probabilities = detector.predict_proba(NEW, method=method)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
        np.testing.assert_allclose(probabilities[:, 1], np.clip(expected, 0.0, 1.0), atol=1e-6)
    certain = 2.0 * np.abs(confidence - 0.5) > 1.0 - 2.0 * np.exp(-5.0)
    assert set(labels[certain]) == {0, 1}
    assert not certain.all()
    found = detector.predict_with_rejection(NEW, T=5, c_r=0.1)
    np.testing.assert_array_equal(found, np.where(certain, labels, -2))


def test_a_row_without_a_density_is_the_least_usual(detector):
    far = np.array([[1e30, 0.0, 0.0], ROWS[0]])
    for rows in (far, far.astype("float32")):
        scores = detector.decision_function(rows)
        assert scores[0] > detector.decision_function(NEW).max()
        assert detector.predict(rows).tolist() == [1, detector.labels_[0]]
        for method in ("linear", "unify"):
            assert detector.predict_proba(rows, method=method)[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("novelty", [False, True])
def test_the_flow_is_that_of_the_detector_of_scikit_learn(detector, novelty):
    from tfnvp.sklearn import FlowOutlierDetector

    options = {**TINY, "noise": "auto", "novelty": novelty}
    noise = FlowOutlierDetector(**options).fit(ROWS).noise_
    assert type(detector)(**options).fit(ROWS).noise_ == noise
    with pytest.raises(ValueError, match="`novelty` must be True or False"):
        type(detector)(novelty="x").fit(ROWS)


def test_detectors_are_cloned_with_their_arguments(detector):
    copy = clone(detector)
    defaults = {"kind": "real_nvp", "ensemble": 1, "validation_fraction": 0.1}
    defaults |= {"base": "gaussian_mixture", "novelty": False}
    assert copy.get_params() == {"contamination": 0.2, **TINY, **defaults}
    assert not hasattr(copy, "flow_")
    labels = copy.set_params(contamination=0.1).fit_predict(ROWS)
    assert labels.sum() == 6
    np.testing.assert_array_equal(copy.decision_scores_, detector.decision_scores_)


def test_fitted_detectors_are_written_and_read(detector, tmp_path):
    joblib.dump(detector, tmp_path / "detector.joblib")
    loaded = joblib.load(tmp_path / "detector.joblib")
    np.testing.assert_array_equal(loaded.decision_function(NEW), detector.decision_function(NEW))
    np.testing.assert_array_equal(loaded.predict(NEW), detector.predict(NEW))


def test_a_contamination_out_of_range_is_an_error(detector):
    with pytest.raises(ValueError, match="contamination must be in"):
        type(detector)(contamination=0.6)


def test_the_error_without_pyod_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "tfnvp.pyod", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyod"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyod", None)
    with pytest.raises(ImportError, match="needs `pip install pyod`"):
        importlib.import_module("tfnvp.pyod")
