"""Run the command line: ``python -m aaelib``."""

from aaelib.cli import app

app(prog_name="aaelib")
