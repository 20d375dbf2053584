"""Runs the command line: `python -m tfnvp`."""

from tfnvp.cli import main

if __name__ == "__main__":
    main()
