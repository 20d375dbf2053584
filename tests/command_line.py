"""Runs the command line in the process of the tests."""

import pytest

from tfnvp import cli


def run(*arguments):
    """Runs a command in this process and returns its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        cli.main([str(argument) for argument in arguments])
    return exit_info.value.code
