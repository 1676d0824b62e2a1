"""What shops may write as a rule, and what it says of a customer."""

from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from features.sources.files import import_file
from regulars.eligibility import Facts, birthday_in_days, compile_rule, facts_of
from regulars.errors import DataError
from regulars.lake import Lake
from regulars.tables import TABLES
from tests.builders import at

PROFILE = {
    "tier": "gold",
    "stage": "at_risk",
    "segments": ["tea"],
    "country": "DE",
    "last_order_at": "2024-05-01T00:00:00+00:00",
    "birth_date": "1990-06-05",
    "attributes": {"club": True},
}


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ("tier == 'gold' && country in ['DE', 'AT']", True),
        ("customer.tier == 'gold'", True),
        ("stage == 'new'", False),
        ("'tea' in segments", True),
        ("segments.exists(s, s == 'coffee')", False),
        ("birthday_in_days <= 7", True),
        ("days_since_last_order > 30", True),
        ("days_since_last_order > 32", False),
        ("'pot' in cart", True),
        ("club", True),
        ("customer.points > 5", False),
        ("points > 5", False),
        ("tier > 5", False),
        ("'yes'", False),
    ],
)
def test_a_rule_is_met_or_not(rule: str, met: bool) -> None:
    facts = Facts(facts_of(PROFILE, at=at("2024-06-01")) | {"cart": ["pot"]})
    why = compile_rule(rule).why_not(facts)
    assert (why is None) is met
    assert met or "rule" in str(why)


@pytest.mark.parametrize(
    "rule",
    [
        "tier ==",
        "a.all(x, a.all(y, x == y))",
        "a.map(x, [x].filter ( y, y > 1))",
        "a.exists(x, (b.exists_one(y, y == x)))",
        "1 + " * 600 + "1",
        "(" * 60 + "1" + ")" * 60,
    ],
)
def test_what_cannot_be_evaluated_safely_is_refused(rule: str) -> None:
    with pytest.raises(DataError, match="eligibility rule"):
        compile_rule(rule)


def test_macros_side_by_side_or_in_text_are_no_nesting() -> None:
    compile_rule("a.all(x, x > 1) && a.exists(x, x == '.all(')")


def test_birthdays_go_round_the_year() -> None:
    assert birthday_in_days(date(1990, 6, 1), date(2024, 6, 1)) == 0
    assert birthday_in_days(date(1990, 5, 31), date(2024, 6, 1)) == 364
    assert birthday_in_days(date(1992, 2, 29), date(2023, 2, 27)) == 2


def test_the_day_is_that_of_the_customers_zone() -> None:
    local = at("2024-06-04T23:00:00").astimezone(ZoneInfo("Europe/Berlin"))
    assert facts_of(PROFILE, at=local)["birthday_in_days"] == 0
    assert facts_of(PROFILE, at=datetime.fromisoformat("2024-06-04T23:00:00+00:00"))["birthday_in_days"] == 1


def test_an_offer_whose_rule_cannot_be_read_is_refused_when_it_is_imported(tmp_path: Path) -> None:
    rows = {"offer_id": ["a", "b"], "kind": "percent", "eligibility": ["tier == 'gold'", "tier =="]}
    pd.DataFrame(rows).to_csv(tmp_path / "offers.csv", index=False)
    report = import_file(
        Lake(tmp_path / "lake"), TABLES["offers"], tmp_path / "offers.csv", mapping={}, timezone="UTC",
        refused_folder=tmp_path, allow_rejects=True,
    )  # fmt: skip
    assert (report.added, sum(report.refused.values())) == (1, 1)
    assert "tier ==" in next(iter(report.examples.values()))
