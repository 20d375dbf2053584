"""The affine flow of nflows by the recipe of Neural Spline Flows, on the rows of BSDS300.

`python -m benchmarks.nflows_recipe rows.npz --steps 56250 --output nflows.jsonl`, in the
environment of the other libraries. `rows.npz` is written by `python -m benchmarks patches`. The
weights that validation rows like best are tested. A checkpoint beside the output continues a
stopped run.
"""

import argparse
import json
import math
import pathlib
from importlib import metadata

import numpy as np
import torch
from nflows import distributions, flows, transforms
from nflows.nn import nets as networks

# Durkan et al. 2019, table 5: BSDS300 with coupling layers.
_COUPLINGS, _HIDDEN, _BLOCKS, _DROPOUT = 10, 128, 2, 0.2
_RATE, _CLIP, _BATCH = 5e-4, 5.0, 512
_BETWEEN_VALIDATIONS = 1000


def make_flow(columns, dropout):
    def network(inputs, outputs):
        return networks.ResidualNet(
            inputs,
            outputs,
            hidden_features=_HIDDEN,
            num_blocks=_BLOCKS,
            dropout_probability=dropout,
        )

    def linear():
        return [
            transforms.RandomPermutation(columns),
            transforms.LULinear(columns, identity_init=True),
        ]

    layers = []
    for i in range(_COUPLINGS):
        mask = torch.arange(columns) % 2 == i % 2
        layers += [*linear(), transforms.AffineCouplingTransform(mask, network)]
    layers += linear()
    return flows.Flow(
        transforms.CompositeTransform(layers), distributions.StandardNormal([columns])
    )


def log_densities(flow, rows):
    flow.eval()
    with torch.no_grad():
        answers = torch.cat([flow.log_prob(part) for part in rows.split(10_000)]).numpy()
    flow.train()
    return answers


def train(rows, steps, dropout, seed, checkpoint):
    """Returns the flow with its best weights, and a history of `(step, validation nats)`."""
    torch.manual_seed(seed)
    flow = make_flow(rows["train"].shape[1], dropout)
    optimizer = torch.optim.Adam(flow.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trained = {"flow": flow, "optimizer": optimizer, "schedule": schedule}
    step, history, best = 0, [], flow.state_dict()
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=False)
        step, history, best = (kept[k] for k in ("step", "history", "best"))
        for name, part in trained.items():
            part.load_state_dict(kept[name])
        torch.set_rng_state(kept["random"])
    while step < steps:
        for _ in range(min(_BETWEEN_VALIDATIONS, steps - step)):
            chosen = torch.randint(len(rows["train"]), (_BATCH,))
            optimizer.zero_grad(set_to_none=True)
            (-flow.log_prob(rows["train"][chosen]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), _CLIP)
            optimizer.step()
            schedule.step()
            step += 1
        nats = float(log_densities(flow, rows["validation"]).mean())
        if not history or nats > max(of_step for _, of_step in history):
            best = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
        history.append((step, nats))
        print(f"step {step}   validation {nats:.3f} nats", flush=True)
        state = {name: part.state_dict() for name, part in trained.items()}
        state |= {"step": step, "history": history, "best": best}
        torch.save({**state, "random": torch.get_rng_state()}, checkpoint)
    flow.load_state_dict(best)
    return flow, history


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=56_250)
    parser.add_argument("--dropout", type=float, default=_DROPOUT)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("nflows.jsonl"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    rows = {name: torch.from_numpy(part) for name, part in np.load(options.rows).items()}
    checkpoint = options.output.with_suffix(".checkpoint")
    flow, history = train(rows, options.steps, options.dropout, options.seed, checkpoint)
    nats = log_densities(flow, rows["test"])
    line = {
        "library": f"nflows {metadata.version('nflows')}",
        "steps": options.steps,
        "dropout": options.dropout,
        "seed": options.seed,
        "parameters": sum(p.numel() for p in flow.parameters()),
        "validation": max(of_step for _, of_step in history),
        "test": float(nats.mean()),
        "error": float(nats.std() / math.sqrt(len(nats))),
        "train_rows": len(rows["train"]),
    }
    with options.output.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    print(line)


if __name__ == "__main__":
    main()
