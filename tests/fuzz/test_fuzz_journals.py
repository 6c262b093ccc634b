"""A damaged journal gives the page of what was whole before, or a refusal with file and line."""

import gc
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from fuzzing import Broken, accepted, attempt, inputs, own_folder
from hypothesis import given
from hypothesis import strategies as st

from recbole_diffusion.benchmark.journal import Journal, read_journal
from recbole_diffusion.benchmark.report.write import PAGES, write_pages

MADE_UP = Path(__file__).parents[1] / "benchmark" / "conftest.py"
LEAVES = (*PAGES, "report.html")
SITTING = {
    "date": "2026-01-01T00:00:00+00:00",
    "commit": None,
    "machine": {"processor": None, "cores": 2, "memory_gib": 4.0},
    "versions": {"python": "3.11.7"},
}
ODD_VALUES = st.sampled_from(
    [None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 2**70, "", "x", "\ud800", [], {}]
    + [[[]], {"": None}, "../../etc/passwd", "<script>", "a\nb", 10**400]
)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with a small benchmark, and the content of its journal with and without checks."""
    spec = importlib.util.spec_from_file_location("made_up_benchmark", MADE_UP)
    made_up = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made_up)
    folder = tmp_path_factory.mktemp("benchmark")
    made = made_up.Journal(folder, users=12)
    models = {label: made_up.PLAN["models"][label] for label in ("ICDDT", "SASRec")}
    plan = {"models": models, "external": {}, "seeds": [1, 2], "tune": 0}
    plan["command"] = "recbole-diffusion benchmark"
    made.write(kind="sitting", format=2, **SITTING)
    made.write(kind="plan", plan=made_up.PLAN | plan)
    made.write(kind="protocol", protocol=made_up.PROTOCOL)
    for number, seed in enumerate(plan["seeds"]):
        for label in models:
            made.run(label, seed, number=number)
    plain = (folder / "journal.jsonl").read_bytes()
    (folder / "journal.jsonl").unlink()
    records = [json.loads(line) for line in plain.splitlines()]
    with Journal(folder / "journal.jsonl") as journal:
        for record in records:
            journal.append(record | ({"format": 3} if record["kind"] == "sitting" else {}))
    checked = (folder / "journal.jsonl").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)  # statsmodels does, for most of a page's time
        yield folder, checked, plain


@st.composite
def damages(draw):
    """A function that damages the content of a journal, with its name."""
    name = draw(
        st.sampled_from(
            ["nothing", "cut", "byte", "bytes in", "bytes out", "line gone", "line twice", "moved"]
            + ["value", "value", "key gone", "no json", "blank line", "bom", "end", "cr", "deep"]
        )
    )
    where, other = draw(st.floats(0, 1)), draw(st.floats(0, 1))
    new, value, steps = (
        draw(st.binary(min_size=1, max_size=3)),
        draw(ODD_VALUES),
        draw(st.randoms()),
    )

    def damage(content):
        place = int(where * (len(content) - 1))
        lines = content.split(b"\n")[:-1]
        line, second = int(where * (len(lines) - 1)), int(other * (len(lines) - 1))
        if name == "cut":
            return content[:place]
        if name == "byte":
            return content[:place] + new[:1] + content[place + 1 :]
        if name == "bytes in":
            return content[:place] + new + content[place:]
        if name == "bytes out":
            return content[:place] + content[place + len(new) :]
        if name == "end":
            return content + new
        if name == "bom":
            return b"\xef\xbb\xbf" + content
        if name == "cr":
            return content.replace(b"\n", b"\r\n")
        if name == "line gone":
            del lines[line]
        elif name == "line twice":
            lines.insert(second, lines[line])
        elif name == "moved":
            lines.insert(second, lines.pop(line))
        elif name == "blank line":
            lines.insert(line, b"")
        elif name == "no json":
            lines[line] = new
        elif name == "deep":
            lines[line] = b'{"kind": ' + b"[" * 100_000
        elif name in ("value", "key gone"):
            record = json.loads(lines[line])
            holder, key = _somewhere(record, steps)
            if name == "value":
                holder[key] = value
            else:
                del holder[key]
            lines[line] = json.dumps(record).encode()
        return b"".join(line + b"\n" for line in lines)

    damage.__name__ = name
    return damage


def _somewhere(record, steps):
    """A container within a record and one of its keys or indices."""
    holder = record
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = steps.choice(keys)
        if not (isinstance(holder[key], (dict, list)) and holder[key]) or steps.random() < 0.2:
            return holder, key
        holder = holder[key]


def pages(folder):
    write_pages(folder)
    return {name: Path(folder, name).read_text(encoding="utf-8") for name in PAGES}


def put(folder, content):
    """A benchmark with that journal in the working directory."""
    shutil.copytree(folder / "users", "users")
    Path("journal.jsonl").write_bytes(content)


@inputs(quick=60, long=800)
@given(damage=damages())
def test_a_damaged_journal_gives_the_page_of_what_is_whole_or_is_refused(written, damage):
    kind = "journal"
    folder, checked, _ = written
    content = damage(checked)
    with own_folder():
        put(folder, content)
        records, said = attempt(kind, lambda: read_journal("journal.jsonl"), ("journal.jsonl",))
        if said is not None:
            if content == checked:
                raise Broken(f"a whole journal is refused: {said}")
            line = "journal.jsonl, line " in said or "journal.jsonl has format" in said
            if not line and "record" not in said:
                raise Broken(f"names no line: {said}")
            return
        lines = checked.split(b"\n")[:-1]
        whole = [json.loads(line) for line in lines[: len(records)]]
        # What a kill leaves behind the last whole line does not count.
        right = [{k: v for k, v in one.items() if k != "check"} for one in whole]
        have = [{k: v for k, v in one.items() if k != "check"} for one in records]
        if content not in (checked, checked + b"\n"):
            begins = content.startswith(
                b"".join(line + b"\n" for line in lines[: len(records)])[:-1]
            )
            if not begins:
                accepted(kind, False, "accepted though what stands before was changed")
        accepted(kind, have == right, "other records are read than were written")


@inputs(quick=6, long=200)
@given(damage=damages(), check=st.booleans())
def test_the_page_of_a_damaged_journal_is_a_page_or_a_refusal(written, damage, check):
    folder, checked, plain = written
    kind = "journal to page" if check else "journal of before checks, to page"
    content = damage(checked if check else plain)
    with own_folder():
        put(folder, content)
        names = ("journal.jsonl", "users/", "no benchmark", "plan", "runs of", "format")
        found, said = attempt(kind, lambda: pages("."), names, leaves=LEAVES)
        if said is not None:
            return
        if not check:  # nothing says whether a value was changed
            accepted(kind, all("nan" not in text.split() for text in found.values()), "nan")
            return
        count = len(read_journal("journal.jsonl"))
    with own_folder():
        put(folder, b"".join(line + b"\n" for line in checked.split(b"\n")[:count]))
        accepted(kind, found == pages("."), "another page than that of the whole records")
