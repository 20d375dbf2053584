"""A trained flow on one HTML page."""

from tfnvp.report.page import write_report

__all__ = ["write_report"]
