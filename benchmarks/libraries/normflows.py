"""normflows: coupling blocks on contiguous halves, with swaps between."""

import normflows
import torch
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

from benchmarks.libraries import with_torch
from benchmarks.workloads import BOUND

KINDS = ("nice", "real_nvp", "neural_spline")
PACKAGES = ("normflows", "torch")


class Network(normflows.nets.MLP):
    """Its MLP, which takes no context."""

    def __init__(self, inputs, outputs, hidden_units):
        super().__init__([inputs, *hidden_units, outputs], init_zeros=True)
        # Splines divide raw widths and heights by its square root, if the network tells it.
        self.hidden_features = hidden_units[-1]

    def forward(self, inputs, context=None):
        return super().forward(inputs)


def make_flow(work):
    layers = _splines(work) if work.kind == "neural_spline" else _affine_or_additive(work)
    base = normflows.distributions.DiagGaussian(work.dimensions, trainable=False)
    return normflows.NormalizingFlow(base, layers)


def _splines(work):
    """Splines from data to latents, as in its own wrapper, which has residual networks only."""
    layers = []
    for i in range(work.couplings):
        mask = normflows.utils.masks.create_alternating_binary_mask(work.dimensions, i % 2 == 0)
        coupling = PiecewiseRationalQuadraticCoupling(
            mask,
            lambda inputs, outputs: Network(inputs, outputs, work.hidden_units),
            num_bins=work.bins,
            tails="linear",
            tail_bound=BOUND,
        )
        layers.append(normflows.flows.Reverse(coupling))
    return layers


def _affine_or_additive(work):
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
    return layers


def train(work, cell):
    flow = make_flow(work)
    return with_torch.training(work, cell, flow, flow.forward_kld)


def trained(work, parts, seed):
    torch.manual_seed(seed)
    flow = make_flow(work)
    return with_torch.trained(flow, flow.log_prob, parts)


def log_prob(work, cell):
    return with_torch.evaluation(cell, make_flow(work).log_prob, with_torch.rows(work, cell))


def sample(work, cell):
    # Its `sample` gives the log-density too, which costs little beside.
    return with_torch.evaluation(cell, make_flow(work).sample, cell.batch)
