"""What every dataset script keeps to: whole outputs, one line for what is wrong, forms of files."""

import gzip
import importlib
import json
import random
import re
import shlex
import zipfile
from pathlib import Path

import atomic
import kuairec
import numpy as np
import pytest
import retail

from recbole_diffusion.cli.data import known
from recbole_diffusion.cli.main import main as command_line
from recbole_diffusion.config.paths import properties_dir
from recbole_diffusion.config.values import read_yaml

WORDS = {
    "retail": ["view", "addtocart", "transaction"],
    "taobao": ["pv", "cart", "buy"],
    "table": ["view", "cart", "buy"],
    "zhihu": ["train", "val", "test"],
}


def review(user, item, k, time):
    keys = {"reviewerID": f"A{user}", "asin": f"B{item}", "overall": k + 1.0}
    return json.dumps(keys | {"unixReviewTime": time})


class Text:
    """A script that reads one text file.

    Args:
        name (str): the script's.
        line (callable): a line of its file, of a user, an item, a number of 0 to 2 and a time.
        file (str): what its file is called.
        header (str): the first line, if there is one.
        options (str): of the command, without which it asks for more or leaves out much.
        given: the same options for ``convert``.
        bad (str): a line that is refused.
    """

    def __init__(self, name, line, file, header=None, options="", bad="1", flag="--input", **given):
        self.name, self.line, self.file, self.header, self.bad = name, line, file, header, bad
        self.flag, self.options, self.given = flag, options.split(), given

    def text(self, log, *more, ending="\n"):
        lines = [self.header] * bool(self.header) + [self.line(*row) for row in log]
        return "".join(line + ending for line in [*lines, *more]).encode()

    def write(self, path, log, *more):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.text(log, *more))
        return path

    def raw(self, folder, log, bad=False):
        return self.write(folder / self.file, log, *[self.bad] * bad)

    def missing(self, folder):
        yield folder / self.file, folder / self.file


class Folder:
    """A script that reads a folder of files; ``write`` writes it, given the rows of each file."""

    flag, options = "--input", []

    def __init__(self, name, files, write):
        self.name, self.files, self.write = name, files, write

    def raw(self, folder, log, bad=False):
        folder.mkdir()
        for file in self.files:
            self.write(folder / file, log, bad and file == self.files[-1])
        return folder

    def missing(self, folder):
        for file in self.files:
            kept = (folder / file).read_bytes()
            (folder / file).unlink()
            yield folder, folder / file
            (folder / file).write_bytes(kept)


def jd_file(path, log, bad):
    held_out = path.stem in ("valid", "test")  # which hold purchases, 4, alone
    lines = [f"{user},{item},{4 if held_out else k + 2}" for user, item, k, _ in log]
    path.write_text("".join(line + "\n" for line in lines + ["1,2"] * bad))


def diffrec_file(path, log, bad):
    np.save(path, np.array([[user, -item if bad else item] for user, item, *_ in log]))


TEXTS = {
    "amazon": Text(
        "amazon", lambda u, i, k, t: f"A{u},B{i},{k + 1}.0,{t}", "r.csv", options="--core 1", core=1
    ),
    "amazon's reviews": Text("amazon", review, "r.json", options="--core 1", core=1),
    "kuairec": Text(
        "kuairec",
        lambda u, i, k, t: f"{u},{i},3,5,2020-07-05 05:27:48.378,20200705,{t}.378,0.{k}",
        "big_matrix.csv",
        ",".join(kuairec.COLUMNS),
    ),
    "movielens": Text("movielens", lambda u, i, k, t: f"{u}\t{i}\t{k + 1}\t{t}", "u.data"),
    "retail": Text(
        "retail",
        lambda u, i, k, t: f"{t},{u},{WORDS['retail'][k]},{i},",
        "events.csv",
        retail.HEADER,
        flag="--events",
    ),
    "sequences": Text("sequences", lambda u, i, k, t: f"u{u} {i}", "s.txt"),
    "table": Text(
        "table",
        lambda u, i, k, t: f"{t},u{u},i{i},{WORDS['table'][k]}",
        "t.csv",
        "when,who,what,how",
        options="--user who --item what --behavior how --time when",
        user="who",
        item="what",
        behavior="how",
        time="when",
    ),
    "taobao": Text("taobao", lambda u, i, k, t: f"{u},{i},7,{WORDS['taobao'][k]},{t}", "u.csv"),
    "yoochoose": Text(
        "yoochoose", lambda u, i, k, t: f"{u},2014-04-07T10:51:{t}.277Z,{i},0", "c.dat"
    ),
    "zhihu": Text("zhihu", lambda u, i, k, t: f"{WORDS['zhihu'][k]}\t{u} {i} {t}", "s.txt"),
}
FOLDERS = {
    "diffrec": Folder(
        "diffrec", [f"{p}_list.npy" for p in ("train", "valid", "test")], diffrec_file
    ),
    "jd": Folder("jd", [f"{p}.txt" for p in ("train", "valid", "extra_for_test", "test")], jd_file),
}
SCRIPTS = TEXTS | FOLDERS


