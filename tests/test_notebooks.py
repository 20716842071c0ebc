"""The notebooks run from top to bottom on a small city's data, and those in the repository show their plots."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from tests.conftest import Stack
from tests.living import SmallCity

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
PLOTTED = {"cohort_retention", "campaign_funnel", "streamer_earnings"}


@pytest.fixture(scope="module")
def kernel(stack: Stack) -> Iterator[KernelManager]:
    """One kernel for all notebooks: its start, and the import of what draws, take longer than a notebook does."""
    kernel = KernelManager(kernel_name="python3")
    kernel.start_kernel(env=os.environ | stack.environment | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}, cwd=str(FOLDER.parent))
    yield kernel
    kernel.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, kernel: KernelManager, small_city: SmallCity) -> None:
    del small_city  # its data is there
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook.cells.insert(0, new_code_cell("%reset -f"))  # it finds nothing of the one before
    client = NotebookClient(notebook, timeout=120, km=kernel)
    try:
        client.execute()
    finally:
        if client.kc is not None:
            client.kc.stop_channels()


@pytest.mark.parametrize("name", sorted(PLOTTED))
def test_it_can_be_read_in_the_repository(name: str) -> None:
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
