"""Training runs from recipes, and the folders with their results."""
