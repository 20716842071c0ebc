"""The notebooks run from top to bottom on a small city's data, and those in the repository show their plots."""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
PLOTTED = {"cohort_retention", "campaign_funnel", "streamer_earnings"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name, stack, small_city, monkeypatch):
    del small_city  # its data is there
    monkeypatch.setattr(os, "environ", os.environ | stack.environment | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(FOLDER.parent)}}).execute()


@pytest.mark.parametrize("name", sorted(PLOTTED))
def test_it_can_be_read_in_the_repository(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
