"""flowjax: its coupling flow, a scan over the layers, each with a permutation."""

import equinox as eqx
import flowjax.bijections
import flowjax.distributions
import flowjax.flows
import jax
import jax.numpy as jnp
import paramax

from benchmarks.libraries import with_jax
from benchmarks.workloads import BOUND

KINDS = ("nice", "real_nvp", "neural_spline")
PACKAGES = ("flowjax", "equinox", "jax", "optax")


def make_flow(work, seed=0):
    """Returns the flow's arrays, and the function from arrays to the flow."""
    transformer = None
    if work.kind == "nice":
        transformer = flowjax.bijections.Loc(jnp.zeros(()))
    if work.kind == "neural_spline":
        # Knots between the bins.
        transformer = flowjax.bijections.RationalQuadraticSpline(
            knots=work.bins - 1, interval=BOUND
        )
    flow = flowjax.flows.coupling_flow(
        jax.random.key(seed),
        base_dist=flowjax.distributions.Normal(jnp.zeros(work.dimensions)),
        transformer=transformer,
        flow_layers=work.couplings,
        nn_width=work.hidden_units[0],
        nn_depth=len(work.hidden_units),
    )
    arrays, rest = eqx.partition(
        flow,
        eqx.is_inexact_array,
        is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable),
    )
    return arrays, lambda arrays: paramax.unwrap(eqx.combine(arrays, rest))


def train(work, cell):
    arrays, flow = make_flow(work)
    return with_jax.training(work, cell, arrays, lambda arrays, x: -flow(arrays).log_prob(x).mean())


def trained(work, parts, seed):
    arrays, flow = make_flow(work, seed)
    return with_jax.trained(arrays, lambda arrays, x: flow(arrays).log_prob(x), parts)


def log_prob(work, cell):
    arrays, flow = make_flow(work)
    return with_jax.log_prob(work, cell, arrays, lambda arrays, x: flow(arrays).log_prob(x))


def sample(work, cell):
    arrays, flow = make_flow(work)
    return with_jax.sampling(
        cell, arrays, lambda arrays, key: flow(arrays).sample(key, (cell.batch,))
    )
