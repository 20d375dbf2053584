"""Measured comparisons with the arithmetic floor and with neighbouring libraries; see README.md."""
