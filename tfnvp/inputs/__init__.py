"""Checks of what users hand to a flow."""
