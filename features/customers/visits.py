"""What a customer did in the shop without, or before, buying: what the families of browsing read. No features of its own."""

from collections.abc import Mapping

import ibis

from features.arithmetic import day_number, microseconds
from features.interactions import kind_of


def visits(known: Mapping[str, ibis.Table], sums: ibis.Table) -> ibis.Table:
    """One row per event of a customer in ``sums`` (see ``order_sums``): customer_id, at (microseconds), day, kind, name,
    last_ordered.

    ``known["events"]`` are those of ``features.interactions.owned_events``.
    """
    owned = known["events"]
    rows = owned.filter(owned.owner_id.notnull()).select(
        customer_id=owned.owner_id, at=microseconds(owned.occurred_at), kind=kind_of(owned.name), name=owned.name
    )
    rows = rows.mutate(day=day_number(rows["at"]))
    return rows.inner_join(sums.select("customer_id", "last_ordered"), "customer_id")
