"""distrax: split couplings, with a network of `jax.numpy`."""

import distrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.libraries import with_jax
from benchmarks.workloads import BOUND

KINDS = ("nice", "real_nvp", "neural_spline")
PACKAGES = ("distrax", "jax", "optax")


def initial_parameters(work, seed=0):
    """He initialization: a list of (weights, offsets) for every coupling."""
    key = jax.random.key(seed)
    couplings = []
    for conditioner in work.conditioners():
        layers = []
        for layer in conditioner:
            key, use = jax.random.split(key)
            deviation = jnp.sqrt(2.0 / layer.inputs)
            weights = deviation * jax.random.normal(use, (layer.inputs, layer.outputs))
            layers.append((weights, jnp.zeros(layer.outputs)))
        # Last layers start at zero, or random networks this deep would lose the data.
        weights, offsets = layers.pop()
        couplings.append([*layers, (0.0 * weights, offsets)])
    return {"couplings": couplings, "log_diagonal": jnp.zeros(work.dimensions)}


def distribution(work, parameters):
    def network(layers, x):
        for weights, offsets in layers[:-1]:
            x = jax.nn.relu(x @ weights + offsets)
        weights, offsets = layers[-1]
        return x @ weights + offsets

    def inner(outputs):
        if work.kind == "nice":
            return distrax.ScalarAffine(outputs)
        if work.kind == "neural_spline":
            return spline(outputs)
        shift, log_scale = jnp.split(outputs, 2, axis=-1)
        return distrax.ScalarAffine(shift, log_scale=jnp.tanh(log_scale))

    def spline(outputs):
        raw = outputs.reshape(*outputs.shape[:-1], -1, work.parameters_per_variable)
        # It takes slopes at the ends too, and ignores them: they are 1.
        raw = jnp.insert(raw, np.array([2 * work.bins, raw.shape[-1]]), 0.0, axis=-1)
        return distrax.RationalQuadraticSpline(raw, -BOUND, BOUND, boundary_slopes="identity")

    bijectors = [
        distrax.SplitCoupling(
            work.dimensions // 2,
            event_ndims=1,
            conditioner=lambda x, layers=layers: network(layers, x),
            bijector=inner,
            swap=i % 2 == 1,
        )
        for i, layers in enumerate(parameters["couplings"])
    ]
    if work.kind == "nice":
        diagonal = jnp.exp(parameters["log_diagonal"])
        bijectors.append(distrax.DiagLinear(diagonal))
    base = distrax.MultivariateNormalDiag(jnp.zeros(work.dimensions), jnp.ones(work.dimensions))
    return distrax.Transformed(base, distrax.Chain(bijectors))


def train(work, cell):
    def loss(parameters, x):
        return -distribution(work, parameters).log_prob(x).mean()

    return with_jax.training(work, cell, initial_parameters(work), loss)


def trained(work, parts, seed):
    def log_prob(parameters, x):
        return distribution(work, parameters).log_prob(x)

    return with_jax.trained(initial_parameters(work, seed), log_prob, parts)


def log_prob(work, cell):
    def function(parameters, x):
        return distribution(work, parameters).log_prob(x)

    return with_jax.log_prob(work, cell, initial_parameters(work), function)


def sample(work, cell):
    def function(parameters, key):
        return distribution(work, parameters).sample(seed=key, sample_shape=cell.batch)

    return with_jax.sampling(cell, initial_parameters(work), function)
