"""What is wrong with the data is said with the file, the line and what to do."""

import re

import pytest

from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.data.loading import POSITION, STAMP, DataNotFoundError

LAST = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
BUYS = {"BEHAVIOR_FIELD": "behavior", "target_behavior": "buy", "eval_args": LAST}
LOG = [
    (f"u{user}", f"i{(3 * user + time) % 9}", behavior, time)
    for user in range(4)
    for time, behavior in enumerate(["view", "buy", "cart", "buy", "view", "buy"])
]
NO_NUMBERS = ["2015-05-03", "0x10", "five", " 5", "1_000", "\uff15", "inf", "Infinity"]
PARTS = ["train", "valid", "test", "history"]


@pytest.fixture
def refused(tmp_path, write_inter, build_data):
    """Returns a function that loads and splits a log and gives the words of the refusal."""

    def run(log=LOG, model="ICDDT", columns=None, **settings):
        if log is not None:
            write_inter(tmp_path, "tiny", log, *([columns] if columns else []))
        with pytest.raises((DataError, ConfigError)) as refusal:
            build_data(tmp_path, model, **BUYS | settings)
        return str(refusal.value)

    return run


def replaced(line, column, value):
    """The log with one value changed; the header is line 1."""
    log = [list(row) for row in LOG]
    log[line - 2][column] = value
    return log


def test_the_log_itself_is_in_order(tmp_path, write_inter, build_data):
    write_inter(tmp_path, "tiny", LOG)
    for model in ("ICDDT", "MultiVAE"):
        _, data, _ = build_data(tmp_path, model, **BUYS)
        assert data.split_report["test_rows"] == data.split_report["valid_rows"] == 4
        assert "repeated_lines_dropped" not in data.split_report


# ------------------------------------------------------------------ behaviours


def test_a_missing_behaviour_column_is_named(refused):
    log = [(user, item, time) for user, item, _, time in LOG]
    words = refused(log, columns="user_id:token item_id:token timestamp:float")
    assert "'behavior' is not among the loaded columns ['user_id', 'item_id', 'timestamp']" in words
    assert "BEHAVIOR_FIELD" in words and "load_col" in words


def test_a_behaviour_column_that_is_not_loaded_is_named(refused):
    words = refused(load_col={"inter": ["user_id", "item_id", "timestamp"]})
    assert "'behavior' is not among the loaded columns" in words


@pytest.mark.parametrize("columns", [[], ["price"]])
def test_loading_no_column_at_all_is_refused(columns, refused):
    assert "not among the loaded columns []" in refused(load_col={"inter": columns})


@pytest.mark.parametrize("model", ["ICDDT", "SASRec", "MultiVAE"])
@pytest.mark.parametrize("value", ["", "NA"])
@pytest.mark.parametrize("column, field", [(0, "user_id"), (1, "item_id"), (2, "behavior")])
def test_a_missing_token_is_refused_with_its_line(column, field, value, model, refused):
    words = refused(replaced(7, column, value), model)
    assert f"tiny.inter line 7: '{field}' is missing" in words and "1 such line" in words


@pytest.mark.parametrize("value", ["", "nan"])
def test_a_stamp_that_is_no_time_is_refused_with_its_line(value, refused):
    for model in ("ICDDT", "MultiVAE"):
        words = refused(replaced(11, 3, value), model)
        assert "tiny.inter line 11: 'timestamp' is missing" in words and "not finite" in words


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_stamp_that_is_no_plain_number_is_refused_with_its_line(value, refused):
    words = refused(replaced(12, 3, value))
    assert f"tiny.inter line 12: timestamp:float holds {value!r}, not a plain decimal" in words
    float(value) if value in NO_NUMBERS[3:] else None  # control: Python takes the last ones


@pytest.mark.parametrize("value", ["1e400", "-1" + "0" * 309])
def test_a_stamp_beyond_the_numbers_is_refused_with_its_line(value, refused):
    assert "tiny.inter line 12: timestamp:float holds" in refused(replaced(12, 3, value))


