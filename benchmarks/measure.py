"""Runs a command as a process of its own and says what it cost."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Cost:
    """Wall-clock seconds and peak resident memory in megabytes of one process, what it printed last, and processor seconds."""

    seconds: float
    megabytes: float
    said: Any
    cpu_seconds: float


def cost(words: Sequence[object], *, env: dict[str, str] | None = None) -> Cost:
    """Run ``python -m words...`` from the project's root; raises CalledProcessError where it fails."""
    command = [sys.executable, "-m", *map(str, words)]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | (env or {}), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said)
    lines = said.strip().splitlines()
    return Cost(
        seconds=time.monotonic() - began,
        megabytes=used.ru_maxrss / 1024,
        said=json.loads(lines[-1]) if lines else None,
        cpu_seconds=used.ru_utime + used.ru_stime,
    )


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(memory),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def keep(name: str, *, command: str, rows: list[dict[str, Any]]) -> Path:
    """Write the figures as JSON beside those of earlier runs of other benchmarks."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps({"command": command, "machine": machine(), "rows": rows}, indent=1) + "\n")
    return file


def plot(name: str, *, rows: list[dict[str, Any]], x: str, lines: dict[str, str], title: str) -> Path:
    """Draw ``lines`` (column -> label) against ``x``, both logarithmic, into a PNG file."""
    import matplotlib as mpl  # noqa: PLC0415 - only a benchmark's last step needs it

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for column, label in lines.items():
        axes.loglog([row[x] for row in rows], [row[column] for row in rows], marker="o", label=label)
    axes.set_xlabel(x.replace("_", " "))
    axes.set_title(title)
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    file = RESULTS / f"{name}.png"
    figure.tight_layout()
    figure.savefig(file, dpi=100)
    return file
