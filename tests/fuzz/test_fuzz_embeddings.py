"""Item embeddings are the numbers of the file, one vector an item, or a refusal with the line."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from atomic_files import NUMBER, ODD_WORDS
from fuzzing import Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.data.embeddings import read_item_embeddings

ITEMS = ["i0", "i1", '"i2"', "日本"]
HEADER = "item_id:token\titem_emb:float_seq"
DATA = SimpleNamespace(
    dataset_path=".",
    iid_field="item_id",
    item_num=len(ITEMS) + 1,
    field2token_id={"item_id": {token: n for n, token in enumerate(["[PAD]", *ITEMS])}},
    field2id_token={"item_id": np.array(["[PAD]", *ITEMS])},
)
ODD_NUMBERS = ["nan", "inf", "1e400", "1_0", "0x1", "", " ", "١", "1,5", "5.", "-.5", "1e-400", "x"]


@st.composite
def embedding_files(draw):
    width = draw(st.integers(1, 3))
    number = st.floats(-1e3, 1e3, width=32).map(repr)
    if draw(st.booleans()):
        number = st.one_of(number, number, number, number, st.sampled_from(ODD_NUMBERS))
    tokens = list(draw(st.permutations(ITEMS)))
    odd = draw(
        st.sampled_from(
            [None] * 8
            + ["gone", "twice", "unknown", "odd word", "wide", "narrow", "tab", "blank", "header"]
            + ["no header", "bytes", "cut", "bom", "cr", "pad", "empty"]
        )
    )
    if odd == "gone":
        tokens.pop()
    elif odd == "twice":
        tokens.append(tokens[0])
    elif odd in ("unknown", "odd word", "pad"):
        more = {"unknown": st.just("i9"), "pad": st.just("[PAD]")}.get(odd, ODD_WORDS)
        tokens.insert(draw(st.integers(0, 3)), draw(more))
    lines = [
        f"{token}\t{' '.join(draw(st.lists(number, min_size=width, max_size=width)))}"
        for token in tokens
    ]
    where = draw(st.integers(0, len(lines) - 1))
    if odd == "wide":
        lines[where] += " 1"
    elif odd == "narrow":
        lines[where] = lines[where].rpartition(" ")[0]
    elif odd == "tab":
        lines[where] += "\t1"
    elif odd == "blank":
        lines.insert(where, "")
    header = HEADER
    if odd == "header":
        wrong = [
            "",
            "item_id:token",
            HEADER + "\tx:float",
            "item_id\titem_emb",
            ":token\t:float_seq",
        ]
        header = draw(st.sampled_from(wrong))
    lines = lines if odd == "no header" else [header, *lines]
    content = "\n".join(lines).encode("utf-8") + b"\n" * draw(st.integers(0, 1))
    place = draw(st.integers(0, len(content)))
    if odd == "bytes":
        content = content[:place] + draw(st.binary(min_size=1, max_size=2)) + content[place:]
    elif odd == "cut":
        content = content[:place]
    elif odd == "bom":
        content = b"\xef\xbb\xbf" + content
    elif odd == "cr":
        content = content.replace(b"\n", b"\r\n")
    elif odd == "empty":
        content = b""
    return content


def read(content):
    """The table, None where it has to be refused; and whether it may be refused."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None, True
    may_be_refused = text.startswith("\ufeff")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").removesuffix("\n").split("\n")
    kinds = [column.rpartition(":")[2] for column in lines[0].split("\t")]
    if kinds != ["token", "float_seq"]:
        return None, True
    may_be_refused |= lines[0] != HEADER
    found, width = {}, None
    for line in lines[1:]:
        token, _, words = line.partition("\t")
        words = words.split(" ")
        if not all(NUMBER.fullmatch(word) for word in words):
            if any(word and not re.fullmatch("[ -~]*", word) for word in words):
                return None, True
            words = [word for word in words if word]  # more than one space
            may_be_refused = True
            if not words or not all(NUMBER.fullmatch(word) for word in words):
                return None, True
        vector = [float(word) for word in words]
        width = width or len(vector)
        if len(vector) != width or not np.isfinite(vector).all():
            return None, True
        if token in found and token in ITEMS:
            return None, True
        may_be_refused |= not token.isprintable() or not token or token in found
        found[token] = vector
    if not set(ITEMS) <= set(found):
        return None, True
    return np.array([found[item] for item in ITEMS]), may_be_refused


@inputs(quick=150, long=1000)
@given(content=embedding_files())
def test_item_embeddings_are_those_of_the_file(content):
    kind = ".itememb"
    with own_folder():
        Path("tiny.itememb").write_bytes(content)
        read_it, said = attempt(
            kind, lambda: read_item_embeddings("tiny.itememb", DATA), ("tiny.itememb",)
        )
        want, may_be_refused = read(content)
        if said is None:
            right = want is not None and np.array_equal(read_it, want)
            accepted(kind, right, f"{content!r} was read as {read_it}")
        elif want is not None and not may_be_refused:
            raise Broken(f"a legal file is refused: {said}: {content!r}")
