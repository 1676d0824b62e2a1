"""Versions of the models, as the registry's watcher last saw them, and moving the champion's alias.

Workers do without MLflow: promotion and roll-back run the command line in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from regulars.errors import DataError, ModelMissing

LISTED = "models.json"
MOVE_WITHIN_S = 60


def versions(champions: Path) -> dict[str, list[dict[str, Any]]]:
    """Model -> its versions, newest first; empty where none was trained or the watcher has not looked yet."""
    try:
        read: dict[str, list[dict[str, Any]]] = json.loads((champions / LISTED).read_text())
    except (OSError, ValueError):
        return {}
    return read


def promote(name: str, version: int, *, force: bool, why: str) -> dict[str, Any]:
    """Make a version the champion, by the rule of ``regulars promote``.

    Raises:
        DataError: where the rule, or the state, speaks against it; the message says why.
    """
    return _run(["promote", name, str(version), *(["--force", "--why", why] if force else [])])


def rollback(name: str) -> dict[str, Any]:
    """Make the champion before the champion again; raises DataError where there is none."""
    return _run(["rollback", name])


def check_known(champions: Path, name: str) -> None:
    """Raises ModelMissing where no model of that name was trained."""
    if name not in versions(champions):
        raise ModelMissing(f"no model {name} has been trained")


def _run(words: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "cli.main", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOVE_WITHIN_S)
    if done.returncode:
        raise DataError(done.stderr.strip().splitlines()[-1].removeprefix("regulars: "))
    made: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return made
