"""Which lines of a file cannot be used, and why? All are counted, the first ten are said."""

import atomic
import numpy as np

SHOWN = 10
LONGEST_REASON = 300
POLICIES = ("error", "skip")


class BadLines:
    """The lines of a file that cannot be used.

    Args:
        path (Path): the file.
        noun (str): what a line of it is called.

    Attributes:
        n (int): how many there are.
        first (list of tuple): the first ones: number and reason.
    """

    def __init__(self, path, noun="line"):
        self.path, self.noun, self.n, self.first = path, noun, 0, []

    def add(self, number, reason):
        """Adds one line: its number and what is wrong."""
        self.n += 1
        if len(self.first) < SHOWN:
            self.first.append((number, reason))

    def add_rows(self, bad, number, reason):
        """Adds the lines of a piece, in their order.

        Args:
            bad (numpy.ndarray): whether a row is bad, shape: [n_rows].
            number (callable): the number of the line of a row.
            reason (callable): what is wrong with a row.
        """
        rows = np.flatnonzero(bad)
        for row in rows[: SHOWN - len(self.first)].tolist():
            self.add(number(row), reason(row))
            rows = rows[1:]
        self.n += len(rows)

    def settle(self, policy, left):
        """Says which lines are bad, and refuses them if that is the policy.

        Args:
            policy (str): one of ``POLICIES``.
            left (int): how many good lines there are.

        Raises:
            atomic.InputError: there are bad lines and the policy is ``error``, or nothing is left.
        """
        if not self.n:
            return
        (number, reason), *more = self.first
        what = f"{self.path}, {self.noun} {number}: {reason}"
        if policy == "skip" or more:
            said = "left out" if policy == "skip" else "found"
            ten = f", the first {SHOWN} of them" if self.n > SHOWN else ""
            print(f"{said}: {self.n:,} bad {self.noun}{'s' * (self.n > 1)} of {self.path}{ten}:")
            for number, why in self.first:
                print(f"  {self.noun} {number}: {_short(why)}")
        if policy == "skip":
            if left:
                return
            raise atomic.InputError(f"{_short(what)} (no good {self.noun} is left)")
        if more:
            raise atomic.InputError(
                f"{_short(what)}; {self.n:,} bad {self.noun}s in all: mend them, or leave them "
                "out with --on_bad=skip"
            )
        raise atomic.InputError(what)


def _short(text):
    half = LONGEST_REASON // 2
    return text if len(text) <= LONGEST_REASON else f"{text[:half]} ... {text[-half // 2 :]}"
