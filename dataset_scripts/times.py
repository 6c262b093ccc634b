"""Which moment does a text of a table stand for? Numbers, ISO dates, or dates of a given format."""

import re
import zoneinfo
from datetime import UTC, datetime
from decimal import Decimal

import atomic
import numpy as np
import pandas as pd

UNIX = {"unix": 10**9, "unix_ms": 10**6}  # nanoseconds of one
LATEST = 10**11  # seconds, the year 5138: what is more is in other units
EARLIEST = 10**8  # seconds, the year 1973: what is less is a count, a price or a year

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_ZONE = r".*(?:Z|T.*[+-][0-9]{2}(?::?[0-9]{2})?|:[0-9.,]+[+-][0-9]{2}(?::?[0-9]{2})?)"


class Clock:
    """Reads the column of times piece by piece; all of it is of one kind.

    Args:
        time_format (str): a format of ``strptime``, ``unix`` (seconds since 1970) or ``unix_ms``
            (milliseconds); None for what the first time is: a number, which is written as it is, or
            an ISO date.
        time_zone (str): the zone of dates that name none, as ``Europe/Berlin``.

    Raises:
        atomic.InputError: the format is none, or there is no such zone.
    """

    def __init__(self, time_format=None, time_zone=None):
        self.format, self.zone = time_format, _zone(time_zone or "UTC")
        if time_format is not None and time_format not in UNIX:
            _check_format(time_format)
        self.numbers = None if time_format is None else time_format in UNIX
        if time_zone is not None and self.numbers:
            raise atomic.InputError(
                f"--time_zone {time_zone} is for dates; --time_format {time_format} is UTC"
            )
        self._keys, self._texts = [], []

    def read(self, column):
        """Reads a piece.

        Args:
            column (sequence of str): the times.

        Returns:
            tuple: whether each is a time (numpy.ndarray of bool, shape: [n_rows]), and a callable
            from the number of a row that is none to what is wrong.
        """
        if not len(column):  # says nothing about the kind
            return np.ones(0, bool), None
        text = pd.Series(column, dtype=object)
        if self.format is None and self.numbers is not False and _all_whole(column):
            self.numbers = True
            self._keep(text.astype(np.int64).to_numpy(), None)
            return np.ones(len(text), bool), None
        text = text.str.strip()
        if self.numbers is None:
            self.numbers = _first_kind(text)
        if self.format in UNIX:
            key = _unix(column, text, UNIX[self.format])
            fits = key != atomic.NO_DATE
        elif self.numbers:
            key = np.array([float(t) if _NUMBER.fullmatch(t) else np.nan for t in text])
            fits = np.isfinite(key)
        elif self.numbers is None:
            key, fits = np.full(len(text), -1), np.zeros(len(text), bool)
        else:
            key = self._dates(text)
            fits = key != atomic.NO_DATE
        good = fits & (np.where(fits, key, 0) >= 0)
        self._keep(*self._exact(text[good], key[good]))
        return good, lambda row: self._wrong(text.iloc[row], fits[row])

    def _exact(self, text, key):
        """A key and what to write; the latter is None where it is that of the key."""
        if self.format is not None or not self.numbers:
            return key, None
        if _all_whole(text):
            return text.astype(np.int64).to_numpy(), None
        written = np.array(text, dtype=object)
        odd = ~text.str.fullmatch(r"[0-9]+(?:\.[0-9]+)?").to_numpy(bool)
        written[odd] = [format(Decimal(value), "f") for value in written[odd]]
        return key, written

    def _keep(self, key, text):
        self._keys.append(key)
        self._texts.append(text)

    def _dates(self, text):
        if self.format is None:
            nanoseconds = atomic.read_dates(text)
            bare = ~text.str.fullmatch(_ZONE).to_numpy(bool)
        else:
            stamps = pd.to_datetime(text, format=self.format, utc=True, errors="coerce")
            nanoseconds = atomic.nanoseconds(stamps)
            bare = np.full(len(text), not re.search("%[zZ]", self.format.replace("%%", "")))
        bare &= nanoseconds != atomic.NO_DATE
        if str(self.zone) != "UTC" and bare.any():
            nanoseconds[bare] = _local(nanoseconds[bare], self.zone)
        return nanoseconds

    def _wrong(self, text, fits):
        if not text:
            return "is missing"
        if fits:
            return f"{text!r} is negative (before 1970)"
        if self.format == "unix" and _NUMBER.fullmatch(text):
            return f"{text!r} is too large for seconds; are they --time_format=unix_ms?"
        if self.format is not None:
            try:
                datetime.strptime(text, self.format)
                return f"{text!r} is beyond the years 1677 to 2262 that a stamp can name"
            except ValueError:
                pass
            return f"{text!r} is not of --time_format {self.format!r}"
        if self.numbers is None:
            return f"{text!r} is not a number or an ISO date; --time_format names another form"
        return f"{text!r} is not " + (
            "a number (as the first good one is)" * self.numbers or "an ISO date"
        )

    def result(self):
        """Joins the pieces.

        Returns:
            tuple: a key to sort by (numpy.ndarray, shape: [n_rows]) and what to write (ditto).
        """
        if self.numbers and self.format is None:
            key = np.concatenate(self._keys) if self._keys else np.zeros(0, np.int64)
            if all(text is None for text in self._texts):
                return key, key
            pairs = zip(self._keys, self._texts)
            texts = [key.astype(object) if text is None else text for key, text in pairs]
            return key, np.concatenate(texts)
        key = np.concatenate(self._keys).astype(np.int64)
        whole, rest = np.divmod(key, 10**9)
        if not rest.any():
            return key, whole
        texts = whole.astype(object)
        texts[rest > 0] = [
            f"{w}.{r:09d}".rstrip("0") for w, r in zip(whole[rest > 0], rest[rest > 0])
        ]
        return key, texts

    def span(self, key):
        """The first and the last moment in words; of plain numbers what they would be as stamps."""
        ends = key.min(), key.max()
        if not (self.numbers and self.format is None):
            ends = [pd.Timestamp(int(end)).isoformat(sep=" ") for end in ends]
            return f"times: {ends[0]} to {ends[1]} (UTC)"
        said = f"times: {ends[0]} to {ends[1]}, written as they are"
        if EARLIEST <= ends[0] and ends[1] < LATEST:
            return f"{said}; in seconds {_words(ends, 1)} (UTC)"
        if EARLIEST <= ends[0] / 1000 and ends[1] / 1000 < LATEST:
            return (
                f"{said}; in milliseconds {_words(ends, 1000)} (UTC): "
                "--time_format=unix_ms makes seconds of them"
            )
        return f"{said}; no seconds or milliseconds since 1970: are these times?"


