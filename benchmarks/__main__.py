"""Command line of the benchmarks: `python -m benchmarks --help`."""

import typer

from benchmarks import likelihoods, recipe_times, speed
from benchmarks.adbench import commands as adbench

COMMANDS = {
    "run": speed.run,
    "table": speed.table,
    "plot": speed.plot,
    "first-step": speed.first_step,
    "scaling": speed.scaling,
    "pipeline": speed.pipeline,
    "quality": likelihoods.equal_budget,
    "tables": likelihoods.against_mixtures,
    "curves": likelihoods.curves,
    "needs": likelihoods.needs_of_images,
    "patches": likelihoods.patches,
    "parts": speed.parts,
    "one-gaussian": likelihoods.one_gaussian,
    "half-precision": likelihoods.half_precision,
    "image-options": likelihoods.image_options,
    "checkpointing": speed.checkpointing,
    "recipe-times": recipe_times.all_minutes,
    "adbench": adbench.compare,
    "adbench-table": adbench.table,
    "adbench-plot": adbench.plot,
}

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
for name, command in COMMANDS.items():
    app.command(name)(command)

if __name__ == "__main__":
    app()
