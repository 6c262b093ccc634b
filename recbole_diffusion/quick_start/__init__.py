"""One run, and a run out of its checkpoint."""

from recbole_diffusion.lazy import lazily

__getattr__ = lazily(
    __name__, run_recbole_diffusion="quick_start", load_run="saved_run", SavedRun="saved_run"
)
