"""Brings champions from MLflow to disk, verified; the only file of serving that knows MLflow.

It runs as a process of its own beside the workers, which read the folder and nothing else:

    HOME/champions/<model>/<version>/     a sealed artifact
    HOME/champions/<model>/current.json   {"version": N, "as_of": "..."}, replaced atomically
"""

import json
import logging
import os
import shutil
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from regulars.errors import ArtifactError
from regulars.models.artifact import verify_artifact
from regulars.settings import Settings
from serving.champions import CURRENT, MODELS, champions_folder, current_version
from serving.services.models import LISTED

POLL_S = 3.0
LOOKED_ANYWAY = 20  # every so many turns: whoever wrote in the very moment of the last look was not seen
MOST_LISTED = 100

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

log = logging.getLogger(__name__)


def watch(settings: Settings, parent: int) -> None:
    """Keep the champions on disk as the registry has them, until the process ``parent`` is gone."""
    settings.home.mkdir(parents=True, exist_ok=True)
    client: MlflowClient | None = None
    seen, turns = None, 0
    while os.getppid() == parent:
        found = written(settings.tracking_uri)
        if found is None or found != seen or turns % LOOKED_ANYWAY == 0:
            try:
                client = client or MlflowClient(tracking_uri=settings.tracking_uri)
                for name in MODELS:
                    bring(client, settings, name)
                list_versions(client, settings)
                seen = found
            except Exception as error:  # the registry may be away for a while; the champions on disk go on answering
                log.warning("the model registry cannot be asked, trying again: %s", error)
        turns += 1
        time.sleep(POLL_S)


def written(tracking_uri: str) -> list[tuple[int, int, int]] | None:
    """Equal as long as nobody wrote into a registry that is a SQLite file, when it need not be asked; None where it must be."""
    if not tracking_uri.startswith("sqlite:///"):
        return None
    file = Path(tracking_uri.removeprefix("sqlite:///"))
    found = [path.stat() for path in (file, file.with_name(f"{file.name}-wal")) if path.exists()]
    return [(of.st_ino, of.st_size, of.st_mtime_ns) for of in found] or None


def bring(client: MlflowClient, settings: Settings, name: str) -> None:
    """Bring the champion of ``name`` to disk where it is another than the one there; a broken one is refused."""
    folder = champions_folder(settings.home) / name
    try:
        champion = client.get_model_version_by_alias(name, "champion")
    except MlflowException:
        return
    version = int(champion.version)
    if version == current_version(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / str(version)
    if not target.exists():
        incoming = folder / f"incoming-{os.getpid()}"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            fetched = download_artifacts(
                artifact_uri=f"{champion.source}/data", dst_path=str(incoming), tracking_uri=settings.tracking_uri
            )
            verify_artifact(Path(fetched))
            _put(Path(fetched), target)
        except ArtifactError as error:
            log.error("%s version %s is refused, the champion before goes on answering: %s", name, version, error)
            return
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    _point_to(folder, version, str(champion.tags.get("as_of", "")))
    _remove_older(folder, keep=version)
    log.info("%s version %s is the champion", name, version)


def bring_all(settings: Settings) -> None:
    """Bring the champions to disk now, so that a service that starts later finds them; what fails is left to its watcher."""
    try:
        client = MlflowClient(tracking_uri=settings.tracking_uri)
        for name in MODELS:
            bring(client, settings, name)
    except Exception as error:
        log.warning("the champions could not be fetched, the service will try again: %s", error)


def list_versions(client: MlflowClient, settings: Settings) -> None:
    """Write what the registry holds of every model, newest version first, for workers to read."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in client.search_registered_models():
        aliases: dict[int, list[str]] = {}
        for alias, number in model.aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        rows = client.search_model_versions(f"name = '{model.name}'", max_results=MOST_LISTED)
        found[model.name] = [
            {
                "version": int(row.version),
                "aliases": sorted(aliases.get(int(row.version), [])),
                "as_of": row.tags.get("as_of"),
                "settings": json.loads(row.tags.get("settings", "{}")),
                "comparison": json.loads(row.tags["comparison"]) if "comparison" in row.tags else None,
                "metrics": _metrics(client, row.run_id),
            }
            for row in sorted(rows, key=lambda row: int(row.version), reverse=True)
        ]
    folder = champions_folder(settings.home)
    folder.mkdir(parents=True, exist_ok=True)
    body = json.dumps(found)
    if not (folder / LISTED).exists() or (folder / LISTED).read_text() != body:
        written = folder / f"{LISTED}.new"
        written.write_text(body)
        written.replace(folder / LISTED)


@lru_cache(maxsize=1_000)
def _metrics(client: MlflowClient, run_id: str) -> dict[str, float]:
    """Asked for once: a version is registered after its run has ended."""
    found: dict[str, float] = client.get_run(run_id).data.metrics
    return found


def _put(fetched: Path, target: Path) -> None:
    """Move ``fetched`` to ``target``, where another process may have put the same meanwhile."""
    try:
        fetched.replace(target)
    except OSError:
        if not target.exists():
            raise


def _point_to(folder: Path, version: int, as_of: str) -> None:
    written = folder / f"{CURRENT}.new"
    written.write_text(json.dumps({"version": version, "as_of": as_of}))
    written.replace(folder / CURRENT)


def _remove_older(folder: Path, *, keep: int) -> None:
    """Keep the champion and the newest other version: workers may still be on it."""
    others = sorted((int(path.name) for path in folder.iterdir() if path.name.isdigit()), reverse=True)
    for version in [number for number in others if number != keep][1:]:
        shutil.rmtree(folder / str(version), ignore_errors=True)
