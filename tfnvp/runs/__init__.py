"""Trainings by recipes, and the folders they leave behind."""
