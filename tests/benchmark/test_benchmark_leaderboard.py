"""The leaderboard says what the records say, in every form it is printed in."""

import copy
import csv
import io
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("statsmodels", reason="the extra 'benchmark' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'benchmark' is not installed")

from recbole_diffusion.benchmark.report import cells, sentences  # noqa: E402
from recbole_diffusion.benchmark.report import tables as leaderboard  # noqa: E402
from recbole_diffusion.benchmark.report import text as printers  # noqa: E402
from recbole_diffusion.benchmark.report.board import read_board  # noqa: E402

PAPERS = [
    {"label": "SASRec", "source": "Tables", "metric": "hit@10", "published": 1, "ours": None,
     "verdict": "no"},
    {"label": "ICDDT", "source": "T|oday_", "metric": "hit@10", "published": 0.31, "ours": None,
     "verdict": "50% off"},
]  # fmt: skip


@pytest.fixture(scope="module")
def board(output):
    return read_board(output, papers=PAPERS, command="run `all` of it")


@pytest.fixture(scope="module")
def page(board):
    return printers.markdown(board)


def section(page, title):
    """Note and cells of a table of the Markdown."""
    text = page.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(line) for line in cells}) == 1, "a table has as many cells in every row"
    return text, {row[0]: row for row in [cells[0], *cells[2:]]}


# ---------------------------------------------------------------- what was read
def test_the_rows_are_ordered_by_the_metric_of_the_plan(board, made_up):
    means = [round(row.test["ndcg@10"].mean, 9) for row in board.rows]
    assert means == sorted(means, reverse=True) and len(means) == 7
    assert [row.label for row in board.models][0] == board.best["ndcg@10"] == "ICDDT"
    assert [row.label for row in board.models][-2:] == ["Imported", made_up.script]


def test_another_metric_gives_another_order(journal, made_up, tmp_path):
    made = journal(tmp_path, metric="hit@5")
    for label in ("ICDDT", "SASRec"):
        table = made.values(label, 2020)
        if label == "SASRec":
            table["hit@5"] += 0.2
        made.run(label, frame=table)
    board = read_board(tmp_path)
    assert [row.label for row in board.rows] == ["SASRec", "ICDDT"]
    assert board.best["hit@5"] == "SASRec" and board.best["ndcg@10"] == "ICDDT"
    assert leaderboard.significance(board, "ICDDT", "hit@5") == "below"


def test_means_and_deviations_are_those_of_the_files(board, output):
    lines = [json.loads(line) for line in (output / "journal.jsonl").open()]
    runs = [x for x in lines if x.get("label") == "SASRec" and x.get("phase") == "seed"]
    values = [run["result"]["test"]["hit@5"] for run in runs]
    spread = board.row("SASRec").test["hit@5"]
    assert spread.mean == pytest.approx(np.mean(values)) and spread.n == 3
    assert spread.sd == pytest.approx(np.std(values, ddof=1)) and spread.sd > 0
    users = board.row("SASRec").users["hit@5"]
    assert users.mean == pytest.approx(spread.mean) and users.low < users.mean < users.high


def test_the_comparison_is_the_paired_test_of_the_seed_means(board, journal, made_up, tmp_path):
    made = journal(tmp_path)
    tables = {}
    for label in ("ICDDT", "Twin"):
        seeds = [made.values(label, s).set_index("user")["ndcg@10"] for s in (2020, 2021, 2022)]
        tables[label] = sum(seeds).sort_index() / 3
    expected = stats.ttest_rel(tables["Twin"], tables["ICDDT"])
    found = board.against_best["ndcg@10"]["Twin"]
    assert found.p == pytest.approx(expected.pvalue) and found.difference < 0
    assert (found.first, found.second) == ("Twin", "ICDDT")
    assert set(board.against_best["ndcg@10"]) == {"Twin", "SASRec", "Imported", made_up.script}


