"""nflows: coupling transforms on index masks."""

import functools

import torch
from nflows import distributions, flows, transforms
from nflows.nn import nets

from benchmarks.libraries import with_torch
from benchmarks.workloads import BOUND

KINDS = ("nice", "real_nvp", "neural_spline")
PACKAGES = ("nflows", "torch")


class Network(nets.MLP):
    """Its MLP, which takes no context and wants shapes."""

    def __init__(self, inputs, outputs, hidden_units):
        super().__init__([inputs], [outputs], hidden_units)
        # Splines divide raw widths and heights by its square root, if the network tells it.
        self.hidden_features = hidden_units[-1]

    def forward(self, inputs, context=None):
        return super().forward(inputs)


def make_flow(work):
    coupling = {
        "nice": transforms.AdditiveCouplingTransform,
        "real_nvp": transforms.AffineCouplingTransform,
        "neural_spline": functools.partial(
            transforms.PiecewiseRationalQuadraticCouplingTransform,
            num_bins=work.bins,
            tails="linear",
            tail_bound=BOUND,
        ),
    }[work.kind]
    couplings = [
        coupling(
            torch.arange(work.dimensions) % 2 == i % 2,
            lambda inputs, outputs: Network(inputs, outputs, work.hidden_units),
        )
        for i in range(work.couplings)
    ]
    base = distributions.StandardNormal([work.dimensions])
    return flows.Flow(transforms.CompositeTransform(couplings), base)


def train(work, cell):
    flow = make_flow(work)
    return with_torch.training(work, cell, flow, lambda x: -flow.log_prob(x).mean())


def trained(work, parts, seed):
    torch.manual_seed(seed)
    flow = make_flow(work)
    return with_torch.trained(flow, flow.log_prob, parts)


def log_prob(work, cell):
    return with_torch.evaluation(cell, make_flow(work).log_prob, with_torch.rows(work, cell))


def sample(work, cell):
    return with_torch.evaluation(cell, make_flow(work).sample, cell.batch)
