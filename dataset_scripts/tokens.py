"""Would RecBole read a token back as it is? Shared by the scripts here."""

import re

import atomic
import numpy as np
import pandas as pd

# RecBole reads with pandas, which takes these words for missing values; [PAD] is RecBole's own.
MISREAD = {
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "[PAD]"),
}
LONGEST_TOKEN = 1 << 12

# What else than a line feed ends a line for some programs is refused when the data set is read.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def what_is_wrong(token):
    """Says why a token cannot be written.

    Args:
        token (str): what stands in the raw file.

    Returns:
        str: the end of a sentence about it; None if nothing is wrong.
    """
    if not token.strip():
        return "is missing"
    if _CONTROL.search(token):
        return f"{token!r} holds a tab or another control character"
    if len(token) > LONGEST_TOKEN:
        return f"{token!r} has more than {LONGEST_TOKEN:,} characters"
    if token in MISREAD:
        return f"{token!r} would be read back as a missing value"
    if not token.isascii() and re.search("[\ud800-\udfff]", token):
        return f"{token!r} is not UTF-8"
    return None


class Numbers:
    """Numbers tokens by first appearance, over all pieces of a file.

    Attributes:
        tokens (list of str): by number.
    """

    def __init__(self):
        self.tokens, self._number = [], {}

    def of(self, column):
        """Numbers a column.

        Args:
            column (sequence of str): the tokens.

        Returns:
            numpy.ndarray: the numbers, -1 where a token cannot be written, shape: [n_rows].
        """
        texts = np.empty(len(column), dtype=object)
        texts[:] = column
        codes, distinct = pd.factorize(texts)
        for token in distinct:
            if token not in self._number:
                self._number[token] = -1 if what_is_wrong(token) else len(self.tokens)
                self.tokens += [token] * (self._number[token] >= 0)
        known = np.fromiter(map(self._number.get, distinct), np.int32, len(distinct))
        return known[codes]


def tokens_to_codes(column, name, where):
    """Numbers the tokens of a column by first appearance.

    Args:
        column (list of str): the tokens.
        name (str): what the column holds, for the message.
        where (callable): turns the 0-based number of a row into words that say where it is.

    Returns:
        tuple: codes (numpy.ndarray, shape: [n_rows]) and the tokens (list of str).

    Raises:
        atomic.InputError: a token is missing, or RecBole would not read it back as it is.
    """
    numbers = Numbers()
    codes = numbers.of(column)
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise atomic.InputError(f"{where(row)}: the {name} {what_is_wrong(column[row])}")
    return codes.astype(np.int64), numbers.tokens
