"""zuko: lazy couplings on index masks."""

import functools

import torch
import zuko

from benchmarks.libraries import with_torch
from benchmarks.workloads import BOUND

KINDS = ("nice", "real_nvp", "neural_spline")
PACKAGES = ("zuko", "torch")


def make_flow(work):
    options = {}
    if work.kind == "nice":
        options = {"univariate": zuko.transforms.AdditiveTransform, "shapes": [()]}
    if work.kind == "neural_spline":
        spline = functools.partial(zuko.transforms.MonotonicRQSTransform, bound=BOUND)
        shapes = [(work.bins,), (work.bins,), (work.bins - 1,)]
        options = {"univariate": spline, "shapes": shapes}
    return zuko.flows.NICE(
        work.dimensions,
        transforms=work.couplings,
        hidden_features=work.hidden_units,
        **options,
    )


def train(work, cell):
    flow = make_flow(work)
    return with_torch.training(work, cell, flow, lambda x: -flow().log_prob(x).mean())


def trained(work, parts, seed):
    torch.manual_seed(seed)
    flow = make_flow(work)
    return with_torch.trained(flow, lambda x: flow().log_prob(x), parts)


def log_prob(work, cell):
    flow = make_flow(work)
    rows = with_torch.rows(work, cell)
    return with_torch.evaluation(cell, lambda x: flow().log_prob(x), rows)


def sample(work, cell):
    flow = make_flow(work)
    shape = torch.Size([cell.batch])
    return with_torch.evaluation(cell, lambda: flow().sample(shape))
