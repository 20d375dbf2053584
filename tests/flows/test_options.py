"""Each value of each option of a flow gives other numbers: none is dropped on its way."""

import functools
import inspect
import itertools

import keras
import numpy as np
import pytest

import tfnvp
from tests.conftest import perturb
from tfnvp.partitions import Split

OF_VECTORS = {
    "event_shape": [4, 6],
    "couplings": [2, 3],
    "hidden_units": [(4, 4), (3,), [(4, 4), (3,)]],
    "base": ["normal", "logistic"],
    "partition": [None, Split(1), [Split(1), Split(3)], "random"],
    "activation": ["relu", "gelu", keras.layers.LeakyReLU(0.5)],
    "dropout": [0.0, 0.5],
    "residual": [False, True],
    "logit_alpha": [None, 0.1, 0.2],
    "standardize": [True, "robust", False, "trained"],
    "whiten": [False, True, 0.1],
    "condition_shape": [3, None],
    "levels": [None, 2, 256],
    "conditioner_dtype": ["float32", "mixed_bfloat16"],
    "standardize_condition": [True, "robust", False],
    "bounds": [None, {0: (-1, None)}, [None, (0, 2), None, None]],
    "condition_network": [None, keras.layers.Dense(2)],
}
SCALES = ["tanh", "sigmoid", "softclamp", "exp"]
#: The values of the options of each flow, the usual one first.
OPTIONS = {
    "NICE": {name: values[:2] for name, values in OF_VECTORS.items()},
    "RealNVP": {**OF_VECTORS, "scale": SCALES, "linear": [None, "lu"]},
    "NeuralSplineFlow": {
        **{name: values[:2] for name, values in OF_VECTORS.items()},
        "bins": [2, 3],
        "bound": [5.0, 1.0],
        "circular": [None, {0: (-1, 2)}, [None, (0, 2), None, None]],
        "linear": [None, "lu"],
    },
    "ImageRealNVP": {
        "image_shape": [(4, 4, 1)],
        "scales": [1, 2],
        "base_filters": [1, 2],
        "residual_blocks": [0, 1],
        "scale": SCALES[:2],
        "alpha": [None, 0.1, 0.2],
        "normalization": [None, "act_norm", "batch_norm"],
        "network_batch_norm": [False, True],
        "condition_shape": [3],
        "standardize_condition": [True, "robust"],
        "base": ["normal"],
        "levels": [4],
        "conditioner_dtype": ["float32", "mixed_bfloat16"],
        "condition_network": [None, keras.layers.Dense(2)],
        "network": ["residual", "gated"],
        "squeeze_first": [False, True],
        "channel_maps": [None, "lu"],
        "dequantization": ["uniform", "variational"],
    },
    "Jet": {
        "image_shape": [(4, 4, 2), (4, 8, 2)],
        "couplings": [2, 3],
        "blocks": [1, 2],
        "width": [4, 8],
        "heads": [2, 1],
        "patch": [2, 1],
        "spatial_every": [2, 0],
        "seed": [0, 1],
        "condition_shape": [3, None],
        "standardize_condition": [True, "robust", False],
        "base": ["normal", "logistic"],
        "levels": [None, 2, 256],
        "conditioner_dtype": ["float32", "mixed_bfloat16"],
        "condition_network": [None, keras.layers.Dense(2)],
    },
}
#: Options that change no numbers.
SILENT = {"name", "gradient_checkpointing"}


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


def numbers(kind, **options):
    """Returns log-densities, as they are trained, of a flow of noisy weights."""
    keras.utils.set_random_seed(0)
    flow = getattr(tfnvp, kind)(**{n: values[0] for n, values in OPTIONS[kind].items()} | options)
    generator = np.random.default_rng(0)
    x = generator.beta(2, 5, size=(16, *flow.event_shape)).astype("float32")
    condition = generator.gamma(1, size=(16, 3)).astype("float32") if flow.condition_shape else None
    flow.adapt(x, condition)
    perturb(flow)
    nats = flow(x, condition, training=True)
    return np.asarray(nats if flow.levels is None else flow.bits_per_dim(nats))


usual = functools.cache(numbers)


@pytest.mark.parametrize(("kind", "option"), [(k, name) for k in OPTIONS for name in OPTIONS[k]])
def test_every_value_counts(kind, option):
    others = [numbers(kind, **{option: value}) for value in OPTIONS[kind][option][1:]]
    for one, other in itertools.combinations([usual(kind), *others], 2):
        assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize("kind", OPTIONS)
def test_no_option_is_left_out(kind):
    assert {*OPTIONS[kind], *SILENT} == {*inspect.signature(getattr(tfnvp, kind)).parameters}
