"""Runs and versions in MLflow; the only file of training that knows it.

A version's source is a folder ``model``: ``MLmodel``, which says to MLflow's own clients how to load it (``regulars.pyfunc``),
and ``data``, the sealed artifact of ``regulars.models.artifact``, which is all that our own code reads. Its tags say what
promotion and batch answers need: ``as_of``, ``settings`` (JSON), ``data_hash``. Aliases: ``champion`` answers,
``challenger`` is the newest that does not, ``previous`` is the champion before.
"""

import json
import logging
import os
import platform
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric, Param
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.version import VERSION as MLFLOW_VERSION

from regulars.errors import DataError, ModelMissing
from regulars.pyfunc import PARAMS
from regulars.settings import Settings
from training.plots import comparison_figure
from training.results import Trained

MODELS = ("churn", "value", "recommender", "offers", "cancellation")
ARTIFACT, DATA = "model", "data"
LOADER = "regulars.pyfunc"
COMPARISON, HISTORY = "comparison", "history"

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
for noisy in ("mlflow", "alembic"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Version:
    """One registered version of a model; ``settings`` are those it was trained with."""

    name: str
    number: int
    as_of: datetime
    settings: Mapping[str, Any]
    source: str
    run_id: str
    aliases: tuple[str, ...]


class Tracking:
    """The shop's MLflow store."""

    def __init__(self, settings: Settings) -> None:
        settings.home.mkdir(parents=True, exist_ok=True)
        self._uri = settings.tracking_uri
        self._artifacts = (settings.home / "mlflow-artifacts").as_uri()
        self._client = MlflowClient(tracking_uri=self._uri)

    def register(
        self, name: str, trained: Trained, *, as_of: datetime, data_hash: str, run_name: str | None = None
    ) -> Version:
        """The new version, after its run was logged; champion where there was none, else challenger."""
        run = self._client.create_run(self._experiment(name), run_name=run_name)
        run_id = run.info.run_id
        params = [Param(key, str(value)[:500]) for key, value in trained.settings.items()]
        params += [
            Param("as_of", as_of.isoformat()),
            Param("data_hash", data_hash),
            Param("git_commit", _commit()),
        ]
        now = run.info.start_time
        metrics = [Metric(key, float(value), now, 0) for key, value in trained.metrics.items() if not isnan(value)]
        self._client.log_batch(run_id, metrics=metrics, params=params)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / ARTIFACT
            (folder / DATA).mkdir(parents=True)
            trained.model.save(folder / DATA)
            (folder / "MLmodel").write_text(_mlmodel(name, run_id, created=run.info.start_time))
            self._client.log_artifacts(run_id, str(folder), ARTIFACT)
        self._client.log_text(run_id, trained.table.to_csv(index=False), "comparison.csv")
        self._client.log_figure(run_id, comparison_figure(trained.table), "comparison.png")
        self._client.log_text(run_id, "\n".join(trained.notes), "notes.txt")
        self._client.set_terminated(run_id)
        return self._create_version(name, f"{run.info.artifact_uri}/{ARTIFACT}", run_id, trained, as_of, data_hash)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, newest first; empty where there is none."""
        found = self._client.search_model_versions(f"name = '{name}'", max_results=10_000)
        aliases = self._aliases(name)
        return sorted((_version(v, aliases) for v in found), key=lambda v: v.number, reverse=True)

    def champion(self, name: str) -> Version | None:
        """The version that answers, or None."""
        return next((version for version in self.versions(name) if "champion" in version.aliases), None)

    def version_for(self, name: str, *, as_of: datetime, number: int | None = None) -> Version:
        """Version ``number``, or the newest with the champion's settings that was trained as of ``as_of`` or before.

        Raises:
            ModelMissing: where there is none, or ``number`` was trained on later data than ``as_of``.
        """
        versions = self.versions(name)
        mend = f"run: regulars train {name} --as-of {as_of.isoformat()}"
        if number is not None:
            return _named(versions, name, number, as_of)
        champion = next((version for version in versions if "champion" in version.aliases), None)
        if champion is None:
            raise ModelMissing(f"no {name} model has been trained; {mend}")
        fitting = [v for v in versions if v.as_of <= as_of and v.settings == champion.settings]
        if not fitting:
            raise ModelMissing(
                f"no version of {name} with the champion's settings is as of {as_of.isoformat()} or before; {mend}"
            )
        return max(fitting, key=lambda version: (version.as_of, version.number))

    def keep_comparison(self, version: Version, verdict: Mapping[str, Any]) -> None:
        """Keep with ``version`` how it did against the champion; promotion goes by the newest."""
        said = json.dumps(dict(verdict), sort_keys=True)
        self._client.set_model_version_tag(version.name, str(version.number), COMPARISON, said)

    def promote(self, name: str, number: int, *, by: str, forced_because: str | None = None) -> Version:
        """Make version ``number`` the champion; the champion before becomes ``previous``.

        Raises:
            ModelMissing: where there is no such version.
            DataError: where no comparison with today's champion shows that it is better and nothing else worse, unless
                ``forced_because`` says why that does not matter; who and why are kept with the version.
        """
        versions = {version.number: version for version in self.versions(name)}
        if number not in versions:
            raise ModelMissing(f"{name} has no version {number}; it has {sorted(versions)}")
        champion = self.champion(name)
        if champion is not None and champion.number == number:
            raise DataError(f"version {number} of {name} is the champion already")
        verdict = self.comparison(versions[number])
        against = refusal(verdict, champion=champion.number if champion else None, number=number, name=name)
        if against and forced_because is None:
            raise DataError(against)
        forced = {"because": forced_because, "against": against} if against else {}
        self._record(versions[number], {"promoted_by": by, **forced})
        self._hand_over(name, number, champion)
        return next(version for version in self.versions(name) if version.number == number)

    def rollback(self, name: str, *, by: str) -> Version:
        """Make the champion before the champion again, and today's champion ``previous``.

        Raises:
            ModelMissing: where there is no champion before.
        """
        previous = next((version for version in self.versions(name) if "previous" in version.aliases), None)
        if previous is None:
            raise ModelMissing(f"{name} has no earlier champion to go back to")
        self._record(previous, {"rolled_back_by": by})
        self._hand_over(name, previous.number, self.champion(name))
        return next(version for version in self.versions(name) if version.number == previous.number)

    def comparison(self, version: Version) -> dict[str, Any] | None:
        """What ``keep_comparison`` kept last, or None."""
        tags = self._client.get_model_version(version.name, str(version.number)).tags
        return json.loads(tags[COMPARISON]) if COMPARISON in tags else None

    def history(self, version: Version) -> list[dict[str, Any]]:
        """Who made a version the champion and why, oldest first."""
        tags = self._client.get_model_version(version.name, str(version.number)).tags
        return list(json.loads(tags.get(HISTORY, "[]")))

    def _record(self, version: Version, entry: Mapping[str, Any]) -> None:
        entries = [*self.history(version), dict(entry)]
        self._client.set_model_version_tag(version.name, str(version.number), HISTORY, json.dumps(entries))

    def _hand_over(self, name: str, number: int, before: Version | None) -> None:
        """The champion's alias moves first: whoever looks in between sees one champion, never none."""
        self._client.set_registered_model_alias(name, "champion", str(number))
        if before is not None:
            self._client.set_registered_model_alias(name, "previous", str(before.number))
        if "challenger" in next(v for v in self.versions(name) if v.number == number).aliases:
            self._client.delete_registered_model_alias(name, "challenger")

    def table(self, version: Version) -> str:
        """The comparison of a version with its baselines as it was measured in training, in CSV."""
        return self._text(version, "comparison.csv")

    def notes(self, version: Version) -> list[str]:
        """The sentences that must stand beside the figures of a version."""
        return [line for line in self._text(version, "notes.txt").splitlines() if line]

    def fetch(self, version: Version, folder: Path) -> Path:
        """The folder of a version's artifact, copied below ``folder``."""
        source = f"{version.source}/{DATA}"
        return Path(download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=self._uri))

    def _text(self, version: Version, name: str) -> str:
        with tempfile.TemporaryDirectory() as scratch:
            return Path(self._client.download_artifacts(version.run_id, name, scratch)).read_text()

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = None if self._uri.startswith("http") else f"{self._artifacts}/{name}"
        return str(self._client.create_experiment(name, artifact_location=place))

    def _create_version(
        self, name: str, source: str, run_id: str, trained: Trained, as_of: datetime, data_hash: str
    ) -> Version:
        try:
            self._client.get_registered_model(name)
        except MlflowException:
            self._client.create_registered_model(name)
        tags = {
            "as_of": as_of.isoformat(),
            "settings": json.dumps(trained.settings, sort_keys=True),
            "data_hash": data_hash,
        }
        made = self._client.create_model_version(name, source=source, run_id=run_id, tags=tags)
        alias = "challenger" if self.champion(name) else "champion"
        self._client.set_registered_model_alias(name, alias, made.version)
        return next(version for version in self.versions(name) if version.number == int(made.version))

    def _aliases(self, name: str) -> dict[int, list[str]]:
        try:
            listed = self._client.get_registered_model(name).aliases
        except MlflowException:
            return {}
        aliases: dict[int, list[str]] = {}
        for alias, number in listed.items():
            aliases.setdefault(int(number), []).append(alias)
        return aliases


