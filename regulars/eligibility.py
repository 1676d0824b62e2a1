"""Rules that shops write in CEL (Common Expression Language) over what is known of a customer: compiled when saved.

A rule speaks of ``customer.tier`` or, shorter, ``tier``, and gives true or false. What it speaks of and is not known makes
the customer not eligible.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import cel

from regulars.conditions import read_condition
from regulars.errors import DataError


@dataclass(frozen=True)
class Rule:
    """A compiled rule; ``source`` is what was written."""

    source: str
    program: Any

    def why_not(self, facts: "Facts") -> str | None:
        """None where ``facts`` fulfil the rule, else why they do not, in words."""
        try:
            found = self.program.execute(facts.context)
        except KeyError as error:
            return f"its rule needs {error.args[0]}, which is not known"
        except (RuntimeError, TypeError, ValueError):
            return f"its rule needs something that is not known or of another type: {self.source}"
        return None if found is True else f"its rule is not met: {self.source}"


class Facts:
    """What is known of one customer, as rules see it; made once, asked by many rules."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = {name: value for name, value in known.items() if value is not None}
        context = cel.Context()
        context.add_variable("customer", self.known)
        for name, value in self.known.items():
            context.add_variable(name, value)
        self.context = context


@lru_cache(maxsize=4_096)
def compile_rule(source: str) -> Rule:
    """The rule ``source``.

    Raises:
        DataError: where it cannot be read, is too long, or has a macro within a macro.

    >>> compile_rule("tier == 'gold'").why_not(Facts({"tier": "gold"})) is None
    True
    """
    return Rule(source, read_condition(source, called="an eligibility rule"))


def rule_error(source: str) -> str | None:
    """Why ``source`` is no rule; None where it is one."""
    try:
        compile_rule(source)
    except DataError as error:
        return str(error)
    return None


def facts_of(profile: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    """What rules may speak of: every plain field of ``profile``, its attributes by name, and what depends on the day.

    ``at``: the moment, in the customer's zone. Added: ``days_since_last_order`` (from last_order_at),
    ``days_since_first_order``, ``birthday_in_days`` (0 to 366, from birth_date), ``month`` (1-12), ``weekday`` (1-7, Monday
    is 1), ``hour``. What ``profile`` says of these already is replaced where it can be worked out.
    """
    known = {name: value for name, value in profile.items() if isinstance(value, str | int | float | bool | list)}
    attributes = profile.get("attributes")
    if isinstance(attributes, Mapping):
        known = dict(attributes) | known
    for name in ("last_order", "first_order"):
        if isinstance(profile.get(f"{name}_at"), str):
            passed = at - datetime.fromisoformat(profile[f"{name}_at"])
            known[f"days_since_{name}"] = passed.total_seconds() / 86_400
    if isinstance(profile.get("birth_date"), str):
        known["birthday_in_days"] = birthday_in_days(date.fromisoformat(profile["birth_date"][:10]), at.date())
    return known | {"month": at.month, "weekday": at.isoweekday(), "hour": at.hour}


def birthday_in_days(born: date, today: date) -> int:
    """Days until the next birthday, 0 on the day; 29 February is kept on 1 March in other years.

    >>> birthday_in_days(date(1990, 1, 3), date(2024, 12, 30))
    4
    """
    for year in (today.year, today.year + 1):
        try:
            day = born.replace(year=year)
        except ValueError:
            day = date(year, 3, 1)
        if day >= today:
            return (day - today).days
    raise AssertionError("a year has a birthday")
