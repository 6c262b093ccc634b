"""Lists of other programs: measured as a model's own ranking is, refused where they cannot be."""

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_diffusion.benchmark import external
from recbole_diffusion.config.config import Config
from recbole_diffusion.data import lines
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start.quick_start import fit

METRICS = ["Hit", "NDCG", "MRR", "MAP", "Recall", "Precision"]
ABOUT_ITEMS = ["ItemCoverage", "AveragePopularity", "GiniIndex", "ShannonEntropy", "TailPercentage"]


def write(path, lists, columns="user item rank"):
    pd.DataFrame(lists, columns=columns.split()).to_csv(path, index=False)
    return path


# ---------------------------------------------------------------- a model's own ranking
def own_ranking(trainer, test_data, k):
    """A model's lists before masking, as (user, item, rank) in tokens; k items and the masked."""
    data, lists = test_data._dataset, []
    trainer.model.eval()
    for rows, history, *_ in test_data:
        with torch.no_grad():
            scores = trainer.model.full_sort_predict(rows).view(-1, data.item_num)
        scores[:, 0] = -torch.inf
        masked = np.zeros(len(rows), dtype=int)
        if history is not None:
            masked = np.bincount(history[0].numpy(), minlength=len(rows))
        best = data.id2token(data.iid_field, scores.argsort(descending=True).numpy()[:, :-1])
        users = data.id2token(data.uid_field, rows[data.uid_field].numpy())
        for user, items, more in zip(users, best, masked):
            lists += [(user, item, rank) for rank, item in enumerate(items[: k + more], start=1)]
    return lists


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Gives a function from a model and settings to configuration, trainer and test loader."""
    monkeypatch.chdir(tmp_path)

    def train(model, dataset="ml-100k", **settings):
        quiet = {"show_progress": False, "use_gpu": False, "metrics": METRICS}
        config = Config(model, dataset, config_dict=quiet | settings)
        fitted = fit(config, saved=False)
        trainer, test_data = fitted.trainer, fitted.test_data
        return config, trainer, test_data

    return train


def assert_own_metrics(config, trainer, test_data):
    lists = own_ranking(trainer, test_data, max(config["topk"]))
    found = external.measure(write("own.csv", lists), config, trainer.dataset, test_data)
    own = trainer.evaluate(test_data, load_best_model=False)
    assert own["hit@5"] > 0
    assert found.test == pytest.approx(own, abs=1e-9)
    means = found.per_user.drop(columns=["user", "row"]).mean()
    assert means.to_dict() == pytest.approx(own, abs=2e-6)
    assert found.counts["users_without_list"] == found.counts["short_lists"] == 0
    return lists, found


@pytest.mark.slow
@pytest.mark.parametrize("mask", [True, False])
def test_a_models_own_lists_have_its_own_metrics(trained, mask):
    config, trainer, test_data = trained("EASE", mask_history=mask)  # scores without ties
    lists, found = assert_own_metrics(config, trainer, test_data)
    users = [user for user, _, rank in lists if rank == 1]
    assert found.per_user["user"].tolist() == users
    # The control: items drawn by lot. (Unmasked, another user's list is better than one's own.)
    draw = np.random.default_rng(1)
    items = test_data._dataset.id2token(test_data._dataset.iid_field, np.arange(1, 1683))
    lot = [(u, i, r) for u in users for r, i in enumerate(draw.permutation(items)[:20], start=1)]
    worse = external.measure(write("lot.csv", lot), config, trainer.dataset, test_data).test
    assert all(worse[name] < 0.5 * value for name, value in found.test.items())


@pytest.mark.parametrize("mask, candidates", [(True, "all"), (False, "trained")])
@pytest.mark.parametrize("model", ["GRU4Rec", "EASE"])
def test_on_behaviours_it_is_the_same(shop, small, trained, model, mask, candidates):
    settings = small(model, mask_history=mask, candidates=candidates, epochs=5)
    trained_on = trained(model, "shop", **settings, topk=[1, 5], valid_metric="Hit@5")
    assert_own_metrics(*trained_on)


# ---------------------------------------------------------------- small lists
USERS = [f"u{number}" for number in range(4)]


@pytest.fixture
def small_test(tmp_path, write_inter, build_data, monkeypatch):
    """Gives a function from settings to one that measures lists on four users' two test items.

    User u of four has items u .. u + 7 of ten in time order: four to train on, two of validation,
    two of test. A fifth user has but one interaction, in training, with an item of its own.
    """
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{u}", f"i{(u + time) % 10}", time) for u in range(4) for time in range(8)]
    rows.append(("lonely", "rare", 0))
    write_inter(tmp_path, "tiny", rows, "user_id:token item_id:token timestamp:float")

    def setup(model="Pop", **settings):
        given = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "metrics": METRICS}
        split = {"split": {"RS": [0.5, 0.25, 0.25]}, "group_by": "user", "order": "TO"}
        given |= {"eval_args": split | {"mode": "full"}, "topk": [1, 3], "valid_metric": "Hit@3"}
        given |= {"mask_history": False} | settings
        config, _, loaders = build_data(tmp_path, model, **given)

        def measure(lists, **columns):
            path = write(tmp_path / "lists.csv", lists, **columns) if lists else "lists.csv"
            return external.measure(path, config, loaders[0]._dataset, loaders[2])

        return measure

    return setup


def listed(**items):
    """Lists of items' numbers, by user, as rows of (user, item, rank)."""
    return [
        (user, f"i{item}", rank)
        for user, numbers in items.items()
        for rank, item in enumerate(numbers, start=1)
    ]


