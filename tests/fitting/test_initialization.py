"""What a flow takes from data before its first step: scales of data, and of conditions."""

import json
import warnings
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import ActNorm, AffineCoupling, Chain, DiagonalScaling
from tfnvp.conditioners import MLP, StandardizedCondition
from tfnvp.fitting.batches import without_tuning
from tfnvp.partitions import Split

pytestmark = pytest.mark.usefixtures("eagerly")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(128, 3)).astype("float32")
UNIT = np.stack([RNG.normal(size=128), RNG.integers(0, 2, 128)], axis=1).astype("float32")
UNIT[:, 0] = (UNIT[:, 0] - UNIT[:, 0].mean()) / UNIT[:, 0].std()
AGES = UNIT * np.float32([18, 1]) + np.float32([49, 0])


def make(kind=tfnvp.RealNVP, **kwargs):
    return compiled(kind(3, couplings=2, hidden_units=(4,), condition_shape=2, **kwargs))


def compiled(flow, optimizer="adam"):
    flow.compile(optimizer, jit_compile=False)
    return flow


def standardized(flow, condition):
    figures = flow.condition_scale.figures()
    return (condition - figures["mean"]) / figures["standard_deviation"]


@pytest.fixture(scope="module")
def aged():
    """A flow fitted with ages in years, and noise in its weights."""
    flow = make()
    flow.fit(X, AGES, verbose=0)
    return perturb(flow)


# These fit: units must not matter for whole trainings, and `fit` decides what is initialised.
@pytest.mark.parametrize("as_data_set", [False, True], ids=["arrays", "data set"])
def test_training_does_not_depend_on_the_units_of_conditions(as_data_set):
    def weights(condition, standardize_condition):
        keras.utils.set_random_seed(1)
        flow = make(standardize_condition=standardize_condition)
        data = (X, condition)
        if as_data_set:
            data = (without_tuning(tf.data.Dataset.from_tensor_slices(data).batch(32)),)
        flow.fit(*data, epochs=2, shuffle=False, verbose=0)
        return [v.numpy() for v in flow.trainable_variables]

    expected = weights(UNIT, standardize_condition=False)
    for got, wanted in zip(weights(AGES, standardize_condition=True), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)
    if not as_data_set:  # The condition counts at all.
        other = weights(-UNIT, standardize_condition=False)
        assert max(np.abs(a - b).max() for a, b in zip(other, expected, strict=True)) > 1e-3


