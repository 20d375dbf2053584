"""The estimators of scikit-learn; what their setting does is tested in tests/runs."""

import pickle
import random

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from tests.conftest import perturb
from tfnvp.scoring import replacement_gains
from tfnvp.sklearn import FlowDensity, FlowOutlierDetector

TINY = {"couplings": 2, "hidden_units": (8,), "noise": 0.1, "steps": 10, "random_state": 0}
SMALL = {"couplings": 2, "hidden_units": (8,), "steps": 20, "random_state": 0}
ROWS = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 100.0, 0.01]


@pytest.fixture(scope="module")
def density():
    density = FlowDensity(**TINY | {"hidden_units": (64, 64)}).fit(ROWS)
    perturb(density.flow_, 0.1)
    return density


@pytest.fixture(scope="module")
def tiny():
    return FlowDensity(**TINY).fit(ROWS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [FlowDensity(**TINY | {"steps": 3}, base="normal"), FlowOutlierDetector(**TINY | {"steps": 3})],
)
def test_scikit_learn_accepts_the_estimators(estimator, eagerly):
    check_estimator(estimator, on_skip=None)


def test_results_are_those_of_the_flow(density):
    x, flow = ROWS.astype("float32"), density.flow_
    nats = flow.log_prob(x).numpy()
    np.testing.assert_allclose(density.score_samples(ROWS), nats, rtol=1e-4)
    assert density.score(ROWS) == pytest.approx(np.mean(nats), rel=1e-4)
    np.testing.assert_allclose(density.transform(ROWS), flow.encode(x), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(density.inverse_transform(density.transform(ROWS)), x, rtol=1e-3)
    drawn = density.sample(4, random_state=1)
    assert drawn.shape == (4, 3)
    np.testing.assert_array_equal(drawn, density.sample(4, random_state=1))
    assert (drawn != density.sample(4, random_state=2)).all()


def test_an_ensemble_is_the_mixture_of_its_flows(tiny):
    density = FlowDensity(**TINY, ensemble=2).fit(ROWS)
    np.testing.assert_allclose(density.flow_.log_prob(ROWS), tiny.flow_.log_prob(ROWS), rtol=1e-5)
    first, second = (np.exp(flow.log_prob(ROWS).numpy()) for flow in density.flows_)
    assert (first != second).any()
    np.testing.assert_allclose(density.score_samples(ROWS), np.log((first + second) / 2), rtol=1e-4)
    # Flows far apart show which of them a sample is from.
    density.flows_[1].bijector.bijectors[0].mean.assign(1e6 * np.ones(3))
    drawn = density.sample(100, random_state=0)[:, 0] > 1e5
    assert 30 < drawn.sum() < 70
    assert len(np.unique(drawn[:20])) == 2


def test_explanations_are_those_of_the_flow(density):
    found, expected = density.explain(ROWS[:5]), replacement_gains(density.flow_, ROWS[:5])
    for part, whole in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, whole)
    with pytest.raises(NotFittedError):
        clone(density).explain(ROWS)


@pytest.mark.parametrize("method", ["score_samples", "transform"])
def test_the_result_of_a_row_does_not_depend_on_the_others(density, method):
    many = np.tile(ROWS, (10, 1))
    function = getattr(density, method)
    np.testing.assert_array_equal(function(many)[[7, 590]], function(many[[7, 590]]))
    np.testing.assert_array_equal(function(many)[:1], function(many[:1]))


def test_results_have_the_type_of_the_rows(density):
    assert density.transform(ROWS).dtype == density.score_samples(ROWS).dtype == "float64"
    assert density.transform(ROWS.astype("float32")).dtype == "float32"


def test_a_seed_decides_all_and_changes_no_generator(tiny):
    random.seed(0)
    np.random.seed(0)
    before = random.getstate(), np.random.get_state()[1].tolist()
    again = clone(tiny).fit(ROWS)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())
    other = clone(tiny).set_params(random_state=1).fit(ROWS)
    np.testing.assert_array_equal(tiny.score_samples(ROWS), again.score_samples(ROWS))
    assert (tiny.score_samples(ROWS) != other.score_samples(ROWS)).any()