def test_a_planted_difference_is_below_and_noise_is_not_significant(board):
    stands = [leaderboard.significance(board, row.label, "ndcg@10") for row in board.models]
    assert stands == ["best", "n.s.", "below", "below", "below"]
    assert board.against_best["ndcg@10"]["SASRec"].effect < -1


def test_ablations_are_a_family_of_their_own(board):
    family = board.ablations["ndcg@10"]
    assert set(family) == {"ICDDT (one step)", "ICDDT (same)"}
    assert all(one.second == "ICDDT" for one in family.values())
    worse = family["ICDDT (one step)"]
    assert worse.difference < 0 and worse.holm == pytest.approx(2 * worse.p)
    assert family["ICDDT (same)"].holm == 1
    assert not set(board.against_best["ndcg@10"]) & set(family)


@pytest.mark.slow
def test_an_ablation_that_wins_is_not_the_best_model(journal, tmp_path):
    made = journal(tmp_path)
    made.run("SASRec")
    made.run("ICDDT", frame=made.values("SASRec", 1))
    made.run("ICDDT (one step)")
    table = made.values("ICDDT", 2020)
    table["ndcg@10"] += 0.1
    made.run("ICDDT (same)", frame=table)
    board = read_board(tmp_path)
    assert board.rows[0].label == "ICDDT (same)" and board.best["ndcg@10"] != "ICDDT (same)"
    said = sentences.ablation_sentences(board)[0]
    assert said.startswith("ICDDT with the same is significantly above ICDDT in NDCG@10, by 0.1")


def test_the_later_of_two_records_wins(journal, tmp_path):
    made = journal(tmp_path)
    made.fail("SASRec", "killed")
    made.run("SASRec")
    made.write(kind="plan", plan=made_plan(made) | {"seeds": [2020, 2021]})
    board = read_board(tmp_path)
    assert board.failed == [] and board.row("SASRec").seeds == [2020]
    assert board.row("SASRec").asked == 2  # the later plan


def made_plan(made):
    first = (made.output / "journal.jsonl").read_text().splitlines()[0]
    return json.loads(first)["plan"]


@pytest.mark.slow
def test_what_the_plan_no_longer_holds_is_not_shown(journal, tmp_path):
    made = journal(tmp_path)
    for label in ("SASRec", "Twin"):
        made.run(label, phase="trial", number=2)
        for number, seed in enumerate((2020, 1999)):
            made.run(label, seed, number=number)
    plan = made_plan(made)
    made.write(kind="plan", plan=plan | {"models": {"SASRec": plan["models"]["SASRec"]}})
    board = read_board(tmp_path)
    assert [(row.label, row.seeds) for row in board.rows] == [("SASRec", [2020])]
    assert board.trials == []
    made.write(kind="plan", plan=plan | {"seeds": [2021, 1999], "tune": 3})  # the control
    board = read_board(tmp_path)
    assert {row.label: row.seeds for row in board.rows} == {"SASRec": [1999], "Twin": [1999]}
    assert [trial["number"] for trial in board.trials] == [2, 2]


def test_of_two_runs_of_one_place_in_the_plan_the_later_counts(journal, tmp_path):
    made = journal(tmp_path)
    made.run("SASRec", settings={"hidden_size": 64})
    made.run("SASRec", number=1, seed=2021)
    made.run("SASRec", settings={"hidden_size": 32})
    board = read_board(tmp_path)
    assert board.row("SASRec").seeds == [2020, 2021]
    assert board.row("SASRec").settings == {"hidden_size": 32}


