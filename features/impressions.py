"""What recommendations showed, what followed it, and what was known of who saw it when it was shown."""

from datetime import datetime, timedelta

import ibis
import pandas as pd

from features.interactions import ANONYMOUS, KIND_OF_EVENT, identified, kind_of, owned_events, with_identity, with_owner
from regulars.as_of import KNOWN, SUPERSEDED, Tables, known_tables, moment

WITHIN = timedelta(days=7)
CLICKS = ("click", "view", "cart")
GROUP = ("recommendation_id", "placement")
CLICKED, BOUGHT = 1, 2
SHOWN_TO_ONE_FOLLOWED = 50
NEWEST = 500


def followed_impressions(
    tables: Tables, *, start: datetime, end: datetime, as_of: datetime, most: int, without: tuple[str, ...] = ()
) -> pd.DataFrame:
    """One row per product of the newest ``most`` slots shown in [start, end) of which a part was followed before ``end``.

    Columns: those of the table ``impressions`` (times in UTC) and ``grade``: 2 where the product was bought, 1 where it was
    clicked, looked at or put into the cart, else 0. What was done counts for the slot that its event names; else for the one that
    showed the product to this visitor last within 7 days, in the case of an order one that was clicked before one that was only
    shown. A visitor without a name counts as the customer they turned out to be. Only what is known just before ``as_of`` counts;
    of slots in which everything was followed none come: they order nothing. ``without`` are placements that are left out. Where
    very much was shown, the newest ``50 * most`` recommendations are looked through.

    Empty where there are no impressions. Sorted by slot, the newest first, and rank.
    """
    if "impressions" not in tables or most < 1:
        return pd.DataFrame(columns=[*GROUP, "product_id", "shown_at", "rank", "grade"])
    known = known_tables({"impressions": tables["impressions"]}, as_of=as_of)["impressions"]
    shown = known.filter(known.shown_at >= moment(start), known.shown_at < moment(end))
    shown = shown.filter(~shown.placement.isin(without)) if without else shown
    shown = _newest(shown, most=most * SHOWN_TO_ONE_FOLLOWED)
    grades = _graded(_touched(tables, shown, end=end, as_of=as_of))
    if grades.empty:
        return pd.DataFrame(columns=[*known.columns, "grade"])
    wanted = ibis.memtable(grades[list(GROUP)].drop_duplicates())
    rows = shown.semi_join(wanted, list(GROUP)).execute()
    rows = rows.merge(grades, on=[*GROUP, "product_id"], how="left")
    rows["grade"] = rows["grade"].fillna(0).astype("int8")
    least = rows.groupby(list(GROUP))["grade"].transform("min")
    rows = rows[least < rows.groupby(list(GROUP))["grade"].transform("max")]
    rows = rows.sort_values(
        ["shown_at", *GROUP, "rank", "product_id"], ascending=[False, *[True] * 4], ignore_index=True
    )
    return rows[rows.groupby(list(GROUP), sort=False).ngroup() < most].reset_index(drop=True)


