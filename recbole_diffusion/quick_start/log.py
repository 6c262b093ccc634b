"""Where does a run's log go? Into a file of its own, by RecBole's logger."""

import secrets
import sys
from pathlib import Path

from colorama.ansitowin32 import StreamWrapper
from recbole.utils import init_logger

from recbole_diffusion import ranks


class _ForTheLog:
    """A configuration, as RecBole's logger reads it, with letters behind the data set's name."""

    def __init__(self, config):
        self.final_config_dict = config.final_config_dict
        self._own = {"dataset": f"{config['dataset']}-{secrets.token_hex(3)}"}

    def __getitem__(self, key):
        return self._own.get(key, self.final_config_dict.get(key))


def begin_log(config):
    """Begins RecBole's log of a run, ``log/<model>/<model>-<dataset>-<letters>-<time>-...log``.

    RecBole names it by the second, and TensorBoard's folder after it, so that two runs of one
    command would share them; hence the letters. RecBole also wraps the streams at every run, inside
    the last wrapping, until Python's stack is too small; here they are wrapped once.

    Of several processes the first one logs.

    Args:
        config (Config): the run's configuration.
    """
    if not ranks.first():
        return
    Path("log", str(config["model"])).mkdir(parents=True, exist_ok=True)  # two runs at once
    streams = sys.stdout, sys.stderr
    init_logger(_ForTheLog(config))
    if isinstance(streams[0], StreamWrapper):
        sys.stdout, sys.stderr = streams