def test_fitted_estimators_are_pickled(density):
    loaded = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(loaded.score_samples(ROWS), density.score_samples(ROWS))


def test_pipelines_searches_and_cross_validation_take_them():
    pipeline, once = make_pipeline(StandardScaler(), FlowDensity(**TINY)), ShuffleSplit(1)
    # Which is a cross-validation of each.
    kinds = {"flowdensity__kind": ["nice", "neural_spline"]}
    search = GridSearchCV(pipeline, kinds, cv=once, refit=False).fit(ROWS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_names_of_columns_go_in_and_out():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(ROWS, columns=["a", "b", "c"])
    density = FlowDensity(**TINY).set_output(transform="pandas").fit(table)
    assert density.feature_names_in_.tolist() == ["a", "b", "c"]
    latents = density.transform(table)
    assert list(latents.columns) == ["flowdensity0", "flowdensity1", "flowdensity2"]
    assert density.inverse_transform(latents).shape == (60, 3)
    with pytest.raises(ValueError, match="feature names"):
        density.score_samples(table[["c", "b", "a"]])


def test_the_offset_is_a_quantile_or_a_fence():
    detector = FlowOutlierDetector(**TINY, contamination=0.2).fit(ROWS)
    nats = detector.score_samples(ROWS)
    assert (detector.predict(ROWS) == -1).sum() == 12
    np.testing.assert_array_equal(detector.predict(ROWS) == 1, nats >= detector.offset_)
    np.testing.assert_allclose(detector.decision_function(ROWS), nats - detector.offset_)
    fence = clone(detector).set_params(contamination="auto").fit(ROWS).offset_
    low, high = np.quantile(nats, [0.25, 0.75])
    assert fence == pytest.approx(low - 1.5 * (high - low))


def test_outliers_among_the_training_rows_stay_outliers():
    generator = np.random.default_rng(0)
    usual, group = generator.normal(size=(300, 3)), 6 + 0.1 * generator.normal(size=(20, 3))
    rows = np.concatenate([usual, group])
    nats = {
        novelty: FlowOutlierDetector(**SMALL, novelty=novelty).fit(rows).score_samples(rows)
        for novelty in (False, True)
    }
    assert nats[False][300:].max() < np.quantile(nats[False][:300], 0.05)
    # Where all training rows are as they should be, so is the group.
    assert nats[True][300:].min() > np.quantile(nats[True][:300], 0.1)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (FlowDensity(kind="glow"), "`kind` must be one of real_nvp, nice, neural_spline"),
        (FlowDensity(couplings=0), "`couplings` must be a positive int"),
        (FlowDensity(steps=0.5), "`steps` must be a positive int"),
        (FlowOutlierDetector(contamination=0.6), "`contamination` must be"),
        (FlowOutlierDetector(contamination="some"), "`contamination` must be"),
        (FlowOutlierDetector(novelty="auto"), "`novelty` must be True or False"),
        (FlowDensity(base="uniform"), "`base` must be one of"),
    ],
)
def test_arguments_out_of_range_are_errors(estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(ROWS)


def test_equal_rows_are_one_gaussian():
    nats = FlowDensity(**{**TINY, "noise": 0.1}).fit(np.ones((10, 3))).score_samples(np.eye(3))
    assert np.isfinite(nats).all()


def test_values_that_a_flow_refuses_are_errors():
    with pytest.raises(ValueError, match="contains NaN"):
        FlowDensity(**TINY).fit(np.ma.masked_greater(ROWS, 1.0))
    with pytest.raises(ValueError, match="million times further"):
        FlowDensity(**TINY).fit(np.concatenate([ROWS, [[1e12, 0.0, 0.0]]]))
    with pytest.raises(ValueError, match="1 feature"):
        FlowDensity(**TINY).fit(ROWS[:, :1])
