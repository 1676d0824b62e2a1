"""Every table of the lake, declared once: grain, key, columns, types and checks.

Types:

- ``cel``: text that compiles as an eligibility rule (``regulars.eligibility``)
- ``id``: text, trimmed, case and leading zeros kept; a whole number that arrived as a float loses its ``.0``
- ``text``, ``boolean``, ``integer``, ``json`` (text that parses as JSON)
- ``number``: a finite float; money is in the shop's one currency
- ``time``: UTC, without zone, to the microsecond
- ``date``: a calendar day, as text ``YYYY-MM-DD``
"""

from dataclasses import dataclass, field

RETURN_REASONS = ("quality", "fit", "damaged", "late", "changed_mind", "cancelled", "other")
OFFER_KINDS = (
    "percent",
    "amount",
    "coupon",
    "free_shipping",
    "gift",
    "points",
    "early_access",
    "content",
    "other",
)
OUTCOME_KINDS = ("visited", "redeemed", "converted")


@dataclass(frozen=True)
class Column:
    """One column: what it holds and which values are possible.

    ``above`` is an open lower bound, ``least`` and ``most`` are closed ones; ``one_of`` lists the only values.
    """

    name: str
    type: str
    required: bool = False
    above: float | None = None
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    ``time``: the columns whose earliest value is a row's own time (empty: a row is always known).
    ``any_of``: at least one column of each group must have a value.
    ``outcomes``: an outcome time -> the columns that are known only from then on.
    ``default_key``: the key column that is made up where a file has none, see ``features.sources.reading``.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    time: tuple[str, ...] = ()
    any_of: tuple[tuple[str, ...], ...] = ()
    outcomes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    default_key: str | None = None

    def column(self, name: str) -> Column:
        """The declaration of column ``name``; KeyError where there is none."""
        return {column.name: column for column in self.columns}[name]

    @property
    def by_customer(self) -> bool:
        """Whether a row is of one customer by itself; an anonymous event may turn out to be of another than it says."""
        return "customer_id" in self.names and "anonymous_id" not in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all declared columns, in order."""
        return tuple(column.name for column in self.columns)


def _columns(declared: str, **checked: Column) -> tuple[Column, ...]:
    """Columns from ``"name:type name:type! ..."``, where ``!`` marks a required one; ``checked`` replace by name."""
    columns = []
    for word in declared.split():
        name, _, kind = word.partition(":")
        columns.append(checked.get(name) or Column(name, kind.rstrip("!"), required=kind.endswith("!")))
    return tuple(columns)


_ORDER_LINE = _columns(
    "order_id:id! line_id:id! customer_id:id product_id:id! ordered_at:time! quantity:number! "
    "unit_price:number! discount:number coupon_id:id channel:text",
    quantity=Column("quantity", "number", required=True, above=0),
    unit_price=Column("unit_price", "number", required=True, least=0),
)

_ALL = (
    Table(
        name="orders",
        grain="one row per order line",
        key=("order_id", "line_id"),
        time=("ordered_at",),
        default_key="line_id",
        columns=_ORDER_LINE,
    ),
    Table(
        name="returns",
        grain="one row per returned line",
        key=("return_id",),
        time=("returned_at",),
        default_key="return_id",
        any_of=(("order_id", "customer_id"),),
        columns=_columns(
            "return_id:id! order_id:id line_id:id customer_id:id product_id:id! returned_at:time! "
            "quantity:number! amount:number reason:text",
            quantity=Column("quantity", "number", required=True, above=0),
            reason=Column("reason", "text", one_of=RETURN_REASONS),
        ),
    ),
    Table(
        name="deliveries",
        grain="one row per order",
        key=("order_id",),
        time=("shipped_at", "promised_at", "delivered_at"),
        any_of=(("promised_at", "delivered_at"),),
        outcomes={"delivered_at": (), "shipped_at": ()},
        columns=_columns(
            "order_id:id! shipped_at:time promised_at:time delivered_at:time carrier:text",
        ),
    ),
    Table(
        name="products",
        grain="one row per product",
        key=("product_id",),
        time=("created_at",),
        columns=_columns(
            "product_id:id! name:text category:text brand:text price:number cost:number available:boolean "
            "created_at:time parent_id:id url:text image_url:text attributes:json",
            price=Column("price", "number", least=0),
            cost=Column("cost", "number", least=0),
        ),
    ),
    Table(
        name="customers",
        grain="one row per customer",
        key=("customer_id",),
        time=("created_at",),
        columns=_columns(
            "customer_id:id! created_at:time name:text email:text phone:text birth_date:date country:text "
            "region:text city:text timezone:text locale:text acquisition_channel:text referred_by:id "
            "consent_email:boolean consent_sms:boolean consent_push:boolean consent_ads:boolean attributes:json",
        ),
    ),
    Table(
        name="consents",
        grain="one row per customer, channel, purpose and moment",
        key=("customer_id", "channel", "purpose", "at"),
        time=("at",),
        columns=_columns("customer_id:id! channel:text! purpose:text! at:time! given:boolean!"),
    ),
    Table(
        name="events",
        grain="one row per event",
        key=("event_id",),
        time=("occurred_at",),
        default_key="event_id",
        any_of=(("customer_id", "anonymous_id"),),
        columns=_columns(
            "event_id:id! occurred_at:time! name:text! customer_id:id anonymous_id:id session_id:id "
            "product_id:id category:text query:text quantity:number price:number recommendation_id:id "
            "decision_id:id properties:json",
        ),
    ),
    Table(
        name="tickets",
        grain="one row per support ticket",
        key=("ticket_id",),
        time=("opened_at",),
        outcomes={"first_response_at": (), "resolved_at": ("satisfaction",)},
        columns=_columns(
            "ticket_id:id! customer_id:id! opened_at:time! first_response_at:time resolved_at:time "
            "channel:text topic:text satisfaction:number",
            satisfaction=Column("satisfaction", "number", least=0, most=1),
        ),
    ),
    Table(
        name="messages",
        grain="one row per message sent to a customer",
        key=("message_id",),
        time=("sent_at",),
        outcomes={"opened_at": (), "clicked_at": (), "unsubscribed_at": ()},
        columns=_columns(
            "message_id:id! customer_id:id! channel:text! sent_at:time! campaign_id:id opened_at:time "
            "clicked_at:time unsubscribed_at:time",
        ),
    ),
    Table(
        name="surveys",
        grain="one row per customer and answer",
        key=("customer_id", "answered_at"),
        time=("answered_at",),
        columns=_columns(
            "customer_id:id! answered_at:time! score:number!",
            score=Column("score", "number", required=True, least=0, most=10),
        ),
    ),
    Table(
        name="loyalty",
        grain="one row per customer, moment and reason",
        key=("customer_id", "at", "reason"),
        time=("at",),
        columns=_columns("customer_id:id! at:time! reason:text! points:number"),
    ),
    Table(
        name="subscriptions",
        grain="one row per subscription",
        key=("subscription_id",),
        time=("started_at",),
        outcomes={"paused_at": (), "cancelled_at": ()},
        columns=_columns(
            "subscription_id:id! customer_id:id! started_at:time! product_id:id renews_at:time "
            "paused_at:time cancelled_at:time",
        ),
    ),
    Table(
        name="offers",
        grain="one row per offer",
        key=("offer_id",),
        columns=_columns(
            "offer_id:id! kind:text! name:text value:number cost:number product_ids:json category:text "
            "starts_at:time ends_at:time eligibility:cel budget:number max_per_customer:integer",
            kind=Column("kind", "text", required=True, one_of=OFFER_KINDS),
            cost=Column("cost", "number", least=0),
            budget=Column("budget", "number", least=0),
            max_per_customer=Column("max_per_customer", "integer", least=0),
        ),
    ),
    Table(
        name="assignments",
        grain="one row per customer and moment at which an offer was made or held out",
        key=("assignment_id",),
        time=("assigned_at",),
        columns=_columns(
            "assignment_id:id! customer_id:id! assigned_at:time! offer_id:id propensity:number policy_version:text",
            propensity=Column("propensity", "number", above=0, most=1),
        ),
    ),
    Table(
        name="outcomes",
        grain="one row per assignment, kind and moment",
        key=("assignment_id", "kind", "occurred_at"),
        time=("occurred_at",),
        columns=_columns(
            "assignment_id:id! kind:text! occurred_at:time! revenue:number",
            kind=Column("kind", "text", required=True, one_of=OUTCOME_KINDS),
        ),
    ),
    Table(
        name="impressions",
        grain="one row per product shown by a recommendation",
        key=("recommendation_id", "placement", "product_id"),
        time=("shown_at",),
        columns=_columns(
            "recommendation_id:id! placement:text! product_id:id! shown_at:time! customer_id:id anonymous_id:id "
            "session_id:id rank:integer! score:number propensity:number policy:text",
            rank=Column("rank", "integer", required=True, least=1),
            propensity=Column("propensity", "number", above=0, most=1),
        ),
    ),
    Table(
        name="event_orders",
        grain="one row per order line that an event told of; an order that `orders` has too counts as `orders` has it",
        key=("order_id", "line_id"),
        time=("ordered_at",),
        columns=_ORDER_LINE,
    ),
    Table(
        name="charges",
        grain="one row per order line that is no sale: postage, fees, tests; never a feature, never a product",
        key=("order_id", "line_id"),
        time=("ordered_at",),
        default_key="line_id",
        columns=_columns(
            "order_id:id! line_id:id! customer_id:id product_id:id! ordered_at:time! quantity:number "
            "unit_price:number rule:text!",
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _ALL}
