"""Run the command line: ``python -m aaelib``."""

from aaelib.apps.cli import app

app(prog_name="aaelib")
