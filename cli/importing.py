"""Commands that bring data into the lake: import, import-dataset."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
import yaml

from cli.shop import JsonOption, Shop, finish, open_shop, say, working
from features.sources.complete_journey import import_complete_journey
from features.sources.files import import_file
from features.sources.formats import FORMATS
from features.sources.ga4 import import_ga4
from features.sources.online_retail import import_online_retail
from features.sources.retail_rocket import import_retail_rocket
from features.sources.shopify import import_shopify
from features.sources.simulated import import_simulated
from features.sources.simulated_offers import SETS
from regulars.errors import DataError
from regulars.intake import Report
from regulars.tables import TABLES, Table

Timezone = Annotated[str | None, typer.Option(help="Of times without a zone; default: the shop's.")]
Allow = Annotated[bool, typer.Option("--allow-rejects", help="Import the good rows even where over 5 % are refused.")]
READERS: dict[str, Callable[..., list[Report]]] = {
    "online-retail": import_online_retail,
    "shopify": import_shopify,
    "ga4": import_ga4,
    "retailrocket": import_retail_rocket,
}
DATASETS = ("complete-journey", *READERS, "simulated")


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("import")(import_table)
    app.command("import-dataset")(import_dataset)


def import_table(
    table: Annotated[str, typer.Argument(help=f"One of: {', '.join(TABLES)}.")],
    file: Annotated[Path, typer.Argument(help=f"A file: {', '.join(FORMATS)}.")],
    map_: Annotated[list[str] | None, typer.Option("--map", metavar="FIELD=COLUMN", help="Repeatable.")] = None,
    mapping: Annotated[Path | None, typer.Option(help="A YAML file of FIELD: COLUMN lines.")] = None,
    timezone: Timezone = None,
    allow_rejects: Allow = False,
    as_json: JsonOption = False,
) -> None:
    """Import the rows of a file into one table of the lake; importing twice is importing once."""
    shop = open_shop()
    with working(f"importing {file.name}"):
        report = import_file(
            shop.lake,
            _table(table),
            file,
            mapping=_mapping_file(mapping) | _mapping(map_ or []),
            timezone=_zone(timezone, shop),
            refused_folder=refused_folder(shop),
            allow_rejects=allow_rejects,
        )
    show_reports([report], as_json=as_json)


def import_dataset(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATASETS)}.")],
    source: Annotated[Path | None, typer.Argument(help="The file or folder, for those that need one.")] = None,
    timezone: Timezone = None,
    customers: Annotated[int, typer.Option(min=1, help="Of the simulated shop.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of the simulated shop.")] = 0,
    kind: Annotated[
        str, typer.Option(help="Of the simulated shop: groceries, gifts, fashion, or mail_order (no browsing).")
    ] = "groceries",
    offers: Annotated[
        str | None, typer.Option(help=f"Adds a trial of offers of known effect to it: {', '.join(SETS)}.")
    ] = None,
    allow_rejects: Allow = False,
    as_json: JsonOption = False,
) -> None:
    """Import a known data set with all its tables."""
    if name not in DATASETS:
        raise typer.BadParameter(f"expected one of {', '.join(DATASETS)}, got {name!r}")
    if (source is None) == (name in READERS):
        raise typer.BadParameter(f"{name} needs a file or folder" if source is None else f"{name} takes no file")
    shop = open_shop()
    common: dict[str, Any] = {"refused_folder": refused_folder(shop), "allow_rejects": allow_rejects}
    with working(f"importing {name}"):
        if name == "simulated":
            truth = shop.settings.home / "simulated-truth" / f"{kind}-{customers}-{seed}.parquet"
            folder = refused_folder(shop)
            reports = import_simulated(
                shop.lake,
                customers=customers,
                seed=seed,
                name=kind,
                refused_folder=folder,
                truth_file=truth,
                offers=offers,
            )
            say(f"This shop is simulated ({kind}); what is true of each customer is in {truth}", as_json=as_json)
        elif source is None:
            reports = import_complete_journey(shop.lake, **common)
        else:
            reports = READERS[name](shop.lake, source, timezone=_zone(timezone, shop), **common)
    show_reports(reports, as_json=as_json)


def refused_folder(shop: Shop) -> Path:
    """Where refused rows are written."""
    return shop.settings.home / "refused"


def show_reports(reports: Sequence[Report], *, as_json: bool) -> None:
    """Say what became of the rows of each table, and why any were refused."""
    for report in reports:
        say(
            f"{report.table}: {report.added:,} rows added of {report.read:,}{_repeated(report)}",
            as_json=as_json,
        )
        if report.how:
            say(f"  read as {report.how}", as_json=as_json)
        for rule, count in report.refused.items():
            example = report.examples.get(rule, "")
            say(f"  {count:,} refused, {rule} (first: {example}); see {report.refused_file}", as_json=as_json)
        for rule, count in report.set_aside.items():
            say(f"  {count:,} set aside, {rule}", as_json=as_json)
        if report.ignored_columns:
            say(f"  columns left out: {', '.join(report.ignored_columns)}", as_json=as_json)
    finish({"tables": [_as_dict(report) for report in reports]}, as_json=as_json)


def _repeated(report: Report) -> str:
    return f", {report.identical:,} known already" if report.identical else ""


def _as_dict(report: Report) -> dict[str, object]:
    return {
        "table": report.table,
        "read": report.read,
        "added": report.added,
        "identical": report.identical,
        "refused": report.refused,
        "refused_file": report.refused_file,
        "set_aside": report.set_aside,
    }


def _table(name: str) -> Table:
    if name not in TABLES:
        raise typer.BadParameter(f"expected one of {', '.join(TABLES)}, got {name!r}")
    return TABLES[name]


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not (field and equals and column):
            raise typer.BadParameter(f"--map expects FIELD=COLUMN, got {pair!r}")
        mapping[field] = column
    return mapping


def _mapping_file(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        read = yaml.safe_load(file.read_text())
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise DataError(f"--mapping {file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(read, dict) or not all(isinstance(part, str) for pair in read.items() for part in pair):
        raise DataError(f"--mapping {file} must hold lines FIELD: COLUMN, such as order_id: invoice")
    return read


def _zone(name: str | None, shop: Shop) -> str:
    if name is None:
        return shop.settings.timezone
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:
        raise typer.BadParameter(f"--timezone expects an IANA zone such as Europe/Berlin, got {name!r}") from error
