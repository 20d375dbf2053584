"""Conditions in whatever units they come: flows standardise them, and say when they are others."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, Chain
from tfnvp.conditioners import MLP, GradientCheckpointing, StandardizedCondition
from tfnvp.partitions import Split

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 3)).astype("float32")
UNIT = np.stack([RNG.normal(size=256), RNG.integers(0, 2, 256)], axis=1).astype("float32")
UNIT[:, 0] = (UNIT[:, 0] - UNIT[:, 0].mean()) / UNIT[:, 0].std()
AGES = UNIT * np.float32([18, 1]) + np.float32([49, 0])


def make(kind=tfnvp.RealNVP, **kwargs):
    flow = kind(3, couplings=2, hidden_units=(8,), condition_shape=2, **kwargs)
    flow.compile("adam", jit_compile=False)
    return flow


def standardized(flow, condition):
    figures = flow.condition_scale.figures()
    return (condition - figures["mean"]) / figures["standard_deviation"]


@pytest.fixture(scope="module")
def aged():
    """A flow fitted with ages as they are, and noise in its weights."""
    flow = make()
    flow.fit(X, AGES, verbose=0)
    return perturb(flow)


@pytest.mark.parametrize("kind", [tfnvp.RealNVP, tfnvp.NICE])
@pytest.mark.parametrize("as_data_set", [False, True], ids=["arrays", "data set"])
def test_training_with_raw_conditions_is_that_with_standardised_ones(kind, as_data_set):
    def weights(condition, standardize_condition):
        keras.utils.set_random_seed(1)
        flow = make(kind, standardize_condition=standardize_condition)
        data = (X, condition)
        if as_data_set:
            data = (tf.data.Dataset.from_tensor_slices(data).batch(32),)
        flow.fit(*data, epochs=2, shuffle=False, verbose=0)
        return [v.numpy() for v in flow.trainable_variables]

    expected = weights(UNIT, standardize_condition=False)
    for got, wanted in zip(weights(AGES, standardize_condition=True), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)
    # The condition counts at all.
    other = weights(-UNIT, standardize_condition=False)
    assert max(np.abs(a - b).max() for a, b in zip(other, expected, strict=True)) > 1e-3


def test_every_way_to_a_density_standardises(aged, tmp_path):
    expected = aged.log_prob(X, AGES)
    assert np.abs(aged.log_prob(X, AGES + np.float32([9, 0])) - expected).max() > 0.01
    aged.save(tmp_path / "aged.keras")
    served = tf.saved_model.load(str(aged.export(tmp_path / "served"))).signatures["log_prob"]
    for got in (
        keras.saving.load_model(tmp_path / "aged.keras").log_prob(X, AGES),
        aged.distribution.log_prob(X, condition=AGES),
        aged.predict({"x": X, "condition": AGES}, verbose=0),
        served(x=tf.constant(X), condition=tf.constant(AGES))["log_prob"],
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    z = aged.bijector.inverse(tf.constant(X), condition=tf.constant(AGES))
    np.testing.assert_allclose(aged.decode(z, AGES), X, atol=1e-4)


def test_training_goes_on_with_the_figures_of_its_start(aged):
    before = standardized(aged, AGES)
    np.testing.assert_allclose(before, UNIT, atol=1e-5)
    aged.fit(X[:64], AGES[:64] + np.float32([30, 0]), verbose=0)
    np.testing.assert_array_equal(standardized(aged, AGES), before)


def test_conditions_far_from_those_of_training_get_a_warning(aged):
    # In other units, and one row beyond all others.
    for far in (AGES * np.float32([1000, 1]), AGES[:1] + np.float32([200, 0])):
        rows = X[: len(far)]
        for use in (
            lambda: aged.log_prob(rows, far),  # noqa: B023
            lambda: aged.sample(len(far), seed=0, condition=far),  # noqa: B023
            lambda: aged.evaluate(rows, far, verbose=0),  # noqa: B023
            lambda: aged.predict({"x": rows, "condition": far}, verbose=0),  # noqa: B023
            lambda: aged.fit(X, AGES, validation_data=(rows, far), verbose=0),  # noqa: B023
        ):
            with pytest.warns(UserWarning, match="`condition` is far from those .*variable 0"):
                use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aged.sample(3, seed=0, condition=[100.0, 0.0])
        aged.fit(X, AGES, validation_data=(X, AGES), verbose=0)


def test_the_first_training_is_told_of_validation_data_in_other_units():
    with pytest.warns(UserWarning, match="is far from those that the flow was started with"):
        make().fit(X, UNIT, validation_data=(X, AGES), verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().fit(X, AGES, validation_data=(X, AGES), verbose=0)


def test_before_any_data_raw_conditions_get_a_warning():
    flow = make()
    with pytest.warns(UserWarning, match=r"once `fit` or `flow.adapt\(x, condition\)`"):
        flow.log_prob(X, AGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.adapt(X, AGES)
        flow.log_prob(X, AGES)


def test_flows_of_ones_own_standardise_with_the_layer_around_their_networks(tmp_path):
    def couplings(wrap):
        return Chain(
            [
                AffineCoupling(wrap(MLP(4, (8,))), Split(1), 3, condition_shape=2),
                AffineCoupling(wrap(MLP(2, (8,))), Split(1, swapped=True), 3, condition_shape=2),
            ]
        )

    flow = tfnvp.Flow(couplings(StandardizedCondition), 3, condition_shape=2)
    flow.compile("adam", jit_compile=False)
    flow.fit(X, AGES, verbose=0)
    perturb(flow)
    np.testing.assert_allclose(standardized(flow, AGES), UNIT, atol=1e-5)
    flow.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    np.testing.assert_allclose(loaded.log_prob(X, AGES), flow.log_prob(X, AGES), atol=1e-5)
    plain = tfnvp.Flow(couplings(lambda network: network), 3, condition_shape=2)
    with pytest.warns(UserWarning, match="StandardizedCondition` around their networks"):
        plain.log_prob(X, AGES)


def test_images_standardise_their_conditions():
    flow = tfnvp.ImageRealNVP(
        (4, 4, 1), scales=2, base_filters=2, residual_blocks=1, condition_shape=2
    )
    images = RNG.integers(0, 256, (256, 4, 4, 1)).astype("uint8")
    flow.adapt(images, AGES)
    np.testing.assert_allclose(standardized(flow, AGES), UNIT, atol=1e-5)
    assert np.isfinite(flow.log_prob(images, AGES)).all()


def test_sorted_arrays_are_not_judged_by_their_beginning(monkeypatch):
    monkeypatch.setattr(tfnvp.RealNVP, "adaptation_rows", 50)
    time = np.linspace(0, 1000, 256, dtype="float32")[:, None]
    for data in ((X, time), ({"x": X, "condition": time},)):
        flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), condition_shape=1)
        flow.compile("adam", jit_compile=False)
        flow.fit(*data, verbose=0)
        assert np.abs(standardized(flow, time).mean()) < 0.1


@pytest.mark.parametrize("as_data_set", [False, True], ids=["arrays", "data set"])
def test_constant_conditions_get_a_warning_and_so_do_other_values_later(as_data_set):
    condition = UNIT.copy()
    condition[:, 1] = 7
    flow = make()
    data = (X, condition)
    if as_data_set:
        data = (tf.data.Dataset.from_tensor_slices(data).batch(32),)
    with pytest.warns(UserWarning, match="`condition` is constant: variable 1 is 7 in all"):
        flow.fit(*data, verbose=0)
    with pytest.warns(UserWarning, match="variable 1 is 8 .*was from 7 to 7"):
        flow.sample(1, condition=[0.0, 8.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.sample(1, condition=[0.0, 7.0])


def test_adapting_a_trained_flow_gets_a_warning():
    flow = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.adapt(X, AGES)
        flow.adapt(X, AGES)
        flow.fit(X, AGES, verbose=0)
    with pytest.warns(UserWarning, match="`adapt` starts a trained flow anew"):
        flow.adapt(X, AGES)


def test_the_start_runs_no_more_of_the_flow_than_it_needs(counting_mlp):
    coupling = AffineCoupling(
        StandardizedCondition(counting_mlp(4, (8,))), Split(1), 3, condition_shape=2
    )
    flow = tfnvp.Flow(Chain([tfnvp.bijectors.ActNorm(3), coupling]), 3, condition_shape=2)
    before = counting_mlp.calls
    flow.adapt(X, AGES)
    assert counting_mlp.calls == before
    np.testing.assert_allclose(flow.bijector.bijectors[0].shift, X.mean(axis=0), atol=1e-4)


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
    scaling = tfnvp.bijectors.DiagonalScaling(3)
    return Chain([tfnvp.bijectors.ActNorm(3, data_init=False), *couplings, scaling])


def fit_elsewhere(bijector):
    """Fits a new flow around a bijector with other data, at a rate that changes nothing."""
    flow = tfnvp.Flow(bijector, 3, condition_shape=2)
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    flow.fit(3 * X + 5, AGES + np.float32([200, 0]), verbose=0)
    return flow


def test_fit_keeps_what_bijectors_have_from_elsewhere(tmp_path):
    chain = own_chain()
    tfnvp.Flow(chain, 3, condition_shape=2).adapt(X, AGES)
    perturb(chain)
    expected = chain.inverse(X, condition=AGES).numpy()
    tf.train.Checkpoint(bijector=chain).write(str(tmp_path / "weights"))
    np.testing.assert_allclose(fit_elsewhere(chain).encode(X, AGES), expected, atol=1e-5)
    restored = own_chain()
    tf.train.Checkpoint(bijector=restored).read(str(tmp_path / "weights"))
    np.testing.assert_allclose(fit_elsewhere(restored).encode(X, AGES), expected, atol=1e-5)


def test_fit_leaves_networks_that_learned_without_standardising(tmp_path):
    chain = own_chain()
    for coupling in chain.bijectors[1:3]:
        perturb(coupling)
    expected = chain.bijectors[1].inverse(X, condition=UNIT).numpy()
    tf.train.Checkpoint(bijector=chain).write(str(tmp_path / "weights"))
    restored = own_chain()
    tf.train.Checkpoint(bijector=restored).read(str(tmp_path / "weights"))
    for bijector in (chain, restored):
        fit_elsewhere(bijector)
        got = bijector.bijectors[1].inverse(X, condition=UNIT)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_fit_starts_what_has_not_started():
    chain = own_chain()
    for coupling in chain.bijectors[1:3]:
        coupling.conditioner.adapt(AGES)
    fit_elsewhere(chain)
    np.testing.assert_allclose(chain.bijectors[0].shift, 3 * X.mean(axis=0) + 5, atol=1e-3)
    np.testing.assert_allclose(chain.bijectors[1].conditioner.mean, [49, 0], atol=1e-3)


def test_adapt_starts_all_again(aged):
    flow = tfnvp.Flow(own_chain(), 3, condition_shape=2)
    flow.adapt(X, UNIT)
    flow.adapt(X + 7, AGES)
    np.testing.assert_allclose(standardized(flow, AGES), UNIT, atol=1e-5)
    np.testing.assert_allclose(flow.bijector.bijectors[0].shift, X.mean(axis=0) + 7, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [tfnvp.RealNVP, tfnvp.NICE])
def test_no_numbers_come_from_conditions_that_are_none(kind, bad, tmp_path):
    flow = perturb(make(kind))
    condition = UNIT[:4].copy()
    condition[1, 0] = bad
    condition = tf.constant(condition)
    x, seeds = tf.constant(X[:4]), tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
    coupling = flow.bijector.bijectors[-2]
    served = tf.saved_model.load(str(flow.export(tmp_path))).signatures
    answers = {
        "bijector": tf.function(lambda: flow.bijector.inverse(x, condition=condition))(),
        "distribution": tf.function(lambda: flow.distribution.log_prob(x, condition=condition))(),
        "coupling": tf.function(lambda: coupling.forward(x, condition=condition))(),
        "log_prob": tf.function(lambda: flow.log_prob(x, condition))(),
        "served log_prob": served["log_prob"](x=x, condition=condition)["log_prob"],
        "encode": served["encode"](x=x, condition=condition)["z"],
        "decode": served["decode"](z=x, condition=condition)["x"],
        "sample_rows": served["sample_rows"](
            seed=seeds, temperature=tf.ones(4), condition=condition
        )["x"],
    }
    for name, answer in answers.items():
        rows = np.isfinite(answer).reshape(4, -1).all(axis=1)
        assert rows.tolist() == [True, False, True, True], name


def test_a_distribution_takes_conditions_in_both_ways(aged):
    expected = aged.distribution.log_prob(X, condition=AGES)
    got = aged.distribution.log_prob(X, bijector_kwargs={"condition": AGES})
    np.testing.assert_array_equal(got, expected)


def test_the_model_card_names_the_units_of_conditions(aged, tmp_path):
    folder = aged.export(tmp_path, signatures=["log_prob"])
    flow = json.loads((folder / "signature.json").read_text())["flow"]
    np.testing.assert_allclose(flow["condition_mean"], [49, 0], atol=1e-3)
    np.testing.assert_allclose(flow["condition_standard_deviation"], [18, 1], rtol=1e-3)
    assert "| condition mean | [" in (folder / "model_card.md").read_text()
    folder = make().export(tmp_path / "not started", signatures=["log_prob"])
    assert "condition mean" not in (folder / "model_card.md").read_text()


def test_flags_stay_and_constants_are_only_shifted():
    layer = StandardizedCondition(MLP(1))
    rows = np.array([[0, 7, 1, -1], [1, 7, 1, 3]], "float32")
    layer([np.ones((2, 1)), rows])
    layer.adapt(rows)
    np.testing.assert_allclose(layer.standardize(rows), [[0, 0, 1, -1], [1, 0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(layer.standardize(rows + 1)[0], [1, 1, 2, -0.5], atol=1e-6)


def test_images_as_conditions_have_figures_for_each_channel():
    layer = StandardizedCondition(MLP(1))
    rows = RNG.normal(size=(50, 4, 4, 2)) * [1.0, 30.0] + [5.0, 0.0]
    layer([np.ones((50, 1)), rows])
    layer.adapt(rows)
    got = layer.standardize(rows).numpy()
    np.testing.assert_allclose(got.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(got.std(axis=(0, 1, 2)), 1, atol=1e-4)


def test_half_precision_comes_after_the_standardising():
    years = np.array([[2024.0], [2025.0]])
    for policy, dtype in (("mixed_bfloat16", "float32"), ("float64", "float64")):
        network = GradientCheckpointing(MLP(1, zero_init=False, dtype=policy))
        layer = StandardizedCondition(network)
        layer([np.ones((2, 1)), years])
        layer.adapt(years)
        assert layer.standardize(years).dtype == dtype
        np.testing.assert_array_equal(layer.standardize(years), [[-1], [1]])
        first, second = layer([np.ones((2, 1)), years]).numpy().astype("float32")
        assert abs(first - second) > 1e-2


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_conditions_that_float32_would_flatten_are_refused(dtype):
    seconds = (1_700_000_000 + 1000 * UNIT.astype("float64")).astype(dtype)
    for use in (
        lambda: make().fit(X, seconds, verbose=0),
        lambda: make().adapt(X, seconds),
        lambda: make().fit(tf.data.Dataset.from_tensor_slices((X, seconds)).batch(64), verbose=0),
    ):
        with pytest.raises(ValueError, match=r"`condition`: variable 0 varies by .*float32"):
            use()


@pytest.mark.parametrize("wrong", [np.ones((4, 3)), np.ones((0, 2)), [[np.nan, 1.0]], 1.0])
def test_figures_of_wrong_conditions_are_refused(wrong):
    layer = StandardizedCondition(MLP(1))
    with pytest.raises(ValueError, match="has no weights yet"):
        layer.adapt(np.ones((4, 2)))
    layer([np.ones((1, 1)), np.ones((1, 2))])
    with pytest.raises(ValueError, match=r"finite numbers of shape \[batch, ..., 2\]"):
        layer.adapt(wrong)


def test_wrong_use_is_named():
    with pytest.raises(TypeError, match="`layer` must be a Keras 3 layer or model"):
        StandardizedCondition(tf.exp)
    with pytest.raises(ValueError, match="needs variables and a condition"):
        AffineCoupling(StandardizedCondition(MLP(4)), Split(1), 3)
    with pytest.raises(ValueError, match="standardises its condition already"):
        StandardizedCondition(GradientCheckpointing(StandardizedCondition(MLP(1))))
    coupling = AffineCoupling(MLP(4), Split(1), 3, condition_shape=1)
    with pytest.raises(
        ValueError, match=r"`condition_shape` must be that of affine_coupling, \(1,"
    ):
        tfnvp.Flow(Chain([coupling]), 3, condition_shape=2)
    with pytest.raises(ValueError, match="`standardize_condition` must be True or False"):
        make(standardize_condition="yes")
