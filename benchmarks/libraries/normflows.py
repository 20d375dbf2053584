"""normflows: coupling blocks on contiguous halves, with swaps between."""

import normflows
import torch

from benchmarks.libraries import with_torch

KINDS = ("nice", "real_nvp")
PACKAGES = ("normflows", "torch")


def make_flow(work):
    layers = []
    moved = work.dimensions // 2
    for _ in range(work.couplings):
        # It lets the larger half pass, always.
        conditioner = work.conditioner(work.dimensions - moved, moved)
        widths = [conditioner[0].inputs, *(layer.outputs for layer in conditioner)]
        # Last layers start at zero: its log-scales are not bounded.
        network = normflows.nets.MLP(widths, init_zeros=True)
        affine = work.kind == "real_nvp"
        layers.append(normflows.flows.AffineCouplingBlock(network, scale=affine))
        layers.append(normflows.flows.Permute(work.dimensions, mode="swap"))
    if work.kind == "nice":
        layers.insert(0, normflows.flows.AffineConstFlow(work.dimensions, shift=False))
    base = normflows.distributions.DiagGaussian(work.dimensions, trainable=False)
    return normflows.NormalizingFlow(base, layers)


def train(work, cell):
    flow = make_flow(work)
    return with_torch.training(work, cell, flow, flow.forward_kld)


def trained(work, batches, seed):
    torch.manual_seed(seed)
    flow = make_flow(work)
    return with_torch.trained(flow, flow.log_prob, batches)


def log_prob(work, cell):
    return with_torch.evaluation(cell, make_flow(work).log_prob, with_torch.rows(work, cell))


def sample(work, cell):
    # Its `sample` gives the log-density too, which costs little beside.
    return with_torch.evaluation(cell, make_flow(work).sample, cell.batch)
