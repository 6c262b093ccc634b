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
