"""The command line: one file per command."""

from recbole_diffusion.cli.main import main

__all__ = ["main"]