def test_a_line_that_is_just_being_written_is_left_alone_and_a_broken_one_refused(
    journal, tmp_path
):
    made = journal(tmp_path)
    made.run("SASRec")
    with open(tmp_path / "journal.jsonl", "a") as file:
        file.write('{"kind": "run", "id": "ff')
    assert [row.label for row in read_board(tmp_path).rows] == ["SASRec"]
    with open(tmp_path / "journal.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="journal.jsonl, line 4 is not a record"):
        read_board(tmp_path)


def test_a_folder_without_a_journal_or_a_plan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not a journal of a benchmark"):
        read_board(tmp_path)
    (tmp_path / "journal.jsonl").write_text('{"kind": "refused", "reasons": {}}\n')
    with pytest.raises(ValueError, match="is not a journal of a benchmark"):
        read_board(tmp_path)


def test_a_plan_without_a_finished_run_has_a_page(journal, tmp_path):
    journal(tmp_path)
    board = read_board(tmp_path)
    assert board.rows == [] and len(board.pending) == 9
    page = printers.markdown(board)
    assert "## Leaderboard" not in page and "| Later | no finished seed yet |" in page
    assert printers.csv(board).count("no finished seed") == 9


def test_before_the_first_run_the_protocol_is_not_known(tmp_path, made_up):
    line = json.dumps({"kind": "plan", "plan": made_up.plan | {"max_train_seconds": None}})
    (tmp_path / "journal.jsonl").write_text(line + "\n")
    said = sentences.protocol_sentences(read_board(tmp_path))
    assert "The protocol is not recorded yet." in said and "no limit of time" in said


def test_it_is_said_where_validation_and_test_are_different_tasks(journal, tmp_path):
    made = journal(tmp_path)
    board = read_board(tmp_path)
    said = sentences.protocol_sentences(board)
    shares = "31.2% of the test targets and 24.7% of the validation targets stand in"
    assert shares in said and "different tasks" not in said
    for share in (0.0, 0.9):
        protocol = board.protocol | {"valid_seen_before": share}
        made.write(kind="protocol", protocol=protocol)
        assert "different tasks" in sentences.protocol_sentences(read_board(tmp_path))


@pytest.mark.slow
def test_without_values_per_user_the_test_is_not_available_and_the_rest_stays(journal, tmp_path):
    made = journal(tmp_path)
    for label in ("ICDDT", "SASRec", "Twin"):
        name = made.run(label)
        if label == "SASRec":
            (tmp_path / "users" / f"{name}.parquet").unlink()
    board = read_board(tmp_path)
    assert board.row("SASRec").users == {} and board.row("SASRec").test["ndcg@10"].mean > 0
    assert leaderboard.significance(board, "SASRec", "ndcg@10") == "not available"
    assert leaderboard.significance(board, "Twin", "ndcg@10") in ("n.s.", "below", "best")
    row = section(printers.markdown(board), "Significance")[1]["SASRec"]
    assert row[3] == "not available" and "no values per user (users/" in row[-1]


@pytest.mark.parametrize("file", [None, "users/none.parquet"])
def test_where_the_best_has_no_values_per_user_nothing_is_compared(file, journal, tmp_path):
    made = journal(tmp_path)
    made.run("ICDDT", users_file=file)
    made.run("SASRec")
    made.run("ICDDT (one step)")
    board = read_board(tmp_path)
    assert board.against_best["ndcg@10"] == {} and board.ablations["ndcg@10"] == {}
    page = printers.markdown(board)
    row = section(page, "Significance")[1]["SASRec"]
    assert row[-1] == "not available: the best, ICDDT, has no values per user"
    assert "ICDDT with one step: not tested (ICDDT has no values per user)." in page


def test_an_ablation_without_its_model_is_not_tested(journal, tmp_path):
    made = journal(tmp_path)
    made.run("ICDDT (one step)")
    board = read_board(tmp_path)
    said = sentences.ablation_sentences(board)
    assert said == ["ICDDT with one step: not tested (ICDDT has no finished seed)."]
    assert "## Leaderboard" not in printers.markdown(board)
    assert "| ICDDT (one step) | 0." in printers.markdown(board)


def test_models_with_other_rows_are_refused(journal, tmp_path):
    made = journal(tmp_path)
    made.run("ICDDT")
    made.run("SASRec", frame=made.values("SASRec", 2020, users=390))
    with pytest.raises(ValueError, match="SASRec has 390 rows and ICDDT 400"):
        read_board(tmp_path)


def test_users_with_several_rows_are_one_user_each(journal, tmp_path):
    made = journal(tmp_path)
    for label in ("ICDDT", "Twin"):
        table = made.values(label, 2020).sort_index()
        table["user"], table["row"] = table.index // 4, table.index % 4
        table["user"] = table["user"].astype(str)
        made.run(label, frame=table)
    one = read_board(tmp_path).against_best["ndcg@10"]
    assert [(c.rows, c.users) for c in one.values()] == [(400, 100)]


def test_one_user_has_no_test_and_says_so(journal, tmp_path):
    made = journal(tmp_path, users=5)
    for label in ("ICDDT", "SASRec"):
        table = made.values(label, 2020)
        table["row"], table["user"] = range(5), "u"
        made.run(label, frame=table)
    board = read_board(tmp_path)
    assert leaderboard.significance(board, "SASRec", "ndcg@10") == "not available"
    assert board.no_test["SASRec"] == "values of one user only"


# ---------------------------------------------------------------- Markdown
def test_the_protocol_sentence_names_all_that_models_share(page):
    for words in (
        "Data set: retail.", "86,697 training rows, 300 validation rows and 400 test rows",
        "400 users; 30,113 items", "ab12cd", "mask_history=False", "candidates=all",
        "train_rows=all", "train_behaviors=all", "31.2% of the test targets",
        "max_train_seconds=300", "trials a model: 2", "training seeds: 2020, 2021, 2022",
        "samples: 2", "threads a run: 1", "runs at once: 2", "MAX_ITEM_LIST_LENGTH=20",
        "recbole-diffusion 0.9", "A metric is a mean over users",
    ):  # fmt: skip
        assert page.split("## ")[0].count(words) == 1, words


def test_the_page_says_where_the_data_come_from(journal, tmp_path):
    made = journal(tmp_path)
    made.run("SASRec")
    assert "The data:" not in sentences.protocol_sentences(read_board(tmp_path))
    hint = {"prepare_hint": "Get events.csv\nand run it."}
    made.run("SASRec", config=hint)  # in its result, as in journals of format 1
    said = "The data: Get events.csv and run it."
    assert said in sentences.protocol_sentences(read_board(tmp_path))
    made.run("SASRec", config=None)
    assert said not in sentences.protocol_sentences(read_board(tmp_path))
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    made.write(kind="config", id="of a row", label="SASRec", config=hint)
    made.write(**json.loads(lines[-1]) | {"config": "of a row"})
    assert said in sentences.protocol_sentences(read_board(tmp_path))


def test_the_accuracy_table_has_means_marks_and_the_best_in_bold(page, board):
    _, rows = section(page, "Leaderboard")
    assert rows["model"][1:] == [
        "seeds", "Hit@5", "Hit@10", "NDCG@5", "NDCG@10", "validation NDCG@10",
    ]  # fmt: skip
    spread = board.row("ICDDT").test["ndcg@10"]
    assert rows["ICDDT"][5] == f"**{spread.mean:.4f} ± {spread.sd:.4f}**"
    assert rows["Twin"][5].endswith(" †") and not rows["SASRec"][5].endswith("†")
    assert rows["Twin"][1] == "3 / 3" and rows["Imported"][1] == "1 / 1"
    assert re.fullmatch(r"0\.\d{4}", rows["Imported"][5]), "one seed has no deviation"
    assert "ICDDT (one step)" not in rows and len(rows) == 6
    assert rows["Imported"][6] == "–"


def test_the_significance_table_has_intervals_differences_and_verdicts(page, board):
    text, rows = section(page, "Significance")
    one = board.against_best["ndcg@10"]["SASRec"]
    sasrec = rows["SASRec"]
    assert sasrec[4].startswith(f"−{abs(one.difference):.4f} (−{abs(one.low):.4f} to −")
    assert sasrec[5:] == ["< 0.001", f"−{abs(one.effect):.2f}", "below"]
    assert rows["Twin"][-1] == "n.s." and rows["ICDDT"][-1] == "best"
    assert rows["Imported"][2] == "–", "one seed has no interval over seeds"
    spread = board.row("SASRec").test["ndcg@10"]
    assert sasrec[2] == f"{spread.low:.4f} to {spread.high:.4f}"
    assert "over training seeds" in text and "over users" in text and "Holm" in text


def test_the_tables_of_cost_variance_audit_and_what_is_beyond_have_their_numbers(page):
    _, cost = section(page, "Cost")
    assert cost["ICDDT"][3:] == ["3", "0.25", "0.54", "5", "1,081,536", "812"]
    assert cost["ICDDT"][1] == "0.5" and cost["SASRec"][6] == "–" and "Imported" not in cost
    _, beyond = section(page, "Beyond accuracy")
    assert beyond["model"][1:] == ["Item coverage@10", "Gini index@10", "Average popularity@10"]
    assert beyond["Imported"] == ["Imported", "0.2000", "0.9000", "12.5000"]
    _, audit = section(page, "Never-trained items")
    assert audit["ICDDT"][1:4] == ["87", "4.0%", "12.5%"] and audit["ICDDT"][5] == "0.2800"
    assert "SASRec" not in audit
    _, spreads = section(page, "Two variances")
    assert spreads["ICDDT"][4:] == ["3 × 2", "83.0%"] and "SASRec" not in spreads


def test_sampling_and_training_spreads_are_not_mixed_up(journal, tmp_path, made_up):
    made = journal(tmp_path)
    for number, mean in enumerate((0.2, 0.3, 0.4)):
        pair = [{m: mean + e for m in made_up.metrics} for e in (-0.001, 0.001)]
        made.run(
            "ICDDT",
            2020 + number,
            number=number,
            samplings=pair,
            test={m: mean for m in made_up.metrics},
        )
    board = read_board(tmp_path)
    row = board.row("ICDDT")
    assert row.test["ndcg@10"].sd == pytest.approx(0.1)
    assert row.sampling_sd["ndcg@10"] == pytest.approx(math.sqrt(2) * 0.001)
    cells = section(printers.markdown(board), "Two variances")[1]["ICDDT"]
    assert cells[2:4] == ["0.10000", "0.00141"]


def test_every_ablation_has_a_sentence_that_says_whether_it_differs(page, board):
    text, rows = section(page, "Ablations")
    by = abs(board.ablations["ndcg@10"]["ICDDT (one step)"].difference)
    assert f"ICDDT with one step is significantly below ICDDT in NDCG@10, by {by:.4f}" in text
    assert "ICDDT with the same does not differ significantly from ICDDT in NDCG@10" in text
    assert rows["ICDDT (one step)"][5].startswith("−0.0") and rows["ICDDT"][5:] == ["–"] * 3
    assert rows["ICDDT (same)"][5:] == ["+0.0000", "1.000", "+0.00"]


def test_trials_failures_refusals_papers_and_commands_are_on_the_page(page):
    _, trials = section(page, "Trials")
    assert trials["ICDDT"][3] == "failed: out of memory"
    lines = [line for line in page.splitlines() if line.startswith("| SASRec | ")]
    tried = [line for line in lines if re.match(r"\| SASRec \| [01] \|", line)]
    assert tried[0].endswith("|  |") and "defaults" in tried[0]
    assert tried[1].endswith("| yes |") and "hidden_size=64" in tried[1]
    _, failures = section(page, "Failed, refused and not finished")
    assert failures["EASE"][1:] == ["refused", r"30,113 items \| more than 15,000"]
    assert failures["Broken"][1].endswith("failed") and "ValueError" in failures["Broken"][2]
    assert "ICDDT" not in failures, "a failed trial stands among the trials"
    assert failures["Later"][1] == "no finished seed yet"
    _, papers = section(page, "Paper check")
    assert papers["ICDDT"] == ["ICDDT", r"T\|oday\_", "hit@10", "0.3100", "–", "50% off"]
    assert papers["SASRec"][1:5] == ["Tables", "hit@10", "1", "–"]
    assert page.endswith("## Commands\n\n```bash\nrun `all` of it\n```\n")


def test_a_label_and_an_error_are_text_in_markdown(page, made_up, journal, tmp_path):
    assert made_up.script not in page and "&lt;script>boom()&lt;/script>" in page
    made = journal(tmp_path)
    made.fail("Broken", "a|b *c* `d` <b> &lt; x < 3 _e_ f_g\nh")
    assert r"a\|b \*c\* \`d\` &lt;b> &amp;lt; x < 3 \_e\_ f_g h" in printers.markdown(
        read_board(tmp_path)
    )


def test_many_metrics_are_shown_at_the_main_k_or_by_the_main_name(journal, tmp_path):
    names = [f"{name}@{k}" for name in ("hit", "mrr", "ndcg") for k in (5, 10, 20)]
    made = journal(tmp_path)
    made.run("SASRec", test={name: 0.1 + i / 100 for i, name in enumerate(names)})
    board = read_board(tmp_path)
    shown = leaderboard.shown_metrics(board)
    assert shown == ["hit@10", "mrr@10", "ndcg@5", "ndcg@10", "ndcg@20"]
    assert "The CSV has 4 more." in printers.markdown(board)
    assert set(names) <= set(next(csv.reader(io.StringIO(printers.csv(board)))))


def test_a_metric_that_equals_another_for_every_model_is_not_shown_twice(journal, tmp_path):
    made = journal(tmp_path, metric="recall@5")
    made.run("SASRec", test={"hit@5": 0.2, "recall@5": 0.2, "ndcg@5": 0.1, "mrr@5": 0.1})
    made.run("Twin", test={"hit@5": 0.3, "recall@5": 0.3, "ndcg@5": 0.1, "mrr@5": 0.2})
    board = read_board(tmp_path)
    assert leaderboard.shown_metrics(board) == ["recall@5", "ndcg@5", "mrr@5"]
    assert "The CSV has 1 more." in printers.markdown(board)


def test_rows_without_history_and_all_test_rows_are_shown_where_there_are_any(
    journal, tmp_path, made_up, page
):
    assert "## All test rows" not in page  # the control
    made = journal(tmp_path)
    made.run("SASRec", all_rows={m: 0.1234 for m in made_up.metrics})
    protocol = json.loads((tmp_path / "journal.jsonl").read_text().splitlines()[1])["protocol"]
    changed = protocol | {"rows_without_history": 1500, "behaviors": "view, buy"}
    made.write(kind="protocol", protocol=changed)
    page = printers.markdown(read_board(tmp_path))
    assert section(page, "All test rows")[1]["SASRec"][1:] == ["0.1234"] * 4
    assert (
        "1,500 test rows have no history." in page
        and "Behaviour that is predicted: view, buy." in page
    )


# ---------------------------------------------------------------- LaTeX and CSV
def test_latex_is_escaped_and_its_tables_are_whole(board, journal, tmp_path):
    text = printers.latex(board)
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 12
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 12
    assert r"\textless{}script\textgreater{}boom()" in text and "<script" not in text
    assert re.search(r"ICDDT & 3 / 3 & \\textbf\{0\.\d{4} \$\\pm\$ 0\.\d{4}\} &", text)
    assert re.search(r"\nTwin & .*0\.\d{4} \$\\pm\$ 0\.\d{4}\$\^\\dagger\$ &", text)
    assert r"50\% off" in text and r"T\textbar{}oday\_" in text
    for block in re.findall(r"\\begin\{tabular\}\{(lr*)\}(.*?)\\end\{tabular\}", text, re.S):
        lines = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(block[0])}
    assert text.isascii()
    made = journal(tmp_path)
    made.fail("Broken", r"[\a_b]^~")
    escaped = r"{[}\textbackslash{}a\_b]\textasciicircum{}\textasciitilde{}"
    assert escaped in printers.latex(read_board(tmp_path))


