"""Mean ranks across data sets are those of the means, and told apart as Demšar does."""

import numpy as np
import pytest

pytest.importorskip("statsmodels", reason="the extra 'benchmark' is not installed")
pytest.importorskip("pyarrow", reason="the extra 'benchmark' is not installed")
pytest.importorskip("plotly", reason="the extra 'benchmark' is not installed")

from recbole_diffusion.benchmark.report import across as comparison  # noqa: E402
from recbole_diffusion.cli.main import main  # noqa: E402


@pytest.fixture(scope="module")
def folders(tmp_path_factory, journal):
    """Three benchmarks; SASRec is ahead of ICDDT in one, and Twin is in two of them only."""
    made = []
    for name, swapped, labels in (
        ("a", False, ("ICDDT", "SASRec", "Twin")),
        ("b", False, ("ICDDT", "SASRec", "Twin")),
        ("c", True, ("ICDDT", "SASRec")),
    ):
        one = journal(tmp_path_factory.mktemp(name) / name, users=60, dataset=name)
        for label in labels:
            for number, seed in enumerate((2020, 2021, 2022)):
                source = {"ICDDT": "SASRec", "SASRec": "ICDDT"}.get(label) if swapped else label
                one.run(label, seed, number=number, frame=one.values(source, seed))
        made.append(one.output)
    return made


def test_the_critical_difference_is_that_of_the_paper():
    # Demšar 2006, section 3.2.2: four classifiers, 14 data sets
    assert comparison.critical_difference(4, 14) == pytest.approx(
        2.569 * (20 / 84) ** 0.5, abs=1e-3
    )
    assert comparison.critical_difference(4, 28) < comparison.critical_difference(4, 14)


@pytest.mark.slow
def test_ranks_are_those_of_the_means_and_only_common_models_are_ranked(folders):
    found = comparison.across(folders)
    assert found.data == ["a", "b", "c"] and found.labels == ["ICDDT", "SASRec"]
    assert found.ranks.tolist() == [[1, 1, 2], [2, 2, 1]]
    assert np.allclose(found.mean_ranks, [4 / 3, 5 / 3]) and found.left_out == ["Twin"]
    assert found.p is None  # Friedman's test needs three
    assert "Left out" in comparison.sentences(found)


@pytest.mark.slow
def test_three_models_are_tested(folders):
    found = comparison.across(folders[:2])
    assert len(found.labels) == 3 and 0 < found.p <= 1
    assert "cannot be said to differ" in comparison.sentences(found)


@pytest.mark.slow
def test_the_command_writes_a_table_and_a_page(folders, tmp_path, capsys):
    output = tmp_path / "compared"
    names = list(map(str, folders))
    assert main(["benchmark", "--compare", *names, f"--output={output}"]) == 0
    out = capsys.readouterr().out
    assert "| ICDDT | 1.33 |" in out
    text = (output / "comparison.html").read_text()
    assert "critical-difference" in text and "ICDDT" in text and 'src="http' not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen, more, words",
    [
        ([0], [], "two or more data sets"),
        ([0, 0], [], "two or more data sets"),
        ([0, None], [], "journal"),
        ([0, 1], ["--models=SASRec"], "not with --models"),
    ],
)
def test_what_cannot_be_compared_is_refused(folders, tmp_path, chosen, more, words, capsys):
    names = [str(tmp_path / "none" if n is None else folders[n]) for n in chosen]
    assert main(["benchmark", "--compare", *names, *more]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
