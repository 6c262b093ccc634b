"""Lists for a whole file: in parts, in any format, all or nothing."""

import json

import pandas as pd
import pytest

from recbole_diffusion.cli.main import main
from recbole_diffusion.config.values import ConfigError
from recbole_diffusion.data.lines import DataError
from recbole_diffusion.quick_start import run_recbole_diffusion
from recbole_diffusion.recommend import job
from recbole_diffusion.recommend.recommender import load


@pytest.fixture
def checkpoint(shop, small):
    settings = small("SASRec", epochs=1, BEHAVIOR_FIELD=None, target_behavior=None)
    return run_recbole_diffusion("SASRec", "shop", config_dict=settings)["checkpoint"]


@pytest.fixture
def log(shop):
    """The shop's interactions as a .csv file, with a line of an unknown item."""
    table = pd.read_csv(shop / "dataset/shop/shop.inter", sep="\t")
    table.columns = [name.partition(":")[0] for name in table]
    table = table[["user_id", "item_id", "timestamp"]]
    table.loc[len(table)] = ["stranger", "unheard", 3]
    table.to_csv(shop / "log.csv", index=False)
    return shop / "log.csv"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(job, "PART", 7)


def read(path):
    """A file of lists as a table of text and numbers."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_file_of_lists_is_what_the_recommender_gives(checkpoint, log, small_parts, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    output = log.with_name(f"lists{suffix}")
    report = job.recommend_file(checkpoint, output, log, k=3, show_progress=False)
    assert report == {"users": 41, "lists": 40, "unknown_rows": 1, "cold_users": 1}
    expected = load(checkpoint).recommend(pd.read_csv(log), k=3)
    found = read(output)
    pd.testing.assert_frame_equal(
        found.astype({"user_id": str, "item_id": str}),
        expected.astype({"user_id": str, "item_id": str}),
        check_dtype=False,
    )
    assert sorted(file.name for file in log.parent.glob("lists*")) == [output.name]


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".inter"])
def test_every_form_of_the_histories_gives_the_same_lists(checkpoint, log, suffix):
    table = pd.read_csv(log)
    other = log.with_suffix(suffix)
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(other)
    elif suffix == ".tsv":
        table.to_csv(other, sep="\t", index=False)
    else:
        types = {"user_id": "token", "item_id": "token", "timestamp": "float"}
        head = [f"{name}:{types[name]}" for name in table]
        table.to_csv(other, sep="\t", index=False, header=head)
    for source in (log, other):
        output = source.with_name(f"{source.suffix[1:]}.lists.csv")
        job.recommend_file(checkpoint, output, source, k=3, show_progress=False)
    assert (log.parent / "csv.lists.csv").read_bytes() == output.read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_log_as_it_comes_has_its_own_names_and_dates(checkpoint, log, suffix):
    table = pd.read_csv(log).sample(frac=1, random_state=1)  # the dates give the order
    when = pd.to_datetime(table["timestamp"], unit="s")
    own = table.drop(columns="timestamp").set_axis(["customer", "product name"], axis=1)
    own["when"] = when if suffix == ".parquet" else when.astype(str)
    other = log.with_name(f"own{suffix}")
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        own.to_parquet(other)
    else:
        own.to_csv(other, index=False)
    options = [f"--checkpoint={checkpoint}", "-k", "3"]
    names = ["--user=customer", "--item=product name", "--time=when"]
    assert main(["recommend", *options, f"--histories={other}", *names, "--output=found.csv"]) == 0
    assert main(["recommend", *options, f"--histories={log}", "--output=lists.csv"]) == 0
    found, expected = (pd.read_csv(name, index_col=[0, 2]) for name in ("found.csv", "lists.csv"))
    pd.testing.assert_frame_equal(found.sort_index(), expected.sort_index())
    mixed = [*names[:2], "--output=mixed.csv"]  # the control: without the dates
    assert main(["recommend", *options, f"--histories={other}", *mixed]) == 0
    assert not pd.read_csv("mixed.csv", index_col=[0, 2]).sort_index().equals(found.sort_index())


def test_columns_that_a_log_lacks_are_said_with_those_it_has(checkpoint, log, capsys):
    options = [f"--checkpoint={checkpoint}", f"--histories={log}", "--output=lists.csv"]
    for name, words in [
        ("--user=customer", "has no column customer: its columns are ['user_id', 'item_id'"),
        ("--behavior=item_id", "SASRec reads no behaviours"),
    ]:
        assert main(["recommend", *options, name]) == 2
        assert words in capsys.readouterr().err


def test_a_killed_job_goes_on_with_the_parts_it_lacks(checkpoint, log, small_parts, monkeypatch):
    whole, cut = log.with_name("whole.csv"), log.with_name("cut.csv")
    job.recommend_file(checkpoint, whole, log, k=3, show_progress=False)
    written = []

    def write(table, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path)
        plain(table, path)

    plain = job.write
    monkeypatch.setattr(job, "write", write)
    with pytest.raises(KeyboardInterrupt):
        job.recommend_file(checkpoint, cut, log, k=3, show_progress=False)
    assert not cut.exists() and len(written) == 3
    with pytest.raises(ConfigError, match="holds parts of another job"):
        job.recommend_file(checkpoint, cut, log, k=4, show_progress=False)
    seen = []
    monkeypatch.setattr(job, "write", lambda table, path: (seen.append(path), plain(table, path)))
    job.recommend_file(checkpoint, cut, log, k=3, show_progress=False)
    assert len(seen) == 3 and not set(seen) & set(written)  # 41 users in parts of 7
    assert cut.read_bytes() == whole.read_bytes()


def test_the_size_of_the_batches_does_not_change_the_file(checkpoint, log):
    for size in (1, 7, 512):
        job.recommend_file(
            checkpoint, log.with_name(f"{size}.csv"), log, k=5, batch_size=size, show_progress=False
        )
    one, seven, many = (pd.read_csv(log.with_name(f"{size}.csv")) for size in (1, 7, 512))
    for other in (seven, many):
        pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def test_users_items_and_popular_lists_by_files(checkpoint, log):
    for name, ids in (("users", "u3\nu1\nstranger\n"), ("items", "i4\ni5\ni6\n"), ("deny", "i5\n")):
        log.with_name(f"{name}.txt").write_text(ids)
    output = log.with_name("lists.csv")
    report = job.recommend_file(
        checkpoint,
        output,
        log,
        users=log.with_name("users.txt"),
        candidates=log.with_name("items.txt"),
        deny=log.with_name("deny.txt"),
        k=2,
        cold="pop",
        show_progress=False,
    )
    assert report == {
        "users": 3,
        "lists": 3,
        "unknown_rows": 1,
        "cold_users": 1,
        "unknown_candidates": 0,
        "unknown_deny": 0,
    }
    found = pd.read_csv(output)
    assert list(found["user_id"]) == ["u3", "u3", "u1", "u1", "stranger", "stranger"]
    assert set(found["item_id"]) == {"i4", "i6"}


def test_the_command_says_what_it_did_and_refuses_mistakes_in_one_line(checkpoint, log, capsys):
    given = [f"--checkpoint={checkpoint}", f"--histories={log}"]
    output = f"--output={log.with_name('lists.csv')}"
    assert main(["recommend", *given, output, "-k", "3"]) == 0
    assert "40 lists for 41 users" in capsys.readouterr().out
    before = sorted(log.parent.iterdir())
    other = f"--output={log.with_name('other.csv')}"
    bad = log.with_name("bad.csv")
    mistakes = [
        ([*given, "--output=lists.xls"], "lists.xls is not one of .csv, .parquet, .jsonl"),
        ([*given, f"--output={log.parent}/none/lists.csv"], "cannot be written"),
        ([*given, f"--output={log}"], "log.csv is one of the files that are read"),
        ([*given, other, "-k", "21"], "k is 21, but 20 items may be recommended"),
        ([*given, other, "--deny=none.txt"], "cannot read none.txt"),
        ([given[0], other], "give histories, users or both"),
        ([given[0], f"--histories={bad}", other], "cannot read"),
        ([f"--checkpoint={log}", given[1], other], "is not a checkpoint"),
        ([*given, other, "--seed=x"], "--seed"),
        ([*given, other, "--colour=red"], "--colour=red"),
    ]
    for arguments, words in mistakes:
        assert main(["recommend", *arguments]) == 2
        error = capsys.readouterr().err.strip().split("\n")[-1]
        assert error.startswith("recbole-diffusion: ") and words in error, arguments
        assert sorted(log.parent.iterdir()) == before


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "cannot be read"),
        ("user_id,item_id\n", "holds no user"),
        (
            "user_id,product\nu1,i1\n",
            r"no column item_id: its columns are \['user_id', 'product'\]",
        ),
        ("user,product\nu1,i1\n", "has no column user_id, item_id"),
        ("user_id,item_id\nu1,i1\nu1\n", "row 2 of the histories: item_id is missing"),
        ("user_id,item_id\nu1,i1\nu1,i2,i3,i4\n", "cannot be read"),
        ("user_id,item_id,timestamp\nu1,i1,noon\n", "row 1 of the histories: timestamp is neither"),
    ],
)
def test_a_file_of_histories_that_cannot_be_used(checkpoint, log, text, words):
    log.write_text(text)
    before = sorted(log.parent.iterdir())
    with pytest.raises((DataError, ConfigError), match=words):
        job.recommend_file(checkpoint, log.with_name("lists.csv"), log, show_progress=False)
    assert sorted(log.parent.iterdir()) == before


def test_a_full_disk_leaves_nothing_that_looks_whole(checkpoint, log, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match="No space left"):
        job.recommend_file(checkpoint, log.with_name("lists.csv"), log, show_progress=False)
    left = [file.name for file in log.parent.rglob("*") if "part-" in file.name]
    assert not left and not log.with_name("lists.csv").exists()