def test_csv_has_a_row_a_model_and_the_figures_of_the_board(board):
    rows = {row["label"]: row for row in csv.DictReader(io.StringIO(printers.csv(board)))}
    assert len(rows) == 7 + 3
    sasrec, spread = rows["SASRec"], board.row("SASRec").test["ndcg@10"]
    assert float(sasrec["ndcg@10"]) == spread.mean and float(sasrec["ndcg@10 sd"]) == spread.sd
    one = board.against_best["ndcg@10"]["SASRec"]
    assert sasrec["ndcg@10 compared with"] == "ICDDT"
    assert float(sasrec["ndcg@10 difference"]) == one.difference < 0
    assert float(sasrec["ndcg@10 Holm p"]) == one.holm
    assert float(sasrec["ndcg@10 d"]) == one.effect
    assert rows["ICDDT"]["ndcg@10 Holm p"] == "" and rows["ICDDT"]["parameters"] == "1081536"
    assert rows["ICDDT (one step)"]["ndcg@10 compared with"] == "ICDDT"
    assert float(rows["ICDDT"]["never-trained hits@10"]) == 0.125
    assert float(rows["ICDDT"]["barred ndcg@5"]) == 0.28
    assert json.loads(sasrec["settings"]) == {"hidden_size": 64}
    labels = {"ICDDT": "done", "Imported": "external", "Broken": "failed", "EASE": "refused"}
    for label, status in (labels | {"Later": "no finished seed"}).items():
        assert rows[label]["status"] == status
    assert rows["EASE"]["reason"] == "30,113 items | more than 15,000"


