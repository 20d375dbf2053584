"""Tests of bijectors, for users who write or compose them."""

from tfnvp.testing.check_bijector import CHECKS, check_bijector

__all__ = ["CHECKS", "check_bijector"]
