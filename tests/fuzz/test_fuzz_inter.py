"""A log is read row for row as it stands, and split as promised, or refused with its line."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from atomic_files import MISSING_WORDS, contents, histories, leave_one_out, once, read
from fuzzing import Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.config.config import Config
from recbole_diffusion.quick_start.quick_start import read_data

L = 4
QUIET = {
    "data_path": ".",
    "use_gpu": False,
    "show_progress": False,
    "topk": [1],
    "valid_metric": "NDCG@1",
    "MAX_ITEM_LIST_LENGTH": L,
    "load_col": {"inter": "*"},
}
LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
BEHAVIORS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy"}


def load(model, **settings):
    """Configuration, data set and the built parts of a run."""
    config = Config(model, "log", config_dict=QUIET | settings)
    data, loaders = read_data(config)
    return data, [None if loader is None else loader._dataset for loader in loaders]


def rows_of(part, sequential, behaviors):
    """The rows of a part as (user, item, float32 stamp, items before, behaviours before)."""
    if part is None:
        return Counter()
    fields = part.field2id_token
    rows = part[torch.arange(len(part))] if sequential else part.inter_feat
    user = fields["user_id"][rows["user_id"].numpy()]
    item = fields["item_id"][rows["item_id"].numpy()]
    found = []
    for n in range(len(part)):
        stamp = float(rows["timestamp"][n])
        before = ()
        if sequential:
            length = int(rows["item_length"][n])
            columns = ["item_id"] + ["behavior"] * behaviors
            lists = [fields[c][rows[f"{c}_list"][n].numpy()][:length] for c in columns]
            before = tuple(zip(*(map(str, column) for column in lists)))
        found.append((str(user[n]), str(item[n]), stamp, before))
    return Counter(found)


def expected(part, sequential, behaviors):
    """The same of what the independent reader says."""
    found = []
    for user, before, row in part:
        window = ()
        if sequential:
            window = tuple((r.item, r.behavior)[: 1 + behaviors] for r in before[-L:])
        with np.errstate(over="ignore"):
            found.append((user, row.item, float(np.float32(row.time)), window))
    return Counter(found)


def pairs_once(part):
    """With behaviours a general model trains on a pair of user and item once, where it was last."""
    return list({(user, row.item): (user, before, row) for user, before, row in part}.values())


def check_parts(kind, parts, want, sequential, behaviors):
    have = [rows_of(part, sequential, behaviors) for part in parts]
    want = [expected(part, sequential, behaviors) for part in want]
    for name, has, wants in zip(("train", "valid", "test"), have, want):
        if has != wants:
            words = f"{name}: read and not there {has - wants}, missing {wants - has}"
            accepted(kind, False, words)
    accepted(kind, True, "")


MODELS = {"Pop": (False, False), "SASRec": (True, False), "ICDDT": (True, True)}


@inputs(quick=60, long=2500)
@given(
    data=st.data(),
    model=st.sampled_from(list(MODELS)),
    behaviors=st.booleans(),
    eval_args=st.sampled_from([None, LEAVE_ONE_OUT]),
)
def test_a_log_is_read_row_for_row_or_refused_with_its_line(data, model, behaviors, eval_args):
    kind = ".inter"
    content = data.draw(contents(behaviors=behaviors or None))
    sequential, reads_behaviors = MODELS[model]
    settings = BEHAVIORS if behaviors else {}
    settings = settings | ({} if eval_args is None else {"eval_args": eval_args})
    with own_folder():
        Path("log").mkdir()
        Path("log/log.inter").write_bytes(content)
        names = (
            "log.inter",
            "log*.inter",
            "split leaves",
            "topk",
            "target_behavior",
            "inter_num_interval",
        )
        loaded, said = attempt(kind, lambda: load(model, **settings), names)
        reading = read(content, behaviors)
        target = "buy" if behaviors else None
        want = leave_one_out(reading.rows or [], target, sequential)
        if behaviors and not sequential:
            want = [pairs_once(want[0]), *want[1:]]
        if said is None:
            if reading.rows is None:
                accepted(kind, False, f"accepted: {content!r}")
            read_data_set, parts = loaded
            repeated = len(reading.rows) - len(once(reading.rows))
            if repeated != read_data_set.split_report.get("repeated_lines_dropped", 0):
                accepted(kind, False, f"{repeated} repeated lines: {read_data_set.split_report}")
            check_parts(kind, parts, want, sequential, behaviors and reads_behaviors)
        elif reading.must and not _may_be_refused(reading.rows, want, behaviors):
            raise Broken(f"a legal file is refused: {said}\n{content.decode()}")


RATIOS = [[0.8, 0.1, 0.1], [0.5, 0.25, 0.25], [0.6, 0.0, 0.4], [3, 1, 1]]
SPLITS = [{"RS": ratio} for ratio in RATIOS] + [{"LS": "test_only"}, {"LS": "valid_only"}]


@inputs(quick=25, long=700)
@given(
    content=contents(behaviors=True),
    model=st.sampled_from(["Pop", "SASRec"]),
    split=st.sampled_from(SPLITS),
    order=st.sampled_from(["TO", "TO", "RO"]),
    group_by=st.sampled_from(["user", "none"]),
)
def test_every_split_keeps_each_row_once_and_in_order(content, model, split, order, group_by):
    kind = ".inter, other splits"
    sequential = MODELS[model][0]
    args = {"split": split, "order": order, "group_by": group_by, "mode": "full"}
    with own_folder():
        Path("log").mkdir()
        Path("log/log.inter").write_bytes(content)
        names = ("log.inter", "log*.inter", "split", "topk", "eval_args", "order", "group_by")
        loaded, said = attempt(kind, lambda: load(model, eval_args=args), names)
        if said is not None:
            return
        rows = read(content, False).rows
        if rows is None:
            accepted(kind, False, f"accepted: {content!r}")
        wanted = Counter()
        for user, history in histories(once(rows)).items():
            kept = history[1:] if sequential else history
            wanted.update((user, row.item, float(np.float32(row.time))) for row in kept)
        parts = [rows_of(part, sequential, False) for part in loaded[1]]
        have = Counter()
        for part in parts:
            have.update(row[:3] for row in part.elements())
        by_user = order == "TO" and (group_by == "user" or "LS" in split)
        accepted(
            kind,
            have == wanted and not (by_user and _too_early(parts)),
            f"{args}: {have - wanted} too many, {wanted - have} gone, or out of order: {parts}",
        )


def _too_early(parts):
    """Whether a user has a row in a part that is older than one in the part before."""
    for before, after in itertools.combinations(parts, 2):
        newest = {}
        for user, _, stamp, _ in before:
            newest[user] = max(stamp, newest.get(user, stamp))
        if any(stamp < newest.get(user, stamp) for user, _, stamp, _ in after):
            return True
    return False


def _may_be_refused(rows, want, behaviors):
    """Whether there are too few rows of a kind for a run."""
    items = {row.item for row in rows}
    seen = {}
    for row in rows:
        seen.setdefault(row.user, set()).add(row.item)
    return (
        not (want[0] and want[2])
        or any(len(own) >= len(items) for own in seen.values())  # no negative item to be drawn
        or len(items) < 2
        or behaviors
        and "buy" not in {row.behavior for row in rows}
        or bool(items & MISSING_WORDS)
    )
