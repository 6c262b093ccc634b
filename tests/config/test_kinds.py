"""The words in which kinds of values are declared, and what each of them takes."""

import math

import pytest

from recbole_diffusion.config import structures  # noqa: F401  (gives its kinds their names)
from recbole_diffusion.config.kinds import fields, is_bare, parse, shown
from recbole_diffusion.config.structures import is_interval

NAN, INF = math.nan, math.inf

# Declaration: what fits, what does not.
KINDS = {
    "int": ([0, -3, 2**62], [True, 1.0, "1", None, [], 10**400, 2**63]),
    "int above 0": ([1, 9], [0, -1, 0.5, True]),
    "int in [1, 10]": ([1, 10], [0, 11]),
    "float": ([0, -1, 0.5, 1e30], [NAN, INF, -INF, True, "1", None, 10**400]),
    "float above 0": ([1e-30, 1], [0, 0.0, -1]),
    "float at least 0": ([0, 0.0, 1], [-1e-9]),
    "float below 5": ([4.9, -7], [5]),
    "float in [0, 1)": ([0, 0.999], [1, 1.0, -0.1]),
    "float in (0, 1]": ([1, 1.0, 0.1], [0, 1.1]),
    "bool": ([True, False], [0, 1, "True", None]),
    "str": (["", "abc"], [0, None, ["abc"], True]),
    "str in [all, last]": (["all"], ["ALL", "", "al", None, 1]),
    "str like [adam, sgd]": (["Adam", "SGD", "adam"], ["adma", -1]),
    "list": ([[], [1, "a"]], ["abc", {}, None]),
    "list of int above 0": ([[], [1, 2]], [[0], [1, 1.5], [[1]], 1, "12"]),
    "nonempty list of float": ([[1, 0.5]], [[], [NAN], [None]]),
    "list of 2 float in [0, 1)": ([[0.9, 0.98]], [[0.9], [0.9, 1], [0.9, 0.9, 0.9]]),
    "dict of str": ([{}, {"a": "b"}, {1: "b"}], [{"a": 1}, {None: "b"}, []]),
    "float in (0, 1] or str in [auto]": ([0.5, "auto"], ["mass", 2, None]),
    "int above 0 or ~": ([1, None], [0, ""]),
    "name": (["user_id", "u 1", "😀"], ["", "  ", "a\tb", "a\0", 5, None]),
    "codec": (["utf-8", "latin1"], ["", "utf-99", "base64", 8, "a\0"]),
    "separator": (["\t", ",", "|", " ", "::"], ["", "7", "a", '"', "'", "\n", ":", "||", 5]),
    "between": ([" ", " | ", "::"], ["", "a", "5", 1]),
    "columns": (["*", ["user_id"]], ["user_id", [1], None]),
    "tokens": (["buy", 4, 4.5, ["a", "b"], [1, 2]], [[], "", None, True, {"a": 1}, [["a"]]]),
    "even": ([2, 64], [1, 63, 0, 64.0]),
    "split": (
        [{"RS": [0.8, 0.1, 0.1]}, {"RS": [8, 1, 1]}, {"LS": "valid_and_test"}, {"TS": [8, 1, 1]}],
        [{"RS": [0.8, 0.2]}, {"RS": [0, 1, 1]}, {"RS": 0.8}, {"LS": "last"}, {"XS": 1}, {}, "LS"],
    ),
    "eval_args": (
        [{}, {"order": "TO", "group_by": None}, {"group_by": "none", "mode": "uni100"},
         {"mode": {"valid": "pop7", "test": "full"}}],
        [{"order": "to"}, {"group_by": "item"}, {"mode": "uni"}, {"mode": "uni0"}, {"mode": {}},
         {"mode": {"train": "full"}}, {"splt": {}}, {"split:{LS:valid_and_test}": None}, "x", []],
    ),
    "negatives": (
        [{}, {"distribution": "popularity", "sample_num": 3}, {"distribution": None}],
        [{"distribution": "even"}, {"sample_num": 0}, {"dynamic": True}, {"num": 1}, 5],
    ),
    "gradient": ([{"max_norm": 5, "norm_type": INF}], [{}, {"max_norm": 0}, 5, {"max_norm": NAN}]),
    "plateau": ([{}, {"factor": 0.9, "patience": 5}], [{"factor": 1}, {"gamma": 0.9}, 0.9]),
    "value_interval": (["[0,5)", ["a"], [1, 5]], ["5", 5, [], ["a", 1], [5, 1], [1, 2, 3]]),
    "behaviors": (
        [{"field": "rating", "values": {"like": "[4,5]"}}],
        [{"field": "rating"}, {"field": "rating", "values": {"like": "4"}}, {}],
    ),
    "buckets": (
        [{"age": {"method": "ED", "bucket": 5}}, {"age": {"method": "LD"}}],
        ["2017-11-25", {"age": {"method": "ED"}}, {"age": 5}, {"age": {"bucket": 5}}],
    ),
    "label": ([{"rating": 4}], [{}, {"a": 1, "b": 2}, {"rating": "4"}, 4]),
    "any": ([None, "x", []], []),
}  # fmt: skip


