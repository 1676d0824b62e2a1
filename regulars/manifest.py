"""What of the lake is live: the files that ``manifest.json`` names, and how it is replaced in one rename."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from regulars.errors import LakeError
from regulars.intake import literal
from regulars.slices import ALL

FORMAT = 2


@dataclass(frozen=True)
class File:
    """One live file: its path below the lake, the month of its rows (``none`` without a time, or ``all``), rows, SHA-256.

    ``slice``: which customers it holds, see ``regulars.slices``.
    """

    path: str
    month: str
    rows: int
    sha256: str
    slice: str = ALL


@dataclass(frozen=True)
class Manifest:
    """The state of the lake: live files by table, and the tables in which no key occurs twice."""

    next_import: int
    files: dict[str, tuple[File, ...]]
    unique: frozenset[str]

    def content_hash(self) -> str:
        """A hash of all that the lake holds: equal for equal live files."""
        lines = sorted(f"{table} {file.sha256}" for table, files in self.files.items() for file in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Make this the state of the lake in ``folder``, durable and all at once."""
        body = {
            "format": FORMAT,
            "next_import": self.next_import,
            "unique": sorted(self.unique),
            "files": {table: [asdict(file) for file in files] for table, files in self.files.items()},
        }
        written = folder / "manifest.json.new"
        with written.open("w") as file:
            json.dump(body, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        written.replace(folder / "manifest.json")
        sync(folder)


def read_manifest(folder: Path) -> Manifest:
    """The state of the lake in ``folder`` now; empty where nothing was ever written.

    Raises:
        LakeError: where the manifest cannot be read or is of another format.
    """
    try:
        raw = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        return Manifest(1, {}, frozenset())
    except (OSError, ValueError) as error:
        raise LakeError(f"the lake's manifest in {folder} cannot be read: {error}") from error
    if raw.get("format") != FORMAT:
        raise LakeError(f"expected a lake of format {FORMAT}, got {raw.get('format')} in {folder}")
    files = {table: tuple(File(**file) for file in listed) for table, listed in raw["files"].items()}
    return Manifest(raw["next_import"], files, frozenset(raw["unique"]))


def scan(folder: Path, files: Sequence[File]) -> str:
    """The rows of ``files`` as DuckDB reads them."""
    return f"read_parquet([{', '.join(literal(str(folder / file.path)) for file in files)}])"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Ask the system to make a file, or a folder's list of names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
