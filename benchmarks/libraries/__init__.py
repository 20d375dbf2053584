"""One module for each library: the same flow and the same tasks in its own idiom.

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

#: What is compared with the neighbours.
OURS = ("tfnvp",)

#: Ours by other rules, which are told beside it.
LABELLED = ("tfnvp_bfloat16",)

#: Ours with averaged weights, where likelihoods are compared.
AVERAGED = ("tfnvp_averaged",)

NEIGHBOURS = (
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

#: Ours with other inputs, for the share of the input pipeline.
PIPELINES = ("tfnvp_cached", "tfnvp", "tfnvp_dequantized")

#: What trains, and what is timed beside it.
COMPARED = (*OURS, *LABELLED, *NEIGHBOURS)
ALL = (*FLOORS, *COMPARED)
