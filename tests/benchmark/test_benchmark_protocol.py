"""Protocols: which rows are held out, and who can share a table."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recbole_diffusion.benchmark.protocol import SHARED, describe, held_out_hash, refusal
from recbole_diffusion.data.seen_before import share_seen_before
from recbole_diffusion.quick_start.protocol_line import protocol_line

LEAVE_ONE_OUT = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"}
RATIO = {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "mode": "full", "group_by": "user"}


@pytest.fixture
def described(shop, small, build_data):
    """Gives a function from a model and settings to its protocol and its three data sets."""

    def described(model, **settings):
        settings = small(model, eval_args=LEAVE_ONE_OUT) | settings
        config, _, loaders = build_data("dataset", model, "shop", **settings)
        parts = [None if loader is None else loader._dataset for loader in loaders]
        return describe(config, *parts), parts

    return described


def test_sequential_and_general_models_share_a_table_on_leave_one_out(described):
    tables = [
        described(model, mask_history=False, valid_metric="NDCG@10")[0]
        for model in ("SASRec", "ICDDT", "MultiVAE", "Pop")
    ]
    for one in tables[1:]:
        assert refusal(one, tables[0]) is None
    assert tables[0]["test_rows"] == 39 and tables[0]["unit"] == "users"


def test_where_users_have_several_rows_they_do_not(described):
    sequential, general = (
        described("SASRec", eval_args=RATIO)[0],
        described("ItemKNN", eval_args=RATIO)[0],
    )
    assert sequential["unit"] == "rows" and general["unit"] == "users"
    general["mask_history"] = False
    assert sequential["held_out_hash"] == general["held_out_hash"]
    assert "means over users, those of the table over rows" in refusal(general, sequential)


def test_what_may_be_held_out_is_one_for_a_table_and_was_any_in_older_ones(described):
    any_item, new = (described("SASRec", held_out_items=which)[0] for which in ("any", "new"))
    assert refusal(new, new) is refusal(any_item, any_item) is None
    older = {key: value for key, value in any_item.items() if key != "held_out_items"}
    assert refusal(any_item, older) is None
    same = {"held_out_hash": any_item["held_out_hash"], "valid_hash": any_item["valid_hash"]}
    assert refusal(new | same, older) == "its held_out_items is new, that of the table any"
    assert " of buy of items new to their user in time order, " in protocol_line(new)


def test_recboles_masking_habit_is_named(described):
    assert described("MultiVAE")[0]["mask_history"] is True
    assert described("SASRec")[0]["mask_history"] is False
    said = refusal(described("MultiVAE")[0], described("SASRec")[0])
    assert said == "its mask_history is True, that of the table False"


def test_every_difference_that_counts_is_a_reason(described):
    table = described("SASRec")[0]
    for key in SHARED:
        other = table | {key: "something else"}
        assert "something else" in refusal(other, table)
    assert refusal(table | {"n_train_rows": 1, "users": 2}, table) is None


def test_the_hash_stands_for_the_pairs_alone(described, shop):
    _, (_, valid, test) = described("SASRec")
    whole = held_out_hash(test)
    assert whole == held_out_hash(described("SASRec", seed=99, MAX_ITEM_LIST_LENGTH=3)[1][2])
    assert whole != held_out_hash(valid)
    file = shop / "dataset" / "shop" / "shop.inter"
    head, *lines = file.read_text().splitlines()
    random.Random(0).shuffle(lines)  # stamps keep the order
    file.write_text("\n".join([head, *lines]) + "\n")
    assert held_out_hash(described("SASRec")[1][2]) == whole
    file.write_text("\n".join([head, *lines[1:]]) + "\n")
    last = [line for line in lines if line.endswith("\t9")]
    kept = [line for line in lines if line != last[0]]
    file.write_text("\n".join([head, *kept]) + "\n")
    assert held_out_hash(described("SASRec")[1][2]) != whole


def test_who_is_asked_for_what_is_in_the_hash_and_the_order_of_rows_is_not():
    names = np.array(["[PAD]", "a", "b"])

    def hashed(users, items):
        rows = {"user": torch.tensor(users), "item": torch.tensor(items)}
        tokens = {"user": names, "item": names}
        return held_out_hash(
            SimpleNamespace(
                uid_field="user", iid_field="item", field2id_token=tokens, inter_feat=rows
            )
        )

    assert hashed([1, 2], [1, 2]) == hashed([2, 1], [2, 1])
    assert hashed([1, 2], [1, 2]) != hashed([1, 2], [2, 1])  # the same users and items


def test_validation_and_test_rows_have_each_their_hash(described):
    table, (_, valid, test) = described("SASRec")
    assert table["held_out_hash"] == held_out_hash(test)
    assert table["valid_hash"] == held_out_hash(valid) != table["held_out_hash"]


@pytest.mark.parametrize(
    "model, eval_args",
    [
        ("SASRec", LEAVE_ONE_OUT),
        ("SASRec", RATIO),
        ("ItemKNN", LEAVE_ONE_OUT),
        ("ItemKNN", RATIO),
        ("ItemKNN", RATIO | {"order": "RO"}),
    ],
)
def test_seen_before_counts_what_the_user_had_earlier(described, shop, model, eval_args):
    table, (train, valid, test) = described(model, eval_args=eval_args)
    lines = (shop / "dataset" / "shop" / "shop.inter").read_text().splitlines()[1:]
    log = [line.split("\t") for line in lines]

    def rows(part):
        fields = (part.uid_field, part.iid_field)
        return zip(*(part.field2id_token[f][part.inter_feat[f].numpy()] for f in fields))

    for key, held_out, past in (
        ("seen_before", test, (train, valid)),
        ("valid_seen_before", valid, (train,)),
    ):
        if eval_args["order"] == "RO":
            before = {row for part in past for row in rows(part)}
            seen = sum(row in before for row in rows(held_out))
        else:
            seen = 0
            for (user, item), place in zip(rows(held_out), held_out.inter_feat["position"].numpy()):
                own = sorted((float(t), i) for u, i, _, t in log if u == user)
                seen += item in [i for _, i in own[:place]]
        assert table[key] == pytest.approx(seen / len(held_out))
        assert 0 < seen < len(held_out)
        assert share_seen_before(past, held_out) == table[key]
    assert table["seen_before"] != table["valid_seen_before"]


def test_sampled_candidates_and_data_without_validation_are_refused(described):
    with pytest.raises(ValueError, match="ranks all items"):
        described("ItemKNN", eval_args=LEAVE_ONE_OUT | {"mode": "uni5"})
    only_test = LEAVE_ONE_OUT | {"split": {"LS": "test_only"}}
    with pytest.raises(ValueError, match="no validation rows"):
        described("ItemKNN", eval_args=only_test)
