"""Named configurations: data, architecture, optimizer and schedule, with published numbers."""

from tfnvp.recipes.recipe import (
    FIELDS,
    MINUTES,
    MODELS,
    PARAMETERS,
    RECIPES,
    Recipe,
    default,
    get,
)

__all__ = ["FIELDS", "MINUTES", "MODELS", "PARAMETERS", "RECIPES", "Recipe", "default", "get"]