def test_every_page_says_split_rows_masking_and_device_in_one_line(board):
    said = (
        "leave-one-out in time order, 400 test interactions, history not masked, all items ranked"
    )
    board = copy.deepcopy(board)
    for row, device in zip(board.rows, ("cpu", "cuda:0"), strict=False):
        row.config = {"device": device, "eval_args": {"split": {"LS": "valid_and_test"}}}
    said += ", on the CPU and cuda:0"
    assert f" Protocol: {said}. " in printers.markdown(board)
    assert f" Protocol: {said}. " in printers.latex(board)
    for row in csv.DictReader(io.StringIO(printers.csv(board))):
        assert row["protocol"].endswith(said) == (row["status"] in ("done", "external"))


def test_no_text_of_the_csv_is_a_formula(board, journal, tmp_path):
    labels = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "Pop", "1=1"]
    made = journal(tmp_path, models={label: {"model": label, "settings": {}} for label in labels})
    made.write(kind="refused", reasons={"=1+1": "=cmd|' /C calc'!A0"})
    made.fail("+1", "-2+3")
    rows = list(csv.DictReader(io.StringIO(printers.csv(read_board(tmp_path)), newline="")))
    texts = [cell for row in rows for cell in row.values() if cell]
    assert {"'=1+1", "'+1", "'-1", "'@SUM(A1)", " x", "' =1"} <= set(texts)
    assert {"'-2+3", "'=cmd|' /C calc'!A0", "Pop", "1=1"} <= set(texts)
    assert not [text for text in texts if text.strip()[0] in "=+-@" or "\r" in text]
    cells = [cell for row in csv.reader(io.StringIO(printers.csv(board))) for cell in row if cell]
    below = [cell for cell in cells if cell[0] == "-"]  # the control: numbers stay numbers
    assert below and all(float(cell) < 0 for cell in below)


