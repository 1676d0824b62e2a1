"""A made shop of any number of products, trained and published in a home folder of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measure import cost

AS_OF = "2024-06-01"
DAYS, LINES_PER_CUSTOMER, LINES_PER_ORDER = 300, 200, 10
FAVOURITES, REPEATED = 40, 0.5
CATEGORIES_PER_PRODUCT = 1 / 250
PARAMS = {"visitors": 800, "examples": 2_000, "judged": 200}


@dataclass(frozen=True)
class MadeShop:
    """``env``: the settings under which commands and a service find it; ``customers``: their ids."""

    home: Path
    env: dict[str, str]
    customers: list[str]


def made_shop(home: Path, *, products: int, customers: int, seed: int = 0) -> MadeShop:
    """Customers with histories of 200 purchases each, half of them of 40 favourites, the rest by popularity (as 1 / rank)."""
    home.mkdir(parents=True)
    env = {"REGULARS_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
    rng = np.random.default_rng(seed)
    orders, catalogue, params = home / "orders.parquet", home / "products.parquet", home / "params.json"
    _orders(rng, products, customers).to_parquet(orders, index=False)
    _products(rng, products).to_parquet(catalogue, index=False)
    params.write_text(json.dumps(PARAMS))
    for words in (
        ["import", "orders", orders],
        ["import", "products", catalogue],
        ["train", "churn", "--as-of", AS_OF],
        ["train", "recommender", "--as-of", AS_OF, "--params", params],
        ["score", "--as-of", AS_OF, "--out", home / "scores.parquet"],
        ["publish"],
    ):
        cost(["cli.main", *words, "--json"], env=env)
    return MadeShop(home, env, [_customer(number) for number in range(customers)])


def _orders(rng: np.random.Generator, products: int, customers: int) -> pd.DataFrame:
    lines = customers * LINES_PER_CUSTOMER
    customer = np.repeat(np.arange(customers), LINES_PER_CUSTOMER)
    order = np.arange(lines) // LINES_PER_ORDER
    at = rng.uniform(0, DAYS, size=lines // LINES_PER_ORDER)[order]
    own = _drawn(rng, products, (customers, FAVOURITES))[customer, rng.integers(FAVOURITES, size=lines)]
    product = np.where(rng.random(lines) < REPEATED, own, _drawn(rng, products, (lines,)))
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in order],
            "customer_id": [_customer(number) for number in customer],
            "product_id": [f"p{number}" for number in product],
            "ordered_at": pd.Timestamp(AS_OF) - pd.to_timedelta(at, unit="D").floor("s") - pd.Timedelta(hours=1),
            "quantity": 1.0,
            "unit_price": 2.0 + product % 50,
        }
    )


def _drawn(rng: np.random.Generator, products: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Products by popularity: the chance of the n-th is as 1 / n."""
    return (products ** rng.random(shape)).astype(np.int64) - 1


def _products(rng: np.random.Generator, products: int) -> pd.DataFrame:
    categories = max(int(products * CATEGORIES_PER_PRODUCT), 4)
    return pd.DataFrame(
        {
            "product_id": [f"p{number}" for number in range(products)],
            "name": [f"Product {number}" for number in range(products)],
            "category": [f"Group {number % 20} > Kind {number}" for number in rng.integers(categories, size=products)],
            "price": 2.0 + np.arange(products) % 50,
            "created_at": pd.Timestamp(AS_OF) - pd.Timedelta(days=2 * DAYS),
        }
    )


def _customer(number: int) -> str:
    return f"c{number}"
