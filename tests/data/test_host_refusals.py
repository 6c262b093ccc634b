"""What RecBole refuses about a data set is said beside the settings that it is about."""

import pytest

from recbole_diffusion.data.lines import DataError
from recbole_diffusion.testing.made_up import chain


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        (
            {"additional_feat_suffix": ["more"]},
            r"Additional feature file \[.*tiny.more\] not found",
        ),
        ({"threshold": {"stars": 3}}, r"Field \[stars\] not in inter_feat"),
        ({"user_inter_num_interval": "[100,inf)"}, "Some feat is empty"),
    ],
)
def test_a_refusal_of_the_host_names_the_setting(
    tmp_path, write_inter, build_data, setting, reason
):
    write_inter(tmp_path, "tiny", chain(8, 9, 6))
    build_data(tmp_path, "Pop")  # the control
    with pytest.raises(DataError, match=rf"^data set 'tiny': {reason}.*\b{[*setting][0]}\b"):
        build_data(tmp_path, "Pop", **setting)


def test_what_is_held_out_by_the_files_is_what_is_predicted(tmp_path, write_inter, build_data):
    rows = {
        "train": [("u0", f"i{n}", "view", n) for n in range(5)] + [("u1", "i1", "buy", 1)],
        "valid": [("u0", "i7", "buy", 7)],
        "test": [("u0", "i8", "buy", 8), ("u1", "i2", "view", 9)],
    }
    settings = {
        "benchmark_filename": list(rows),
        "BEHAVIOR_FIELD": "behavior",
        "target_behavior": "buy",
        "topk": [1],
        "valid_metric": "NDCG@1",
    }
    for part, lines in rows.items():
        write_inter(tmp_path, "tiny", lines, part=part)
    wrong = r"tiny.test.inter line 3: 'view' is not target_behavior \['buy'\]"
    for model in ("Pop", "SASRec"):
        with pytest.raises(DataError, match=wrong):
            build_data(tmp_path, model, **settings)
    write_inter(tmp_path, "tiny", rows["test"][:1], part="test")  # the control
    build_data(tmp_path, "Pop", **settings)


def test_the_files_of_a_split_have_the_same_columns(tmp_path, write_inter, build_data):
    plain = "user_id:token item_id:token timestamp:float"
    more = "tags:token_seq timestamp:float user_id:token item_id:token"
    rows = {"train": 5, "valid": 1, "test": 1}
    settings = {"benchmark_filename": list(rows), "topk": [1], "valid_metric": "NDCG@1"}

    def put(part, columns, first):
        lines = [("u0", f"i{first + n}", first + n) for n in range(rows[part])]
        if columns == more:
            lines = [("a b", time, user, item) for user, item, time in lines]
        write_inter(tmp_path, "tiny", lines, columns, part=part)

    for number, part in enumerate(rows):
        put(part, plain, 10 * number)
    build_data(tmp_path, "Pop", **settings)  # the control
    put("valid", more, 10)
    wrong = (
        r"tiny.valid.inter line 1: the columns are .*tags:token_seq.* those of .*tiny.train.inter"
    )
    with pytest.raises(DataError, match=wrong):
        build_data(tmp_path, "Pop", **settings)
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    build_data(tmp_path, "Pop", **settings, load_col=columns)
    for number, part in enumerate(rows):
        put(part, more, 10 * number)
    build_data(tmp_path, "Pop", **settings)
