"""Named configurations: data, architecture, optimizer and schedule, with published numbers."""

from tfnvp.recipes.recipe import FIELDS, MODELS, RECIPES, Recipe, default, get

__all__ = ["FIELDS", "MODELS", "RECIPES", "Recipe", "default", "get"]
