"""An atomic file is read to the letter: no quoting, no stripping, no row lost."""

import numpy as np
import pytest
from recbole.data.dataset import Dataset
from recbole.utils.enum_type import FeatureType

from recbole_diffusion.config.config import Config
from recbole_diffusion.data import lines
from recbole_diffusion.data.choose import get_dataset
from recbole_diffusion.data.columns import LONGEST_TOKEN, Form, read_columns
from recbole_diffusion.data.lines import DataError, line_of

HEAD = "user_id:token\titem_id:token\ttimestamp:float"
FORM = Form("\t", " ", "utf-8")
ODD_TOKENS = [
    '2"" pan', '"""', '"', '"u1"', "u1", '"u1', 'u1"', "'u1'", " u1", "u1 ", " ", "a,b", "\\",
    "\\t", "#", "# u", "ü", "u\u0308", "0", "00", "0.0", "1e3", "+1", "-", "na", "True", "\u3000",
    "\ufeffu", "👍", "a b  c", "=1+1", "[pad]",
]  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Gives a function that reads the columns of a file with the given content."""

    def run(content, form=FORM, **reading):
        path = tmp_path / "tiny.inter"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_columns(path, form, **reading)[1]

    return run


@pytest.fixture
def refusal(read):
    """Gives a function that reads such a file and gives the words of the refusal."""

    def run(content, **reading):
        with pytest.raises(DataError) as refused:
            read(content, **reading)
        words = str(refused.value)
        assert "tiny.inter" in words and "\n" not in words and len(words) < 500
        return words

    return run


def body(*rows, head=HEAD):
    return "\n".join([head, *("\t".join(map(str, row)) for row in rows), ""])


def test_tokens_are_kept_as_they_stand_and_no_row_is_swallowed(tmp_path, build_data):
    rows = [(token, f"i{place % 7}", place) for place, token in enumerate(3 * ODD_TOKENS)]
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/tiny.inter").write_text(body(*rows), encoding="utf-8")
    last = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    config, data, loaders = build_data(tmp_path, "SASRec", eval_args=last)
    assert len(data.store["user_id"]) == len(rows) == 3 * data.user_num - 3
    assert list(data.field2id_token["user_id"][1:]) == ODD_TOKENS
    assert len(loaders[2]._dataset) == len(ODD_TOKENS)  # each has its test row
    config["data_path"] = str(tmp_path / "tiny")
    config["dataset"] = "tiny"
    assert len(Dataset(config).inter_feat) < len(rows)  # control: RecBole loses lines in silence


@pytest.mark.parametrize("model", ["FM", "BPR", "KGAT"])
def test_a_data_set_class_of_recbole_reads_as_it_stands_too(model, tmp_path):
    rows = [(token, f"i{place % 7}", place) for place, token in enumerate(3 * ODD_TOKENS)]
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/tiny.inter").write_text(body(*rows), encoding="utf-8")
    entities = ['"', '"e"', "e", '""', "'", '"""', " e"]
    links = [(f"i{item}", entity) for item, entity in enumerate(entities)]
    head = "item_id:token\tentity_id:token"
    (tmp_path / "tiny/tiny.link").write_text(body(*links, head=head))
    head = "head_id:token\trelation_id:token\ttail_id:token"
    facts = [(entity, "r", '"') for entity in entities]
    (tmp_path / "tiny/tiny.kg").write_text(body(*facts, head=head))
    columns = {"inter": "*", "kg": "*", "link": "*"}
    settings = {"data_path": str(tmp_path), "use_gpu": False, "load_col": columns}
    config = Config(model, "tiny", config_dict=settings)
    data = get_dataset(config)(config)
    assert len(data.inter_feat) == len(rows)
    assert set(data.field2id_token["user_id"][1:]) == set(ODD_TOKENS)
    if model == "KGAT":
        assert len(data.kg_feat) == 7 and set(data.item2entity.values()) == set(entities)


def test_forms_of_lines_change_nothing(read):
    rows = [("a", "b", 1), ("c", "d", 2)]
    whole = read(body(*rows))
    text = body(*rows)
    forms = [text.encode(), text[:-1].encode(), text.replace("\n", "\r\n").encode()]
    forms += [text.replace("\n", "\r\n")[:-1].encode(), b"\xef\xbb\xbf" + text.encode()]
    forms += [text.replace("\n", "\n\n").encode(), (text + "\n\n").encode()]
    for form in forms:
        found = read(form)
        assert found["user_id"].tolist() == ["a", "c"] == whole["user_id"].tolist(), form
        assert found["timestamp"].tolist() == [1, 2]
    wide = read(text.encode("utf-16"), form=FORM._replace(encoding="utf-16"))
    assert wide["item_id"].tolist() == ["b", "d"]


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(block, read, monkeypatch, tmp_path):
    rows = [(token, "ü\u20ac👍", place) for place, token in enumerate(ODD_TOKENS)]
    content = b"\xef\xbb\xbf" + body(*rows).replace("\n", "\r\n").replace("00", "00").encode()
    whole = read(content)
    monkeypatch.setattr(lines, "BLOCK", block)
    found = read(content)
    assert found["user_id"].tolist() == whole["user_id"].tolist() == ODD_TOKENS
    assert found["timestamp"].tolist() == whole["timestamp"].tolist()
    assert line_of(tmp_path / "tiny.inter", 4, "utf-8") == 6


