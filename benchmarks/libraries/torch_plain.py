"""A flow as one writes it by hand in PyTorch, without a library."""

import math

import torch

from benchmarks.libraries import with_torch
from benchmarks.libraries.torch_plain_image import ImageFlow

KINDS = ("nice", "real_nvp", "image_real_nvp")
PACKAGES = ("torch",)


class PlainFlow(torch.nn.Module):
    """Couplings on contiguous halves, which take turns."""

    def __init__(self, work):
        super().__init__()
        self.affine = work.kind == "real_nvp"
        self.half = work.dimensions // 2
        self.networks = torch.nn.ModuleList(with_torch.mlp(c) for c in work.conditioners())
        # NICE's diagonal rescaling.
        self.log_diagonal = torch.nn.Parameter(torch.zeros(work.dimensions))
        self.constant = -0.5 * work.dimensions * math.log(2 * math.pi)

    def log_prob(self, x):
        log_det = 0.0
        passed, moved = x[:, : self.half], x[:, self.half :]
        for network in self.networks:
            parameters = network(passed)
            if self.affine:
                shift, log_scale = parameters.chunk(2, dim=1)
                log_scale = torch.tanh(log_scale)
                moved = (moved - shift) * torch.exp(-log_scale)
                log_det = log_det - log_scale.sum(1)
            else:
                moved = moved - parameters
            passed, moved = moved, passed
        z = torch.cat([passed, moved], dim=1)
        if not self.affine:
            z = z * torch.exp(self.log_diagonal)
            log_det = log_det + self.log_diagonal.sum()
        return self.constant - 0.5 * z.square().sum(1) + log_det

    def sample(self, n):
        z = torch.randn(n, len(self.log_diagonal))
        if not self.affine:
            z = z * torch.exp(-self.log_diagonal)
        moved, passed = z[:, self.half :], z[:, : self.half]
        for network in reversed(self.networks):
            passed, moved = moved, passed
            parameters = network(passed)
            if self.affine:
                shift, log_scale = parameters.chunk(2, dim=1)
                moved = moved * torch.exp(torch.tanh(log_scale)) + shift
            else:
                moved = moved + parameters
        return torch.cat([passed, moved], dim=1)


def train(work, cell):
    flow = (ImageFlow if work.kind == "image_real_nvp" else PlainFlow)(work)
    return with_torch.training(work, cell, flow, lambda x: -flow.log_prob(x).mean())


def trained(work, parts, seed):
    torch.manual_seed(seed)
    flow = PlainFlow(work)
    return with_torch.trained(flow, flow.log_prob, parts)


def log_prob(work, cell):
    flow = PlainFlow(work)
    return with_torch.evaluation(cell, flow.log_prob, with_torch.rows(work, cell))


def sample(work, cell):
    flow = PlainFlow(work)
    return with_torch.evaluation(cell, flow.sample, cell.batch)
