"""Real NVP on images as in the paper, written by hand in PyTorch."""

import math

import torch
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

_ALPHA = 0.05


class ImageFlow(torch.nn.Module):
    """Log-density of images `[batch, height, width, channels]` in [0, 1], multi-scale."""

    def __init__(self, work):
        super().__init__()
        _, _, channels = work.event_shape
        (filters,) = work.hidden_units
        self.scales = torch.nn.ModuleList()
        for i in range(work.scales):
            last = i == work.scales - 1
            blocks = work.residual_blocks
            self.scales.append(Scale(channels, filters, blocks, last))
            channels, filters = 2 * channels, 2 * filters
        self.constant = work.dimensions * (math.log(1 - 2 * _ALPHA) - 0.5 * math.log(2 * math.pi))

    def log_prob(self, x):
        x = _ALPHA + (1 - 2 * _ALPHA) * x.permute(0, 3, 1, 2)
        x = torch.log(x) - torch.log1p(-x)
        log_density = self.constant + (functional.softplus(x) + functional.softplus(-x)).sum(
            (1, 2, 3)
        )
        for scale in self.scales:
            x, log_det = scale(x)
            log_density = log_density + log_det
            if not scale.last:
                z, x = functional.pixel_unshuffle(x, 2).chunk(2, dim=1)
                log_density = log_density - 0.5 * z.square().sum((1, 2, 3))
        return log_density - 0.5 * x.square().sum((1, 2, 3))


class Scale(torch.nn.Module):
    """Three checkerboard couplings and three of channels; four checkerboards at the last."""

    def __init__(self, channels, filters, blocks, last):
        super().__init__()
        self.last = last
        self.checkerboards = torch.nn.ModuleList(
            Checkerboard(channels, filters, blocks, i % 2) for i in range(4 if last else 3)
        )
        self.channels = torch.nn.ModuleList(
            Channels(4 * channels, 2 * filters, blocks, i % 2 == 1) for i in range(0 if last else 3)
        )

    def forward(self, x):
        total = 0.0
        for coupling in self.checkerboards:
            x, log_det = coupling(x)
            total = total + log_det
        if not self.last:
            x = functional.pixel_unshuffle(x, 2)
            for coupling in self.channels:
                x, log_det = coupling(x)
                total = total + log_det
            x = functional.pixel_shuffle(x, 2)
        return x, total


class Checkerboard(torch.nn.Module):
    """Affine coupling on a checkerboard, and the normalization of its output."""

    def __init__(self, channels, filters, blocks, parity):
        super().__init__()
        self.parity = parity
        self.network = Network(channels, 1, filters, blocks, 2 * channels)
        self.factor = torch.nn.Parameter(torch.ones(channels, 1, 1))
        self.norm = OutputNorm(channels)

    def forward(self, x):
        height, width = x.shape[2:]
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        passes = ((rows + columns) % 2 == self.parity).to(x.dtype)
        shift, log_scale = self.network(2 * passes * x, passes).chunk(2, dim=1)
        log_scale = (1 - passes) * self.factor * torch.tanh(log_scale)
        y = x * torch.exp(log_scale) + (1 - passes) * shift
        y, log_det = self.norm(y)
        return y, log_scale.sum((1, 2, 3)) + log_det


class Channels(torch.nn.Module):
    """Affine coupling on halves of the channels, and the normalization of its output."""

    def __init__(self, channels, filters, blocks, swap):
        super().__init__()
        self.swap = swap
        self.network = Network(channels // 2, 0, filters, blocks, channels)
        self.factor = torch.nn.Parameter(torch.ones(channels // 2, 1, 1))
        self.norm = OutputNorm(channels)

    def forward(self, x):
        passed, moved = x.chunk(2, dim=1)
        if self.swap:
            passed, moved = moved, passed
        shift, log_scale = self.network(passed).chunk(2, dim=1)
        log_scale = self.factor * torch.tanh(log_scale)
        moved = moved * torch.exp(log_scale) + shift
        y, log_det = self.norm(torch.cat([moved, passed] if self.swap else [passed, moved], dim=1))
        return y, log_scale.sum((1, 2, 3)) + log_det


class OutputNorm(torch.nn.Module):
    """Batch normalization as a bijector."""

    def __init__(self, channels):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(channels, affine=False, eps=1e-4)

    def forward(self, x):
        variance = x.var((0, 2, 3), unbiased=False)
        log_det = -0.5 * torch.log(variance + self.norm.eps).sum() * x.shape[2] * x.shape[3]
        return self.norm(x), log_det


class Network(torch.nn.Module):
    """Residual network with skips, weight and batch normalization."""

    def __init__(self, channels, patterns, filters, blocks, outputs):
        super().__init__()
        self.input_norm = torch.nn.BatchNorm2d(channels, affine=False)
        self.stem = _convolution(2 * channels + patterns, filters, 3)
        self.blocks = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.BatchNorm2d(filters),
                torch.nn.ReLU(),
                _convolution(filters, filters, 3, bias=False),
                torch.nn.BatchNorm2d(filters),
                torch.nn.ReLU(),
                _convolution(filters, filters, 3),
            )
            for _ in range(blocks)
        )
        self.skips = torch.nn.ModuleList(
            _convolution(filters, filters, 1) for _ in range(blocks + 1)
        )
        self.output_norm = torch.nn.BatchNorm2d(filters)
        self.projection = _convolution(filters, outputs, 1)

    def forward(self, x, pattern=None):
        x = self.input_norm(x)
        inputs = [functional.relu(x), functional.relu(-x)]
        if pattern is not None:
            inputs.append(pattern.expand(len(x), 1, *pattern.shape))
        h = self.stem(torch.cat(inputs, dim=1))
        skips = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:], strict=True):
            h = h + block(h)
            skips = skips + skip(h)
        return self.projection(functional.relu(self.output_norm(skips)))


def _convolution(inputs, outputs, size, bias=True):
    return weight_norm(torch.nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias))
