"""What is said of a data set is what one counts by hand."""

import pytest

from recbole_diffusion.cli.data import table
from recbole_diffusion.cli.main import main
from recbole_diffusion.config import Config
from recbole_diffusion.quick_start.describe import describe

# user, item, behaviour, stamp: u1 has desk twice, two events of one stamp, and u3 a single event
ROWS = [
    ("u1", "desk", "view", 1_700_000_000), ("u1", "lamp", "view", 1_700_000_100),
    ("u1", "desk", "buy", 1_700_000_100), ("u1", "bulb", "buy", 1_700_000_200),
    ("u1", "bulb", "buy", 1_700_000_200), ("u1", "vase", "buy", 1_700_086_400),
    ("u2", "desk", "view", 1_700_000_050), ("u2", "lamp", "buy", 1_700_000_300),
    ("u2", "desk", "buy", 1_700_000_400), ("u3", "desk", "view", 1_700_000_500),
]  # fmt: skip


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\tbehavior:token\ttimestamp:float"]
    lines += ["\t".join(map(str, row)) for row in ROWS]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n")
    return tmp_path


def described(folder, model="SASRec", **settings):
    settings = {"data_path": str(folder), "topk": [1]} | settings
    return describe(Config(model, "shop", config_dict=settings | {"valid_metric": "NDCG@1"}))


def test_counts_are_those_by_hand(shop):
    found = described(shop, BEHAVIOR_FIELD="behavior", target_behavior="buy")
    assert (found["users"], found["items"], found["interactions"]) == (3, 4, 9)
    assert found["repeated_lines"] == 1  # bulb, bought twice in one second
    assert found["behaviors"] == {"view": 4, "buy": 5}
    assert found["density"] == 9 / 12
    assert found["user_lengths"]["mean"] == 3 and found["user_lengths"]["most"] == 5
    assert [bar["count"] for bar in found["user_histogram"]] == [1, 1, 1]  # of 1, 2-3 and 4-7
    assert [bar["count"] for bar in found["item_histogram"]] == [2, 1, 1]
    assert found["top_items"] == 5 / 9  # desk, the one most popular item
    assert found["repeats"] == 2 / 9  # both of a desk
    assert found["tied"] == 1 / 9  # u1's lamp and desk
    assert found["time"]["first"] == "2023-11-14 22:13:20"
    assert sum(found["time"]["interactions"]) == 9


def test_shares_of_held_out_targets_are_those_by_hand(shop):
    found = described(shop, BEHAVIOR_FIELD="behavior", target_behavior="buy")
    # test: u1's vase, u2's desk; validation: u1's bulb
    assert (found["valid"]["rows"], found["test"]["rows"]) == (1, 2)
    assert found["test"]["seen_before"] == 0.5 and found["valid"]["seen_before"] == 0
    assert found["test"]["never_trained"] == 0.5  # the vase; the control is the desk
    assert found["valid"]["never_trained"] == 1
    assert found["test"]["history"]["most"] == 4 and found["test"]["history"]["least"] == 2
    assert found["split"] == "leave-one-out of buy in time order"


def test_data_without_behaviours_and_general_models_are_described_too(shop):
    without = {"unload_col": {"inter": ["behavior", "timestamp"]}, "train_neg_sample_args": None}
    found = described(shop, "EASE", **without)
    assert found["behaviors"] is None and found["time"] is None and found["tied"] is None
    assert "at random" in found["split"] and found["train"]["history"] is None
    assert "10 interactions" in table("shop", found)  # without stamps a line is an event


def test_the_command_prints_a_table_and_writes_a_picture(shop, tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotly")
    monkeypatch.chdir(tmp_path)
    settings = ["--BEHAVIOR_FIELD=behavior", "--target_behavior=buy", "--topk=1"]
    settings += ["--valid_metric=NDCG@1", f"--data_path={shop}", "--output=drawn"]
    assert main(["data", "describe", "shop", *settings]) == 0
    out = capsys.readouterr().out
    assert "shop: 3 users, 4 items, 9 interactions" in out and "1 repeated lines" in out
    assert "by behaviour: view 4, buy 5" in out
    page = (tmp_path / "drawn" / "shop.html").read_text()
    assert "Users by length of history" in page and 'src="http' not in page
    assert (tmp_path / "drawn" / "shop.png").stat().st_size > 10_000
    assert (tmp_path / "drawn" / "shop.json").is_file()


@pytest.mark.parametrize(
    "words, said",
    [
        (["describe"], "needs the name of a data set"),
        (["describe", "shopp"], "shopp.inter"),
        (["describe", "ml-100k", "--hiden_size=3"], "hidden_size"),
        (["prepare", "retial", "--input=x"], "did you mean 'retail'"),
        (["prepare", "retail"], "made out of events.csv"),
        (["prepare", "mine", "--script=rows"], "not one of amazon, diffrec"),
        (["forget", "retail"], "there are list, describe, fetch, prepare"),
        (["list", "--path=x"], "--path=x"),
    ],
)
def test_mistakes_are_answered_in_a_line(words, said, capsys):
    assert main(["data", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_list_names_what_is_known_and_what_is_there(shop, capsys):
    assert main(["data", "list", f"--data_path={shop}"]) == 0
    out = capsys.readouterr().out
    assert "\nretail: " in out and "(prepared)" in out.split("\nml-1m:")[0]
    assert f"in {shop}: shop" in out and "CC BY-NC-SA 4.0" in out


def test_a_table_of_ones_own_is_prepared(tmp_path, capfd):
    (tmp_path / "log.csv").write_text(
        "who,what,when\n" + "".join(f"a{i % 3},b{i},{i}\n" for i in range(9))
    )
    words = ["--input", str(tmp_path / "log.csv"), "--user=who", "--item=what", "--time=when"]
    assert main(["data", "prepare", "mine", *words, f"--data_path={tmp_path}"]) == 0
    assert (tmp_path / "mine" / "mine.inter").read_text().startswith("user_id:token\titem_id:token")
    assert main(["data", "prepare", "mine", *words[:2], "--user=whom", "--item=what"]) == 2
    assert "whom" in capfd.readouterr().err