@pytest.mark.parametrize("value", ["7", "7.", "+7", "007", "7e0", "70e-1", ".7E1"])
def test_plain_decimal_numbers_are_read_as_they_are(value, tmp_path, write_inter, build_data):
    write_inter(tmp_path, "tiny", [*replaced(12, 3, value), ("u1", "i0", "view", 7.5)])
    _, data, _ = build_data(tmp_path, "ICDDT", **BUYS)
    assert 7.0 in data.store_time and data.store_time.max() == 7.5


def test_stamps_declared_as_tokens_are_refused(refused):
    columns = "user_id:token item_id:token behavior:token timestamp:token"
    assert "must be timestamp:float" in refused(columns=columns)


@pytest.mark.parametrize("model", ["ICDDT", "MultiVAE"])
@pytest.mark.parametrize(
    "column, kind",
    [
        ("user_id", "token_seq"),
        ("item_id", "token_seq"),
        ("item_id", "float"),
        ("user_id", "float_seq"),
    ],
)
def test_users_and_items_of_another_kind_are_refused(column, kind, model, refused):
    columns = "user_id:token item_id:token behavior:token timestamp:float"
    log = [(user[1:], item[1:], behavior, time) for user, item, behavior, time in LOG]
    words = refused(log, model, columns=columns.replace(f"{column}:token", f"{column}:{kind}"))
    assert f"line 1: column '{column}' is of type {kind} and must be {column}:token" in words


def test_an_empty_line_is_no_row_and_the_lines_after_it_keep_their_numbers(
    tmp_path, write_inter, build_data, refused
):
    path = write_inter(tmp_path, "tiny", LOG)
    text = path.read_text()
    path.write_text(text.replace("u1", "\nu1", 1) + "\n\n")
    _, data, _ = build_data(tmp_path, "ICDDT", **BUYS)
    assert len(data.store["user_id"]) == len(LOG)
    path.write_text(text.replace("u1", "\nu1", 1) + "u9\t\tbuy\t5\n")
    assert f"tiny.inter line {len(LOG) + 3}: 'item_id' is missing" in refused(None)


def test_an_unknown_target_behaviour_is_answered_with_the_existing_ones(refused):
    words = refused(target_behavior="purchase")
    assert "['purchase'] does not occur" in words and "['buy', 'cart', 'view']" in words
    assert "['gift']" in refused(target_behavior=["buy", "gift"])


def test_an_unset_target_behaviour_is_answered_with_the_existing_ones(refused):
    words = refused(target_behavior=None)
    assert "target_behavior is not set" in words and "['buy', 'cart', 'view']" in words


def test_the_number_4_finds_the_token_4(tmp_path, write_inter, build_data, refused):
    codes = {"view": "1", "cart": "2", "buy": "4"}
    log = [(user, item, codes[behavior], time) for user, item, behavior, time in LOG]
    write_inter(tmp_path, "tiny", log)
    for target in (4, "4", [4]):
        _, data, (_, _, test) = build_data(tmp_path, "ICDDT", **BUYS | {"target_behavior": target})
        assert data.id2token("behavior", data.target_behavior_ids).tolist() == ["4"]
        assert len(test._dataset) == 4
    assert "it holds ['1', '2', '4']" in refused(log, target_behavior=3)


def test_behaviours_declared_as_numbers_are_refused(refused):
    log = [(user, item, len(behavior), time) for user, item, behavior, time in LOG]
    columns = "user_id:token item_id:token behavior:float timestamp:float"
    assert "must be behavior:token" in refused(log, columns=columns, target_behavior=3)


def test_filters_that_leave_no_target_behaviour_are_refused(refused):
    words = refused(val_interval={"behavior": ["view", "cart"]})
    assert "leave no interaction of target_behavior ['buy']" in words


