"""Lists out of a checkpoint are those of the evaluation, and need no data set."""

import shutil

import numpy as np
import pandas as pd
import pytest

import recbole_diffusion
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.testing.lists import compare_lists
from recbole_diffusion.trainer.checkpoint import CheckpointError

SEQUENCES = ["ICDDT", "DreamRec", "DimeRec", "DiffuRec", "MarkovChain", "SASRec", "GRU4Rec"]
ROWS = ["DiffRec", "TDiffRec", "LDiffRec", "LTDiffRec", "MultiVAE", "EASE", "ItemKNN", "Pop"]
USERS = ["LightGCN", "BPR"]


@pytest.fixture
def trained(shop, small):
    """Gives a function from a model to its checkpoint on the shop's data, which are then gone."""

    def train(model, keep_data=False, **settings):
        result = run_recbole_diffusion(
            model, "shop", config_dict=small(model, epochs=1, **settings)
        )
        if not keep_data:
            shutil.rmtree(shop / "dataset")
        return result["checkpoint"]

    return train


@pytest.mark.parametrize("model", [*SEQUENCES, *ROWS, *USERS])
def test_lists_are_those_of_the_evaluation_and_of_anyone_with_the_same_history(trained, model):
    found = compare_lists(trained(model, keep_data=True), k=5)
    assert (found.rows, found.others, found.copies) == (39, [], [])  # one never buys twice


