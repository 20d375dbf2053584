"""Instruments that test bijectors, for those who write or compose them."""

from tfnvp.testing.check_bijector import CHECKS, check_bijector

__all__ = ["CHECKS", "check_bijector"]