# ------------------------------------------------------------------ derived behaviours

RATED = [(f"u{user}", f"i{time}", 1 + time % 5, time) for user in range(3) for time in range(10)]
STARS = "user_id:token item_id:token rating:float timestamp:float"


def from_ratings(**values):
    return {"behavior_from": {"field": "rating", "values": values}, "target_behavior": "like"}


def test_a_value_outside_all_intervals_is_refused_with_its_line(refused):
    words = refused(RATED, columns=STARS, **from_ratings(dislike="[1,2]", like="[4,5]"))
    assert "tiny.inter line 4: rating = 3.0 is in no interval" in words


def test_a_value_in_two_intervals_is_refused_with_its_line(refused):
    words = refused(RATED, columns=STARS, **from_ratings(dislike="[1,4]", like="[4,5]"))
    assert "tiny.inter line 5: rating = 4.0 is in several intervals" in words


@pytest.mark.parametrize("interval", ["5", "[4,5];6", "[4;5]"])
def test_an_interval_that_is_none_is_refused(interval, refused):
    # RecBole would leave it out, and without any interval take every value.
    words = refused(RATED, columns=STARS, **from_ratings(dislike="[1,3]", like=interval))
    assert "behavior_from is" in words and f"'{interval}'" in words
    assert "an interval like [5,inf)" in words


def test_a_derived_behaviour_needs_a_column_of_numbers(refused):
    columns = STARS.replace("rating:float", "rating:token")
    words = refused(RATED, columns=columns, **from_ratings(dislike="[1,3]", like="[4,5]"))
    assert "must be rating:float" in words
    settings = from_ratings(like="[4,5]")
    settings["behavior_from"]["field"] = "stars"
    assert "'stars' is not among" in refused(RATED, columns=STARS, **settings)


def test_behaviours_are_derived_by_their_intervals(tmp_path, write_inter, build_data):
    write_inter(tmp_path, "tiny", RATED, STARS)
    settings = BUYS | from_ratings(dislike="[1,2]", neutral="(2,4)", like="[4,5]")
    _, data, (_, _, test) = build_data(tmp_path, "ICDDT", **settings)
    rows = next(iter(test))[0].numpy()
    history = data.id2token("behavior", rows["behavior_list"][0]).tolist()
    assert history == (2 * ["dislike", "dislike", "neutral", "like", "like"])[: len(history)]
    assert len(history) > 5
    assert "rating_list" not in rows


# ------------------------------------------------------------------ users and lines


@pytest.mark.parametrize("model", ["ICDDT", "SASRec", "MultiVAE"])
def test_a_user_without_target_interactions_is_trained_on_and_counted(
    model, tmp_path, write_inter, build_data
):
    log = [*LOG, *[("window shopper", f"i{time}", "view", time) for time in range(5)]]
    write_inter(tmp_path, "tiny", log)
    _, data, loaders = build_data(tmp_path, model, **BUYS)
    shopper = data.token2id("user_id", "window shopper")
    has = [shopper in loader._dataset.inter_feat["user_id"] for loader in loaders]
    assert has == [True, False, False]
    assert data.split_report["users_without_target"] == 1


def test_a_user_with_one_interaction_gives_a_sequential_model_no_row(
    tmp_path, write_inter, build_data
):
    write_inter(tmp_path, "tiny", [*LOG, ("once", "i1", "buy", 3)])
    for settings in (BUYS, {"eval_args": LAST}):
        _, data, loaders = build_data(tmp_path, "SASRec", **settings)
        once = data.token2id("user_id", "once")
        assert not any(once in loader._dataset.inter_feat["user_id"] for loader in loaders)
        _, _, loaders = build_data(tmp_path, "MultiVAE", **settings)
        has = [once in loader._dataset.inter_feat["user_id"] for loader in loaders]
        assert has == [True, False, False]


