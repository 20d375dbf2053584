"""What NICE and Real NVP share, and what a further flow on vectors declares."""

import inspect

import keras
import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import ActNorm, AffineCoupling, DiagonalScaling, LULinear
from tfnvp.conditioners import GradientCheckpointing, StandardizedCondition
from tfnvp.flows.vector_flow import VectorFlow, VectorOptions, hidden_units_for, partitions_for
from tfnvp.partitions import EvenOdd, Mask, Split

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
            parameters=2,
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


@pytest.mark.parametrize("flow_class", [tfnvp.NICE, tfnvp.RealNVP])
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
    with pytest.raises(ValueError, match='`linear` must be "lu" or None'):
        tfnvp.RealNVP(2, 2, (4,), linear="plu")


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
