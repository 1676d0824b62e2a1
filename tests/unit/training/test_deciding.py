"""Batch decisions on a small shop with everything that rules speak of."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from features.offer_facts import offer_facts
from regulars.models.offers import ANY_OFFER, Effect, Level, OfferModel, Worth
from regulars.models.responses import Encoder, Linear
from regulars.offering import Rules
from tests.builders import at, lake_tables
from training.deciding import decide_customers

AS_OF = at("2024-06-01")
PEOPLE = [f"c{number:03}" for number in range(300)]


def model(levels: dict[str, float], *, personal: bool = True) -> OfferModel:
    """Uplift of an offer: its level plus a tenth of the attribute ``keen`` (-1 to 1)."""
    effects = {name: Effect(((1.0, 0),), 0.0) for name in levels} | {ANY_OFFER: Effect((), 0.0)}
    return OfferModel(
        encoder=Encoder({"keen": (0.0, 0.0, float(np.log(2)))}, {}),
        responses=(Linear((0.1,), 0.0, False),),
        without=Linear((0.0,), 0.0, True),
        effects=effects,
        levels={name: Level(level, 0.01) for name, level in levels.items()},
        slope=1.0,
        terms=Encoder({}, {}),
        new_level=Linear((), 0.0, False),
        new_se=0.1,
        costs={},
        worth=Worth(100.0, 1.0),
        about={"outcome": "converted", "as_of": AS_OF.isoformat(), "horizon_days": 28, "randomised": True, "personal": personal},
    )  # fmt: skip


def shop(tmp_path: Path, offers: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> dict[str, ibis.Table]:
    customers = [
        {"customer_id": name, "country": "DE" if place % 2 else "FR", "consent_email": place % 3 > 0,
         "attributes": json.dumps({"keen": round(2 * place / 299 - 1, 3)})}
        for place, name in enumerate(PEOPLE)
    ]  # fmt: skip
    return lake_tables(ibis.duckdb.connect(), tmp_path, customers=customers, offers=offers, **tables)


def decided(tables: dict[str, ibis.Table], levels: dict[str, float], **asked: Any) -> pd.DataFrame:
    rows = decide_customers(tables, model(levels), as_of=AS_OF, customers=PEOPLE, **({"explore": False} | asked)).rows
    return rows.set_index("customer_id")


def test_an_offer_is_made_where_it_brings_more_than_it_costs(tmp_path: Path) -> None:
    tables = shop(tmp_path, [{"offer_id": "ten", "kind": "percent", "cost": 5.0}])
    found = decided(tables, {"ten": 0.05})
    assert (found["offer_id"] == "ten").sum() == pytest.approx(150, abs=2)
    assert (found.loc[found["offer_id"] == "ten", "expected_value"] > 0).all()
    assert found["reason"].iloc[0] == "none is worth more than it costs"
    assert (found["propensity"] == 1.0).all()


def test_rules_consent_trouble_and_dates_close_offers(tmp_path: Path) -> None:
    offers = [
        {"offer_id": "german", "kind": "content", "eligibility": "country == 'DE'"},
        {"offer_id": "later", "kind": "content", "starts_at": datetime(2024, 7, 1)},
        {"offer_id": "ten", "kind": "percent", "max_per_customer": 1},
    ]
    ticket = {"ticket_id": "t", "customer_id": "c298", "opened_at": datetime(2024, 5, 30)}
    had = {"assignment_id": "a", "customer_id": "c296", "assigned_at": datetime(2024, 1, 1), "offer_id": "ten"}
    tables = shop(tmp_path, offers, tickets=[ticket], assignments=[had])
    found = decided(tables, {"german": 0.2, "later": 0.9, "ten": 0.15}, channel="email")
    assert found.loc["c299", "offer_id"] == "german"
    assert found.loc["c294", ["offer_id", "reason"]].tolist() == ["", "no consent to email, or unsubscribed from it"]
    assert found.loc["c290", "offer_id"] == "ten"
    assert found.loc["c298", "offer_id"] == ""
    assert found.loc["c296", "offer_id"] == ""
    assert "later" not in set(found["offer_id"])
    assert offer_facts(tables, as_of=AS_OF).loc["c298", "trouble"] == "a question to the support is open"


def test_a_budget_goes_to_whom_it_brings_most_and_its_price_is_told(tmp_path: Path) -> None:
    tables = shop(tmp_path, [{"offer_id": "ten", "kind": "percent", "cost": 2.0}])
    given = decide_customers(tables, model({"ten": 0.2}), as_of=AS_OF, customers=PEOPLE, explore=False, budget=100.0)
    made = given.rows.loc[given.rows["offer_id"] == "ten", "customer_id"].tolist()
    assert made == PEOPLE[-50:]
    least = given.rows.set_index("customer_id").loc[PEOPLE[-50], "expected_value"]
    assert given.prices["all offers"] == pytest.approx(least / 2.0, rel=0.05)
    assert (given.rows["reason"] == "no budget was left").sum() == 250


def test_what_is_made_is_drawn_as_often_as_its_propensity_says(tmp_path: Path) -> None:
    offers = [{"offer_id": name, "kind": "content"} for name in ("five", "ten")]
    tables = shop(tmp_path, offers)
    asked = {"explore": True, "rules": Rules(explore=0.3, held_out=0.2)}
    drawn = pd.concat([decided(tables, {"five": 0.2, "ten": 0.3}, seed=seed, **asked) for seed in range(6)])
    told = drawn.groupby("offer_id")["propensity"].first()
    assert told.to_dict() == pytest.approx({"": 0.2 + 0.8 * 0.1, "five": 0.8 * 0.1, "ten": 0.8 * 0.8})
    shares = drawn["offer_id"].value_counts(normalize=True)
    assert shares["ten"] == pytest.approx(told["ten"], abs=0.06)
    assert shares["five"] == pytest.approx(told["five"], abs=0.03)


def test_the_channel_and_hour_that_a_customer_answers_are_told(tmp_path: Path) -> None:
    sent = [
        {"message_id": f"m{place}", "customer_id": "c001", "channel": channel, "sent_at": datetime(2024, 5, 1 + place),
         "opened_at": datetime(2024, 5, 1 + place, 18) if channel == "push" else None}
        for place, channel in enumerate(["push", "email"] * 10)
    ]  # fmt: skip
    tables = shop(tmp_path, [{"offer_id": "ten", "kind": "content"}], messages=sent)
    found = decided(tables, {"ten": 0.2})
    assert found.loc["c001", ["channel", "hour"]].tolist() == ["push", 18]
    assert found.loc["c002", ["channel", "hour"]].tolist() == ["email", 10]
