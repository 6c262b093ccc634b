"""How is a large file written so that a kill, a full disk or another writer leaves the old one?"""

import os
import secrets
import time
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # not on Windows: what a killed run left there stays
    fcntl = None

ENDING = ".writing"
A_MOMENT = 60  # seconds in which an empty file may be one that is not locked yet


@contextmanager
def replacing(path):
    """Gives a file to write to; when all is written, it takes the place of ``path``.

    It has a name of its own, so that two processes can write the same checkpoint. Whatever is
    raised, the old file stays as it was and nothing stays beside it; what killed processes left
    there is deleted.

    Args:
        path (Path): the file; its folder is made if it is not there.

    Yields:
        BinaryIO: the file beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_left(path)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{ENDING}")
    try:
        with open(beside, "xb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(beside, path)
        except FileNotFoundError as error:  # taken for a dead one's before it was locked
            raise OSError(error.errno, f"{beside} was deleted while it was written") from error
    except BaseException:  # a Ctrl-C too
        beside.unlink(missing_ok=True)
        raise


def _delete_left(path):
    """Deletes files beside ``path``, of that kind, that nobody writes any more."""
    for left in path.parent.glob(f"*{path.suffix}.*{ENDING}"):
        try:
            with open(left, "rb") as file:
                begun = time.time() - left.stat().st_mtime < A_MOMENT and not left.stat().st_size
                if not begun and _lock(file):  # who wrote it is gone
                    left.unlink(missing_ok=True)
        except OSError:
            continue  # somebody else's, or gone


def _lock(file):
    """Whether a file is locked by this process now: not if it is by another, or cannot be."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def reason(error):
    """Why torch could not write a file; its own words are about its own position in it.

    Args:
        error (Exception): an OSError, or torch's RuntimeError in handling one.

    Returns:
        str: the reason in a line.

    Raises:
        KeyboardInterrupt: if that is what stopped torch.
    """
    inner = error
    while inner is not None:
        if isinstance(inner, KeyboardInterrupt):
            raise inner
        if isinstance(inner, OSError):
            return inner.strerror or str(inner)
        inner = inner.__cause__ or inner.__context__
    return " ".join(str(error).split())
