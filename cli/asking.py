"""Commands that ask the models about every customer: score, recommend, decide, list."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from cli.nightly import newest_moment
from cli.shop import (
    AsOf,
    JsonOption,
    finish,
    open_shop,
    read_column,
    read_frame,
    read_moment,
    say,
    show_table,
    working,
)
from cli.writing import write_frame, write_frames
from features.retention import ACTIVE_DAYS, By, retention
from regulars.errors import DataError
from training.deciding import decide_customers
from training.recommending import load_recommender, recommend_customers, recommend_histories
from training.scoring import cancellation_for, load_churn, load_offers, score_customers, value_for
from training.tracking import Tracking

OutOption = Annotated[Path, typer.Option("--out", help="A .parquet, .csv or .ndjson file.")]
VersionOption = Annotated[int | None, typer.Option("--version", help="A version other than the one that fits --as-of.")]
Placement = Literal["home", "product", "cart", "category", "search", "order", "email"]
HISTORY_COLUMNS = ("history_id", "product_id", "occurred_at")


def register(app: typer.Typer) -> None:
    """Add this group's commands to ``app``."""
    app.command("score")(score)
    app.command("recommend")(recommend)
    app.command("decide")(decide)
    app.command("retention")(show_retention)


def score(as_of: AsOf, out: OutOption, version: VersionOption = None, as_json: JsonOption = False) -> None:
    """Write one row per eligible customer: churn probability with its interval, risk and reasons."""
    shop = open_shop()
    at = read_moment(as_of, shop.settings)
    tracking = Tracking(shop.settings)
    chosen = tracking.version_for("churn", as_of=at, number=version)
    with working(f"scoring as of {at.isoformat()}"):
        model, worth = load_churn(tracking, chosen), value_for(tracking, as_of=at)
        ending = cancellation_for(tracking, as_of=at)
        scores = score_customers(
            shop.tables(), model, as_of=at, settings=shop.settings, value=worth, cancellation=ending
        )
        shop.lake.keep_scores(scores, model="churn", version=chosen.number, as_of=at)
    write_frame(scores, out)
    say(
        f"{len(scores):,} customers scored by churn version {chosen.number}, written to {out}",
        as_json=as_json,
    )
    finish({"rows": len(scores), "version": chosen.number, "as_of": at.isoformat(), "out": out}, as_json=as_json)


