"""What has a run reached for each user? Its file of values, checked."""

import hashlib
import io

import numpy as np
import pandas as pd

from recbole_diffusion.benchmark.journal import JournalError
from recbole_diffusion.benchmark.report.statistics import KEYS


def read_users(path, result):
    """Reads the values per user of a run.

    Args:
        path (Path): the file.
        result (dict): of the run; ``users_hash``, which older versions did not record, is the
            SHA-256 of the file, and every metric of ``test`` has a column.

    Returns:
        pandas.DataFrame: ``user``, ``row`` and the metrics.

    Raises:
        JournalError: if the file was changed or cannot be read, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    wanted = result.get("users_hash")
    if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
        raise JournalError(f"{path} was changed after it was written")
    try:
        table = pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # of a damaged file pyarrow and pandas raise what they come to
        what = " ".join(str(error).split()) or type(error).__name__
        raise JournalError(f"{path} is no file of values per user: {what}") from error
    missing = [name for name in KEYS if name not in table]
    if missing:
        raise JournalError(f"{path} has no column {missing[0]}")
    for name in table.columns.difference(KEYS):
        kind = table[name].dtype
        if not (pd.api.types.is_float_dtype(kind) and np.isfinite(table[name]).all()):
            raise JournalError(f"{path}: not all values of {name} are finite numbers")
    return table
