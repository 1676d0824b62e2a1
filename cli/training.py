"""Commands that make features and models: features, train."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from cli.shop import (
    AsOf,
    JsonOption,
    Shop,
    finish,
    open_shop,
    read_moment,
    say,
    show_table,
    working,
)
from cli.writing import write_frame
from features.build import read_customer_features
from features.labels import cancellation_labels, churn_labels
from regulars.errors import DataError
from training.cancellation import train_cancellation
from training.churn import train_churn
from training.learners import learners
from training.offers import train_offers
from training.recommender import train_recommender
from training.results import Trained
from training.tracking import MODELS, Tracking, Version
from training.value import train_value

LEARN_FROM_SOME = ("churn", "value")
OUTCOMES = ("visited", "redeemed", "converted", "revenue", "retained")


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("features")(write_features)
    app.command("train")(train)


def write_features(
    as_of: Annotated[list[str], typer.Option("--as-of", help="A moment; repeatable.")],
    out: Annotated[Path, typer.Option("--out", help="A .parquet, .csv or .ndjson file.")],
    labels: Annotated[str | None, typer.Option(help="Add labels: churn, or cancellation (of a subscription).")] = None,
    horizon: Annotated[int, typer.Option(min=1, help="Days that a label looks ahead.")] = 28,
    lookback: Annotated[int, typer.Option(min=1, help="Days in which a labelled customer has ordered.")] = 365,
    as_json: JsonOption = False,
) -> None:
    """Write one row per customer and moment."""
    if labels not in (None, "churn", "cancellation"):
        raise typer.BadParameter(f"--labels expects churn or cancellation, got {labels!r}")
    shop = open_shop()
    tables = shop.tables()
    parts = []
    for text in as_of:
        at = read_moment(text, shop.settings)
        with working(f"features as of {at.isoformat()}"):
            rows = read_customer_features(tables, as_of=at)
            if labels:
                known = (
                    cancellation_labels(tables, as_of=at, horizon_days=horizon)
                    if labels == "cancellation"
                    else churn_labels(tables, as_of=at, horizon_days=horizon, lookback_days=lookback)
                ).execute()
                rows = rows.merge(known, on="customer_id")
        parts.append(rows.sort_values("customer_id").assign(as_of=pd.Timestamp(at)))
    table = pd.concat(parts, ignore_index=True)
    write_frame(table, out)
    say(f"{len(table):,} rows, {table.shape[1]} columns written to {out}", as_json=as_json)
    finish({"rows": len(table), "columns": list(table.columns), "out": out}, as_json=as_json)


def train(
    model: Annotated[str, typer.Argument(help=f"One of: {', '.join(MODELS)}.")],
    as_of: AsOf,
    horizon: Annotated[int | None, typer.Option(min=1, help="Days that the model looks ahead.")] = None,
    lookback: Annotated[
        int | None, typer.Option(min=1, help="Days in which a customer has ordered (churn, value).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same data, settings and seed: same model.")] = 0,
    params: Annotated[Path | None, typer.Option(help="A JSON file of model settings.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    outcome: Annotated[str | None, typer.Option(help=f"For offers: {', '.join(OUTCOMES)}.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model, measure it beside its baselines and register it: champion if there is none, else challenger."""
    if model not in MODELS:
        raise typer.BadParameter(f"expected one of {', '.join(MODELS)}, got {model!r}")
    if outcome not in (None, *OUTCOMES):
        raise typer.BadParameter(f"--outcome expects one of {', '.join(OUTCOMES)}, got {outcome!r}")
    shop = open_shop()
    given = {"horizon_days": horizon, "lookback_days": lookback, "seed": seed, "outcome": outcome}
    with working(f"training {model}"):
        version, trained = train_model(
            shop,
            model,
            as_of=read_moment(as_of, shop.settings),
            given=given,
            params=_params(params),
            run_name=name,
        )
    show_trained(version, trained, as_json=as_json)
    finish(
        {
            "model": version.name,
            "version": version.number,
            "aliases": version.aliases,
            "as_of": version.as_of.isoformat(),
            "settings": dict(version.settings),
            "metrics": trained.metrics,
        },
        as_json=as_json,
    )


def train_model(
    shop: Shop,
    model: str,
    *,
    as_of: datetime,
    given: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    run_name: str | None = None,
) -> tuple[Version, Trained]:
    """Train ``model`` on the shop's lake and register it; ``given`` holds only settings that were asked for."""
    accepted: dict[str, tuple[Callable[..., Trained], tuple[str, ...]]] = {
        "churn": (train_churn, ("horizon_days", "lookback_days", "seed", "params")),
        "value": (train_value, ("horizon_days", "lookback_days", "seed", "params")),
        "recommender": (train_recommender, ("horizon_days", "seed", "params")),
        "offers": (train_offers, ("horizon_days", "seed", "outcome")),
        "cancellation": (train_cancellation, ("horizon_days", "seed", "params")),
    }
    fit, names = accepted[model]
    asked = {**(given or {}), "params": params}
    settings = {name: asked[name] for name in names if asked.get(name) is not None}
    data_hash = shop.lake.manifest().content_hash()
    tables, note = learners(shop.tables(), as_of=as_of) if model in LEARN_FROM_SOME else (shop.tables(), None)
    trained = fit(tables, as_of=as_of, **settings)
    trained = replace(trained, notes=(*trained.notes, note)) if note else trained
    version = Tracking(shop.settings).register(model, trained, as_of=as_of, data_hash=data_hash, run_name=run_name)
    return version, trained


def show_trained(version: Version, trained: Trained, *, as_json: bool = False) -> None:
    """The model beside its baselines, with intervals, as it was just measured."""
    _show(version, trained.table, trained.notes, as_json=as_json)


def show_recorded(tracking: Tracking, version: Version) -> None:
    """The same for a version that was trained earlier."""
    _show(version, pd.read_csv(io.StringIO(tracking.table(version))), tracking.notes(version))


def _show(version: Version, table: pd.DataFrame, notes: Sequence[str], *, as_json: bool = False) -> None:
    """One line per method, one column per metric, each with its 95 % interval; the version keeps the metrics left out."""
    table = table[~table["metric"].str.contains(" of |coverage|novelty|popularity|(?:ndcg|hit rate)@20, ")]
    cells = [_cell(*row) for row in zip(table["value"], table["low"], table["high"], strict=True)]
    wide = table.assign(cell=cells).pivot(index="model", columns="metric", values="cell")
    wide = wide.loc[list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["metric"]))].fillna("")
    aliases = ", ".join(version.aliases) or "no alias"
    splits = "; ".join(dict.fromkeys(table["split"]))
    show_table(
        wide.reset_index(),
        title=f"{version.name} version {version.number} ({aliases}): {splits}",
        as_json=as_json,
    )
    for note in notes:
        say(f"Note: {note}", as_json=as_json)


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.4f}" if isnan(low) or low == high else f"{value:.4f} ({low:.4f} to {high:.4f})"


def _params(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        loaded = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"--params {file} cannot be read as JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise DataError(f"--params {file} must hold one JSON object")
    return loaded
