"""What NICE, Real NVP and spline flows share, and what a further flow on vectors declares."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp import scoring
from tfnvp.bijectors import ActNorm, AffineCoupling, DiagonalScaling, LULinear
from tfnvp.conditioners import GradientCheckpointing, StandardizedCondition
from tfnvp.flows.vector_flow import VectorFlow, VectorOptions, hidden_units_for
from tfnvp.partitions import EvenOdd, Mask, MoveAll, Split
from tfnvp.partitions.of_couplings import partitions_for

pytestmark = pytest.mark.usefixtures("eagerly")
SHARED = set(inspect.signature(tfnvp.NICE).parameters)


@keras.saving.register_keras_serializable("tests")
class Bounded(VectorFlow):
    """Affine couplings of bounded scale and, after them, a number of scalings."""

    def __init__(self, event_shape, scale="sigmoid", ends=1, **options):
        defaults = inspect.signature(tfnvp.RealNVP).parameters
        options = {name: options.get(name, defaults[name].default) for name in SHARED}
        super().__init__(
            VectorOptions(**{**options, "event_shape": event_shape}),
            AffineCoupling,
            coupling_options={"scale": scale},
            other_options={"ends": ends},
            arrange=lambda couplings, size: [*couplings, *[DiagonalScaling(size)] * ends],
        )


def test_a_further_flow_declares_what_differs():
    flow = Bounded((2, 2), couplings=2, hidden_units=(4,), ends=1, levels=8)
    assert set(flow.get_config()) == SHARED | {"scale", "ends"}
    couplings = [m for m in flow.bijector.bijectors if isinstance(m, AffineCoupling)]
    assert [c.scale for c in couplings] == ["sigmoid"] * 2
    perturb(flow)
    again = Bounded.from_config(flow.get_config())
    again.set_weights(flow.get_weights())
    x = np.random.default_rng(0).uniform(size=(3, 2, 2)).astype("float32")
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))
    np.testing.assert_allclose(again.decode(again.encode(x)), x, atol=1e-5)


def test_options_can_be_numbers_of_numpy():
    options = {"bins": np.int64(3), "whiten": np.float64(0.1), "levels": np.int32(8)}
    options |= {"dropout": np.float32(0.5), "bound": np.float16(2), "logit_alpha": np.float32(0.1)}
    flow = tfnvp.NeuralSplineFlow(3, couplings=2, hidden_units=(4,), **options)
    again = tfnvp.NeuralSplineFlow.from_config(json.loads(json.dumps(flow.get_config())))
    assert again.get_config() == flow.get_config()
    again.set_weights(flow.get_weights())
    x = [[0.1, 0.5, 0.7]]
    np.testing.assert_array_equal(again.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("flow_class", [tfnvp.NICE, tfnvp.RealNVP, tfnvp.NeuralSplineFlow])
def test_the_configuration_holds_every_argument_and_the_name_of_the_policy(flow_class):
    flow = flow_class(3, couplings=2, hidden_units=(4,))
    config = flow.get_config()
    parameters = inspect.signature(flow_class).parameters
    assert set(config) == set(parameters)
    given = {
        "standardize": "fixed",
        "event_shape": 3,
        "couplings": 2,
        "hidden_units": [4],
        "name": flow.name,
    }
    given["conditioner_dtype"] = "float32"
    assert config == {name: given.get(name, parameters[name].default) for name in parameters}


def test_options_choose_the_layers():
    flow = tfnvp.RealNVP(
        3, 2, (4,), condition_shape=1, linear="lu", gradient_checkpointing=True, whiten=1e-3
    )
    names = [type(member).__name__ for member in flow.bijector.bijectors]
    assert (
        names == ["Standardization", "Whitening", "LULinear"] + ["AffineCoupling", "LULinear"] * 2
    )
    network = flow.bijector.bijectors[3].conditioner
    assert isinstance(network, StandardizedCondition)
    assert isinstance(network.layer, GradientCheckpointing)
    maps = [m for m in flow.bijector.bijectors if isinstance(m, LULinear)]
    assert len({tuple(m.permutation) for m in maps}) > 1
    with pytest.raises(ValueError, match="`linear` must be one of lu, None"):
        tfnvp.RealNVP(2, 2, (4,), linear="plu")


@pytest.mark.parametrize("bins", [1, 2.0, "3", None])
def test_options_of_couplings_are_checked_by_them_before_networks_are_made(bins):
    with pytest.raises(ValueError, match="`bins` must be an int of 2 or more"):
        tfnvp.NeuralSplineFlow(2, couplings=1, hidden_units=("not used",), bins=bins)


@pytest.mark.parametrize("value", [True, "robust", "trained", False])
def test_standardising_is_saved_and_files_of_0_1_0_keep_theirs(value):
    flow = tfnvp.NICE(3, couplings=2, hidden_units=(4,), standardize=value)
    first = flow.bijector.bijectors[0]
    again = tfnvp.NICE.from_config(flow.get_config())
    assert type(again.bijector.bijectors[0]) is type(first)
    assert getattr(again.bijector.bijectors[0], "robust", None) == getattr(first, "robust", None)
    assert again.get_config() == flow.get_config()
    # In 0.1.0, True was a learned shift and scale.
    old = tfnvp.NICE.from_config({**flow.get_config(), "standardize": value is True or value})
    assert isinstance(old.bijector.bijectors[0], ActNorm) == (value in (True, "trained"))


@pytest.mark.parametrize("couplings", [0, True, 2.0, "3", 10**9])
def test_the_number_of_couplings_is_limited(couplings):
    with pytest.raises(ValueError, match="`couplings` must be a positive int, at most 10000"):
        tfnvp.NICE(2, couplings=couplings)


def test_the_memory_that_a_configuration_asks_for_is_limited():
    with pytest.raises(ValueError, match=r"`event_shape: number of variables` .* at most 16777216"):
        tfnvp.NICE(10**9, hidden_units=(4,))
    with pytest.raises(ValueError, match=r"`weights of hidden_1` must be .* at most 536870912"):
        tfnvp.NICE(4, hidden_units=(2**10, 2**20))


def test_partitions_alternate_or_are_random_and_repeatable():
    split = Split(1)
    assert partitions_for(split, 3, 4) == [split, split.swap(), split]
    assert partitions_for(None, 1, 4) == [EvenOdd()]
    first, second = (partitions_for("random", 3, 5) for _ in range(2))
    assert first == second
    assert all(isinstance(partition, Mask) for partition in first)
    assert first[1] == first[0].swap()
    assert first[2] != first[0]
    assert first[0].shapes((5,)) == ((3,), (2,)) or first[0].shapes((5,)) == ((2,), (3,))


def test_hidden_units_are_for_all_couplings_or_for_each():
    assert hidden_units_for((3, 4), 2) == [(3, 4), (3, 4)]
    assert hidden_units_for(((3,), [4, 5]), 2) == [(3,), (4, 5)]
    with pytest.raises(ValueError, match="one for each of the 3 couplings"):
        hidden_units_for(((3,), (4,)), 3)


def of_one_variable():
    """Flows of one variable, given three numbers."""
    options = {"couplings": 2, "hidden_units": (4,), "condition_shape": 3}
    network = tfnvp.conditioners.MLP(2, (4,))
    coupling = AffineCoupling(network, MoveAll(), 1, condition_shape=3)
    return {
        "real_nvp": tfnvp.RealNVP(1, linear="lu", whiten=True, partition="random", **options),
        "nice": tfnvp.NICE(1, **options),
        "neural_spline": tfnvp.NeuralSplineFlow(1, bins=2, linear="lu", **options),
        "flow": tfnvp.Flow(coupling, 1, condition_shape=3),
    }


@pytest.mark.parametrize("name", ["real_nvp", "nice", "neural_spline", "flow"])
def test_one_variable_has_a_density_for_each_condition(name, tmp_path):
    flow = perturb(of_one_variable()[name])
    conditions = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")
    grid = np.linspace(-40, 40, 8001, dtype="float32")[:, np.newaxis]
    means = []
    for condition in conditions:
        density = np.exp(flow.log_prob(grid, condition))
        np.testing.assert_allclose(density.sum() * 0.01, 1.0, rtol=1e-3)
        means.append((density * grid[:, 0]).sum() * 0.01)
    assert abs(means[0] - means[1]) > 1e-2
    x = grid[::4000]
    z = flow.encode(x, conditions[0])
    np.testing.assert_allclose(flow.decode(tf.identity(z), conditions[0]), x, rtol=1e-4, atol=1e-4)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    # One step of float32: programs for other numbers of rows round differently.
    expected = flow.log_prob(x, conditions[0])
    np.testing.assert_allclose(loaded.log_prob(x, conditions[0]), expected, rtol=1e-6)


def test_one_variable_is_scored_given_its_condition():
    flow = perturb(of_one_variable()["nice"])
    conditions = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    rows = flow.sample(20, seed=0, condition=conditions).numpy()
    whole = np.arange(20) != 3
    rows[3] = np.nan
    densities = flow.log_prob(rows[whole], conditions[whole])
    with pytest.warns(UserWarning, match="1 of 20 rows"):
        reference = scoring.make_reference(flow, rows, condition=conditions)
    np.testing.assert_allclose(reference.log_density, np.sort(densities), rtol=1e-4)
    scores = scoring.score(flow, rows, reference, condition=conditions)
    np.testing.assert_array_equal(np.isfinite(scores.log_density), whole)
    np.testing.assert_allclose(scores.log_density[whole], densities, rtol=1e-4)
    one = scoring.score(flow, rows[:3], reference, condition=conditions[0])
    np.testing.assert_allclose(one.log_density, flow.log_prob(rows[:3], conditions[0]), rtol=1e-4)
    with pytest.raises(ValueError, match="2 conditions for 20 rows"):
        scoring.score(flow, rows, reference, condition=conditions[:2])
    assert partitions_for(None, 3, 1) == [MoveAll()] * 3


@keras.saving.register_keras_serializable("tests")
def bent(x):
    return keras.ops.relu(x) ** 2


def relu(x):
    """Not the function of this name in Keras."""
    return keras.ops.relu(x - 1.0)


@pytest.mark.parametrize("activation", [bent, keras.layers.PReLU(), None])
def test_activations_are_those_of_keras_layers(activation, tmp_path):
    flow = perturb(tfnvp.NICE(3, couplings=2, hidden_units=(4, 4), activation=activation))
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    assert loaded.get_config() == flow.get_config()


@pytest.mark.parametrize("activation", [relu, np.tanh, "curved", 3])
def test_activations_that_no_file_can_hold_are_errors(activation):
    with pytest.raises(ValueError, match=r"`activation` must be the name .* Received: "):
        tfnvp.NICE(3, couplings=2, activation=activation)
