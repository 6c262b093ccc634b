"""Which lines does a text file hold, and what is wrong with one that cannot be read?"""

import codecs
import io
import re

BLOCK = 1 << 24  # bytes read at once
LONGEST_LINE = 1 << 20  # characters

# Line feeds part lines. What else Unicode calls a control or a line's end would part lines or
# fields, or cut a token short, in one program and not in another.
CONTROLS = "".join(map(chr, [*range(10), *range(11, 32), *range(127, 160), 0x2028, 0x2029]))


class DataError(ValueError):
    """The data cannot be used as they are; the message says where and what to do."""


def shown(field):
    """A field as a message quotes it, not longer than a line."""
    return repr(str(field) if len(field) <= 60 else field[:60] + "...")


def is_plain(text, more=b""):
    """Whether a text has but characters of decimal numbers, of which ``float`` takes them alone.

    Args:
        text (str): numbers, one after the other.
        more (bytes): what may stand between them.

    Returns:
        bool: False for words like ``nan``, underscores and digits that are not ASCII, which
        ``float`` would take too.
    """
    return text.isascii() and not text.encode().translate(None, b"0123456789.+-eE" + more)


def read_lines(path, encoding, allowed="\t"):
    """Reads the lines of a text file in blocks, without their ends.

    Lines end with a line feed, or a carriage return and a line feed; the last one may go without.
    A byte-order mark at the beginning is no part of the first line.

    Args:
        path (str or Path): the file.
        encoding (str): of the file; None for UTF-8.
        allowed (str): control characters that part the fields of a line.

    Yields:
        tuple: 1-based number of the first line, and the lines (list of str), empty ones too.

    Raises:
        DataError: with the file and the line, if it cannot be opened, is not text of that encoding,
            or a line holds a control character or is longer than ``LONGEST_LINE``.
    """
    controls = _control_finder(allowed)
    number, rest = 1, ""
    for text, last in _texts(path, encoding or "utf-8"):
        lines = (rest + text).replace("\r\n", "\n").split("\n")
        rest = "" if last else lines.pop()
        if last:
            lines[-1] = lines[-1].removesuffix("\r")
            lines = lines if lines[-1] else lines[:-1]
        long = max(map(len, [*lines, rest])) > LONGEST_LINE
        if long or controls("\n".join(lines)):
            _refuse_first(path, number, [*lines, rest], controls)
        if lines:
            yield number, lines
        number += len(lines)


def _refuse_first(path, first, lines, controls):
    for number, line in enumerate(lines, start=first):
        if len(line) > LONGEST_LINE:
            raise DataError(f"{path} line {number}: is longer than {LONGEST_LINE:,} characters")
        found = controls(line)
        if found:
            raise DataError(f"{path} line {number}: holds the control character {found[0]!r}")


def _control_finder(allowed):
    controls = "".join(character for character in CONTROLS if character not in allowed)
    search = re.compile(f"[{re.escape(controls)}]" if controls else "(?!)").search
    plain = controls.encode("latin-1", "ignore").translate(None, bytes(range(128, 256)))

    def check(text):
        if text.isascii():  # translate is many times as fast as a pattern
            data = text.encode()
            if len(data.translate(None, plain)) == len(data):
                return None
        return search(text)

    return check


def _texts(path, encoding):
    """Yields a file's text in pieces, each with whether it is the last; one piece at least."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # refuses what is no encoding of text
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise DataError(f"encoding: {error}; utf-8 is what most files have") from None
    line, first = 1, True
    try:
        with open(path, "rb") as file:
            raw = True
            while raw:
                raw = file.read(BLOCK)
                text = decoder.decode(raw, final=not raw)
                if first and text:
                    text, first = text.removeprefix("\ufeff"), False
                yield text, not raw
                line += text.count("\n")
    except UnicodeDecodeError as error:
        line += error.object[: error.start].decode(encoding, "replace").count("\n")
        wrong = error.object[error.start : error.start + 1]
        raise DataError(
            f"{path} line {line}: is not {encoding} text (at the byte 0x{wrong.hex()}): save the "
            "file as UTF-8, or say its encoding"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def line_of(path, row, encoding):
    """Finds where a row of a file with a header stands; empty lines are no rows.

    Args:
        path (str or Path): the file.
        row (int): 0-based number of the row.
        encoding (str): of the file.

    Returns:
        int: the 1-based number of its line.

    Raises:
        IndexError: if the file has fewer rows.
    """
    row += 1  # the header
    for number, lines in read_lines(path, encoding, CONTROLS):
        full = [place for place, line in enumerate(lines) if line or number + place == 1]
        if row < len(full):
            return number + full[row]
        row -= len(full)
    raise IndexError(row)