def refusal(verdict: Mapping[str, Any] | None, *, champion: int | None, number: int, name: str) -> str | None:
    """Why a version may not become champion by what was compared, or None where it may.

    >>> refusal({"champion": "3", "metric": "ndcg@20", "gain": 0.02, "gain_low": 0.01, "gain_high": 0.03, "worse": []},
    ...         champion=3, number=4, name="recommender")
    """
    if champion is None:
        return None
    ask = f"run: regulars compare {name}"
    if verdict is None or str(verdict["champion"]) != str(champion):
        return f"version {number} of {name} was never compared with the champion, version {champion}; {ask}"
    if not verdict["gain_low"] > 0:
        return (
            f"version {number} of {name} is not shown to be better than version {champion}: {verdict['metric']} gains "
            f"{verdict['gain']:+.4f} ({verdict['gain_low']:+.4f} to {verdict['gain_high']:+.4f})"
        )
    if verdict["worse"]:
        return (
            f"version {number} of {name} is better in {verdict['metric']}, but worse in {', '.join(verdict['worse'])}"
        )
    return None


def _named(versions: list[Version], name: str, number: int, as_of: datetime) -> Version:
    version = next((version for version in versions if version.number == number), None)
    if version is None:
        raise ModelMissing(f"{name} has no version {number}; it has {[v.number for v in versions]}")
    if version.as_of > as_of:
        raise ModelMissing(
            f"version {number} of {name} saw data up to {version.as_of.isoformat()}, later than {as_of.isoformat()}"
        )
    return version