def show_retention(
    by: Annotated[By, typer.Option(help="month, cohort (month of the first order), country or channel.")] = "month",
    as_of: Annotated[str | None, typer.Option("--as-of", help="Default: the midnight after the newest row.")] = None,
    active_days: Annotated[
        int, typer.Option(min=1, help="A customer is active who ordered within them.")
    ] = ACTIVE_DAYS,
    out: Annotated[Path | None, typer.Option("--out", help="A .parquet, .csv or .ndjson file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Retention and churn rate, repeat purchases, order and lifetime value, and NPS, by month, cohort, country or channel."""
    shop = open_shop()
    at = read_moment(as_of, shop.settings) if as_of else newest_moment(shop)
    with working("retention"):
        rows = retention(shop.tables(), as_of=at, by=by, active_days=active_days)
    if out is not None:
        write_frame(rows, out)
    shown = rows.round(dict.fromkeys(rows.select_dtypes("number"), 2))
    show_table(shown, title=f"By {by}, as of {at:%Y-%m-%d}, active within {active_days} days", as_json=as_json)
    told = rows.astype(object).where(rows.notna(), None).to_dict("records")
    finish({"by": by, "as_of": at.isoformat(), "active_days": active_days, "items": told}, as_json=as_json)


def recommend(
    as_of: AsOf,
    out: OutOption,
    n: Annotated[int, typer.Option("-n", min=1, max=1000, help="Products per customer.")] = 20,
    customers: Annotated[Path | None, typer.Option(help="A file with customer_id; default: all with history.")] = None,
    histories: Annotated[
        Path | None, typer.Option(help="A file with history_id, product_id, occurred_at[, name].")
    ] = None,
    placement: Annotated[Placement, typer.Option(help="Where the products are shown.")] = "home",
    repeat: Annotated[Literal["auto", "only", "never"], typer.Option(help="Products bought before.")] = "auto",
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the products that each customer, or each given history, would like next."""
    if customers and histories:
        raise typer.BadParameter("give --customers or --histories, not both")
    shop = open_shop()
    at = read_moment(as_of, shop.settings)
    tracking = Tracking(shop.settings)
    chosen = tracking.version_for("recommender", as_of=at, number=version)
    asked = read_column(customers, "customer_id") if customers else None
    given = _histories(histories) if histories else None
    model = load_recommender(tracking, chosen)
    with working("recommending"):
        if given is not None:
            frames = recommend_histories(
                model, given, n=n, placement=placement, repeat=repeat, timezone=shop.settings.timezone
            )
        else:
            frames = recommend_customers(
                shop.tables(), model, as_of=at, n=n, customers=asked, placement=placement, repeat=repeat
            )
        count = write_frames(frames, out)
    say(f"{count:,} recommendations by version {chosen.number}, written to {out}", as_json=as_json)
    finish({"rows": count, "version": chosen.number, "as_of": at.isoformat(), "out": out}, as_json=as_json)


def decide(
    as_of: AsOf,
    customers: Annotated[Path, typer.Option(help="A file with customer_id.")],
    out: OutOption,
    explore: Annotated[Literal["on", "off"], typer.Option(help="Draw one decision in ten evenly.")] = "on",
    seed: Annotated[int, typer.Option(help="For the draws of --explore on.")] = 0,
    outcome: Annotated[str | None, typer.Option(help="The outcome the model must have been trained for.")] = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Money for all offers together.")] = None,
    channel: Annotated[
        Literal["email", "sms", "push", "ads"] | None, typer.Option(help="Only who may be written to there.")
    ] = None,
    version: VersionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the offer worth making to each customer, or none; under budgets, to those for whom it brings most."""
    shop = open_shop()
    at = read_moment(as_of, shop.settings)
    tracking = Tracking(shop.settings)
    chosen = tracking.version_for("offers", as_of=at, number=version)
    model = load_offers(tracking, chosen)
    if outcome is not None and outcome != model.outcome:
        raise DataError(
            f"version {chosen.number} of offers was trained for the outcome {model.outcome}, not {outcome}; "
            f"run: regulars train offers --as-of {as_of} --outcome {outcome}"
        )
    with working("deciding"):
        decided = decide_customers(
            shop.tables(),
            model,
            as_of=at,
            customers=read_column(customers, "customer_id"),
            explore=explore == "on",
            seed=seed,
            budget=budget,
            channel=channel,
        )
    rows = decided.rows
    write_frame(rows, out)
    made = int((rows["offer_id"] != "").sum())
    say(f"{made:,} of {len(rows):,} customers would be made an offer, written to {out}", as_json=as_json)
    for name, price in decided.prices.items():
        told = f"one more unit of money would bring {price:.2f}" if price else "is not used up"
        say(f"Budget of {name}: {told}", as_json=as_json)
    result = {"rows": len(rows), "offers": made, "version": chosen.number, "out": out}
    finish(result | {"shadow_prices": dict(decided.prices)}, as_json=as_json)


def _histories(file: Path) -> pd.DataFrame:
    frame = read_frame(file)
    missing = [name for name in HISTORY_COLUMNS if name not in frame]
    if missing:
        raise DataError(f"{file} needs {', '.join(HISTORY_COLUMNS)}, {', '.join(missing)} is missing")
    return frame


def reasons_in_words(reasons: str) -> str:
    """The texts of the reasons column, one sentence after the other."""
    return " ".join(f"{reason['text'].rstrip('.')}." for reason in json.loads(reasons))
