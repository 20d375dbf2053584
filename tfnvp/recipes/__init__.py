"""Named configurations: data, architecture, optimizer and schedule, with published numbers."""

from tfnvp.recipes.recipe import FIELDS, MODELS, PARAMETERS, RECIPES, Recipe, default, get

__all__ = ["FIELDS", "MODELS", "PARAMETERS", "RECIPES", "Recipe", "default", "get"]
