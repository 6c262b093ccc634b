"""What happens when a command is told to end?"""

import signal
import threading


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


def sigterm_as_interrupt(function, *arguments):
    """Calls a function in which SIGTERM, as `kill` and schedulers of clusters send it, is a Ctrl-C.

    Args:
        function (Callable): what to call.
        *arguments: of it.

    Returns:
        What it returns.

    Raises:
        Terminated: where the signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        return function(*arguments)  # Python leaves signals to the main thread

    def stop(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what follows cleans up
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return function(*arguments)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def is_sigterm(error):
    """Whether an interrupt, or the one because of which it was raised, was SIGTERM."""
    while error is not None:
        if isinstance(error, Terminated):
            return True
        error = error.__cause__ or error.__context__
    return False
