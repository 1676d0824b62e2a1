"""The notebooks run from top to bottom, and are kept with their outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.shops import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_is_kept_with_what_it_shows(file: Path) -> None:
    kept = nbformat.read(file, as_version=4)
    shown = [cell for cell in kept.cells if cell.cell_type == "code" and cell.outputs]
    assert len(shown) >= 5
    assert any("image/png" in output.get("data", {}) for cell in shown for output in cell.outputs)
    assert "simulated" in kept.cells[0].source
    fresh = nbformat.read(file, as_version=4)
    NotebookClient(fresh, timeout=300, resources={"metadata": {"path": str(file.parent)}}).execute()


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) == 4
