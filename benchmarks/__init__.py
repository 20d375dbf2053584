"""Measured comparisons with the arithmetic floor and with other libraries; see README.md."""