def _words(ends, units):
    """Two moments of which a second has so many."""
    moments = [datetime.fromtimestamp(float(end) / units, UTC) for end in ends]
    return " to ".join(f"{moment:%Y-%m-%d %H:%M:%S}" for moment in moments)


def _all_whole(column):
    # Whole numbers stay whole: as floats they would not be exact beyond 2^53.
    # A field may hold a line end, if quoted; none holds NUL.
    return re.fullmatch("(?:[0-9]{1,18}\0)*", "\0".join([*column, ""])) is not None


def _first_kind(text):
    """Whether the first time that is one is a number; None where there is none."""
    dated = atomic.read_dates(text) != atomic.NO_DATE
    number = text.map(lambda t: bool(_NUMBER.fullmatch(t)) and np.isfinite(float(t))).to_numpy(bool)
    either = dated | number
    return bool(number[np.argmax(either)]) if either.any() else None


def _unix(column, text, unit):
    most = LATEST if unit == 10**9 else LATEST * 1000
    most = min(most, np.iinfo(np.int64).max // unit)
    if _all_whole(column):
        value = text.astype(np.int64).to_numpy()
        return np.where(value <= most, np.minimum(value, most) * unit, atomic.NO_DATE)
    key = np.full(len(text), atomic.NO_DATE)
    for row in np.flatnonzero(text.str.fullmatch(_NUMBER.pattern).to_numpy(bool)):
        value = Decimal(text.iloc[row])
        if value.copy_abs() <= most:
            key[row] = int(value * unit)
    return key


def _local(nanoseconds, zone):
    """Moments of a zone's clock: an hour that occurs twice is the first, one left out ends it."""
    stamps = pd.DatetimeIndex(nanoseconds.astype("datetime64[ns]"))
    first = np.ones(len(stamps), bool)
    stamps = stamps.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return (
        stamps.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]").astype(int)
    )


def _zone(name):
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise atomic.InputError(
            f"--time_zone {name!r} is no zone of the tz database, like Europe/Berlin or UTC"
        ) from None


def _check_format(time_format):
    try:
        text = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC).strftime(time_format)
        pd.to_datetime([text], format=time_format, utc=True)
        fits = bool(re.search("%[^%]", time_format.replace("%%", "")))
    except (ValueError, TypeError, UnicodeError, re.error):
        fits = False
    if not fits:
        raise atomic.InputError(
            f"--time_format {time_format!r} is neither unix (seconds), unix_ms (milliseconds) nor "
            "a format of strptime, like '%d.%m.%Y %H:%M' or '%Y-%m-%d %H:%M:%S%z'"
        )