def test_a_model_with_seeds_left_is_incomplete(journal, tmp_path):
    made = journal(tmp_path, external={"lists.csv": "lists.csv"})
    made.run("SASRec", 2021, number=1)
    made.fail("SASRec", "out of memory", seed=2022, number=2)
    made.fail("lists.csv", "no such file", seed=None, phase="external")
    board = read_board(tmp_path)
    assert ",incomplete," in printers.csv(board)
    page = printers.markdown(board)
    assert section(page, "Leaderboard")[1]["SASRec"][1] == "1 / 3"
    assert section(page, "Failed, refused and not finished")[1]["SASRec"][1:] == [
        "seed 2022 failed", "out of memory",
    ]  # fmt: skip
    failures = section(page, "Failed, refused and not finished")[1]
    assert failures["lists.csv"][1:] == ["import failed", "no such file"]


@pytest.mark.parametrize(
    "x, text",
    [(None, "–"), (0, "0"), (0.0025, "0.0025"), (93.91, "93.9"), (1387.4, "1,387"), (5.0, "5")],
)
def test_quantities_are_short(x, text):
    assert cells.quantity(x) == text


def test_sittings_that_are_alike_but_for_the_date_are_one_row(journal, tmp_path):
    made = journal(tmp_path)
    made.run("SASRec")
    assert "Sittings" not in printers.markdown(read_board(tmp_path))  # of an older version
    machine = {"processor": "A & B", "cores": 2, "memory_gib": None}
    versions = {"python": "3.11.7", "recbole": "1.2.1", "torch": "2.9.0", "numpy": "2.1.0"}
    for day, commit in (("26", "abc"), ("28", "abc"), ("29", None)):
        date = f"2026-11-{day}T23:00:00+00:00"
        what = {"machine": machine, "commit": commit, "versions": versions}
        made.write(kind="sitting", format=2, date=date, **what)
    _, rows = section(printers.markdown(read_board(tmp_path)), "Sittings")
    software = "python 3.11.7, recbole 1.2.1, torch 2.9.0, numpy 2.1.0"
    assert rows["2026-11-26 to 2026-11-28"][1:] == ["2", "A & B, 2 cores", "abc", software]
    assert rows["2026-11-29"][1:] == ["1", "A & B, 2 cores", "–", software]


