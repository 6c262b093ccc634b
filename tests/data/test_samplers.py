"""A user may have had every item where none is drawn for her."""

import pytest

from recbole_diffusion.data.lines import DataError

ROWS = [(user, f"i{item}", "buy", item) for user in ("u0", "u1") for item in range(6)]
MASKED = {"mask_history": True, "topk": [1], "valid_metric": "NDCG@1"}


def test_data_in_which_a_user_had_every_item_are_ranked(tmp_path, write_inter, build_data):
    write_inter(tmp_path, "tiny", ROWS)
    _, _, (train, valid, test) = build_data(tmp_path, "Pop", **MASKED)
    assert [len(loader._dataset) for loader in (train, valid, test)] == [8, 2, 2]
    for loader, seen in ((valid, 4), (test, 5)):
        rows, history, users, items = next(iter(loader))
        assert len(rows) == 2
        assert len(history[1]) == 2 * seen  # what is ranked is not barred


def test_no_item_can_be_drawn_for_a_user_who_had_every_one(tmp_path, write_inter, build_data):
    write_inter(tmp_path, "tiny", ROWS)
    with pytest.raises(DataError, match="^data set 'tiny': Some users have interacted with all"):
        build_data(tmp_path, "LightGCN")
    write_inter(tmp_path, "tiny", [*ROWS, ("u2", "i9", "buy", 1)])  # the control
    build_data(tmp_path, "LightGCN")