PERFECT = {f"u{u}": [(u + 6) % 10, (u + 7) % 10, (u + 8) % 10] for u in range(4)}


def test_lists_of_the_positives_first_are_perfect(small_test):
    found = small_test()(listed(**PERFECT))
    ones = {f"{name}@{k}" for name in ("hit", "ndcg", "mrr", "map", "precision") for k in (1, 3)}
    ones = ones - {"precision@3"} | {"recall@3"}
    expected = {name: 1.0 for name in ones} | {"recall@1": 0.5, "precision@3": 0.666667}
    assert found.test == pytest.approx(expected)
    assert list(found.per_user) == ["user", "row", *found.test]
    assert found.per_user["precision@3"].tolist() == [0.666667] * 4
    assert found.per_user["row"].tolist() == [0] * 4


def test_the_order_of_rows_and_columns_and_further_columns_do_not_matter(small_test):
    lists = listed(u0=[1, 2, 6], u1=[7, 0, 8], u2=[5, 8, 9], u3=[9, 0, 1])
    measure = small_test()
    expected = measure(lists)
    turned = [(rank, "x", item, user) for user, item, rank in reversed(lists)]
    found = measure(turned, columns="rank note item user")
    assert found.test == expected.test
    assert found.per_user.equals(expected.per_user)
    assert expected.per_user["mrr@3"].tolist() == [0.333333, 1.0, 0.5, 1.0]


def test_a_user_without_a_list_is_a_miss(small_test):
    measure = small_test()
    lists = dict(PERFECT)
    del lists["u2"]
    found = measure(listed(**lists))
    assert found.per_user.set_index("user")["hit@3"].to_dict() == dict(zip(USERS, [1, 1, 0, 1]))
    assert found.test["hit@3"] == 0.75
    assert (found.counts["lists"], found.counts["users_without_list"]) == (3, 1)


def test_unknown_users_count_for_nothing_and_unknown_items_as_misses_in_their_place(small_test):
    measure = small_test()
    lists = listed(**(PERFECT | {"u0": [99, 6, 98], "stranger": [1, 2], "lonely": [1]}))
    lists += [("u1", "[PAD]", 4), ("[PAD]", "i1", 1)]  # RecBole's name of the padding
    found = measure(lists)
    assert found.per_user["mrr@3"].tolist() == [0.5, 1, 1, 1]
    assert found.counts == {
        "lists": 4,
        "users_without_list": 0,
        "unknown_users": 2,
        "untested_users": 1,
        "unknown_items": 3,
        "short_lists": 0,
    }


def test_what_a_user_had_before_is_dropped_and_the_rest_moves_up(small_test):
    # u0: 0 to 3 are trained on, 4 and 5 validation, 6 and 7 test.
    lists = listed(**(PERFECT | {"u0": [0, 5, 99, 6, 3, 7]}))
    found = small_test(mask_history=True)(lists)
    assert found.per_user["mrr@3"].tolist() == [0.5, 1, 1, 1]
    assert found.per_user["recall@3"].tolist() == [1, 1, 1, 1]
    assert found.counts["short_lists"] == 0
    found = small_test()(lists)  # the control
    assert found.per_user["mrr@3"].tolist() == [0, 1, 1, 1]


def test_items_that_were_never_trained_are_dropped_where_they_are_no_candidates(small_test):
    # Training holds 0 to 6: u1's test items 7 and 8 are never trained, u0's 6 is.
    lists = listed(**(PERFECT | {"u0": [9, 99, 6], "u1": [7, 8, 0]}))
    found = small_test(candidates="trained")(lists)
    assert found.per_user["mrr@3"].tolist()[:2] == [0.5, 0]
    assert found.counts["short_lists"] == 4
    found = small_test()(lists)  # the control
    assert found.per_user["mrr@3"].tolist()[:2] == [0.333333, 1]
    assert found.counts["short_lists"] == 0


