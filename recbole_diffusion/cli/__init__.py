"""The command line: a file a command."""

from recbole_diffusion.cli.main import main

__all__ = ["main"]
