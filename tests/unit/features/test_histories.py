"""Order lines gathered by customer, order, day and product: against counting them one by one."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.arithmetic import DAY
from features.customers.histories import Histories, histories

WHOLE = dict.fromkeys(("customer", "order", "product", "category", "ordered"), pa.int64())
MONEY = dict.fromkeys(("money", "discount"), pa.float64())
SCHEMA = pa.schema({"has_coupon": pa.bool_()} | WHOLE | MONEY)
NOW = 400 * DAY
Line = dict[str, Any]

lines = st.lists(
    st.fixed_dictionaries(
        {
            "customer": st.sampled_from([2**40, -3, 5]),
            "order": st.integers(-3, 3),
            "product": st.sampled_from([-(2**62), 5, 2**62]),
            "category": st.sampled_from([0, 7, -7]),
            "ordered": st.integers(300 * DAY, NOW - 1),
            "money": st.integers(0, 10**6).map(float),
            "discount": st.integers(0, 100).map(float),
            "has_coupon": st.booleans(),
        }
    ),
    min_size=1,
    max_size=30,
)


def gathered(rows: Sequence[Line], *, chunks: int = 1) -> Histories:
    size = -(-len(rows) // chunks) or 1
    pairs = [(row["customer"], row["order"]) for row in rows]
    own = [row | {"order": pairs.index(pair)} for row, pair in zip(rows, pairs, strict=True)]
    tables = [pa.Table.from_pylist(own[at : at + size], schema=SCHEMA) for at in range(0, len(rows), size)]
    return histories(pa.concat_tables(tables) if tables else SCHEMA.empty_table(), now=NOW)


def one_by_one(rows: Sequence[Line], customer: int) -> dict[str, Any]:
    own = [row for row in rows if row["customer"] == customer]
    orders: dict[int, list[Line]] = {}
    for row in own:
        orders.setdefault(row["order"], []).append(row)
    spent: dict[int, float] = {}
    for parts in orders.values():
        day = min(row["ordered"] for row in parts) // DAY
        spent[day] = spent.get(day, 0.0) + sum(row["money"] for row in parts)
    return {
        "orders": sorted(
            (
                min(row["ordered"] for row in parts),
                sum(row["money"] for row in parts),
                any(r["has_coupon"] for r in parts),
            )
            for parts in orders.values()
        ),
        "days": sorted(spent.items()),
        "lines": len(own),
        "discount": sum(row["discount"] for row in own),
        "discounted": sum(row["discount"] > 0 for row in own),
        "products": len({row["product"] for row in own}),
        "recent": len({row["product"] for row in own if row["ordered"] >= NOW - 90 * DAY}),
        "categories": len({row["category"] for row in own} - {0}),
    }


def told(of: Histories, row: int) -> dict[str, Any]:
    def part(spans: Any, *columns: Any) -> list[tuple[Any, ...]]:
        own = slice(spans.starts[row], spans.starts[row] + spans.counts[row])
        return sorted(zip(*(column[own].tolist() for column in columns), strict=True))

    return {
        "orders": part(of.orders, of.ordered, of.money, of.has_coupon),
        "days": part(of.order_days, of.days, of.day_money),
        "lines": of.lines.counts[row],
        "discount": of.lines.sums(of.discount)[row],
        "discounted": of.lines.sums(of.discount > 0)[row],
        "products": of.products[row],
        "recent": of.recent_products[row],
        "categories": of.categories[row],
    }


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=lines)
def test_it_is_what_counting_line_by_line_gives(rows: list[Line]) -> None:
    of = gathered(rows)
    customers = of.customers.tolist()
    assert sorted(customers) == sorted({row["customer"] for row in rows})
    for row, customer in enumerate(customers):
        assert told(of, row) == one_by_one(rows, customer)


def test_days_are_in_order_whatever_the_orders_are() -> None:
    base = {"customer": 1, "product": 1, "category": 0, "money": 1.0, "discount": 0.0, "has_coupon": False}
    of = gathered([base | {"order": order, "ordered": day * DAY} for order, day in enumerate((390, 310, 350))])
    assert of.days.tolist() == [310, 350, 390]
    assert of.gaps.tolist()[1:] == [40.0, 40.0]


@pytest.mark.parametrize("chunks", [2, 5])
def test_lines_may_come_in_pieces(chunks: int) -> None:
    base = {"product": 1, "category": 0, "money": 2.0, "discount": 3.0, "has_coupon": True}
    rows = [base | {"customer": n // 3, "order": n // 2, "ordered": (300 + n) * DAY} for n in range(12)]
    whole, pieces = gathered(rows), gathered(rows, chunks=chunks)
    assert [told(whole, row) for row in range(4)] == [told(pieces, row) for row in range(4)]


def test_of_no_line_there_is_no_history() -> None:
    of = gathered([])
    assert (len(of.customers), len(of.orders.sums(of.money)), len(of.order_days.most(of.gaps))) == (0, 0, 0)
