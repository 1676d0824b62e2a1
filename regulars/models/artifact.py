"""A fitted model as a folder of data files under a manifest of hashes; nothing in it can run.

A folder holds LightGBM text, ``.npy``, Parquet and JSON, and ``artifact.json``, which names its kind, its format
and the SHA-256 of every other file. ``open_artifact`` refuses a folder that is not exactly what was sealed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regulars.errors import ArtifactError

MANIFEST = "artifact.json"
DATA_SUFFIXES = {".txt", ".npy", ".parquet", ".json"}


def seal_artifact(folder: Path, *, kind: str, format_version: int, about: Mapping[str, Any]) -> None:
    """Write the manifest over all files now in ``folder``; ``about`` is JSON that describes the model.

    Raises:
        ArtifactError: where the folder holds a file that is not plain data.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        if path.suffix not in DATA_SUFFIXES:
            raise ArtifactError(f"{path.name} cannot be part of a model: only {sorted(DATA_SUFFIXES)} are data")
    manifest = {
        "kind": kind,
        "format_version": format_version,
        "about": dict(about),
        "sha256": {path.relative_to(folder).as_posix(): file_hash(path) for path in files},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))


def open_artifact(folder: Path, *, kind: str, format_version: int) -> dict[str, Any]:
    """What ``seal_artifact`` was told about the model in ``folder``, after every file was checked against its hash.

    Raises:
        ArtifactError: where the folder is not of that kind and format, or a file is missing, added or altered.
    """
    manifest = _manifest(folder)
    found_kind = (manifest["kind"], manifest["format_version"])
    if found_kind != (kind, format_version):
        raise ArtifactError(
            f"expected a model of kind {kind}, format {format_version}, got {found_kind}; train it again"
        )
    _check_files(folder, manifest["sha256"])
    about: dict[str, Any] = manifest["about"]
    return about


def verify_artifact(folder: Path) -> None:
    """Check every file of a model of any kind against its hash.

    Raises:
        ArtifactError: where the folder is no model, or a file is missing, added or altered.
    """
    _check_files(folder, _manifest(folder)["sha256"])


def artifact_kind(folder: Path) -> str:
    """The kind of the model in ``folder``; its files are not checked.

    Raises:
        ArtifactError: where the folder is no model.
    """
    return str(_manifest(folder)["kind"])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return {
            "sha256": dict(manifest["sha256"]),
            **{name: manifest[name] for name in ("kind", "format_version", "about")},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder} is no model: {MANIFEST} cannot be read ({error})") from error


def _check_files(folder: Path, sealed: Mapping[str, str]) -> None:
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST}
    if present != set(sealed):
        raise ArtifactError(f"model files differ from its manifest: {sorted(present ^ set(sealed))}; train it again")
    for name, expected in sealed.items():
        if file_hash(folder / name) != expected:
            raise ArtifactError(f"model file {name} was altered after it was saved; train it again")


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
