"""The whole way on real data: import, features, models, scores, publishing, and a summary that a person can read."""

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import pandas as pd
import typer

from cli.asking import reasons_in_words
from cli.importing import refused_folder
from cli.publishing import publish_champions
from cli.shop import Shop, console, open_shop, show_table, working
from cli.training import show_recorded, show_trained, train_model
from features.products import product_features
from features.sources.complete_journey import import_complete_journey
from regulars.intake import Report
from regulars.models.asking import Recommendation
from regulars.models.recommendation_texts import reason_text
from serving.run import serve as run_service
from serving.services import keys as shop_keys
from serving.store import open_store
from training.deciding import decide_customers
from training.recommending import load_recommender, recommend_customers
from training.scoring import load_churn, load_offers, score_customers, value_for
from training.tracking import Tracking, Version

LABEL = "demo"
TRAINED = ("churn", "value", "recommender", "offers")  # its shop has no subscriptions
QUICK = {"recommender": {"visitors": 1_200, "examples": 1_500, "judged": 400}}
SHOWN_CUSTOMERS = 5
SHOWN_PRODUCTS = 8


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command("demo")(demo)


def demo(
    serve_too: Annotated[bool, typer.Option("--serve/--no-serve", help="End with a running service.")] = True,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Go the whole way on a year of real grocery purchases; run again, it resumes."""
    shop = open_shop()
    show_demo(shop, port=port, with_key=serve_too)
    if serve_too:
        run_service(shop.settings, host="127.0.0.1", port=port, workers=1)


def show_demo(shop: Shop, *, port: int, with_key: bool) -> None:
    """Do what is not done yet and print what came of it; ``with_key`` also makes a key and prints how to ask."""
    began = time.monotonic()
    logging.getLogger("training").setLevel(logging.INFO)
    with working("importing The Complete Journey"):
        reports = import_complete_journey(shop.lake, refused_folder=refused_folder(shop))
    _show_imported(reports)
    as_of = _day_after_the_last_order(shop)
    versions = {name: _trained(shop, name, as_of) for name in TRAINED}
    _scored(shop, versions["churn"], as_of)
    with working("publishing"):
        published = publish_champions(shop, now=datetime.now(UTC))
    print(
        f"\nPublished generation {published.generation}: {published.customers:,} customers, {published.products:,} products, "
        f"{published.offers} offers, as of {as_of:%Y-%m-%d}."
    )
    _show_answers(shop, versions, as_of)
    print(f"\nDone in {time.monotonic() - began:.0f} seconds. All of it is kept in {shop.settings.home}.")
    if with_key:
        _show_how_to_ask(shop, port=port)


def _show_imported(reports: list[Report]) -> None:
    rows = [
        {
            "table": report.table,
            "rows read": f"{report.read:,}",
            "new": f"{report.added:,}",
            "known already": f"{report.identical:,}",
            "refused": "; ".join(f"{count:,} ({rule})" for rule, count in report.refused.items()),
        }
        for report in reports
    ]
    show_table(pd.DataFrame(rows), title="Imported: The Complete Journey, a year of grocery purchases (2017)")


def _day_after_the_last_order(shop: Shop) -> datetime:
    last = shop.tables()["orders"].ordered_at.max().execute()
    midnight = pd.Timestamp(last).normalize().to_pydatetime() + timedelta(days=1)
    return midnight.replace(tzinfo=UTC)


def _trained(shop: Shop, name: str, as_of: datetime) -> Version:
    """The champion, trained now unless it already was, on this very data."""
    tracking = Tracking(shop.settings)
    champion = tracking.champion(name)
    print()
    if champion is not None and champion.as_of == as_of:
        show_recorded(tracking, champion)
        return champion
    with working(f"training {name}"):
        version, trained = train_model(shop, name, as_of=as_of, params=QUICK.get(name))
    show_trained(version, trained)
    if name in QUICK:
        print(f"To be quick, the demonstration's {name} learns from fewer visitors than `regulars train {name}` does.")
    return version


def _scored(shop: Shop, version: Version, as_of: datetime) -> None:
    if shop.lake.scores(model="churn", version=version.number) is not None:
        return
    with working("scoring"):
        tracking = Tracking(shop.settings)
        model, worth = load_churn(tracking, version), value_for(tracking, as_of=as_of)
        scores = score_customers(shop.tables(), model, as_of=as_of, settings=shop.settings, value=worth)
        shop.lake.keep_scores(scores, model="churn", version=version.number, as_of=as_of)


def _show_answers(shop: Shop, versions: dict[str, Version], as_of: datetime) -> None:
    tracking = Tracking(shop.settings)
    kept = shop.lake.scores(model="churn", version=versions["churn"].number)
    if kept is None:
        return
    scores = kept[0].sort_values(["churn_probability", "customer_id"], ascending=[False, True])
    risky = scores.head(SHOWN_CUSTOMERS)
    print()
    show_table(
        pd.DataFrame(
            {
                "customer": risky["customer_id"],
                "leaves with": [f"{p:.0%}" for p in risky["churn_probability"]],
                "95 %": [f"{a:.0%}-{b:.0%}" for a, b in zip(risky["churn_low"], risky["churn_high"], strict=True)],
                "because": [reasons_in_words(reasons) for reasons in risky["reasons"]],
            }
        ),
        title=f"Five customers at risk, of {len(scores):,}",
    )
    tables = shop.tables()
    regular = str(scores.sort_values(["count_orders", "customer_id"], ascending=[False, True])["customer_id"].iloc[0])
    model = load_recommender(tracking, versions["recommender"])
    liked = next(recommend_customers(tables, model, as_of=as_of, n=SHOWN_PRODUCTS, customers=[regular]))
    names = product_features(tables, as_of=as_of).select("product_id", "name", "price").execute()
    liked = liked.merge(names, on="product_id", how="left")
    print()
    show_table(
        pd.DataFrame(
            {
                "rank": liked["rank"],
                "product": liked["product_id"],
                "name": liked["name"],
                "price": [f"{price:.2f}" for price in liked["price"]],
                "reason": [reason_text(Recommendation("", 1, 0.0, code)) for code in liked["reason"]],
            }
        ),
        title=f"What customer {regular} would like next",
    )
    _show_offer(tracking, tables, versions["offers"], as_of, list(scores["customer_id"]))


def _show_offer(tracking: Tracking, tables: dict, version: Version, as_of: datetime, customers: list[str]) -> None:
    model = load_offers(tracking, version)
    made = decide_customers(tables, model, as_of=as_of, customers=customers, explore=False).rows
    worth = made[made["offer_id"] != ""].sort_values(["expected_value", "customer_id"], ascending=[False, True])
    print()
    if worth.empty:
        print("No offer that runs now is expected to bring more than it costs.")
        return
    best = worth.iloc[0]
    print(
        f"One offer: {best['offer_id']} to customer {best['customer_id']}, expected to bring "
        f"{best['expected_value']:.2f} more within {model.horizon_days} days ({len(worth):,} customers are worth one)."
    )
    for note in tracking.notes(version):
        print(f"Note: {note}")


def _show_how_to_ask(shop: Shop, *, port: int) -> None:
    store = open_store(shop.settings.database_url)
    try:
        for old in shop_keys.list_keys(store):
            if old.label == LABEL and old.revoked_at is None:
                shop_keys.revoke_key(store, key_id=old.key_id, now=datetime.now(UTC))
        made = shop_keys.create_key(store, scope="admin", label=LABEL, now=datetime.now(UTC))
    finally:
        store.close()
    risky = "/v1/lists/at-risk?limit=3"
    address, key = f"http://127.0.0.1:{port}", f"-H 'Authorization: Bearer {made.key}'"
    console.print("\nThe service starts now; ask it (control-C ends it, a new start replaces this key):")
    print(f"curl {key} '{address}{risky}'")
    print(f"curl {key} '{address}/v1/recommendations?customer_id=1&limit=5&fields=name'")
    print(
        f'curl {key} -H \'Content-Type: application/json\' -d \'{{"customer_id": "1", "placement": "home"}}\' '
        f"'{address}/v1/decisions'"
    )
    print(f"Its dashboard: {address}/#key={made.key}\nIts documentation: {address}/docs", flush=True)
