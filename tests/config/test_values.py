"""A text stays that text on its way through YAML."""

import random

import pytest

from recbole_diffusion.config.values import as_texts, parse_value

ODD = [
    "👍",
    "a b",
    " a ",
    "it's",
    'say "x"',
    "4",
    "null",
    "[a]",
    "{a: 1}",
    "~",
    "1:30",
    "#x",
    "- a",
]
ODD += ["\x85x", "\u2028", "\x00", "\x7f", "a\nb", "\t", "", "---", "!!python/x", "*a", "\\u0041"]


def any_text(draw):
    kinds = [lambda: draw.randrange(128), lambda: draw.randrange(0xD800)]
    kinds.append(lambda: draw.randrange(0xE000, 0x110000))
    return "".join(chr(draw.choice(kinds)()) for _ in range(draw.randrange(200)))


def test_texts_come_back_whatever_they_hold():
    draw = random.Random(3)
    for text in ODD + [any_text(draw) for _ in range(300)]:
        assert parse_value(as_texts({"key": text})["key"]) == text
    assert parse_value("null") is None and parse_value("4") == 4  # the control: not quoted


@pytest.mark.parametrize("value", [None, 4, 0.5, True, ["null", "👍"], {"a": "4"}])
def test_what_is_no_text_is_left_alone(value):
    assert as_texts({"key": value}) == {"key": value}
