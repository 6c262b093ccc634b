"""A log is read row for row as it stands, and split as promised, or refused with its line."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from atomic_files import MISSING_WORDS, contents, leave_one_out, once, read
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
