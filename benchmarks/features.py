"""Customer features from 0.1, 1 and 10 million order lines, beside the same features written in pandas.

``seconds`` are from the files to the table, what either side imports is not in them; ``process_seconds`` are of the whole
process, ``cpu_seconds`` of all its threads, imports included. Each side is measured ``ROUNDS`` times in turn; a figure is the
median of its own, memory the most.

python -m benchmarks.features [--lines 100000,1000000,10000000]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import duckdb
import numpy as np

from benchmarks.measure import Cost, cost, keep, plot

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
LINES_PER_CUSTOMER = 100
LINES_PER_ORDER = 10
SIZES = (100_000, 1_000_000, 10_000_000)
ROUNDS = 5


def main() -> None:
    """Measure all sizes, ours and pandas in turn, and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", default=",".join(map(str, SIZES)))
    parser.add_argument("--one", choices=("ours", "pandas"))
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(_ours(asked.folder) if asked.one == "ours" else _pandas(asked.folder)))
        return
    rows = [_measured(int(lines)) for lines in asked.lines.split(",")]
    keep("features", command=f"python -m benchmarks.features --lines {asked.lines}", rows=rows)
    plot(
        "features",
        rows=rows,
        x="lines",
        lines={"seconds": "regulars (DuckDB)", "pandas_seconds": "pandas"},
        title="Customer features: seconds",
    )
    for row in rows:
        print(
            f"{row['lines']:>11,} lines: {row['seconds']:.1f} s against {row['pandas_seconds']:.1f} s "
            f"({row['times_faster']:.1f} x faster), {row['megabytes']:.0f} MB against {row['pandas_megabytes']:.0f} MB "
            f"({row['memory_ratio']:.2f})"
        )


def _measured(lines: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _make(folder, lines)
        rounds = [(_one("ours", folder), _one("pandas", folder)) for _ in range(ROUNDS)]
    ours, theirs = (_middle(costs) for costs in zip(*rounds, strict=True))
    largest = max(abs(ours.said["sums"][name] - theirs.said["sums"][name]) / max(abs(theirs.said["sums"][name]), 1.0)
                  for name in theirs.said["sums"])  # fmt: skip
    if largest > 1e-6 or ours.said["customers"] != theirs.said["customers"]:
        raise AssertionError(f"the two do not compute the same: {largest}")
    return {
        "lines": lines,
        "seconds": ours.said["seconds"],
        "pandas_seconds": theirs.said["seconds"],
        "times_faster": theirs.said["seconds"] / ours.said["seconds"],
        "megabytes": ours.megabytes,
        "pandas_megabytes": theirs.megabytes,
        "memory_ratio": ours.megabytes / theirs.megabytes,
        "process_seconds": ours.seconds,
        "pandas_process_seconds": theirs.seconds,
        "cpu_seconds": ours.cpu_seconds,
        "pandas_cpu_seconds": theirs.cpu_seconds,
    }


def _one(side: str, folder: Path) -> Cost:
    return cost(["benchmarks.features", "--one", side, "--folder", folder])


def _middle(costs: Sequence[Cost]) -> Cost:
    """The medians of what the rounds of one side took, the most memory of any; what they said but for ``seconds`` is the same."""
    return Cost(
        seconds=median(cost.seconds for cost in costs),
        megabytes=max(cost.megabytes for cost in costs),
        said=costs[0].said | {"seconds": median(cost.said["seconds"] for cost in costs)},
        cpu_seconds=median(cost.cpu_seconds for cost in costs),
    )


def _make(folder: Path, lines: int) -> None:
    """Import a made shop of ``lines`` order lines into a lake below ``folder``.

    Shaped like real ones: 100 lines a customer, 10 an order, and 6 in 10 from 20 favourite products of the customer's own,
    so that 59 % of customer-product pairs are new. In The Complete Journey that is 59 % with 9 lines an order, in Online
    Retail II 66 % with 21.
    """
    customers = max(lines // LINES_PER_CUSTOMER, 1)
    file = folder / "orders.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"""copy (select 'o' || o as order_id, 'c' || c as customer_id,
                'p' || (hash(case when hash(i * 31) % 10 < 6 then c * 100 + hash(i * 17) % 20 else i * 13 end) % 20000)
                    as product_id,
                timestamp '2022-06-01' + to_seconds((hash(o + 7) % 63000000)::bigint) as ordered_at,
                1 + (hash(i) % 3)::int as quantity, round((hash(i * 7) % 3000) / 100, 2) as unit_price,
                case when hash(i * 3) % 5 = 0 then 0.5 end as discount,
                case when hash(o) % 9 = 0 then 'ten' end as coupon_id
            from (select i, i // {LINES_PER_ORDER} as o, hash(i // {LINES_PER_ORDER}) % {customers} as c
                  from range({lines}) t(i))) to '{file}' (format parquet)"""
        )
    cost(["cli.main", "import", "orders", file, "--json"], env={"REGULARS_HOME": str(folder)})


def _ours(folder: Path) -> dict[str, object]:
    from features.build import read_customer_features  # noqa: PLC0415 - each process carries only what it measures
    from regulars.engine import connect  # noqa: PLC0415
    from regulars.lake import Lake  # noqa: PLC0415

    engine = connect("duckdb")  # imports what Ibis needs of DuckDB
    began = time.monotonic()
    rows = read_customer_features(Lake(folder / "lake").tables(engine), as_of=AS_OF)
    return _said(rows, began)


def _pandas(folder: Path) -> dict[str, object]:
    import pyarrow.dataset  # noqa: PLC0415 - what pandas imports when it first reads a file
    import pyarrow.parquet  # noqa: PLC0415

    from benchmarks.pandas_features import customer_features  # noqa: PLC0415
    from features.customers.assortment import one_customer_in  # noqa: PLC0415

    files = sorted((folder / "lake" / "orders").rglob("*.parquet"))
    parts = [
        pyarrow.parquet.read_table(file, columns=["customer_part"], filters=[("customer_part", "=", 0)])
        for file in files
    ]
    one_in = one_customer_in(sum(map(len, parts)))  # as ours learns from
    began = time.monotonic()
    rows = customer_features(files, as_of=AS_OF, one_in=one_in)
    return _said(rows, began)


def _said(rows: object, began: float) -> dict[str, object]:
    took = time.monotonic() - began
    numbers = rows.drop(columns="customer_id").astype(float)  # type: ignore[attr-defined]
    sums = {name: float(np.nansum(numbers[name])) for name in COMPARED}
    return {"seconds": took, "customers": len(numbers), "sums": sums}


COMPARED = (
    "days_since_last_order",
    "days_since_first_order",
    "count_orders",
    "count_orders_90d",
    "money_total",
    "money_90d",
    "money_max_order",
    "count_order_days",
    "gap_mean_days",
    "gap_std_days",
    "overdue_ratio",
    "gap_mean_last_3",
    "gap_max_90d",
    "overdue_max_6_ratio",
    "money_last_order",
    "count_products",
    "count_products_90d",
    "repeat_product_share",
    "again_share_of_products",
    "again_share_of_last_order",
    "discount_share_lines",
    "discount_share_money",
    "coupon_share_orders",
)

if __name__ == "__main__":
    main()
