"""Commands that compare detectors of anomalies."""

import itertools
import pathlib
from typing import Annotated

import typer

from benchmarks import results
from benchmarks.options import Output, Results, Threads, Write, chosen


def compare(
    folder: Annotated[
        pathlib.Path, typer.Argument(help="Folder of .npz files with X and y.", metavar="DIR")
    ],
    sets: Annotated[str | None, typer.Option(help="Sets, by commas. Default: all.")] = None,
    settings: Annotated[str, typer.Option(help="Settings, by commas.")] = "semi,unsupervised",
    methods: Annotated[str | None, typer.Option(help="Methods, by commas. Default: all.")] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, by commas.")] = "0",
    most_rows: Annotated[int, typer.Option(help="Rows drawn from a larger set.")] = 50_000,
    output: Output = pathlib.Path("adbench.jsonl"),
    threads: Threads = 2,
):
    """Detect anomalies in the tables of ADBench; runs that --output has already are skipped.

    Example: python -m benchmarks adbench DIR --sets glass,wine --seeds 0,1 --output adbench.jsonl
    """
    from benchmarks.adbench import data, detectors, runs, tables

    files = data.sets_of(folder)
    wanted = itertools.product(
        chosen("sets", sets or ",".join(files), files),
        chosen("settings", settings, data.SETTINGS),
        chosen("methods", methods or ",".join(detectors.METHODS), detectors.METHODS),
    )
    output.touch()
    done = {tuple(result[name] for name in runs.KEY) for result in tables.read(output)}
    numbers = [int(seed) for seed in seeds.split(",")]
    for name, setting, method in wanted:
        left = [seed for seed in numbers if (name, setting, method, seed, most_rows) not in done]
        of_run = {"set": name, "setting": setting, "method": method, "most_rows": most_rows}
        if left:
            for answer in runs.run(files[name], setting, method, left, most_rows, threads):
                if "skipped" in answer:
                    print(f"{method} on {name}, {setting}, left out: {answer['skipped']}")
                else:
                    results.append(output, [of_run | answer])
    print(tables.markdown(tables.read(output)))


def table(
    path: Results,
    write: Write = None,
):
    """Print the tables of the detectors of anomalies.

    Example: python -m benchmarks adbench-table adbench.jsonl
    """
    from benchmarks.adbench import tables

    results.publish(tables.markdown(tables.read(path)), write)


def plot(
    path: Results,
    ranks: Annotated[pathlib.Path, typer.Option(help="PNG of mean ranks to write.")],
    roc: Annotated[pathlib.Path, typer.Option(help="PNG of ROC-AUC to write.")],
):
    """Draw the mean ranks of the detectors, with groups that do not differ, and ROC-AUC.

    Example: python -m benchmarks adbench-plot adbench.jsonl --ranks ranks.png --roc roc.png
    """
    from benchmarks.adbench import plots, tables

    compared = tables.compared(tables.read(path))
    plots.save_ranks(compared, ranks)
    plots.save_roc(compared, roc)
