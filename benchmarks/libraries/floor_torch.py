"""The floor in PyTorch: the matrix products of the conditioners, chained, and nothing else."""

import math

import torch

from benchmarks.libraries import with_torch  # noqa: F401 (sets the number of threads)

KINDS = ("nice", "real_nvp")
PACKAGES = ("torch",)


def train(work, cell):
    """Forward, and in backward the two products of every layer, into buffers that stay."""
    layers = _layers(work, cell.batch)
    x = torch.randn(cell.batch, layers[0]["weight"].shape[0])

    def block():
        with torch.no_grad():
            for _ in range(cell.steps):
                _forward(layers, x)
                _backward(layers, x)

    return block


def log_prob(work, cell):
    layers = _layers(work, cell.batch)
    x = torch.randn(cell.batch, layers[0]["weight"].shape[0])

    def block():
        with torch.no_grad():
            for _ in range(cell.steps):
                _forward(layers, x)

    return block


sample = log_prob


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
