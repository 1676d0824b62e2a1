"""Commands that judge versions and choose the champion: compare, promote, rollback."""

import getpass
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from cli.shop import JsonOption, Shop, finish, open_shop, read_moment, say, show_table, working
from cli.writing import write_frame
from regulars.errors import DataError, ModelMissing
from training.comparison import Compared, compare_churn, compare_recommenders, default_holdout
from training.offer_comparison import compare_offers, offers_holdout
from training.plots import curves_figure
from training.recommending import load_recommender
from training.scoring import load_churn, load_offers
from training.tracking import MODELS, Tracking, Version

COMPARABLE = ("churn", "recommender", "offers")
NEWEST = 5


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("compare")(compare)
    app.command("promote")(promote)
    app.command("rollback")(rollback)


def compare(
    model: Annotated[str, typer.Argument(help=f"One of: {', '.join(COMPARABLE)}.")],
    versions: Annotated[
        str | None, typer.Option(help="Numbers, separated by commas; default: champion and newest.")
    ] = None,
    holdout: Annotated[str | None, typer.Option(help="FROM..TO; default: the newest whole horizon.")] = None,
    by: Annotated[str | None, typer.Option(help="Also by segment: frequency, value or country (churn).")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help=".json (with curves), .png (the curves), .csv, .parquet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score versions and baselines again on one holdout; what comes of it is kept with each version for `promote`."""
    if model in MODELS and model not in COMPARABLE:
        raise typer.BadParameter(
            f"versions of {model} are not compared yet; each was measured beside its baselines when it was trained, and "
            f"regulars promote {model} VERSION --force --why TEXT makes one the champion"
        )
    if model not in COMPARABLE:
        raise typer.BadParameter(f"expected one of {', '.join(COMPARABLE)}, got {model!r}")
    shop = open_shop()
    tracking = Tracking(shop.settings)
    chosen = _chosen(tracking, model, versions)
    with working(f"comparing {len(chosen)} versions of {model}"):
        compared = compare_versions(shop, tracking, model, chosen, holdout=holdout, by=by)
    keep_verdicts(tracking, chosen, compared)
    _show(compared, as_json=as_json)
    if out is not None:
        _write(compared, out)
    finish(_as_dict(compared), as_json=as_json)


def promote(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    version: Annotated[int, typer.Argument(help="The version to make champion.")],
    force: Annotated[
        bool, typer.Option("--force", help="Even where a comparison does not show it to be better.")
    ] = False,
    why: Annotated[str, typer.Option(help="Kept with the version, with who you are.")] = "not said",
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion, where `compare` showed it to be better and nothing else to be worse."""
    tracking = Tracking(open_shop().settings)
    made = tracking.promote(model, version, by=getpass.getuser(), forced_because=why if force else None)
    say(f"version {made.number} of {model} is the champion", as_json=as_json)
    finish({"model": model, "version": made.number, "aliases": made.aliases}, as_json=as_json)


def rollback(model: Annotated[str, typer.Argument(help="The model's name.")], as_json: JsonOption = False) -> None:
    """Make the champion before the champion again."""
    made = Tracking(open_shop().settings).rollback(model, by=getpass.getuser())
    say(f"version {made.number} of {model} is the champion again", as_json=as_json)
    finish({"model": model, "version": made.number, "aliases": made.aliases}, as_json=as_json)


def compare_versions(
    shop: Shop,
    tracking: Tracking,
    model: str,
    chosen: list[Version],
    *,
    holdout: str | None = None,
    by: str | None = None,
) -> Compared:
    """The comparison of ``chosen`` on ``holdout`` (FROM..TO), by default the newest span of the champion's horizon."""
    tables = shop.tables()
    champion = next((version for version in chosen if "champion" in version.aliases), None)
    if model == "offers":
        if by is not None:
            raise DataError("--by is for churn")
        return _compared_offers(shop, tracking, chosen, holdout=holdout)
    horizon = int((champion or chosen[0]).settings["horizon_days"])
    start, end = _span(holdout, shop) if holdout else default_holdout(tables, horizon_days=horizon)
    label = str(champion.number) if champion else None
    if model == "churn":
        models = {str(version.number): load_churn(tracking, version) for version in chosen}
        return compare_churn(tables, models, champion=label, start=start, end=end, by=by)
    if by is not None:
        raise DataError("--by is for churn")
    recommenders = {str(version.number): load_recommender(tracking, version) for version in chosen}
    return compare_recommenders(tables, recommenders, champion=label, start=start, end=end)


def _compared_offers(shop: Shop, tracking: Tracking, chosen: list[Version], *, holdout: str | None) -> Compared:
    tables = shop.tables()
    champion = next((version for version in chosen if "champion" in version.aliases), None)
    models = {str(version.number): load_offers(tracking, version) for version in chosen}
    horizon = int((champion or chosen[0]).settings["horizon_days"])
    start, end = _span(holdout, shop) if holdout else offers_holdout(tables, models, horizon_days=horizon)
    return compare_offers(tables, models, champion=str(champion.number) if champion else None, start=start, end=end)


def keep_verdicts(tracking: Tracking, chosen: list[Version], compared: Compared) -> None:
    """Keep with each version that was judged beside the champion how it did."""
    if compared.champion is None:
        return
    for version in chosen:
        if str(version.number) not in (compared.champion, *compared.refused):
            tracking.keep_comparison(version, compared.verdict(str(version.number)))


def _chosen(tracking: Tracking, model: str, numbers: str | None) -> list[Version]:
    known = tracking.versions(model)
    if not known:
        raise ModelMissing(f"no {model} model has been trained; run: regulars train {model} --as-of T")
    if numbers is None:
        return [v for v in known if "champion" in v.aliases or v in known[:NEWEST]]
    try:
        wanted = [int(number) for number in numbers.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--versions expects numbers such as 1,3, got {numbers!r}") from error
    unknown = set(wanted) - {version.number for version in known}
    if unknown:
        raise ModelMissing(f"{model} has no version {sorted(unknown)}; it has {[v.number for v in known]}")
    return [v for v in known if v.number in wanted or "champion" in v.aliases]


def _span(text: str, shop: Shop) -> tuple[datetime, datetime]:
    start, dots, end = text.partition("..")
    if not dots:
        raise typer.BadParameter(f"--holdout expects FROM..TO, such as 2024-05-01..2024-05-29, got {text!r}")
    span = read_moment(start, shop.settings), read_moment(end, shop.settings)
    if span[0] >= span[1]:
        raise typer.BadParameter(f"--holdout must end after it begins, got {text!r}")
    return span


def _show(compared: Compared, *, as_json: bool) -> None:
    for segment, rows in compared.table.groupby("segment", sort=False):
        cells = [
            f"{row.value:.4f}" + ("" if pd.isna(row.difference) or row.model == compared.champion
            else f" ({row.difference:+.4f}; {row.difference_low:+.4f} to {row.difference_high:+.4f})")
            for row in rows.itertuples()
        ]  # fmt: skip
        wide = rows.assign(cell=cells).pivot(index="model", columns="metric", values="cell")
        wide = wide.loc[list(dict.fromkeys(rows["model"])), list(dict.fromkeys(rows["metric"]))]
        title = (
            f"{compared.name} on {compared.start:%Y-%m-%d}..{compared.end:%Y-%m-%d}, {segment}: value (difference to "
        )
        title += (
            f"version {compared.champion}, the champion; 95 %)"
            if compared.champion
            else "the champion: it is not in it)"
        )
        show_table(wide.reset_index(), title=title, as_json=as_json)
    for label, why in compared.refused.items():
        say(f"version {label} is left out: {why}", as_json=as_json)


def _as_dict(compared: Compared) -> dict[str, Any]:
    return {
        "model": compared.name,
        "holdout": [compared.start.isoformat(), compared.end.isoformat()],
        "champion": compared.champion,
        "rows": json.loads(compared.table.to_json(orient="records")),
        "refused": dict(compared.refused),
        "curves": dict(compared.curves),
    }


def _write(compared: Compared, out: Path) -> None:
    if out.suffix not in (".json", ".png"):
        write_frame(compared.table, out)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".png":
        if not compared.curves:
            raise DataError(f"{compared.name} has no curves to draw; give --out a .json, .csv or .parquet file")
        curves_figure(compared.curves).savefig(out, dpi=120)
        return
    out.write_text(json.dumps(_as_dict(compared), indent=1))
