"""The command line. TensorFlow is imported by the commands, never for their help."""

from tfnvp.cli.app import main

__all__ = ["main"]
