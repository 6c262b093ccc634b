"""The notebook runs from its first cell to its last, and says nothing of a machine."""

import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="the extra `test` is not installed")
pytest.importorskip("ipykernel", reason="the extra `test` is not installed")
import nbformat  # noqa: E402

FILE = Path(__file__).resolve().parents[1] / "docs" / "notebooks" / "recommend.ipynb"


def texts(notebook):
    """The sources and outputs of the cells of code."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield cell.source
            yield from (str(output) for output in cell.outputs)


def run(notebook, folder):
    """Executes a notebook in a folder; raises for a cell that raises."""
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": folder}}
    )
    return client.execute()


def test_the_notebook_was_run_and_names_no_path_of_a_machine():
    cells = [cell for cell in nbformat.read(FILE, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [text for text in texts(nbformat.read(FILE, 4)) if re.search(r"/\w+/\w+/", text)]
    assert FILE.stat().st_size < 100_000
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


@pytest.mark.slow
def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path):
    for extra in ("faiss", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(extra, reason="the extras ann and export are not installed")
    notebook = nbformat.read(FILE, 4)
    done = run(notebook, str(tmp_path))
    assert sum(text.count("\nassert ") for text in texts(done)) >= 4
    assert (tmp_path / "sasrec-onnx" / "model.onnx").is_file()


@pytest.mark.slow
def test_a_cell_that_is_wrong_is_found(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(nbclient.exceptions.CellExecutionError):
        run(notebook, str(tmp_path))
