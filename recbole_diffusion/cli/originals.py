"""Is a raw file the one that its owners published? Told by its SHA-256, where that is known."""

import hashlib
from pathlib import Path

MOST_FILES = 20  # of a folder whose files are not known by name


def sha256_of(path):
    """The SHA-256 of a file.

    Args:
        path (str or Path): the file.

    Returns:
        str: 64 hexadecimal digits.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verdict(name, about, file, digest):
    """What is to be said of a file.

    Args:
        name (str): of the data set.
        about (dict): of ``properties/datasets.yaml``; empty for a data set of the user's own.
        file (str): the file's name.
        digest (str): its SHA-256.

    Returns:
        tuple: ``original``, ``other`` or ``unknown``, and words.
    """
    known, source = about.get("sha256") or {}, about.get("sha256_from")
    if digest in known.values():
        return "original", f"the original, by {source}"
    if file in known:
        changes = f" ({about['changes']})" if "changes" in about else ""
        return "other", (
            f"WARNING: not the original of {name}, whose sha256 is {known[file]} by {source}"
            f"{changes}: figures need not be comparable"
        )
    if known:
        return "unknown", f"unknown: of {name}, {', '.join(known)} is known"
    if about:
        return "unknown", f"unknown: no sha256 of the original of {name} is known"
    return "unknown", "your own data"


def lines_about(name, about, path):
    """What is to be said of what a script is given.

    Args:
        name (str): of the data set.
        about (dict): see `verdict`.
        path (str or Path): a file or a folder of files.

    Returns:
        list of str: a line a file; empty where there is none, which the script says better.
    """
    path = Path(path)
    files, left = [path], 0
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.is_file())
        named = [file for file in files if file.name in (about.get("sha256") or {})]
        files = named or files
        files, left = files[:MOST_FILES], max(0, len(files) - MOST_FILES)
    lines = []
    for file in filter(Path.is_file, files):
        try:
            digest = sha256_of(file)
        except OSError:  # the script says what is wrong
            continue
        lines.append(f"sha256 of {file}: {digest} ({verdict(name, about, file.name, digest)[1]})")
    return lines + [f"and {left} more files, not looked at"] * bool(left)
