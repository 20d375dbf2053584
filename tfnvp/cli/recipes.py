"""The command that lists the recipes."""

from rich.table import Table

from tfnvp.cli.options import Json, console, print_json
from tfnvp.recipes import RECIPES


def recipes(json_output: Json = False) -> None:
    """List the recipes that `tfnvp train --recipe NAME` runs.

    Example: tfnvp recipes
    """
    if json_output:
        print_json({name: vars(recipe) for name, recipe in RECIPES.items()})
        return
    table = Table("recipe", "data", "what it is", "published", box=None)
    table.columns[0].no_wrap = True
    for recipe in RECIPES.values():
        table.add_row(recipe.name, recipe.dataset, recipe.description, recipe.published)
    console.print(table, soft_wrap=False)
