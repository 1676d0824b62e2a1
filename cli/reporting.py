"""Reports of what the service brought."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import pandas as pd
import typer

from cli.shop import JsonOption, finish, open_shop, show_table
from cli.writing import write_frame
from regulars.errors import DataError
from serving.services.attribution import SETTLED, attribute, placement_report
from serving.store import open_store

DEFAULT_DAYS = 30

report = typer.Typer(help="What the service brought.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.add_typer(report, name="report")


@report.callback()
def _group() -> None: ...


@report.command("placements")
def placements(
    first: Annotated[
        str | None, typer.Option("--from", help="The first day, such as 2024-05-01; default: 30 days before --to.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, included; default: today.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A .parquet, .csv or .ndjson file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Views, clicks, orders and revenue of each placement, by the shop's days."""
    settings, now = open_shop().settings, datetime.now(UTC)
    zone = ZoneInfo(settings.timezone)
    until = _day(last) if last else now.astimezone(zone).date()
    since = _day(first) if first else until - timedelta(days=DEFAULT_DAYS)
    if since > until:
        raise DataError(f"--from must not be after --to, got {since} and {until}")
    store = open_store(settings.database_url)
    try:
        window = timedelta(days=settings.attribution_days)
        attribute(store, window=window, received_before=now - SETTLED)
        rows = placement_report(store, first=since, last=until, zone=zone)
    finally:
        store.close()
    table = pd.DataFrame(rows)
    if out is not None:
        write_frame(table, out)
    show_table(table, title=f"Placements from {since} to {until}, {settings.currency}", as_json=as_json)
    finish({"from": since.isoformat(), "to": until.isoformat(), "items": rows}, as_json=as_json)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"expected a date such as 2024-05-01, got {text!r}") from error