def log(seed=0, n=60, n_users=8, n_items=30):
    """Rows of user, item, a number of 0 to 2 and time, with ties in time."""
    draw = random.Random(seed)
    users, items, times = range(1, n_users + 1), range(1, n_items + 1), range(10, 20)
    return [tuple(map(draw.choice, (users, items, range(3), times))) for _ in range(n)]


@pytest.fixture(params=SCRIPTS)
def script(request):
    return SCRIPTS[request.param]


@pytest.fixture(params=TEXTS)
def text_script(request):
    return TEXTS[request.param]


def main(script):
    return importlib.import_module(script.name).main


def command(script, raw, output):
    return [script.flag, str(raw), "--output", str(output), *script.options]


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_scripts_are_here():
    folder = Path(atomic.__file__).parent
    commands = {path.stem for path in folder.glob("*.py") if "__main__" in path.read_text()}
    assert {script.name for script in SCRIPTS.values()} == commands


def test_the_help_names_the_output_and_what_is_no_option_is_refused(script, capsys):
    with pytest.raises(SystemExit) as stop:
        main(script)(["--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert script.flag in said and "--output" in said
    with pytest.raises(SystemExit) as stop:
        main(script)([*command(script, "in", "out"), "--no_such_option"])
    assert stop.value.code == 2 and "--no_such_option" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(script)([*command(script, "in", "out"), "--outptu=x"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    assert "there is no option --outptu; did you mean --output?" in said


def test_a_failure_leaves_the_old_output_and_nothing_beside_it(script, tmp_path, refused):
    output = tmp_path / "sets" / "mine"
    raws = [script.raw(tmp_path / name, log(seed), name == "bad")
            for seed, name in enumerate(("good", "bad", "other"))]  # fmt: skip
    assert main(script)(command(script, raws[0], output)) == 0
    (output / "notes.txt").write_text("keep")
    old = content(output)
    refused(main(script), *command(script, raws[1], output))
    assert content(output) == old
    assert main(script)(command(script, raws[2], output)) == 0
    new = content(output)
    assert new.keys() == old.keys() and new.pop("notes.txt") == old.pop("notes.txt")
    assert all(new[name] != old[name] for name in new)  # control: a good run does replace it
    assert [path.name for path in output.parent.iterdir()] == ["mine"]


def test_a_missing_file_is_named_and_the_old_output_stays(script, tmp_path, refused):
    good = script.raw(tmp_path / "good", log())
    output = tmp_path / "mine"
    assert main(script)(command(script, good, output)) == 0
    old, there = content(output), tmp_path / "good"
    if isinstance(script, Text):
        there = tmp_path / "nowhere"
    for raw, missing in script.missing(there):
        message = refused(main(script), *command(script, raw, output))
        assert message.startswith(f"error: {missing}: no such file")
        assert content(output) == old


def test_nothing_is_in_the_output_before_everything_is_written(script, tmp_path, monkeypatch):
    raw = script.raw(tmp_path / "raw", log())
    write, opened = atomic.atomic_file, []

    def counted(path, fields):
        opened.append(path)
        if len(opened) == last:
            raise KeyboardInterrupt
        return write(path, fields)

    monkeypatch.setattr(atomic, "atomic_file", counted)
    last = None
    assert main(script)(command(script, raw, tmp_path / "whole")) == 0
    last, _ = len(opened), opened.clear()
    assert last >= 1
    with pytest.raises(KeyboardInterrupt):
        main(script)(command(script, raw, tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw", "whole"]


def test_an_output_that_is_a_file_is_refused(script, tmp_path, refused):
    raw = script.raw(tmp_path / "raw", log())
    (tmp_path / "out").write_text("mine")
    message = refused(main(script), *command(script, raw, tmp_path / "out"))
    assert "is a file, and the output must be a folder" in message
    assert (tmp_path / "out").read_text() == "mine"


def test_a_file_that_cannot_be_read_is_refused(text_script, tmp_path, refused):
    script = text_script
    whole = script.text(log())

    def message(data, packed=False):
        raw = tmp_path / (f"{script.file}.gz" if packed else script.file)
        raw.write_bytes(data)
        said = refused(main(script), *command(script, raw, tmp_path / "out"))
        assert not (tmp_path / "out").exists()
        return said.removeprefix(f"error: {raw}")

    assert message(b"") == ": is empty"
    if script.header:
        assert message(f"{script.header}\n".encode()) == ": holds a header and no rows"
        assert message(whole.split(b"\n", 1)[1]) not in ("", ": is empty")
    if script.name != "movielens":  # whose archives are zips
        assert message(whole, packed=True).startswith(": cannot be unpacked")
        assert message(gzip.compress(whole)[:-9], packed=True).startswith(": cannot be unpacked")


@pytest.mark.slow
@pytest.mark.parametrize("block_bytes", [1, 64])
def test_blocks_gz_zip_marks_windows_lines_and_a_second_run_change_no_byte(
    text_script, tmp_path, block_bytes
):
    script, rows = text_script, log()
    sizes = {} if script.name == "table" else {"block_bytes": block_bytes}

    def convert(raw, **sizes):
        convert = importlib.import_module(script.name).convert
        convert(raw, tmp_path / "out", **script.given, **sizes)
        return content(tmp_path / "out")

    plain, text = script.raw(tmp_path / "plain", rows), script.text(rows)
    forms = {"windows": script.text(rows, ending="\r\n"), "mark": b"\xef\xbb\xbf" + text}
    forms["cut"] = text.removesuffix(b"\n")
    raws = [plain]
    for name, form in forms.items():
        raws.append(tmp_path / name / script.file)
        raws[-1].parent.mkdir()
        raws[-1].write_bytes(form)
    if script.name != "movielens":
        raws.append(tmp_path / f"{script.file}.gz")
        raws[-1].write_bytes(gzip.compress(text))
    if script.name not in ("movielens", "table"):
        raws.append(tmp_path / f"{script.file}.zip")
        with zipfile.ZipFile(raws[-1], "w") as archive:
            archive.write(plain, f"folder/{script.file}")
    whole = convert(plain)
    for raw in [*raws, plain]:
        assert convert(raw, **sizes) == whole, raw
    assert convert(script.write(plain, rows[::-1])) != whole  # control: there are ties


def commands_of_hints():
    for file in sorted((properties_dir() / "dataset").glob("*.yaml")):
        hint = (read_yaml(file) or {}).get("prepare_hint") or ""
        for text in re.findall(r"`recbole-diffusion (data prepare [^`]*)`", hint):
            yield pytest.param(file.stem, text, id=file.stem)


@pytest.mark.slow
@pytest.mark.parametrize("name, text", commands_of_hints())
def test_the_command_of_the_hint_makes_what_the_settings_read(
    name, text, tmp_path, monkeypatch, build_data
):
    _, _, prepared, *words = shlex.split(text)
    script = SCRIPTS[known()[name]["script"]]
    raw = Path(words[words.index("--input") + 1])
    assert prepared == name and known()[name]["file"] == str(raw)
    monkeypatch.chdir(tmp_path)
    rows = log(n=1200, n_users=30, n_items=100)
    if raw.suffix == ".zip":
        with zipfile.ZipFile(raw, "w") as archive:
            archive.writestr(f"{name}/{script.file}", script.text(rows))
    elif isinstance(script, Text):
        script.write(raw, rows)
    else:
        script.raw(raw, rows)
    assert command_line(shlex.split(text)) == 0
    config, data, _ = build_data(tmp_path / "dataset", "Pop", name)
    assert len(data.inter_feat) > 20
    assert {"user_id", "item_id", "timestamp"} <= set(data.inter_feat.columns)


def test_the_counts_of_the_list_are_those_that_the_scripts_check():
    compared = 0
    for name, about in known().items():
        full = importlib.import_module(about.get("script", "movielens")).FULL
        full = full.get(name, full)
        for of in ("users", "items", "interactions"):
            if of in full and of in about:
                assert full[of] == about[of], (name, of)
                compared += 1
    assert compared > 30


def test_every_known_data_set_has_its_settings_and_the_other_way_round():
    files = {file.stem for file in (properties_dir() / "dataset").glob("*.yaml")}
    assert set(known()) == files
