"""The notebooks run from their first cell to their last, and say nothing of a machine."""

import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="the extra `test` is not installed")
pytest.importorskip("ipykernel", reason="the extra `test` is not installed")
import nbformat  # noqa: E402

FILES = sorted((Path(__file__).resolve().parents[1] / "docs" / "notebooks").glob("*.ipynb"))
# Libraries that a notebook names in its first cell, and what it leaves behind.
LEFT = {
    "does_the_diffusion_count": (["statsmodels", "pyarrow"], "benchmark/ml-100k/journal.jsonl"),
    "first_hour": (["statsmodels", "pyarrow", "plotly"], "benchmark/ml-100k/report.html"),
    "journal": (["statsmodels", "pyarrow", "matplotlib"], "benchmark/ml-100k/journal.jsonl"),
    "recommend": (["faiss", "onnx", "onnxscript", "onnxruntime"], "sasrec-onnx/model.onnx"),
}
SHORTER = [('"epochs": 4', '"epochs": 1'), ('"max_train_seconds": 20', '"max_train_seconds": 4')]
by_name = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def texts(notebook):
    """The sources and outputs of the cells of code."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell.source
            for output in cell.outputs:
                data = output.get("data", {})
                shown = {kind: value for kind, value in data.items() if kind != "image/png"}
                yield str(dict(output) | {"data": shown})


def run(notebook, folder):
    """Executes a notebook in a folder; raises for a cell that raises."""
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": folder}}
    )
    return client.execute()


@by_name
def test_a_notebook_was_run_and_names_no_path_of_a_machine(file):
    notebook = nbformat.read(file, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [text for text in texts(notebook) if re.search(r"/\w+/\w+/", text)]
    assert file.stat().st_size < 100_000
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@pytest.mark.slow
@by_name
def test_a_notebook_runs_from_its_first_cell_to_its_last(file, tmp_path):
    libraries, left = LEFT[file.stem]
    for library in libraries:
        pytest.importorskip(library, reason=f"{library} is not installed")
    notebook = nbformat.read(file, 4)
    for cell in notebook.cells:  # in a third of the time
        for long, short in SHORTER + [('"seeds": 2', '"seeds": 1')] * (file.stem != "journal"):
            cell.source = cell.source.replace(long, short)
    done = run(notebook, str(tmp_path))
    assert sum(text.count("\nassert ") for text in texts(done)) >= 1
    assert (tmp_path / left).is_file()


@pytest.mark.slow
def test_a_cell_that_is_wrong_is_found(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        run(notebook, str(tmp_path))