def _version(found: ModelVersion, aliases: Mapping[int, list[str]]) -> Version:
    return Version(
        name=found.name,
        number=int(found.version),
        as_of=datetime.fromisoformat(found.tags["as_of"]),
        settings=json.loads(found.tags["settings"]),
        source=found.source,
        run_id=found.run_id,
        aliases=tuple(sorted(aliases.get(int(found.version), []))),
    )


def _mlmodel(name: str, run_id: str, *, created: int) -> str:
    """The file by which MLflow knows how to load a model: with the module ``regulars.pyfunc``, from the folder beside it.

    Written here, since ``mlflow.pyfunc`` takes seconds to import and would guess at requirements.
    """
    python = ".".join(platform.python_version_tuple())
    body: dict[str, Any] = {
        "artifact_path": ARTIFACT,
        "flavors": {"python_function": {"loader_module": LOADER, "data": DATA, "python_version": python}},
        "mlflow_version": MLFLOW_VERSION,
        "model_uuid": uuid.uuid4().hex,
        "run_id": run_id,
        "utc_time_created": datetime.fromtimestamp(created / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    if name in PARAMS:
        body["signature"] = {"inputs": None, "outputs": None, "params": json.dumps(PARAMS[name])}
    return yaml.safe_dump(body)


def _commit() -> str:
    """The commit this code is at, or "unknown" outside a checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"
