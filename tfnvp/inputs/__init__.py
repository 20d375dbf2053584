"""Checks of data that users give to a flow."""
