"""A ready-made split is read row for row as its authors cut it, or refused with file and line."""

import itertools
from pathlib import Path

from atomic_files import REFUSED, contents, histories, logs, read
from fuzzing import Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz_inter import BEHAVIORS, MODELS, check_parts, load, pairs_once

PARTS = ["train", "valid", "test", "history"]


@st.composite
def splits(draw, behaviors):
    """The contents of the files of a split, one of them perhaps with something wrong in it."""
    count = draw(st.sampled_from([3, 3, 4]))
    header, lines = draw(logs(odd=False, behaviors=behaviors))
    places = {name.partition(":")[0]: place for place, name in enumerate(header)}
    lines = list({tuple(line): line for line in lines}.values())  # no overlap but those made here
    lines.sort(key=lambda line: (line[places["user_id"]], int(line[places["timestamp"]])))
    files = [[] for _ in range(count)]
    for _, rows in itertools.groupby(lines, key=lambda line: line[places["user_id"]]):
        rows = list(rows)
        valid = rows[draw(st.integers(1, 4)) :]
        files[0] += rows[: len(rows) - len(valid)]
        test = valid[draw(st.integers(1, 2)) :]
        files[1] += valid[: len(valid) - len(test)]
        files[2] += test
        if count == 4:
            files[3] += valid[: len(valid) - len(test)]  # as JD has it
    odd = draw(
        st.sampled_from([None] * 8 + ["overlap", "damage", "repeated", "future", "behavior"])
    )
    if odd in ("overlap", "future") and files[0]:
        line = list(draw(st.sampled_from(files[0])))
        if odd == "future":
            line[places["timestamp"]] = "0"
        files[draw(st.integers(1, count - 1))].append(line)
    if odd == "repeated":
        part = draw(st.sampled_from([rows for rows in files if rows]))
        part += part[:1]
    if behaviors and odd != "behavior":  # what is held out is what is predicted
        for line in files[1] + files[2]:
            line[places["behavior"]] = "buy"
    text = ["".join("\t".join(line) + "\n" for line in [header, *rows]) for rows in files]
    content = [part.encode() for part in text]
    if odd == "damage":
        content[draw(st.integers(0, count - 1))] = draw(contents(behaviors=behaviors))
    return content


def cut(parts, target, sequential):
    """Which rows are trained on and held out, with what stands before each.

    Args:
        parts (list of list of Row): of the files, in their order.
        target (str): the behaviour that is held out; None for all.
        sequential (bool): for a model that reads histories.

    Returns:
        list: for train, valid and test a list of (user, rows before, row).
    """
    train = histories(parts[0])
    more = histories(parts[3]) if len(parts) > 3 else {}
    want = [[], [], []]
    for user, history in train.items():
        for place, row in enumerate(history):
            if place or not sequential:
                want[0].append((user, history[:place], row))
    for number in (1, 2):
        for row in parts[number]:
            before = train.get(row.user, []) + (more.get(row.user, []) if number == 2 else [])
            kept = before or not (sequential or target)
            if kept and (target is None or row.behavior == target):
                want[number].append((row.user, before, row))
    return want


@inputs(quick=30, long=900)
@given(
    data=st.data(),
    model=st.sampled_from(list(MODELS)),
    behaviors=st.booleans(),
    overlap=st.booleans(),
)
def test_a_ready_made_split_is_read_as_it_was_cut(data, model, behaviors, overlap):
    kind = "ready-made split"
    content = data.draw(splits(behaviors))
    sequential, reads_behaviors = MODELS[model]
    names = PARTS[: len(content)]
    settings = {"benchmark_filename": names} | (BEHAVIORS if behaviors else {})
    if overlap:
        settings["allow_overlap"] = True
    with own_folder():
        Path("log").mkdir()
        for name, part in zip(names, content):
            Path(f"log/log.{name}.inter").write_bytes(part)
        says = ("log.", "split leaves", "topk", "target_behavior", "inter_num_interval")
        loaded, said = attempt(kind, lambda: load(model, **settings), (*says, "allow_overlap"))
        readings = [read(part, behaviors) for part in content]
        legal = REFUSED not in readings and len(set(map(columns_of, content))) == 1
        parts = [reading.rows for reading in readings]
        target = "buy" if behaviors else None
        wrong = legal and seen_too_early(parts)
        if legal:
            want = cut(parts, target, sequential)
            if behaviors and not sequential:
                want = [pairs_once(want[0]), *want[1:]]
        if said is None:
            if not legal:
                accepted(kind, False, "a file is accepted that cannot be read")
            if wrong and not overlap:
                accepted(kind, False, "parts that overlap or look ahead are accepted")
            check_parts(kind, loaded[1], want, sequential, behaviors and reads_behaviors)
        elif legal and all(reading.must for reading in readings):
            if want[0] and want[2] and (overlap or not wrong) and _sane(parts, target):
                raise Broken(f"a legal split is refused: {said}")


def columns_of(content):
    """The columns of a file with their types, in no order."""
    head = content.decode("utf-8").removeprefix("\ufeff").replace("\r", "\n").partition("\n")[0]
    return frozenset(head.split("\t"))


def seen_too_early(parts):
    """Whether a held-out row stands in what comes before it, or is older than its history."""
    train, valid, test = map(set, parts[:3])
    more = set(parts[3]) if len(parts) > 3 else set()
    overlap = (valid | test) & train or test & valid or test & more
    for held, past in ((valid, train), (test, train | more)):
        newest = {row.user: row.time for row in sorted(past, key=lambda row: row.time)}
        overlap |= {row for row in held if row.time < newest.get(row.user, row.time)}
    return bool(overlap)


def _sane(parts, target):
    """Whether nothing but the rows themselves is a reason to refuse a split."""
    rows = [row for part in parts for row in part]
    wrong = target and any({row.behavior for row in part} - {target} for part in parts[1:3])
    return not wrong and len({row.item for row in rows}) > 1
