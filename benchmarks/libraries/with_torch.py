"""What adaptors in PyTorch share: training and evaluation, compiled where that is faster."""

import os

import torch

from benchmarks.libraries.fastest import fastest

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


def training(work, cell, module, loss):
    """Blocks of Adam steps on a `loss(x)` over the parameters of a module."""
    batches = list(torch.from_numpy(work.batches(cell)))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)

    def blocks(loss):
        def block():
            for x in batches:
                optimizer.zero_grad(set_to_none=True)
                loss(x).backward()
                optimizer.step()

        return block

    return fastest({"compiled": blocks(torch.compile(loss)), "eager": blocks(loss)})


def trained(module, log_prob, parts):
    """Takes an Adam step on every batch; after each part yields the log-density of rows."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def of_rows(rows):
        with torch.no_grad():
            return log_prob(torch.from_numpy(rows)).numpy()

    for part in parts:
        for x in torch.from_numpy(part):
            optimizer.zero_grad(set_to_none=True)
            (-log_prob(x).mean()).backward()
            optimizer.step()
        yield of_rows


def evaluation(cell, function, *arguments):
    """Blocks of calls of a function without gradients."""

    def blocks(function):
        def block():
            with torch.no_grad():
                for _ in range(cell.steps):
                    function(*arguments)

        return block

    return fastest({"compiled": blocks(torch.compile(function)), "eager": blocks(function)})


def rows(work, cell):
    return torch.from_numpy(work.rows(cell.batch))


def mlp(layers):
    """ReLU network with the layers of a conditioner."""
    modules = []
    for layer in layers:
        modules += [torch.nn.Linear(layer.inputs, layer.outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*modules[:-1])
