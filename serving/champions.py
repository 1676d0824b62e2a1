"""The champions on disk, as a worker sees them; swapped while requests go on."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from regulars.errors import ArtifactError
from regulars.models.recommender import Recommender

MODELS = ("recommender",)
CURRENT = "current.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A champion in memory."""

    model: Recommender
    version: int

    @property
    def policy(self) -> str:
        """What answers call it."""
        return f"recommender-{self.version}"


class Champions:
    """The champion recommender; ``refresh`` takes up a new one, requests use whichever was there when they began."""

    def __init__(self, home: Path) -> None:
        self._folder = champions_folder(home) / "recommender"
        self._refused: int | None = None
        self.recommender: Loaded | None = None

    def refresh(self) -> None:
        """Load the version that the registry's watcher points to, where it is another one; keep the old one if broken."""
        version = current_version(self._folder)
        if version is None or version == self._refused:
            return
        if self.recommender is not None and self.recommender.version == version:
            return
        try:
            model = Recommender.load(self._folder / str(version))
            model.warm_up()
            self.recommender = Loaded(model, version)
            self._refused = None
        except ArtifactError as error:
            self._refused = version
            log.error("recommender version %s cannot be used: %s", version, error)


def champions_folder(home: Path) -> Path:
    """Where the watcher puts champions and workers find them."""
    return home / "champions"


def current_version(folder: Path) -> int | None:
    """The version that ``folder`` points to, or None."""
    try:
        return int(json.loads((folder / CURRENT).read_text())["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
