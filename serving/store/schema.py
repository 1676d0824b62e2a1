"""The tables of the store. Moments are kept as whole microseconds since 1970, JSON as text, so that both databases agree."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import TEXT
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = "6"
CHANNELS = ("email", "sms", "push", "ads")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """A time-zone-aware datetime as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


def _id() -> Text:
    """Text that both databases sort by its bytes."""
    return Text().with_variant(TEXT(collation="C"), "postgresql")


# One row per fact about the store itself: "schema_version"; "generation", the one that answers; "forgotten", a mark that changes
# whenever a customer is forgotten; and up to which number rows are in the lake.
state = Table("state", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

# One row per key ever made; the key itself is never kept. origins: JSON list of web origins it may be used from, or [].
keys = Table(
    "keys",
    metadata,
    Column("key_hash", Text, primary_key=True),
    Column("key_id", Text, nullable=False, unique=True),
    Column("scope", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("origins", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
)

# One row per publishing; published_at is null until all its rows are there.
generations = Table(
    "generations",
    metadata,
    Column("generation", Integer, primary_key=True, autoincrement=True),
    Column("as_of", Moment, nullable=False),
    Column("published_at", Moment),
    Column("about", Text, nullable=False),
    sqlite_autoincrement=True,
)

# One row per generation and known customer. reachable_*: consent was given and not taken back by unsubscribing.
profiles = Table(
    "profiles",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("customer_id", _id(), primary_key=True),
    Column("churn_probability", Double),
    Column("churn_low", Double),
    Column("churn_high", Double),
    Column("risk", Text),
    Column("predicted_value", Double),
    Column("segment", Text),
    Column("tier", Text),
    *(Column(name, Text) for name in ("name", "email", "phone", "locale", "timezone", "country")),
    *(Column(f"consent_{channel}", Boolean) for channel in CHANNELS),
    *(Column(f"reachable_{channel}", Boolean, nullable=False) for channel in CHANNELS),
    Column("unsubscribed", Text, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("profile", Text, nullable=False),
    Index("profiles_by_risk", "generation", text("churn_probability DESC"), "customer_id"),
)

# One row per generation and customer with history: the newest interactions in one body, products by their places in the generation.
histories = Table(
    "histories",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("customer_id", _id(), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

# One row per generation and product; attributes is a JSON object.
products = Table(
    "products",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("product_id", _id(), primary_key=True),
    Column("attributes", Text, nullable=False),
)

# One row per generation and name of a table of figures of the whole shop; body is a JSON list of rows.
figures = Table(
    "figures",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

# One row per generation and offer; offer is a JSON object.
offers = Table(
    "offers",
    metadata,
    Column("generation", Integer, primary_key=True),
    Column("offer_id", _id(), primary_key=True),
    Column("offer", Text, nullable=False),
)

# One row per decision made, kept for judging policies later. subject: a customer_id, or "anonymous:" and its id.
decisions = Table(
    "decisions",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("subject", _id(), nullable=False),
    Column("placement", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("offer_id", _id()),
    Column("answer", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("propensity", Double, nullable=False),
    Index("decisions_by_subject", "subject", "offer_id"),
    Index("decisions_by_time", "created_at"),
)

# One row per subject, placement and channel: the decision that holds there until expires_at; offer_id: null for none.
held_decisions = Table(
    "held_decisions",
    metadata,
    Column("subject", _id(), primary_key=True),
    Column("placement", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("decision_id", Text, nullable=False),
    Column("offer_id", _id()),
    Column("expires_at", Moment, nullable=False),
)

# One row per offer ever made: how often, to anybody; it outlives the decisions of who was forgotten.
offer_counts = Table(
    "offer_counts",
    metadata,
    Column("offer_id", _id(), primary_key=True),
    Column("made", Integer, nullable=False),
)

# One row per outcome of a decision.
decision_outcomes = Table(
    "decision_outcomes",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("occurred_at", Moment, primary_key=True),
    Column("revenue", Double),
    Column("received_at", Moment, nullable=False, index=True),
)

# One row per recommendation given: to whom, by which model, what. slots: JSON list of {"placement", "items": [[product_id,
# score, propensity], ...]}, items in the order of their ranks. summary: "home:4,cart:3", how many products each slot that
# was not empty showed. product_ids: JSON list, with the pages before as well: what a next page may not show again.
shown_recommendations = Table(
    "shown_recommendations",
    metadata,
    Column("recommendation_id", Text, primary_key=True),
    Column("customer_id", _id()),
    Column("anonymous_id", _id()),
    Column("session_id", _id()),
    Column("policy", Text, nullable=False),
    Column("slots", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("product_ids", Text, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Index("shown_to_customer", "customer_id", "created_at"),
    Index("shown_to_visitor", "anonymous_id", "created_at"),
    Index("shown_in_session", "session_id", "created_at"),
)

# One row per quarter of an hour and placement: slots and products shown, of recommendations that are kept no more.
shown_counts = Table(
    "shown_counts",
    metadata,
    Column("quarter", BigInteger, primary_key=True),
    Column("placement", Text, primary_key=True),
    Column("views", Integer, nullable=False),
    Column("products", Integer, nullable=False),
)

# One row per click on a product that a recommendation showed (kind "click", cause: the recommendation_id) and per ordered
# product that was shown before (kind "order", cause: a hash of the order_id); it names no customer. touch: "named" by the
# event, "clicked" or "shown" last. revenue: in the shop's currency, null for clicks.
attributions = Table(
    "attributions",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("cause", Text, primary_key=True),
    Column("product_id", _id(), primary_key=True),
    Column("recommendation_id", Text, nullable=False),
    Column("placement", Text, nullable=False),
    Column("touch", Text, nullable=False),
    Column("occurred_at", Moment, nullable=False, index=True),
    Column("revenue", Double),
)

# One row per rule of the shop about which products come first or last; evaluated when publishing.
product_rules = Table(
    "product_rules",
    metadata,
    Column("name", _id(), primary_key=True),
    Column("rule", Text, nullable=False),
)

# One row per event received and not yet in the lake, or kept for the answers until a generation holds it. origin: "page"
# for a storefront's key, else "server". touched: JSON list of [product_id, kind], null where there is none. body: JSON.
events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("origin", Text, nullable=False),
    Column("message_id", _id(), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("name", Text, nullable=False),
    Column("customer_id", _id()),
    Column("anonymous_id", _id()),
    Column("session_id", _id()),
    Column("touched", Text),
    Column("body", Text, nullable=False),
    Index("events_once", "message_id", "origin", unique=True),
    Index("events_by_customer", "customer_id", "seq"),
    Index("events_by_visitor", "anonymous_id", "seq"),
    sqlite_autoincrement=True,
)

# Of events with products alone, since visitors do much else: by customer, and where nobody is known by name by visitor and session.
# What is without a name is said in a way that no other index answers: SQLite would look through all nameless events instead.
with_products = events.c.touched.is_not(None)
NOBODY = literal_column("''")
nameless = func.coalesce(events.c.customer_id, NOBODY) == NOBODY
for _name, _column, _kept in (
    ("touched_by_customer", events.c.customer_id, with_products),
    ("touched_by_visitor", events.c.anonymous_id, with_products & nameless),
    ("touched_by_session", events.c.session_id, with_products & nameless),
):
    Index(_name, _column, events.c.seq, sqlite_where=_kept, postgresql_where=_kept)

# One row per anonymous_id that was ever identified: the first customer, never another one.
identities = Table(
    "identities",
    metadata,
    Column("anonymous_id", _id(), primary_key=True),
    Column("customer_id", _id(), nullable=False),
    Column("identified_at", Moment, nullable=False),
    Index("identities_by_customer", "customer_id"),
)

# One row per row of a table that the shop sent (products, customers, offers). body: JSON of the fields that were given.
changes = Table(
    "changes",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("table_name", Text, nullable=False),
    Column("row_key", _id(), nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("body", Text, nullable=False),
    Index("changes_by_table", "table_name", "seq"),
    sqlite_autoincrement=True,
)

PUBLISHED = (profiles, histories, products, offers, figures)
