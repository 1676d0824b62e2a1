"""The examples of the documentation run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

from tests.shops import ROOT


def test_the_python_of_the_docs(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (tmp_path / "orders.csv").write_text(re.findall(r"```csv\n(.*?)```", readme, flags=re.DOTALL)[0])
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), flags=re.DOTALL))
    (tmp_path / "example.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "4 rows added, 0 refused"
    assert lines[-1] == "True"
    assert any("ann" in line and "order" in line for line in lines)
