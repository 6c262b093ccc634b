"""How are histories read from a file, and lists written so that none looks whole too early?"""

import csv
import io
import os
from pathlib import Path

import pandas as pd

from recbole_diffusion.data.lines import DataError

READ = (".csv", ".tsv", ".parquet", ".inter")
WRITTEN = (".csv", ".parquet", ".jsonl")
LINES = 1 << 19  # read at once


def tables(path, columns, names=None, needed=()):
    """Reads a file of interactions in blocks.

    Args:
        path (str or Path): .csv or .tsv with a header, .parquet, or RecBole's .inter.
        columns (list of str): what to read, where it is there.
        names (dict of str to str): columns that the file has under another name, and that name;
            they must be there.
        needed (list of str): columns that must be there, too.

    Yields:
        pandas.DataFrame: the next lines; of files of text all columns are text.

    Raises:
        DataError: if the file is missing, of another kind, or damaged, or has none of the columns
            or lacks one that must be there.
    """
    path, names = Path(path), names or {}
    if path.suffix not in READ:
        raise DataError(f"{path} is not one of {', '.join(READ)}")
    known = {names.get(column, column): column for column in columns}
    needed = [names.get(column, column) for column in dict.fromkeys([*needed, *names])]
    try:
        for block in (_parquet if path.suffix == ".parquet" else _text)(path, known, needed):
            yield block.rename(columns=known)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, pd.errors.ParserError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _check(path, there, wanted, needed):
    """Refuses a file without what is to be read."""
    lacking = [name for name in needed if name not in there]
    if lacking or not set(wanted) & set(there):
        raise DataError(
            f"{path} has no column {', '.join(lacking or wanted)}: its columns are {list(there)}; "
            "--user, --item, --time and --behavior name them"
        )


def _text(path, wanted, needed):
    atomic = path.suffix == ".inter"
    form = {
        "sep": "," if path.suffix == ".csv" else "\t",
        "quoting": csv.QUOTE_NONE if atomic else csv.QUOTE_MINIMAL,
        "encoding": "utf-8",
        "dtype": str,
        "keep_default_na": False,
        "na_values": [""],
        "skip_blank_lines": False,
        "index_col": False,
    }
    head = list(pd.read_csv(path, nrows=0, **form).columns)
    names = [name.partition(":")[0] if atomic else name for name in head]
    _check(path, names, wanted, needed)
    places = [place for place, name in enumerate(names) if name in wanted]
    for block in pd.read_csv(path, chunksize=LINES, **form):  # usecols would pass over long lines
        yield block.iloc[:, places].set_axis([names[place] for place in places], axis=1)


def _parquet(path, wanted, needed):
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError(
            f'{path} needs pyarrow: pip install "recbole-diffusion[parquet]"'
        ) from error
    try:
        file = parquet.ParquetFile(path)
        _check(path, file.schema_arrow.names, wanted, needed)
        names = [name for name in file.schema_arrow.names if name in wanted]
        for batch in file.iter_batches(LINES, columns=names):
            yield batch.to_pandas()
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is no parquet file: {' '.join(str(error).split())}") from error


def read_ids(path):
    """Reads ids, one a line.

    Args:
        path (str or Path): a text file.

    Returns:
        list of str: in order; empty lines are left out.

    Raises:
        DataError: if it cannot be read, or holds none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', error)}") from error
    found = [line.removesuffix("\r") for line in lines if line.strip()]
    if not found:
        raise DataError(f"{path} holds no id")
    return found


def content(table, suffix):
    """What a file of a table holds.

    Args:
        table (pandas.DataFrame): the lists.
        suffix (str): of the file: .csv, .parquet or .jsonl.

    Returns:
        bytes: all of it.
    """
    file = io.BytesIO()
    if suffix == ".parquet":
        table.to_parquet(file, index=False)
    elif suffix == ".csv":
        table.to_csv(file, index=False)
    else:
        table.to_json(file, orient="records", lines=True, force_ascii=False)
    return file.getvalue()


def write(content, path):
    """Writes a file beside ``path`` and renames it.

    Args:
        content (bytes): of the file.
        path (Path): where it goes.

    Raises:
        OSError: if the disk is full or the folder cannot be written to; nothing is left then.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def put_text(text, path):
    """Writes a text beside ``path`` and renames it; raises as `write`."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def join(parts, path):
    """Makes one file of parts. What a kill leaves of it lies with the parts.

    Args:
        parts (list of Path): in order, of one kind.
        path (Path): the file, of the same kind.

    Raises:
        OSError: as of `write`.
    """
    beside = parts[0].with_name(f"{path.name}.{os.getpid()}.writing")
    try:
        if path.suffix == ".parquet":
            _join_parquet(parts, beside)
        else:
            with open(beside, "wb") as file:
                for number, part in enumerate(parts):
                    with open(part, "rb") as lines:
                        if number and path.suffix == ".csv":
                            lines.readline()  # the header
                        while block := lines.read(1 << 20):
                            file.write(block)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _join_parquet(parts, path):
    import pyarrow.parquet as parquet

    with parquet.ParquetWriter(path, parquet.read_schema(parts[0])) as file:
        for part in parts:
            file.write_table(parquet.read_table(part))