def test_short_lists_are_counted_and_end_in_misses(small_test):
    found = small_test()(listed(**(PERFECT | {"u0": [6], "u1": [7, 8]})))
    assert found.per_user["recall@3"].tolist() == [0.5, 1, 1, 1]
    assert found.counts["short_lists"] == 2


def test_metrics_of_the_items_need_full_lists_of_known_items(small_test):
    measure = small_test(metrics=["Hit", "GAUC", *ABOUT_ITEMS])
    same = {user: [6, 7, 8] for user in USERS}
    measured = measure(listed(**same))
    assert set(measured.test) == {"hit@1", "hit@3"}  # the others are no means over users
    found = measured.beyond
    # Of 11 items and the padding, which RecBole counts; training has 6, 7 and 8 once, 0, 0 times.
    assert found["itemcoverage@1"] == pytest.approx(1 / 12, abs=1e-6)
    assert found["itemcoverage@3"] == pytest.approx(3 / 12, abs=1e-6)
    assert found["averagepopularity@1"] == 1
    assert found["averagepopularity@3"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["shannonentropy@3"] == pytest.approx(np.log(3) / 3, abs=1e-6)
    spread = measure(listed(u0=[0, 1, 2], u1=[3, 4, 5], u2=[6, 7, 8], u3=[9, 1, 2])).beyond
    assert spread["giniindex@3"] < found["giniindex@3"]
    assert found["tailpercentage@1"] == 0
    for lists in (same | {"u0": [6, 7]}, same | {"u0": [6, 7, 99]}):
        part = measure(listed(**lists))
        assert part.beyond is None
        assert part.test["hit@3"] == measured.test["hit@3"]


# ---------------------------------------------------------------- another library
def test_the_metrics_are_those_of_an_independent_library(small_test, monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling takes half a minute
    ranx = pytest.importorskip("ranx", reason="ranx is not installed")
    draw = np.random.default_rng(3)
    measure = small_test(topk=[1, 2, 5], valid_metric="Hit@5")
    for _ in range(5):
        lists = {user: draw.permutation(10)[: draw.integers(1, 8)].tolist() for user in USERS}
        del lists[draw.choice(USERS)]
        found = measure(listed(**lists)).per_user.set_index("user")
        wanted = {f"u{u}": {f"i{(u + 6) % 10}": 1, f"i{(u + 7) % 10}": 1} for u in range(4)}
        scores = {u: {f"i{i}": 1.0 / (1 + r) for r, i in enumerate(n)} for u, n in lists.items()}
        qrels, run = ranx.Qrels(wanted), ranx.Run(scores)
        names = {"hit": "hit_rate", "precision": "precision", "map": "map"}
        names |= {name: name for name in ("ndcg", "mrr", "recall")}
        for name, theirs in names.items():
            for k in (1, 2, 5):
                (measured,) = [
                    ranx.evaluate(
                        qrels, run, f"{theirs}@{k}", return_mean=False, make_comparable=True
                    )
                ]
                ours = found.loc[list(qrels.keys()), f"{name}@{k}"].to_numpy()
                if name == "map":
                    # RecBole divides by what can be found within k, ranx by all positives.
                    measured = measured * 2 / min(2, k)
                assert ours == pytest.approx(measured, abs=1e-6), f"{name}@{k}"


# ---------------------------------------------------------------- refusals
GOOD = "user,item,rank\nu0,i1,1\nu0,i2,2\nu1,i1,1\n"
REFUSED = [
    ("user,item\nu0,i1\n", "line 1: has no column rank; its header has 'user, item'"),
    ("", "line 1: has no column user; its header has ''"),
    ("user,item,rank,user\nu0,i1,1,u1\n", "line 1: has several columns user; its header"),
    ("user,item,rank\n", "holds no lists, only a header"),
    (GOOD + "u2,i1,1,9\n", "line 5: 4 fields under the 3 columns of the header"),
    ("user,item,rank\nu0,i1,1,9\n", "line 2: 4 fields under the 3 columns of the header"),
    (GOOD + "u0,i1,3\n", "line 5: item 'i1' is in the list of 'u0' twice"),
    (GOOD + "u0,i3,2\n", "line 5: user 'u0' has rank '2' twice"),
    (GOOD + "u2,i3,2\n", "line 5: user 'u2' has rank '2', but a rank below it is missing"),
    (GOOD + "u0,i3,0\n", "line 5: rank '0' is not a whole number from 1"),
    (GOOD + "u0,i3,3.0\n", "line 5: rank '3.0' is not a whole number from 1"),
    (GOOD + "u0,i3\n", "line 5: 2 fields under the 3 columns of the header"),
    (GOOD + "\nu0,i3,3\n", "line 5: an empty line under the 3 columns of the header"),
    (GOOD + "u0,,3\n", "line 5: user 'u0', item '': one is empty"),
    (GOOD + "u0\0,i3,3\n", "line 5: holds the control character '\\x00'"),
    (GOOD + "u0,i3\u2028,3\n", "line 5: holds the control character '\\u2028'"),
    (GOOD + 'u0,"i3,3\n', "line 5: unexpected end of data"),
    (GOOD + 'u0,"i3,3\n' + "u1,i2,2\n" * 3, "line 5: unexpected end of data"),
    (GOOD + 'u0,"i3"x,3\n', "line 5: ',' expected after '\"'"),
    (GOOD + "u0,i3,\uff13\n", "line 5: rank '\uff13' is not a whole number from 1"),
    (GOOD + "u0,i3,1_0\n", "line 5: rank '1_0' is not a whole number from 1"),
    (GOOD + "u0,i3, 3\n", "line 5: rank ' 3' is not a whole number from 1"),
    (GOOD + "u0,i3,03\n", "line 5: rank '03' is not a whole number from 1"),
    (GOOD + "u0,i3,1e0\n", "line 5: rank '1e0' is not a whole number from 1"),
    (GOOD + f"u0,i3,{'9' * 5000}\n", "line 5: rank '9999"),
    (GOOD + f"u0,{'i' * 2_000_000},3\n", "line 5: is longer than 1,048,576 characters"),
    (
        'user,item,rank,note\nu0,i1,1,"two\nlines"\nu0,i2,3,\n',
        "line 4: user 'u0' has rank '3', but",
    ),
    (
        "user,item,rank\n1,i1,1\n",
        "none of its users, like '1', has a test row; users of this data set are called like 'u0'",
    ),
]


@pytest.mark.parametrize("text, message", REFUSED, ids=[m[-1][:40] for m in REFUSED])
def test_malformed_lists_are_refused_with_the_line(small_test, tmp_path, text, message):
    measure, path = small_test(), tmp_path / "lists.csv"
    path.write_text(GOOD)
    assert measure(None).counts["lists"] == 2  # the control
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        measure(None)
    assert message in str(refused.value)
    assert str(refused.value).startswith("lists.csv")
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(small_test, tmp_path):
    measure = small_test()
    with pytest.raises(DataError, match="^lists.csv cannot be read: No such file"):
        measure(None)
    (tmp_path / "lists.csv").write_bytes(b"user,item,rank\nu\xff,i1,1\n")
    with pytest.raises(DataError, match="^lists.csv line 2: is not utf-8 text"):
        measure(None)
    (tmp_path / "lists.csv").write_text(GOOD, encoding="utf-8-sig")  # as Excel writes it
    assert measure(None).counts["lists"] == 2


@pytest.mark.parametrize("block", [1, 40, 1 << 24])
@pytest.mark.parametrize("batch", [1, 1 << 14])
def test_fields_may_be_quoted_as_in_csv_files_anywhere(tmp_path, monkeypatch, block, batch):
    monkeypatch.setattr(lines, "BLOCK", block)
    monkeypatch.setattr(external, "BATCH", batch)
    path = tmp_path / "lists.csv"
    text = 'user,item,rank\nu0,i 1,1\nNA,i"2,1\n"u,""0",i3,1\nu0,"i4","2"\n ,"",1'
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    columns, numbers = external.columns_of(path)
    assert columns["user"] == ["u0", "NA", 'u,"0', "u0", " "]
    assert columns["item"] == ["i 1", 'i"2', "i3", "i4", ""]
    assert columns["rank"] == ["1", "1", "1", "2", "1"] and numbers == [2, 3, 4, 5, 6]


def test_rows_of_a_user_that_are_ranked_one_by_one_are_refused(small_test):
    split = {"split": {"RS": [0.4, 0.2, 0.4]}, "group_by": "user", "order": "TO", "mode": "full"}
    measure = small_test("GRU4Rec", eval_args=split)
    with pytest.raises(DataError, match="the 8 test rows of 4 users are ranked one by one"):
        measure(listed(**PERFECT))


def test_a_ranking_among_sampled_items_is_refused(small_test):
    split = {"split": {"RS": [0.5, 0.25, 0.25]}, "group_by": "user", "order": "TO"}
    measure = small_test(eval_args=split | {"mode": "uni5"}, metrics=["Hit"])
    with pytest.raises(DataError, match="rankings of all items, but eval_args mode is uni5"):
        measure(listed(**PERFECT))