def test_every_way_to_a_density_standardises(aged, tmp_path):
    expected = aged.log_prob(X, AGES)
    assert np.abs(aged.log_prob(X, AGES + np.float32([9, 0])) - expected).max() > 0.01
    aged.save(tmp_path / "aged.keras")
    for got in (
        keras.saving.load_model(tmp_path / "aged.keras").log_prob(X, AGES),
        aged.distribution.log_prob(X, condition=AGES),
        aged.distribution.log_prob(X, bijector_kwargs={"condition": AGES}),
        aged.predict({"x": X, "condition": AGES}, verbose=0),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    z = aged.bijector.inverse(tf.constant(X), condition=tf.constant(AGES))
    np.testing.assert_allclose(aged.decode(z, AGES), X, atol=1e-4)


def test_training_goes_on_with_the_figures_of_its_start(aged):
    before = standardized(aged, AGES)
    np.testing.assert_allclose(before, UNIT, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aged.fit(X[:64], AGES[:64] + np.float32([30, 0]), verbose=0)
    np.testing.assert_array_equal(standardized(aged, AGES), before)


def test_validation_conditions_in_other_units_get_a_warning():
    with pytest.warns(UserWarning, match="outside of the training range"):
        make().fit(X, UNIT, validation_data=(X, AGES), verbose=0)


def test_constant_conditions_get_a_warning():
    condition = UNIT.copy()
    condition[:, 1] = 7
    flow = make()
    with pytest.warns(UserWarning, match="`condition` is constant: variable 1 is 7 in all 128"):
        flow.adapt(X, condition)
    with pytest.warns(UserWarning, match="variable 1 is 8 .*was from 7 to 7"):
        flow.sample(1, condition=[0.0, 8.0])


def test_images_standardise_their_conditions():
    flow = tfnvp.ImageRealNVP(
        (2, 2, 1), scales=1, base_filters=2, residual_blocks=0, condition_shape=2
    )
    flow.adapt(RNG.integers(0, 256, (128, 2, 2, 1)).astype("uint8"), AGES)
    np.testing.assert_allclose(standardized(flow, AGES), UNIT, atol=1e-5)


def test_sorted_arrays_are_not_judged_by_their_beginning(monkeypatch):
    monkeypatch.setattr(tfnvp.RealNVP, "adaptation_rows", 50)
    flow = make()
    time = np.stack([np.linspace(0, 1000, 128), UNIT[:, 1]], axis=1).astype("float32")
    flow.fit(X, time, verbose=0)
    assert np.abs(standardized(flow, time)[:, 0].mean()) < 0.1


def test_adapting_a_trained_flow_gets_a_warning(aged):
    flow = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.adapt(X, AGES)
        flow.adapt(X, AGES)
    flow = make()
    flow.set_weights(aged.get_weights())
    flow.optimizer.iterations.assign(4)
    with pytest.warns(UserWarning, match="`adapt` of a trained flow"):
        flow.adapt(X, AGES)


def test_no_more_of_the_flow_is_computed_than_is_needed(counting_mlp):
    coupling = AffineCoupling(
        StandardizedCondition(counting_mlp(4, (8,))), Split(1), 3, condition_shape=2
    )
    flow = tfnvp.Flow(Chain([ActNorm(3), coupling]), 3, condition_shape=2)
    before = counting_mlp.calls
    flow.adapt(X, AGES)
    assert counting_mlp.calls == before
    np.testing.assert_allclose(flow.bijector.bijectors[0].shift, X.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "kind", [tfnvp.RealNVP, tfnvp.NICE, partial(tfnvp.NeuralSplineFlow, bins=2)]
)
def test_a_flow_starts_from_the_scale_of_its_data(kind):
    x = (X[:, [0, 1, 2, 0]] * [1e-3, 1.0, 50.0, 1e4] + [0, 5, 0, 0]).astype("float32")
    flow = kind(4, couplings=2, hidden_units=(4,), standardize=True)
    compiled(flow, keras.optimizers.SGD(0.0))
    flow.fit(x, verbose=0)
    z = flow.encode(x).numpy()
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=1e-2)
    flow.fit(10.0 * x, verbose=0)
    np.testing.assert_array_equal(flow.encode(x), z)


def own_chain():
    couplings = [
        AffineCoupling(
            StandardizedCondition(MLP(2 * moved, (8,))),
            Split(1, swapped=moved == 1),
            3,
            condition_shape=2,
        )
        for moved in (2, 1)
    ]
    return Chain([ActNorm(3, data_init=False), *couplings, DiagonalScaling(3)])


def fit_elsewhere(bijector):
    """Fits a new flow around a bijector with other data, at a rate that changes nothing."""
    flow = compiled(tfnvp.Flow(bijector, 3, condition_shape=2), keras.optimizers.SGD(0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flow.fit(3 * X + 5, AGES + np.float32([200, 0]), verbose=0)
    return flow


def test_fit_keeps_what_bijectors_have_from_elsewhere(tmp_path):
    chain = own_chain()
    tfnvp.Flow(chain, 3, condition_shape=2).adapt(X, AGES)
    perturb(chain)
    expected = chain.inverse(X, condition=AGES).numpy()
    tf.train.Checkpoint(bijector=chain).write(str(tmp_path / "weights"))
    restored = own_chain()
    tf.train.Checkpoint(bijector=restored).read(str(tmp_path / "weights"))
    for bijector in (chain, restored):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = fit_elsewhere(bijector).encode(X, AGES)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_fit_initialises_only_what_has_no_values_yet():
    chain = own_chain()
    chain.bijectors[1].conditioner.adapt(AGES)
    fit_elsewhere(chain)
    np.testing.assert_allclose(chain.bijectors[0].shift, 3 * X.mean(axis=0) + 5, atol=1e-3)
    np.testing.assert_allclose(chain.bijectors[1].conditioner.mean, [49, 0], atol=1e-3)
    np.testing.assert_allclose(chain.bijectors[2].conditioner.mean, [249, 0], atol=1e-2)


def test_adapt_initialises_everything_again():
    flow = tfnvp.Flow(own_chain(), 3, condition_shape=2)
    flow.adapt(X, UNIT)
    flow.adapt(X + 7, AGES)
    np.testing.assert_allclose(standardized(flow, AGES), UNIT, atol=1e-5)
    np.testing.assert_allclose(flow.bijector.bijectors[0].shift, X.mean(axis=0) + 7, atol=1e-4)
    plain = tfnvp.Flow(
        AffineCoupling(MLP(4, (4,)), Split(1), 3, condition_shape=2), 3, condition_shape=2
    )
    with pytest.warns(UserWarning, match="StandardizedCondition` around their networks"):
        plain.log_prob(X, AGES)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_conditions_that_are_not_finite_give_nan_everywhere(aged, bad, tmp_path):
    tf.config.run_functions_eagerly(False)  # Where a graph does not know values.
    condition = UNIT[:4].copy()
    condition[1, 0] = bad
    condition, x = tf.constant(condition), tf.constant(X[:4])
    coupling = aged.bijector.bijectors[-2]
    answers = {
        "bijector": tf.function(lambda: aged.bijector.inverse(x, condition=condition))(),
        "distribution": tf.function(lambda: aged.distribution.log_prob(x, condition=condition))(),
        "coupling": tf.function(lambda: coupling.forward(x, condition=condition))(),
        "log_prob": tf.function(lambda: aged.log_prob(x, condition))(),
    }
    if np.isnan(bad):
        names = ["log_prob", "encode", "decode", "sample_rows"]
        served = tf.saved_model.load(str(aged.export(tmp_path, signatures=names))).signatures
        seeds = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
        answers |= {
            "served log_prob": served["log_prob"](x=x, condition=condition)["log_prob"],
            "served encode": served["encode"](x=x, condition=condition)["z"],
            "served decode": served["decode"](z=x, condition=condition)["x"],
            "served sample_rows": served["sample_rows"](
                seed=seeds, temperature=tf.ones(4), condition=condition
            )["x"],
        }
    for name, answer in answers.items():
        usable = np.isfinite(answer).reshape(4, -1).all(axis=1)
        assert usable.tolist() == [True, False, True, True], name


def test_the_model_card_names_the_units_of_conditions(aged, tmp_path):
    folder = aged.export(tmp_path / "aged", signatures=["log_prob"])
    flow = json.loads((folder / "signature.json").read_text())["flow"]
    np.testing.assert_allclose(flow["condition_mean"], [49, 0], atol=1e-3)
    np.testing.assert_allclose(flow["condition_standard_deviation"], [18, 1], rtol=1e-3)
    assert "| condition mean | [" in (folder / "model_card.md").read_text()
    # Extremes are conditions of single rows.
    assert not {"condition_smallest", "condition_largest"} & flow.keys()
    folder = aged.export(tmp_path / "range", signatures=["log_prob"], condition_range=True)
    flow = json.loads((folder / "signature.json").read_text())["flow"]
    assert flow["condition_smallest"][0] < 49 < flow["condition_largest"][0]
    folder = make().export(tmp_path / "before", signatures=["log_prob"])
    assert "condition mean" not in (folder / "model_card.md").read_text()


EXTREME = X.copy()
EXTREME[:8, 1] = 1e9  # More than a hundredth of the rows: none of them is an exception.


@pytest.mark.parametrize("standardize", [True, "robust"])
def test_values_that_become_equal_get_a_warning(standardize, recwarn):
    tfnvp.RealNVP(3, 2, (4,), standardize=standardize).adapt(EXTREME)
    make(standardize_condition=standardize).adapt(X, EXTREME[:, :2])
    texts = [str(warning.message) for warning in recwarn.list]
    if standardize == "robust":
        assert not texts
    else:
        assert len(texts) == 2
        assert texts[0].startswith("variable 1 loses its differences in float32: 121 distinct ")
        assert 'standardize="robust"' in texts[0]
        assert texts[1].startswith("`condition`: variable 1 loses its differences in float32")
        assert 'standardize_condition="robust"' in texts[1]


def test_a_flow_is_initialised_without_rows_of_extreme_values():
    figures = []
    for rows, ages in ((X[1:], AGES[1:]), (X, AGES), (X, AGES)):
        rows, ages = rows.copy(), ages.copy()
        if len(rows) == len(X):
            (rows, ages)[len(figures) - 1][0, 0] = -1e7
        keras.utils.set_random_seed(0)
        flow = make()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            flow.adapt(rows, ages)
        messages = [str(w.message) for w in caught]
        assert any("1 of the 128 rows" in m for m in messages) == (len(rows) == len(X))
        figures.append([v.numpy() for v in flow.variables])
    for other in figures[1:]:
        for expected, found in zip(figures[0], other, strict=True):
            if expected.shape:  # Not the states of random generators.
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