# ------------------------------------------------------------------ what was not done with learning


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, words",
    [
        ({"stopped_by": "max_train_seconds", "best_epoch": 10}, "while validation still rose"),
        ({"stopped_by": "max_train_seconds", "best_epoch": 8}, ""),
        ({"stopped_by": "epochs", "best_epoch": 10}, ""),
    ],
)
def test_a_model_ended_by_time_while_it_still_rose_is_marked(tmp_path, journal, changes, words):
    made = journal(tmp_path / "rising", seeds=[2020, 2021])
    for label in ("ICDDT", "SASRec"):
        for seed in (2020, 2021):
            curve = [[epoch, float(epoch), 0.01 * epoch] for epoch in range(1, 11)]
            extra = changes if label == "SASRec" else {}
            number = (2020, 2021).index(seed)
            made.run(label, seed, number=number, curve=curve, **extra)
    board = read_board(made.output)
    assert board.row("SASRec").rising == (2 if words else 0) and board.row("ICDDT").rising == 0
    table = next(table for table in leaderboard.tables(board) if table.name == "significance")
    verdict = {row[0].text: row[-1] for row in table.rows}
    assert ("still rose" in verdict["SASRec"].text) == bool(words)
    assert verdict["SASRec"].value == "below" and "still rose" not in verdict["ICDDT"].text
    rises = [said for said in sentences.summary(board) if "might rise" in said]
    assert [said[:20] for said in rises] == ["SASRec (2 of 2 seeds"] * bool(words)
    assert all("(two seeds)" in row[2].text for row in table.rows)
