"""What the commands share: the shop they work on, moments as written, files out, progress and results."""

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Event
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from regulars.engine import connect
from regulars.errors import DataError, MissingData
from regulars.lake import Lake
from regulars.progress import Share, watched
from regulars.settings import Settings, read_settings

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on the last line.")]
AsOf = Annotated[str, typer.Option("--as-of", help="Nothing known at or after this moment has any influence.")]

REDRAWN_S = 0.25

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Shop:
    """One shop: its settings and its lake."""

    settings: Settings
    lake: Lake

    def tables(self) -> dict[str, ibis.Table]:
        """The lake's tables on the engine in force.

        Raises:
            MissingData: where nothing was imported yet.
        """
        tables = self.lake.tables(connect(self.settings.engine))
        if not tables:
            raise MissingData(f"the lake in {self.lake.folder} is empty; run: regulars import orders FILE")
        return tables


def open_shop() -> Shop:
    """The shop that the environment names."""
    settings = read_settings()
    return Shop(settings, Lake(settings.lake))


def read_moment(text: str, settings: Settings) -> datetime:
    """``text`` (ISO 8601) as a moment with a zone; without one it is the shop's, a bare date is its 00:00."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected a date or time such as 2024-05-01, got {text!r}") from error
    return at if at.tzinfo else at.replace(tzinfo=ZoneInfo(settings.timezone))


def read_column(file: Path, column: str) -> list[str]:
    """The values of one id column of a csv or parquet file, as text, in order and once each."""
    frame = read_frame(file)
    if column not in frame:
        raise DataError(f"{file} needs a column {column}, it has {', '.join(map(str, frame.columns))}")
    return list(dict.fromkeys(as_id(value) for value in frame[column].dropna()))


def as_id(value: object) -> str:
    """``value`` as the lake keeps ids: trimmed, without the ".0" of a whole number that came as a float."""
    text = str(value).strip()
    return text.removesuffix(".0") if isinstance(value, float) else text


def read_frame(file: Path) -> pd.DataFrame:
    """A csv (all text) or parquet file.

    Raises:
        DataError: where it cannot be read.
    """
    try:
        if file.suffix == ".parquet":
            return pd.read_parquet(file)
        return pd.read_csv(file, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


@contextmanager
def working(text: str) -> Iterator[None]:
    """Shows on a terminal that ``text`` is under way; where the work tells how far it is, with a bar and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar, ThreadPoolExecutor(1) as drawing:
        shown = _Shown(bar, text)
        drawing.submit(shown.follow)
        try:
            with watched(shown):
                yield
        finally:
            shown.done.set()


class _Shown:
    """Draws the stages of one piece of work."""

    def __init__(self, bar: Progress, text: str) -> None:
        self.done = Event()
        self._bar = bar
        self._text = text
        self._task = bar.add_task(text, total=None)
        self._share: Share | None = None

    def stage(self, name: str, share: Share) -> None:
        begun = share()
        if self._share is not None and begun < self._bar.tasks[self._task].completed:  # the next table begins anew
            self._bar.reset(self._task)
        self._share = share
        self._bar.update(self._task, description=f"{self._text}: {name}", total=1.0, completed=begun)

    def follow(self) -> None:
        """Asks until the work is done how far it is; runs in a thread of its own."""
        while not self.done.wait(REDRAWN_S):
            if self._share is not None:
                self._bar.update(self._task, completed=max(self._share(), self._bar.tasks[self._task].completed))


def say(text: str, *, as_json: bool) -> None:
    """One line for a person; standard error where standard output is for a program."""
    print(text, file=sys.stderr if as_json else sys.stdout)


def finish(result: Mapping[str, Any], *, as_json: bool) -> None:
    """Print ``result`` as the last line where a program asked for it."""
    if as_json:
        print(json.dumps(result, default=str))


def show_table(frame: pd.DataFrame, *, title: str, as_json: bool = False) -> None:
    """``frame`` as a table for a person."""
    table = Table(*map(str, frame.columns), title=title, title_justify="left", box=None, pad_edge=False)
    for row in frame.itertuples(index=False):
        table.add_row(*("" if pd.isna(value) else str(value) for value in row))
    Console(stderr=as_json, highlight=False, width=None if sys.stdout.isatty() else 140).print(table)
