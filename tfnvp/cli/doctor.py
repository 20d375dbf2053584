"""The command that tells whether everything works."""

import typer
from rich.markup import escape
from rich.table import Table

from tfnvp.cli.options import DataDir, Json, console, import_tensorflow, print_json

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "–"}


def doctor(data_dir: DataDir = None, json_output: Json = False):
    """Tell whether everything works here: versions, devices, XLA, numerics, data sets.

    Exit code 1 if something that is needed does not.

    Example: tfnvp doctor
    """
    import_tensorflow()
    from tfnvp.cli.examine import examine

    with console.status("looking"):
        checks = list(examine(data_dir))
    if json_output:
        print_json([check._asdict() for check in checks])
    else:
        table = Table(box=None, show_header=False)
        table.add_column()
        table.add_column()
        table.add_column(overflow="fold")
        for check in checks:
            table.add_row(_MARKS[check.works], check.name, escape(check.details))
        console.print(table)
    if any(check.works is False for check in checks):
        raise typer.Exit(1)
