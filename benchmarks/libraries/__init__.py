"""One module for each library: the same flow and the same tasks in its usual code.

A module has

- `KINDS`: the kinds of workload it has,
- `PACKAGES`: the distributions whose versions count,
- `train(work, cell)`, `log_prob(work, cell)`, `sample(work, cell)`: build what the cell needs and
  return a function that runs one block of `cell.steps` steps and waits for its end. It may return
  the seconds that count; by default all of its time does. An attribute `mode` says how it runs.
- `trained(work, batches, seed)`: trains on `[steps, batch, dimensions]` and returns the function
  from rows to log-densities.
"""

#: The matrix products alone; the faster one counts.
FLOORS = ("floor_tensorflow", "floor_torch")

#: This package, with its defaults.
OURS = ("tfnvp",)

#: This package with other options, in rows of their own.
LABELLED = ("tfnvp_bfloat16",)

#: This package with averaged weights, for likelihoods.
AVERAGED = ("tfnvp_averaged",)

#: Other libraries, and flows written by hand in TFP and PyTorch.
OTHERS = (
    "torch_plain",
    "normflows",
    "nflows",
    "zuko",
    "freia",
    "distrax",
    "flowjax",
    "bayesflow",
    "tfp",
)

#: This package with other inputs, for the share of the input pipeline.
PIPELINES = ("tfnvp_cached", "tfnvp", "tfnvp_dequantized")

#: What trains a flow.
COMPARED = (*OURS, *LABELLED, *OTHERS)
ALL = (*FLOORS, *COMPARED)
