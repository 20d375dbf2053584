"""The floor in PyTorch: the products of the conditioners, chained, and nothing else."""

import math

import torch
from torch.nn import functional

from benchmarks.libraries import with_torch  # noqa: F401 (sets the number of threads)
from benchmarks.libraries.fastest import fastest

KINDS = ("nice", "real_nvp", "neural_spline", "image_real_nvp")
PACKAGES = ("torch",)


def train(work, cell):
    """Forward, and in backward the two products of every layer."""
    if work.kind == "image_real_nvp":
        return _convolutions(work, cell)
    return _products(work, cell, backward=True)


def log_prob(work, cell):
    return _products(work, cell, backward=False)


sample = log_prob


def _products(work, cell, backward):
    """Matrix products into buffers that stay."""
    layers = _layers(work, cell.batch)
    x = torch.randn(cell.batch, layers[0]["weight"].shape[0])

    def block():
        with torch.no_grad():
            for _ in range(cell.steps):
                _forward(layers, x)
                if backward:
                    _backward(layers, x)

    return block


def _layers(work, batch):
    """Weights that keep the size of what passes through, and buffers for results."""
    layers = []
    for conditioner in work.conditioners():
        for layer in conditioner:
            shape = (layer.inputs, layer.outputs)
            layers.append(
                {
                    "weight": torch.randn(shape) / math.sqrt(layer.inputs),
                    "gradient": torch.empty(shape),
                    "output": torch.empty(batch, layer.outputs),
                    # Where the product behind it has fewer columns, the others stay random.
                    "delta": torch.randn(batch, layer.outputs),
                }
            )
    return layers


def _forward(layers, x):
    for layer in layers:
        x = x[:, : layer["weight"].shape[0]]
        torch.mm(x, layer["weight"], out=layer["output"])
        x = layer["output"]


def _backward(layers, x):
    for i in reversed(range(len(layers))):
        layer = layers[i]
        size = layer["weight"].shape[0]
        inputs = layers[i - 1]["output"][:, :size] if i else x
        torch.mm(inputs.t(), layer["delta"], out=layer["gradient"])
        if i:
            torch.mm(layer["delta"], layer["weight"].t(), out=layers[i - 1]["delta"][:, :size])


def _convolutions(work, cell):
    """The convolutions of every network, in the faster layout of memory."""
    layouts = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
    return fastest({name: _in_layout(work, cell, layout) for name, layout in layouts.items()})


def _in_layout(work, cell, layout):
    networks = []
    for conditioner in work.conditioners():
        pixels = conditioner[0].pixels
        weights = [
            torch.randn(layer.outputs, layer.inputs, layer.size, layer.size)
            / math.sqrt(layer.inputs * layer.size**2)
            for layer in conditioner
        ]
        weights = [w.to(memory_format=layout).requires_grad_() for w in weights]
        shapes = [(cell.batch, n, *pixels) for n in (weights[0].shape[1], weights[-1].shape[0])]
        x, delta = (torch.randn(shape).to(memory_format=layout) for shape in shapes)
        # The gradient for the data itself is not needed.
        networks.append((x.requires_grad_(bool(networks)), weights, delta))

    def block():
        for _ in range(cell.steps):
            for x, weights, delta in networks:
                y = x
                for weight in weights:
                    y = functional.conv2d(y, weight, padding=weight.shape[2] // 2)
                wanted = [x, *weights] if x.requires_grad else weights
                torch.autograd.grad(y, wanted, delta)

    return block