def test_repeated_lines_count_once_and_are_reported(tmp_path, write_inter, build_data):
    write_inter(tmp_path, "clean", LOG)
    # The same event, and three that differ: by behaviour, by stamp, by item.
    others = [("u0", "i0", "cart", 0), ("u0", "i0", "view", 9), ("u0", "i7", "view", 0)]
    write_inter(tmp_path, "tiny", [*LOG, LOG[0], LOG[5], LOG[5], *others])
    _, clean, _ = build_data(tmp_path, "ICDDT", "clean", **BUYS)
    _, data, _ = build_data(tmp_path, "ICDDT", **BUYS)
    assert data.split_report["repeated_lines_dropped"] == 3
    assert len(data.store["user_id"]) == len(clean.store["user_id"]) + 3
    # Without behaviours a view and a cart at one time are one event.
    for model in ("SASRec", "Pop"):
        _, data, _ = build_data(tmp_path, model, eval_args=LAST)
        assert data.split_report["repeated_lines_dropped"] == 4
        assert len(data.store["user_id"]) == len(LOG) + 2


@pytest.mark.parametrize("model", ["ICDDT", "MultiVAE"])
def test_a_split_without_test_rows_is_refused(model, refused):
    log = [row for row in LOG if row[2] != "buy" or row[3] == 1]  # one purchase a user
    words = refused(log, model)
    assert "no test rows" in words and "two interactions of the target behaviour" in words


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"TS": [0.8, 0.1, 0.1]}])
def test_splits_of_behaviours_by_time_refuse_a_random_order(split, refused):
    words = refused(model="MultiVAE", eval_args=LAST | {"split": split, "order": "RO"})
    assert f"the split {[*split][0]} with behaviours needs eval_args order: TO" in words


def test_the_last_training_rows_need_an_order(refused):
    random = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
    assert "train_rows: last needs" in refused(
        model="MultiVAE", eval_args=random, train_rows="last"
    )


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "text",
    [
        "",
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float",
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n",
        "user_id:token\titem_id:token\tbehavior:token\ttimestamp:float\n\n\n",
    ],
    ids=["zero bytes", "header without line end", "header", "header and blank lines"],
)
def test_a_file_without_interactions_is_refused(text, tmp_path, refused):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/tiny.inter").write_text(text)
    words = refused(log=None)
    assert re.search(r"tiny/tiny.*inter holds no interactions", words)


@pytest.mark.parametrize(
    "columns, wrong",
    [
        ("user_id item_id behavior timestamp", "user_id"),
        ("user_id:token item_id:token behavior:token timestamp:int", "timestamp:int"),
        ("user_id:token,item_id:token,behavior:token,timestamp:float", "user_id:token,item_id"),
    ],
)
def test_a_header_without_types_is_refused_with_what_it_should_be(columns, wrong, refused):
    words = refused(columns=columns)
    assert "tiny/tiny.inter line 1" in words and wrong in words and "name:type" in words


@pytest.mark.parametrize("line", [2, 6])
def test_a_line_with_more_fields_than_columns_is_refused(line, refused):
    log = [list(row) for row in LOG]
    log[line - 2].append("more")
    assert f"tiny/tiny.inter line {line}: 5 fields under the 4 columns" in refused(log)
    # A tab at the end of every line would make pandas shift the columns.
    assert "line 2: 5 fields" in refused([[*row, ""] for row in LOG])


def test_a_line_with_fewer_fields_than_columns_is_refused(refused):
    log = [list(row) for row in LOG]
    del log[5][2:]
    assert "tiny.inter line 7: 2 fields under the 4 columns" in refused(log)


@pytest.mark.parametrize("name", [POSITION, STAMP])
def test_a_column_with_a_name_in_use_is_refused(name, refused):
    columns = f"user_id:token item_id:token behavior:token timestamp:float {name}:float"
    words = refused([(*row, 1) for row in LOG], columns=columns)
    assert name in words and "unload_col" in words


