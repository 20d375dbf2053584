"""Named configurations: data, architecture, optimizer and schedule, with published numbers."""

from tfnvp.recipes.recipe import FIELDS, RECIPES, Recipe, get

__all__ = ["FIELDS", "RECIPES", "Recipe", "get"]
