"""FrEIA: blocks of two couplings on contiguous halves."""

import itertools
import math

import FrEIA.framework
import FrEIA.modules
import torch

from benchmarks.libraries import with_torch
from benchmarks.workloads import Dense

KINDS = ("nice", "real_nvp")
PACKAGES = ("FrEIA", "torch")


def make_flow(work):
    def network(inputs, outputs):
        widths = (inputs, *work.hidden_units, outputs)
        return with_torch.mlp([Dense(a, b) for a, b in itertools.pairwise(widths)])

    flow = FrEIA.framework.SequenceINN(work.dimensions)
    nice = work.kind == "nice"
    block = FrEIA.modules.NICECouplingBlock if nice else FrEIA.modules.GLOWCouplingBlock
    for _ in range(work.couplings // 2):
        flow.append(block, subnet_constructor=network)
    if nice:
        flow.append(FrEIA.modules.LearnedElementwiseScaling)
    return flow


def density(work, flow):
    """The library leaves the base to its user."""
    constant = -0.5 * work.dimensions * math.log(2 * math.pi)

    def log_prob(x):
        z, log_det = flow(x)
        return constant - 0.5 * z.square().sum(1) + log_det

    return log_prob


def train(work, cell):
    flow = make_flow(work)
    log_prob = density(work, flow)
    return with_torch.training(work, cell, flow, lambda x: -log_prob(x).mean())


def trained(work, parts, seed):
    torch.manual_seed(seed)
    flow = make_flow(work)
    return with_torch.trained(flow, density(work, flow), parts)


def log_prob(work, cell):
    function = density(work, make_flow(work))
    return with_torch.evaluation(cell, function, with_torch.rows(work, cell))


def sample(work, cell):
    flow = make_flow(work)

    def function():
        return flow(torch.randn(cell.batch, work.dimensions), rev=True)[0]

    return with_torch.evaluation(cell, function)
