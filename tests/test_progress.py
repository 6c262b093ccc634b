"""Bars, and times in words."""

import io
import sys

from recbole_diffusion import progress


def test_a_duration_is_said_as_people_do():
    assert [progress.duration(s) for s in (3, 100, 5400, 7300)] == [
        "3 s",
        "2 min",
        "1 h 30 min",
        "2 h 02 min",
    ]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_bar_is_shown_on_a_terminal_only(monkeypatch):
    for stream, shown, expected in (
        (io.StringIO(), True, False),
        (Terminal(), False, False),
        (Terminal(), True, True),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.bar(3, "epoch 1 of 2", shown) as bar:
            bar.set_postfix_str(progress.left(5))
            bar.update()
        written = stream.getvalue()
        assert ("epoch 1 of 2" in written and "about 5 s left" in written) == expected
        assert bool(written) == expected


def test_the_time_left_of_a_bar_counts_from_where_it_began(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress.bar(10, "users", initial=6) as bar:
        assert progress.time_left(bar) is None
        bar.start_t -= 4
        bar.update(2)
        assert 4 <= progress.time_left(bar) < 5  # two in four seconds, two are left
    with progress.bar(10, "users", shown=False) as bar:
        bar.update(2)
        assert progress.time_left(bar) is None
