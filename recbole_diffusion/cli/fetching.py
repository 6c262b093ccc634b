"""How does an original come from its owner's server to this disk: whole, verified, or not at all?

Nothing is fetched unless asked for. https only, also where a server sends on; never more bytes than
the list of data sets allows; a file appears under its name only when it is whole and its SHA-256 is
the known one. After a cut nothing is left and the next try starts clean.

pooch would do the hash and the renaming, and needs requests; bounds of size, the refusal of plain
http behind a redirect and bounds of what a zip unpacks to would be ours to write all the same.
"""

import contextlib
import hashlib
import http.client
import lzma
import os
import shutil
import stat
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urlsplit

SCHEMES = ("https",)
SECONDS = 60  # without a byte
PIECE = 1 << 20
MOST_EXPANDED, UNSUSPECTED = 20, 64 << 20  # logs of ratings shrink to a fifth
MOST_MEMBERS = 10_000


class FetchError(ValueError):
    """A file cannot be had or is not what it should be; the message says what to do."""


class _OnlySafe(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to one of ``SCHEMES``."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_scheme(url):
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # no address at all
        scheme = None
    if scheme not in SCHEMES:
        raise FetchError(f"{url} is not {' or '.join(SCHEMES)}: nothing is fetched from there")


def download(url, path, sha256=None, at_most=1 << 30):
    """Fetches a file.

    Args:
        url (str): where it is.
        path (Path): where it is to be.
        sha256 (str): of the original; None where it is not known.
        at_most (int): bytes that it may have.

    Returns:
        str: its SHA-256.

    Raises:
        FetchError: there is no network, the server refuses, the file is cut, too large or another.
        OSError: it cannot be written.
    """
    _check_scheme(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_OnlySafe)
    request = urllib.request.Request(url, headers={"User-Agent": "recbole-diffusion"})
    part = None
    try:
        with _said(url), contextlib.closing(opener.open(request, timeout=SECONDS)) as answer:
            length = answer.headers.get("Content-Length", "")
            length = int(length) if length.isdecimal() else None
            _check_size(url, length or 0, at_most)
            handle, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            with open(handle, "wb") as file:
                digest, n = _copy(url, answer, file, at_most)
        if length is not None and n != length:
            raise FetchError(f"{url} was cut after {n:,} of {length:,} bytes: try again")
        if sha256 not in (None, digest):
            raise FetchError(
                f"{url} is not the known original: its sha256 is {digest} and not {sha256}; "
                "nothing is kept (--unverified keeps it)"
            )
        os.chmod(part, 0o644)
        os.replace(part, path)
        part = None
    finally:
        if part is not None:
            os.unlink(part)
    return digest


def _copy(url, answer, file, at_most):
    digest, n = hashlib.sha256(), 0
    while piece := answer.read(PIECE):
        n += len(piece)
        _check_size(url, n, at_most)
        digest.update(piece)
        file.write(piece)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest(), n


def _check_size(url, n, at_most):
    if n > at_most:
        raise FetchError(
            f"{url} has {n:,} bytes or more and may have {at_most:,}: nothing is kept; where it "
            "has grown, download it by hand"
        )


@contextlib.contextmanager
def _said(url):
    """Turns what goes wrong on the way into words."""
    by_hand = "download it by hand and name it with `data prepare NAME --input FILE`"
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise FetchError(
                f"{url}: the server answers {error.code} ({error.reason}); look at the owner's "
                f"page, or {by_hand}"
            ) from None
    except urllib.error.URLError as error:
        raise FetchError(
            f"{url} cannot be reached ({error.reason}): is there a network? Else {by_hand}"
        ) from None
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise FetchError(
            f"{url} was cut ({type(error).__name__}: {error}); nothing is kept, try again, or "
            f"{by_hand}"
        ) from None


# ------------------------------------------------------------------ unpacking


def unpack(path, folder):
    """Unpacks a zip into a folder that is not there yet, all of it or nothing.

    A folder that holds everything in the zip is left out.

    Args:
        path (Path): the zip.
        folder (Path): the folder.

    Returns:
        list of str: the files, below the folder.

    Raises:
        FetchError: the folder is there; or the zip is damaged, holds a path out of the folder, a
            link, two files of one name or anything but files, or unpacks beyond all proportion.
        OSError: it cannot be written.
    """
    if os.path.lexists(folder):
        raise FetchError(f"{folder} is already there: remove it to unpack {path} again")
    limit = max(UNSUSPECTED, MOST_EXPANDED * path.stat().st_size)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive, limit)
            n = 0
            for name, info in members.items():
                target = scratch / "files" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, open(target, "xb") as file:
                    while piece := packed.read(PIECE):
                        n += len(piece)
                        _check_proportion(path, n, limit)
                        file.write(piece)
        os.rename(scratch / "files", folder)
    # RuntimeError is what zipfile raises for a zip with a password; NotImplementedError is one
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise FetchError(f"{path} cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return list(members)


def _members(path, archive, limit):
    """The files of a zip by name, without the folder that holds them all."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    infos = [info for info in infos if not info.filename.startswith("__MACOSX/")]
    if not infos or len(infos) > MOST_MEMBERS:
        raise FetchError(f"{path} holds {len(infos):,} files")
    _check_proportion(path, sum(info.file_size for info in infos), limit)
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise FetchError(f"{path} holds {info.filename!r}, which is a link or no file")
        parts = info.filename.split("/")
        climbs = any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in parts)
        if climbs or not info.filename.isprintable():
            raise FetchError(f"{path} holds {info.filename!r}, a path out of its folder")
    tops = {info.filename.split("/")[0] for info in infos}
    inside = len(tops) == 1 and all("/" in info.filename for info in infos)
    members = {info.filename.split("/", 1)[1] if inside else info.filename: info for info in infos}
    if len({name.casefold() for name in members}) != len(infos):
        raise FetchError(f"{path} holds two files of one name")
    return members


def _check_proportion(path, n, limit):
    if n > limit:
        raise FetchError(
            f"{path} unpacks to more than {limit >> 20:,} MiB, which no log does; unpack it "
            "yourself if you trust it"
        )
