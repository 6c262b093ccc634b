"""The public path of ``quick_start/saved_run.py``."""

from recbole_diffusion.quick_start.saved_run import SavedRun, load_run

__all__ = ["SavedRun", "load_run"]
