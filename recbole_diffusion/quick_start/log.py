"""Where does a run's log go? Into a file of its own, and as much as is wanted to the terminal."""

import logging
import secrets
import sys
from contextlib import contextmanager
from pathlib import Path

import colorlog
from colorama.ansitowin32 import StreamWrapper
from recbole.utils import init_logger
from tqdm import tqdm

from recbole_diffusion import ranks

_begun = []  # handlers of the last run of this process
OURS = "recbole_diffusion"  # what is said for a terminal has a logger below it, RecBole the root


class _ForTheLog:
    """A configuration, as RecBole's logger reads it, with letters behind the data set's name."""

    def __init__(self, config):
        self.final_config_dict = config.final_config_dict
        self._own = {"dataset": f"{config['dataset']}-{secrets.token_hex(3)}"}

    def __getitem__(self, key):
        return self._own.get(key, self.final_config_dict.get(key))


class Console(logging.StreamHandler):
    """Writes log records to what standard error is by then, above a progress bar."""

    def __init__(self):
        logging.Handler.__init__(self)  # that of a stream would keep the one of now

    @property
    def stream(self):
        """Where the records go."""
        return sys.stderr

    def emit(self, record):
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)

    def show(self, verbosity):
        """Says which records it writes.

        Args:
            verbosity (str): ``verbose`` for all that the log file has, as RecBole writes them;
                ``normal`` for warnings and what this package says for a terminal; ``quiet`` for
                errors.
        """
        self.filters = []
        self.setLevel(logging.ERROR if verbosity == "quiet" else logging.NOTSET)
        if verbosity == "verbose":
            fmt = "%(log_color)s%(asctime)-15s %(levelname)s  %(message)s"
            self.setFormatter(colorlog.ColoredFormatter(fmt, "%d %b %H:%M"))
            return
        self.addFilter(_for_people)
        others = dict.fromkeys(("WARNING", "ERROR", "CRITICAL"), "%(log_color)s%(levelname)s  ")
        words = {level: f"{before}%(message)s" for level, before in others.items()}
        self.setFormatter(
            colorlog.LevelFormatter({"DEBUG": "%(message)s", "INFO": "%(message)s"} | words)
        )


def _for_people(record):
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] == OURS


def begin_log(config):
    """Begins RecBole's log of a run, ``log/<model>/<model>-<dataset>-<letters>-<time>-...log``.

    RecBole names it by the second, and TensorBoard's folder after it, so that two runs of one
    command would share them; hence the letters. RecBole also wraps the streams at every run, inside
    the last wrapping, until Python's stack is too small; here they are wrapped once.

    The file has all that is logged at the level of ``state``, the terminal as much of it as
    ``verbosity`` says; with ``state: debug`` all. A program that has set up a log of its own keeps
    it. Of several processes the first one logs.

    Args:
        config (Config): the run's configuration.
    """
    if not ranks.first():
        return
    streams, root = (sys.stdout, sys.stderr), logging.getLogger()
    while _begun:
        handler = _begun.pop()
        root.removeHandler(handler)
        handler.close()
    if root.handlers:
        return
    Path("log", str(config["model"])).mkdir(parents=True, exist_ok=True)  # two runs at once
    init_logger(_ForTheLog(config))
    if isinstance(streams[0], StreamWrapper):
        sys.stdout, sys.stderr = streams
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)
            root.addHandler(Console())
    _begun.extend(root.handlers)
    debug = str(config["state"]).lower() == "debug"
    for handler in _begun:
        if isinstance(handler, Console):
            handler.show("verbose" if debug else config["verbosity"])


@contextmanager
def shown():
    """Within the block what this package says for a terminal is shown; for what is no run."""
    logger, console = logging.getLogger(OURS), Console()
    console.show("normal")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(console)
    try:
        yield
    finally:
        logger.removeHandler(console)
        logger.setLevel(before)


def log_file():
    """The file that `begin_log` began.

    Returns:
        str: its path, below the working directory relative to it; None where there is none.
    """
    for handler in _begun:
        if isinstance(handler, logging.FileHandler):
            path = Path(handler.baseFilename)
            here = Path.cwd()
            return str(path.relative_to(here) if path.is_relative_to(here) else path)
    return None