def test_a_list_is_lines_with_ids_ranks_and_scores(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    lists = recommender.recommend(HISTORY, users=[8, 7], k=5)
    assert recommender.report == {"users": 2, "unknown_rows": 0, "cold_users": 0}
    assert list(lists.columns) == ["user_id", "item_id", "rank", "score"]
    assert list(lists["user_id"]) == [8] * 5 + [7] * 5
    assert list(lists["rank"]) == [1, 2, 3, 4, 5] * 2
    assert (lists["score"].diff().drop([0, 5]) <= 0).all()


@pytest.mark.parametrize("model", ["SASRec", "DreamRec", "ICDDT", "DiffuRec", "LightGCN", "BPR"])
def test_scores_are_inner_products_of_the_embeddings(trained, model):
    recommender = recbole_diffusion.load(trained(model))
    histories = pd.DataFrame(
        {"user_id": ["u1", "u1", "u2"], "item_id": ["i1", "i2", "i3"], "behavior": "view"}
    )
    scores = recommender.score(histories)
    users, items = recommender.embed_users(histories), recommender.embed_items()
    assert list(scores.index) == list(users.index) == ["u1", "u2"]
    assert list(scores.columns) == list(items.index)
    np.testing.assert_allclose(users.to_numpy() @ items.to_numpy().T, scores, rtol=1e-4, atol=1e-5)


def test_a_model_without_embeddings_says_so(trained):
    recommender = recbole_diffusion.load(trained("MultiVAE"))
    with pytest.raises(ConfigError, match="MultiVAE does not score by inner products"):
        recommender.embed_items()


HISTORY = pd.DataFrame({"user_id": [7, 7, 7, 8], "item_id": ["i1", "i2", "i3", "i9"]})


def test_order_of_the_lines_is_time_where_there_are_no_stamps(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    plain = recommender.recommend(HISTORY, k=4)
    assert list(plain["user_id"]) == [7] * 4 + [8] * 4  # ids as they were given
    turned = HISTORY.iloc[[2, 1, 0, 3]]
    assert not plain["score"].equals(recommender.recommend(turned, k=4)["score"])
    stamped = turned.assign(timestamp=[3.0, 2.0, 1.0, 0.0])
    pd.testing.assert_frame_equal(plain, recommender.recommend(stamped, k=4))


def test_columns_of_an_atomic_file_keep_their_types_beside_their_names(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    types = {"user_id": "token", "item_id": "token", "timestamp": "float"}
    typed = HISTORY.rename(columns=lambda name: f"{name}:{types.get(name, 'token')}")
    pd.testing.assert_frame_equal(recommender.recommend(typed), recommender.recommend(HISTORY))


def test_unknown_items_are_left_out_and_counted(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    plain = recommender.recommend(HISTORY, k=4)
    more = pd.concat([HISTORY, pd.DataFrame({"user_id": [7, 9], "item_id": ["new", "new"]})])
    pd.testing.assert_frame_equal(plain, recommender.recommend(more, k=4))
    assert recommender.report == {"users": 3, "unknown_rows": 2, "cold_users": 1}
    popular = recommender.recommend(more, k=4, cold="pop")
    pd.testing.assert_frame_equal(plain, popular[:8])
    assert list(popular["user_id"][8:]) == [9] * 4
    assert popular["score"][8:].is_monotonic_decreasing and popular["score"].iloc[8] < 1


def test_what_may_be_recommended(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    assert {"i1", "i2", "i3"} & set(recommender.recommend(HISTORY, users=[7], k=20)["item_id"])
    unseen = recommender.recommend(HISTORY, users=[7], k=20, exclude_seen=True)
    assert len(unseen) == 17 and not {"i1", "i2", "i3"} & set(unseen["item_id"])
    assert set(recommender.recommend(HISTORY, k=2, candidates=["i4", "i5"])["item_id"]) == {
        "i4",
        "i5",
    }
    assert "i4" not in set(recommender.recommend(HISTORY, k=19, deny=["i4"])["item_id"])
    with pytest.raises(ConfigError, match="k is 20, but 19 items may be recommended"):
        recommender.recommend(HISTORY, k=20, deny=["i4"])


def test_the_behavior_that_is_predicted_can_be_chosen(trained):
    recommender = recbole_diffusion.load(trained("ICDDT"))
    histories = HISTORY.assign(behavior="view")
    buys = recommender.recommend(histories, k=3)
    pd.testing.assert_frame_equal(
        buys, recommender.recommend(histories, k=3, target_behavior="buy")
    )
    views = recommender.recommend(histories, k=3, target_behavior="view")
    assert not buys["score"].equals(views["score"])
    with pytest.raises(ConfigError, match="target_behavior is 'sell', not one of"):
        recommender.recommend(histories, target_behavior="sell")
    with pytest.raises(DataError, match="no column 'behavior'"):
        recommender.recommend(HISTORY)
    wrong = HISTORY.assign(behavior=["view", "view", "stare", "view"])
    with pytest.raises(DataError, match="row 3 of the histories: behavior is not one of"):
        recommender.recommend(wrong)


def test_ids_of_lists_that_are_not_known_are_counted(trained):
    recommender = recbole_diffusion.load(trained("SASRec"))
    plain = recommender.recommend(HISTORY, k=2, candidates=["i4", "i5", "i6"], deny=["i5"])
    assert recommender.report["unknown_candidates"] == recommender.report["unknown_deny"] == 0
    more = {"candidates": ["i4", "new", "i5", "i6", "newer"], "deny": ["i5", "old"]}
    pd.testing.assert_frame_equal(plain, recommender.recommend(HISTORY, k=2, **more))
    assert recommender.report["unknown_candidates"] == 2
    assert recommender.report["unknown_deny"] == 1
    for option in more:
        with pytest.raises(ConfigError, match=f"none of the 2 items of {option} is known.*'i"):
            recommender.recommend(HISTORY, **{option: ["new", 4]})


def test_behaviours_are_made_of_what_they_were_made_of_in_training(run, write_inter, shop):
    rows = [(f"u{u}", f"i{(u + t) % 20}", t % 5 + 1, t) for u in range(40) for t in range(10)]
    columns = "user_id:token item_id:token rating:float timestamp:float"
    write_inter(shop / "dataset", "shop", rows, columns)
    made = {"field": "rating", "values": {"dislike": "[1,2]", "buy": "(2,5]"}}
    loaded = {"inter": ["user_id", "item_id", "rating", "timestamp"]}
    settings = {"behavior_from": made, "load_col": loaded, "normalize_all": False, "epochs": 1}
    recommender = recbole_diffusion.load(run("ICDDT", **settings)["checkpoint"])
    rated = HISTORY.assign(rating=[1, 2.5, 5, 4])
    told = HISTORY.assign(behavior=["dislike", "buy", "buy", "buy"])
    expected = recommender.recommend(told, k=4)
    pd.testing.assert_frame_equal(recommender.recommend(rated, k=4), expected)
    text = recommender.recommend(rated.astype({"rating": str}), k=4)  # as it is read from a file
    pd.testing.assert_frame_equal(text, expected)
    other = recommender.recommend(rated.assign(rating=5), k=4)
    assert not other["score"].equals(expected["score"])
    with pytest.raises(DataError, match="row 3 of the histories: rating = 9.0 is in no interval"):
        recommender.recommend(rated.assign(rating=[1, 2, 9, 4]))
    with pytest.raises(DataError, match="row 2 of the histories: rating is no finite number"):
        recommender.recommend(rated.assign(rating=[1, "good", 3, 4]))
    with pytest.raises(DataError, match="no column 'behavior', and no 'rating' to make it of"):
        recommender.recommend(HISTORY)


@pytest.mark.parametrize(
    "histories, message",
    [
        (HISTORY[["user_id"]], "no column 'item_id': their columns are"),
        (HISTORY.assign(item_id=["i1", None, "i2", "i3"]), "row 2 of the histories: item_id is"),
        (
            HISTORY.assign(timestamp=[1, 2, np.nan, 3]),
            "row 3 of the histories: timestamp is neither",
        ),
        ([1, 2], r"histories are a pandas.DataFrame, not a int; .* as users=\[...\]"),
    ],
)
def test_bad_histories_are_refused_with_their_row(trained, histories, message):
    recommender = recbole_diffusion.load(trained("SASRec"))
    with pytest.raises(DataError, match=message):
        recommender.recommend(histories)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"k": 0}, "k is 0; it must be a whole number above 0"),
        ({"k": 21}, "k is 21, but 20 items may be recommended"),
        ({"k": True}, "k is True"),
        ({"cold": "no"}, "cold is 'no', not one of"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"target_behavior": "buy"}, "SASRec was not trained on behaviours"),
        ({"histories": None}, "needs histories, users or both"),
        ({"histories": None, "users": [7]}, "SASRec scores histories, so it needs them"),
        ({"users": [7, "7"]}, "users names a user twice"),
        ({"users": "anna"}, r"users is the text 'anna': give a list, as \['anna'\]"),
    ],
)
def test_bad_options_are_refused(trained, options, message):
    recommender = recbole_diffusion.load(trained("SASRec"))
    with pytest.raises(ConfigError, match=message):
        recommender.recommend(**{"histories": HISTORY} | options)


def test_known_users_are_enough_for_a_model_that_learnt_them(trained):
    recommender = recbole_diffusion.load(trained("LightGCN"))
    lists = recommender.recommend(users=["u3", "u1", "stranger"], k=3)
    assert list(lists["user_id"]) == ["u3"] * 3 + ["u1"] * 3
    assert recommender.report["cold_users"] == 1


def test_an_unknown_model_or_checkpoint_is_refused(trained, tmp_path):
    checkpoint = trained("NeuMF")
    with pytest.raises(ValueError, match="not known to work for RecBole's NeuMF"):
        recbole_diffusion.load(checkpoint)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        recbole_diffusion.load(tmp_path / "none.pth")
