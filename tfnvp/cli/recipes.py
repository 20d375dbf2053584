"""The command that lists the recipes."""

from rich.table import Column, Table

import tfnvp
from tfnvp.cli.options import Json, console, print_json

# What follows is shown from this width of a terminal.
_WIDE = 120
_KINDS = {
    "digits": "digits, which come with scikit-learn",
    "table": "tables",
    "images": "folders of images",
    "sets": "image sets by name",
}


def recipes(json_output: Json = False) -> None:
    """List the recipes that `tfnvp train --recipe NAME` runs.

    Example: tfnvp recipes
    """
    if json_output:
        print_json(
            {
                name: {
                    **vars(r),
                    "parameters": tfnvp.recipes.PARAMETERS.get(name),
                    "minutes": tfnvp.recipes.MINUTES.get(name),
                }
                for name, r in tfnvp.recipes.RECIPES.items()
            }
        )
        return
    for kind, title in _KINDS.items():
        console.print(title, style="bold")
        chosen = [
            recipe for recipe in tfnvp.recipes.RECIPES.values() if _kind(recipe.dataset) == kind
        ]
        console.print(_table(chosen, console.width >= _WIDE), soft_wrap=False)
    console.print(
        "size: parameters. time: all epochs on 2 CPU cores, where they suffice.\n"
        "Published figures, all options: `tfnvp recipes --json`"
    )


def _table(chosen, is_wide):
    """Returns a table of recipes, whose columns are as wide in the tables of all kinds."""
    names, data = (
        max(map(len, tfnvp.recipes.RECIPES)),
        max(len(r.dataset) for r in tfnvp.recipes.RECIPES.values()),
    )
    heads = [Column("recipe", width=names), Column("data", width=data)]
    heads += [*(Column(head, width=6, justify="right") for head in ("size", "time"))]
    heads += [Column("what it is", ratio=1)]
    heads += [Column("published", ratio=1)] * is_wide
    table = Table(*heads, box=None, expand=True)
    for recipe in chosen:
        size = _size(tfnvp.recipes.PARAMETERS.get(recipe.name))
        time = _time(tfnvp.recipes.MINUTES.get(recipe.name))
        cells = [recipe.name, recipe.dataset, size, time, recipe.description]
        table.add_row(*cells, *[recipe.published] * is_wide)
    return table


def _kind(dataset):
    from tfnvp.data.benchmark_tables import BENCHMARK_TABLES

    if dataset in BENCHMARK_TABLES:
        return "table"
    return dataset if dataset in _KINDS else "sets"


def _size(parameters):
    if parameters is None:  # It depends on the data.
        return ""
    return f"{parameters / 1e6:.3g} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"


def _time(minutes):
    if minutes is None:
        return ""
    units = ((24 * 60, "d"), (60, "h"), (1, "min"))
    unit, name = next((unit, name) for unit, name in units if minutes >= 2 * unit or unit == 1)
    return f"{max(1, round(minutes / unit))} {name}"
