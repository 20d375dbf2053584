"""bayesflow: its coupling flow on JAX, trained by Keras' `fit`; it has affine couplings only."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import bayesflow
import jax
import keras

from benchmarks.libraries import with_jax
from benchmarks.libraries.with_keras import FitBlocks

KINDS = ("real_nvp",)
PACKAGES = ("bayesflow", "keras", "jax")


def make_network(work):
    network = bayesflow.networks.CouplingFlow(
        # Its layers are pairs of couplings.
        depth=work.couplings // 2,
        permutation=None,
        use_actnorm=False,
        subnet_kwargs={
            "widths": work.hidden_units,
            "activation": "relu",
            "kernel_initializer": "he_normal",
            "dropout": 0.0,
        },
    )
    network.build((None, work.dimensions))
    return network


def train(work, cell):
    approximator, dataset = _approximator(make_network(work)), _dataset(work.batches(cell))
    return FitBlocks(lambda **kwargs: approximator.fit(dataset=dataset, **kwargs))


def _approximator(network):
    approximator = bayesflow.ContinuousApproximator(inference_network=network, standardize=None)
    approximator.compile(optimizer=keras.optimizers.Adam(1e-3))
    return approximator


def _dataset(batches):
    rows = {"inference_variables": batches.reshape((-1, *batches.shape[2:]))}
    return bayesflow.datasets.OfflineDataset(rows, batches.shape[1], adapter=None)


def trained(work, parts, seed):
    keras.utils.set_random_seed(seed)
    network = make_network(work)
    approximator = _approximator(network)
    for part in parts:
        approximator.fit(dataset=_dataset(part), epochs=1, verbose=0)
        yield lambda rows: network(rows, density=True)[1]


def log_prob(work, cell):
    network, variables = _stateless(work)

    def function(variables, x):
        (_, log_density), _ = network.stateless_call(*variables, x, density=True)
        return log_density

    return with_jax.log_prob(work, cell, variables, function)


def sample(work, cell):
    network, variables = _stateless(work)

    def function(variables, key):
        z = jax.random.normal(key, (cell.batch, work.dimensions))
        return network.stateless_call(*variables, z, inverse=True)[0]

    return with_jax.sampling(cell, variables, function)


def _stateless(work):
    """The network, and its variables as JAX compiles functions of them."""
    network = make_network(work)
    variables = (network.trainable_variables, network.non_trainable_variables)
    return network, jax.tree.map(lambda variable: variable.value, variables)