def histories_then(tables: Tables, asked: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """The newest 500 things that each of ``asked`` had done with products, as known at the moment of each.

    ``asked``: number, customer_id, anonymous_id, session_id, shown_at (UTC); the columns of the answer: number, product_id,
    occurred_at, kind, oldest first. As in the service a customer's are their own and those of visitors known by then to be
    them; a visitor's without a name are those under the same anonymous id, else session, that name nobody.
    """
    told = dict.fromkeys(("customer_id", "anonymous_id", "session_id"), "string")
    schema = {"number": "int64", **told, "shown_at": "timestamp"}
    frame = asked[list(schema)].astype({"shown_at": "datetime64[us]"} | dict.fromkeys(told, object))
    wanted = ibis.memtable(frame.where(frame.notna(), None), schema=schema)
    parts = []
    if "orders" in tables:
        orders = tables["orders"]
        bought = orders.select(
            "product_id", "customer_id", KNOWN, SUPERSEDED, occurred_at=orders.ordered_at,
            kind=ibis.literal("purchase", "string"),
        )  # fmt: skip
        parts.append(_before(wanted.inner_join(bought, "customer_id")))
    if "events" in tables:
        events = tables["events"].filter(ibis._.product_id.notnull() & ibis._.name.isin(tuple(KIND_OF_EVENT)))
        events = with_identity(events, identified(tables["events"], as_of=as_of), at="occurred_at")
        done = events.select(
            "product_id", "occurred_at", "identified_from", KNOWN, SUPERSEDED, kind=kind_of(events.name),
            by_customer=events.customer_id, by_identified=events.identified_id, by_visitor=events.anonymous_id,
            by_session=events.session_id,
        )  # fmt: skip
        nameless = done.filter(done.by_customer.isnull())
        nobody = wanted.filter(wanted.customer_id.isnull())
        joined = wanted.inner_join(nameless, wanted.customer_id == nameless.by_identified)
        parts += [
            _before(wanted.inner_join(done, wanted.customer_id == done.by_customer)),
            _before(joined.filter(joined.identified_from < joined.shown_at)),
            _before(nobody.inner_join(nameless, nobody.anonymous_id == nameless.by_visitor)),
        ]
        unknown = nobody.filter(nobody.anonymous_id.isnull())
        parts.append(_before(unknown.inner_join(nameless, unknown.session_id == nameless.by_session)))
    if not parts:
        return pd.DataFrame(columns=["number", "product_id", "occurred_at", "kind"])
    rows = ibis.union(*parts) if len(parts) > 1 else parts[0]
    newest = ibis.window(
        group_by="number", order_by=[rows.occurred_at.desc(), rows.product_id.desc(), rows.kind.desc()]
    )
    rows = rows.mutate(place=ibis.row_number().over(newest))
    found = rows.filter(rows.place < NEWEST).drop("place").execute()
    return found.sort_values(["number", "occurred_at", "product_id", "kind"], ignore_index=True)


def _before(joined: ibis.Table) -> ibis.Table:
    """Of what each who is asked about did, that which was known when they were shown something."""
    known = joined.filter(
        joined.occurred_at < joined.shown_at,
        joined[KNOWN] < joined.shown_at,
        joined[SUPERSEDED].isnull() | (joined[SUPERSEDED] >= joined.shown_at),
    )
    return known.select("number", "product_id", "occurred_at", "kind")


def _newest(shown: ibis.Table, *, most: int) -> ibis.Table:
    """What was shown from the moment on from which there are ``most`` recommendations."""
    given = shown.group_by("recommendation_id").agg(given_at=shown.shown_at.max())
    last = given.order_by(ibis.desc("given_at")).limit(most)
    since = last.given_at.min().execute()
    return shown if pd.isna(since) else shown.filter(shown.shown_at >= since.to_pydatetime())


def _touched(tables: Tables, shown: ibis.Table, *, end: datetime, as_of: datetime) -> pd.DataFrame:
    """A row per shown product and thing done with it that may go back to it: ``named``, or by the same visitor within 7 days."""
    acts, who = [], shown.mutate(owner_id=shown.customer_id)
    if "events" in tables:
        who = with_owner(shown, identified(tables["events"], as_of=as_of), at="shown_at")
        events = owned_events(tables, as_of=as_of)
        events = events.mutate(kind=kind_of(events.name)).filter(ibis._.kind.isin(CLICKS), ibis._.product_id.notnull())
        acts.append(
            events.select(
                "product_id", at="occurred_at", cause="event_id", kind=ibis.literal("click", "string"), by=_visitor(events),
                session="session_id", names="recommendation_id",
            )
        )  # fmt: skip
    if "orders" in tables:
        orders = known_tables({"orders": tables["orders"]}, as_of=as_of)["orders"]
        nothing = ibis.null("string")
        acts.append(
            orders.filter(orders.customer_id.notnull()).select(
                "product_id", at="ordered_at", cause="order_id", kind=ibis.literal("purchase", "string"), by="customer_id",
                session=nothing, names=nothing,
            )
        )  # fmt: skip
    if not acts:
        return pd.DataFrame(columns=[*GROUP, "product_id", "shown_at", "cause", "kind", "at", "named"])
    done = ibis.union(*acts) if len(acts) > 1 else acts[0]
    done = done.filter(done.at < moment(end))
    slots = who.select(*GROUP, "product_id", "shown_at", to=_visitor(who), in_session=who.session_id)
    soon = (done.at >= slots.shown_at) & (done.at < slots.shown_at + ibis.interval(days=WITHIN.days))
    same, nobody = slots.product_id == done.product_id, slots.to.isnull()
    pairs = [
        slots.inner_join(done, [same, slots.recommendation_id == done.names]).mutate(named=True),
        slots.inner_join(done, [same, slots.to == done.by, soon]).mutate(named=False),
        slots.inner_join(done, [same, nobody, slots.in_session == done.session, soon]).mutate(named=False),
    ]
    columns = [*GROUP, "product_id", "shown_at", "cause", "kind", "at", "named"]
    return ibis.union(*(pair.select(*columns) for pair in pairs), distinct=True).execute()


def _visitor(rows: ibis.Table) -> ibis.Value:
    return ibis.coalesce(rows.owner_id, ibis.literal(ANONYMOUS) + rows.anonymous_id)


def _graded(touched: pd.DataFrame) -> pd.DataFrame:
    """GROUP, product_id, grade: each thing done counts for one slot."""
    touched = touched.sort_values(["named", "shown_at", *GROUP], ignore_index=True)
    clicks = touched[touched["kind"] == "click"].drop_duplicates(["cause", "product_id"], keep="last")
    slot = [*GROUP, "product_id"]
    first = clicks.groupby(slot)["at"].min().rename("clicked_at").reset_index()
    orders = touched[touched["kind"] == "purchase"].merge(first, on=slot, how="left")
    orders["clicked_at"] = orders["clicked_at"].where(orders["clicked_at"] <= orders["at"])
    orders = orders.sort_values(["clicked_at", "shown_at", *GROUP], na_position="first")
    orders = orders.drop_duplicates(["cause", "product_id"], keep="last")
    graded = pd.concat([clicks[slot].assign(grade=CLICKED), orders[slot].assign(grade=BOUGHT)])
    return graded.groupby(slot)["grade"].max().reset_index()
