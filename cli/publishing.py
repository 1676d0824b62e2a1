"""Puts together what one generation of the service holds; here because it takes from training and from serving."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from cli.shop import Shop
from regulars.errors import MissingData, ModelMissing
from serving.registry import bring_all
from serving.services.compaction import Compacted, compact
from serving.services.generation import publish_generation
from serving.store import open_store
from training.deciding import offer_values
from training.scoring import cancellation_for, load_churn, load_offers
from training.tracking import Tracking


@dataclass(frozen=True)
class Published:
    """What a publishing brought; numbers of rows by kind."""

    generation: int
    as_of: datetime
    customers: int
    products: int
    offers: int

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, times as text."""
        return asdict(self) | {"as_of": self.as_of.isoformat()}


def compact_received(shop: Shop) -> Compacted:
    """Move what the service received into the lake."""
    store = open_store(shop.settings.database_url)
    try:
        return compact(store, shop.lake, timezone=shop.settings.timezone, refused_folder=shop.settings.home / "refused")
    finally:
        store.close()


def publish_champions(shop: Shop, *, now: datetime) -> Published:
    """Publish the newest scores of the churn champion, with what is said of offers and of subscriptions where there are models.

    Raises:
        ModelMissing: where no churn model has been trained.
        MissingData: where its champion has not scored anybody yet.
    """
    tracking = Tracking(shop.settings)
    champion = tracking.champion("churn")
    if champion is None:
        raise ModelMissing("no churn model has been trained; run: regulars train churn --as-of T")
    scored = shop.lake.scores(model="churn", version=champion.number)
    if scored is None:
        raise MissingData(
            f"churn version {champion.number}, the champion, has scored nobody yet; run: regulars score --as-of "
            f"{champion.as_of.isoformat()} --version {champion.number} --out scores.parquet"
        )
    scores, as_of = scored
    received = compact_received(shop)
    tables = shop.tables()
    churn = load_churn(tracking, champion)
    offers = tracking.champion("offers")
    values = None
    about: dict[str, Any] = {
        "horizon_days": churn.horizon_days,
        "lookback_days": churn.lookback_days,
        "churn_method": churn.method,
        "churn_version": champion.number,
        "tables": sorted(tables),
        "currency": shop.settings.currency,
        "risk_medium": shop.settings.risk_medium,
        "risk_high": shop.settings.risk_high,
        "loyal_orders": shop.settings.loyal_orders,
        "tiers": shop.settings.tiers,
        "compacted_events": received.events_seq,
        "compacted_changes": received.changes_seq,
    }
    if offers is not None:
        model = load_offers(tracking, offers)
        values = offer_values(tables, model, as_of=as_of)
        about |= {
            "policy_version": f"offers-{offers.number}",
            "outcome": model.outcome,
            "randomised": model.randomised,
            "worth": model.worth.money,
        }
    store = open_store(shop.settings.database_url)
    try:
        done = publish_generation(
            store,
            tables=tables,
            scores=scores,
            offer_values=values,
            as_of=as_of,
            about=about,
            now=now,
            attributed_within=timedelta(days=shop.settings.attribution_days),
            cancellation=cancellation_for(tracking, as_of=as_of),
        )
    finally:
        store.close()
    bring_all(shop.settings)
    return Published(as_of=as_of, **done)