def test_histories_made_beforehand_are_refused(refused):
    columns = "user_id:token item_id:token behavior:token timestamp:float item_id_list:token_seq"
    assert "histories made beforehand" in refused([(*row, "i1 i2") for row in LOG], columns=columns)


def test_missing_files_are_answered_with_the_command_that_prepares_them(tmp_path, build_data):
    for dataset, command in (
        ("jd", "recbole-diffusion data prepare jd --input"),
        ("retail", "recbole-diffusion data prepare retail --input"),
        ("taobao", "recbole-diffusion data prepare taobao --input"),
        ("mine", "recbole-diffusion data prepare"),
    ):
        with pytest.raises(DataNotFoundError) as refusal:
            build_data(tmp_path, "ICDDT", dataset)
        words = str(refusal.value)
        assert command in words and str(tmp_path / dataset) in words
        assert (f"{dataset}.train.inter" if dataset == "jd" else f"{dataset}.inter") in words


def test_a_misspelt_data_set_is_answered_with_the_nearest(tmp_path, build_data):
    (tmp_path / "shop").mkdir()
    for dataset, near in (("ml-1k", "ml-100k"), ("shopp", "shop"), ("quite-another", None)):
        with pytest.raises(DataNotFoundError) as refusal:
            build_data(tmp_path, "ICDDT", dataset)
        assert (f"Did you mean '{near}'?" in str(refusal.value)) == (near is not None)
        assert near or "Did you mean" not in str(refusal.value)
        assert "recbole-diffusion data list" in str(refusal.value)


# ------------------------------------------------------------------ ready-made splits


@pytest.fixture
def ready_made(tmp_path, write_inter):
    for part, rows in zip(PARTS, (LOG[:18], LOG[18:20], LOG[20:22], LOG[22:])):
        write_inter(tmp_path, "tiny", rows, part=part)


@pytest.mark.parametrize(
    "setting",
    [
        {"user_inter_num_interval": "[5,inf)"},
        {"item_inter_num_interval": "[5,inf)"},
        {"rm_dup_inter": "first"},
        {"val_interval": {"timestamp": "[2,inf)"}},
    ],
)
def test_filters_are_refused_with_a_ready_made_split(setting, ready_made, refused):
    for model in ("ICDDT", "MultiVAE"):
        words = refused(None, model, benchmark_filename=PARTS, **setting)
        assert [*setting][0] in words and "before cutting the files" in words


@pytest.mark.parametrize("files", [PARTS[:1], PARTS[:2], [*PARTS, "more"], "train", []])
def test_a_ready_made_split_has_three_or_four_files(files, ready_made, refused):
    words = refused(None, benchmark_filename=files)
    assert "train, valid, test and optionally history" in words and str(files) in words


def test_a_missing_file_of_a_ready_made_split_is_named(ready_made, tmp_path, build_data):
    (tmp_path / "tiny/tiny.test.inter").unlink()
    with pytest.raises(DataNotFoundError, match=r"has no tiny\.test\.inter in"):
        build_data(tmp_path, "ICDDT", **BUYS, benchmark_filename=PARTS)


def test_an_empty_file_of_a_ready_made_split_is_named(ready_made, tmp_path, write_inter, refused):
    write_inter(tmp_path, "tiny", [], part="valid")
    words = refused(None, benchmark_filename=PARTS)
    assert "tiny/tiny.valid.inter holds no interactions" in words


@pytest.mark.parametrize("column, field", [(1, "item_id"), (2, "behavior"), (3, "timestamp")])
def test_a_gap_in_a_ready_made_split_is_found_in_its_file(
    column, field, ready_made, tmp_path, write_inter, refused
):
    rows = [list(row) for row in LOG[20:22]]
    rows[1][column] = ""
    write_inter(tmp_path, "tiny", rows, part="test")
    words = refused(None, benchmark_filename=PARTS)
    assert f"tiny.test.inter line 3: '{field}' is missing" in words
