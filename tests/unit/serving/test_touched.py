"""What a visitor did with products is found without looking through what others did, or they did elsewhere."""

from datetime import timedelta
from pathlib import Path

import pytest

from serving.store import open_store
from serving.store.events import Covered, EventRow, add_events, touched_by_customer, touched_by_visitor
from tests.builders import at

NOW = at("2024-06-01T12:00")


def stranger(number: int) -> EventRow:
    return EventRow("server", f"x{number}", NOW, NOW, "Viewed", None, f"x{number}", f"x{number}", "[]", "{}")


def elsewhere(number: int) -> EventRow:
    """What ann did, some of it by name, that is about no product or was told with her name."""
    customer, touched = ("ann", None) if number % 2 else (None, None)
    return EventRow("server", f"page{number}", NOW, NOW, "Page Viewed", customer, "v", "s", touched, "{}")


@pytest.mark.parametrize("who", ["customer", "visitor", "session"])
def test_what_strangers_did_and_what_is_about_no_product_cost_nobody_an_answer(tmp_path: Path, who: str) -> None:
    """By the steps of SQLite's machine, which do not depend on what else this one does."""
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    steps: list[int] = []

    def asked() -> int:
        if who == "customer":
            found = touched_by_customer(store, "ann", covered=Covered(NOW - timedelta(days=1), 0), limit=500)
        else:
            by = (
                {"anonymous_id": "v", "session_id": None}
                if who == "visitor"
                else {"anonymous_id": None, "session_id": "s"}
            )
            found = touched_by_visitor(store, **by, limit=500)
        return len(found)

    def counted() -> int:
        assert asked() == 1  # compiled now, and its connection is there
        with store.driver() as connection:
            connection.set_progress_handler(lambda: steps.append(1), 1)
        steps.clear()
        assert asked() == 1
        return len(steps)

    own = EventRow("server", "own", NOW, NOW, "Viewed", None, "v", "s", "[1]", "{}")
    told = EventRow("server", "told", NOW, NOW, "Identified", "ann", "v", None, None, "{}")
    with store.writing() as connection:
        add_events(connection, [own, told])
    alone = counted()
    with store.writing() as connection:
        add_events(connection, [stranger(number) for number in range(2_000)])
        add_events(connection, [elsewhere(number) for number in range(2_000)])
    assert 10 < counted() < 2 * alone
    store.close()