@pytest.mark.parametrize("declaration", KINDS)
def test_a_kind_takes_what_it_says_and_nothing_else(declaration):
    kind = parse(declaration)
    fit, unfit = KINDS[declaration]
    assert [value for value in fit if kind.fault(value) is not None] == []
    assert [value for value in unfit if not kind.fault(value)] == []  # each with words


@pytest.mark.parametrize(
    "value", ["[5,inf)", "(0,10]", "[1,2];(4,5]", "[-inf,inf]", "[ 1 , 2 ]", "[1e3,inf)", [0, 5]]
)
def test_an_interval_is_what_recbole_reads_as_one(value):
    assert is_interval(value)


@pytest.mark.parametrize(
    "value",
    ["5", 5, "", "[5]", "5,6", "[6,5]", "[a,b]", "[nan,5]", "[1,2", "[1,2,3]", None, "[5,)"],
)
def test_what_recbole_calls_illegal_and_goes_on_with_is_no_interval(value):
    assert not is_interval(value)


@pytest.mark.parametrize(
    "declaration",
    ["", "integer", "int 5", "int around 5", "bool above 0", "str of words", "list of", "int or"],
)
def test_a_declaration_without_meaning_is_refused(declaration):
    with pytest.raises(ValueError, match=r"kind of value|is no|has no bounds"):
        parse(declaration)


def test_the_words_of_a_kind_say_what_is_allowed():
    words = {
        "int above 0": "a whole number above 0",
        "float in [0, 1)": "a number from 0 to below 1",
        "float in (0, 1] or str in [mass, auto]": "a number above 0 up to 1 or one of mass, auto",
        "nonempty list of int above 0": "a list of whole numbers above 0, at least one",
        "list of 2 float in [0, 1)": "a list of 2 numbers from 0 to below 1",
    }
    assert {declaration: parse(declaration).words for declaration in words} == words


def test_a_fault_within_a_mapping_is_said_by_its_key():
    found = fields({"order": "XO"}, {"order": "str in [RO, TO]"})
    assert found == "a mapping whose order is one of RO, TO, not 'XO'"
    assert "space after the colon" in fields({"split:{LS:x}": None}, {"split": "split"})
    assert fields({}, {"order": "str"}, required=["order"]) == "a mapping with order"


def test_bare_types_are_told_from_those_with_bounds():
    assert is_bare("int") and is_bare("str or list")
    assert not is_bare("int above 0") and not is_bare("size")


def test_a_value_is_shown_in_one_short_line():
    loop = []
    loop.append(loop)
    for value in ("a" * 10_000, 10**5000, loop, "a\nb"):
        assert len(shown(value)) < 100 and "\n" not in shown(value)