CONTROLS = ["\0", "\x01", "\x0b", "\f", "\x1a", "\x1c", "\x7f", "\x85", "\u2028", "\u2029", "a\rb"]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_character_is_refused_with_its_line(control, refusal):
    words = refusal(body(("a", "b", 1), ("", "", ""), ("c", f"d{control}", 3)))
    assert f"line 4: holds the control character {control.strip('ab')!r}" in words
    assert "line 1" in refusal(body(("a", "b", 1), head=HEAD + control))


@pytest.mark.parametrize("before", ["", "ü\n"])
def test_text_of_another_encoding_is_refused_with_its_line(before, refusal, read):
    row = "b\u00e9\ti\t1".encode("latin-1")
    content = body(("a", before.strip() or "b", 1)).encode() + row
    words = refusal(content)
    assert "line 3: is not utf-8 text (at the byte 0xe9)" in words and "encoding" in words
    if not before:  # control
        found = read(content, form=FORM._replace(encoding="latin-1"))
        assert found["user_id"].tolist() == ["a", "bé"]


def test_an_encoding_that_is_none_is_refused(read):
    for name in ("bogus", "rot13"):
        with pytest.raises(DataError, match=f"encoding: .*{name}"):
            read(body(("a", "b", 1)), form=FORM._replace(encoding=name))


def test_an_endless_line_and_an_endless_token_are_refused_with_their_line(refusal, read):
    content = body(("a", "b", 1), ("c", "d" * (1 << 20), 2), ("e", "f", 3))
    assert "line 3: is longer than 1,048,576 characters" in refusal(content)
    assert "line 2: is longer" in refusal(f"{HEAD}\n" + "d" * (1 << 21))
    assert f"line 2: item_id:token holds a token of more than {LONGEST_TOKEN:,}" in refusal(
        body(("a", "b" * (LONGEST_TOKEN + 1), 1))
    )
    longest = "b" * LONGEST_TOKEN
    assert read(body(("a", longest, 1)))["item_id"].tolist() == [longest]
    digits = body(("a", "b", "1" * 900_000))
    assert "line 2: timestamp:float holds '1111" in refusal(digits)


@pytest.mark.parametrize(
    "head, wrong",
    [
        ("user_id:token\titem_id:token\tuser_id:token", "two columns have the name 'user_id'"),
        ("user_id:token\titem_id:int\ttimestamp:float", "'item_id:int' is not name:type"),
        ("user_id:token\titem_id:TOKEN\ttimestamp:float", "'item_id:TOKEN' is not name:type"),
        ("user_id:token\t:token\ttimestamp:float", "':token' is not name:type"),
        ("user_id:token\titem:id:token\ttimestamp:float", "'item:id:token' is not name:type"),
        ("user_id:token\titem_id\ttimestamp:float", "'item_id' is not name:type"),
        ("", "'' is not name:type"),
    ],
)
def test_a_header_that_names_no_columns_is_refused(head, wrong, refusal):
    words = refusal(body(("a", "b", 1), head=head))
    assert "line 1: " in words and wrong in words


def test_a_name_with_odd_characters_is_a_name(read):
    found = read(body(("a", "b", 1), head='"user" id:token\titem-id!:token\tß:float'))
    assert list(found) == ['"user" id', "item-id!", "ß"]


def test_a_padding_token_is_refused(refusal):
    assert "line 3: item_id:token holds '[PAD]'" in refusal(body(("a", "b", 1), ("a", "[PAD]", 2)))


def test_sequences_are_read_as_they_stand(read, refusal):
    head = "user_id:token\twords:token_seq\tvector:float_seq"
    found = read(body(("a", 'x "y  z"', "1 2.5  -3e1"), ("b", "", ""), head=head))
    assert [word.tolist() for word in found["words"]] == [["x", '"y', 'z"'], []]
    assert [vector.tolist() for vector in found["vector"]] == [[1, 2.5, -30], []]
    wrong = refusal(body(("a", "x", "1"), ("b", "y", "1 nan"), head=head))
    assert "line 3: vector:float_seq holds 'nan', not a plain decimal number" in wrong


def test_any_separator_is_taken_to_the_letter(read):
    for separator in (",", "::", "|", ".*", "\x01"):
        content = body(('"a', "b c", 1)).replace("\t", separator)
        found = read(content, form=FORM._replace(separator=separator))
        assert [column[0] for column in found.values()] == ['"a', "b c", 1.0]


def test_gaps_are_nan_and_columns_that_are_not_wanted_are_not_judged(read, refusal):
    content = body(("a", "NA", "5"), ("b", "c", ""), ("None", "d", "nan"))
    found = read(content)
    assert found["item_id"].isna().tolist() == [True, False, False]
    assert found["user_id"].isna().tolist() == [False, False, True]
    assert np.isnan(found["timestamp"]).tolist() == [False, True, True]
    words = body(("a", "b", "soon"))
    assert list(read(words, wanted=lambda name: name != "timestamp")) == ["user_id", "item_id"]
    assert "line 2: timestamp:float holds 'soon'" in refusal(words)  # control


def test_the_kinds_are_those_of_the_header(tmp_path):
    path = tmp_path / "tiny.inter"
    path.write_text(body(("a", "b", 1)))
    kinds, _ = read_columns(path, FORM)
    assert list(kinds.values()) == [FeatureType.TOKEN, FeatureType.TOKEN, FeatureType.FLOAT]


def test_what_is_no_file_is_refused(tmp_path):
    for path, words in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file")):
        with pytest.raises(DataError, match=f"{path} cannot be read: {words}"):
            read_columns(path, FORM)


def test_an_empty_file_and_a_lone_header_hold_nothing(refusal):
    assert refusal("").endswith("tiny.inter holds no interactions")
    assert "holds no interactions, only a header" in refusal(HEAD + "\n\n\n")
