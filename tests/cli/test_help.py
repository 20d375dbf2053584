"""The help of the commands."""

import pytest

from tests.command_line import run
from tfnvp.cli.app import app

COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands)


def test_all_commands_are_here():
    expected = "train evaluate sample interpolate inpaint reconstruct hierarchy nearest score "
    expected += "records report export recipes doctor"
    assert sorted(expected.split()) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run(command, "--help") == 0
    out = capsys.readouterr().out
    assert f"Example: tfnvp {command}" in " ".join(out.split())
    assert "Usage: tfnvp" in out
    assert "--json" in out
