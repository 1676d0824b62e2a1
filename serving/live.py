"""What a worker holds while it runs: store, champions, the published generation; refreshed beside the requests."""

import logging
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from threading import Event, Lock, Thread
from typing import TypeVar
from zoneinfo import ZoneInfo

from regulars.errors import StoreError
from regulars.settings import Settings
from serving.champions import Champions
from serving.gate import Gate
from serving.lag import Lag
from serving.limits import Rate
from serving.metrics import WAITED
from serving.rankers import Rankers
from serving.services.clock import service_time
from serving.services.degrees import FULL, POPULAR, Budget
from serving.services.history import Clock
from serving.services.shelf import MOST_TOLD, Filters, Shelf, load_shelf, told_since
from serving.slots import Slots
from serving.store.database import Store, open_store
from serving.store.forgetting import last_forgotten
from serving.store.generations import current_generation
from serving.store.prepared import Asked, Found, rows_of_each
from serving.store.reader import GroupReader
from serving.store.shown import ShownLog
from serving.store.writer import GroupWriter

REFRESH_S = 0.5
SWITCH_S = 0.0005  # for how long a thread that reads or writes waits for the loop to let it go on
ANSWERED_AT_ONCE, LOOKED_AT_ONCE = 2, 8
# shares of the time budget that may go by before a turn, and that those whose turn it is may wait for each other
BEFORE_ONES_TURN, IN_TURN = 0.1, 0.2

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Brought:
    """What a worker needs and may share with others: loaded before they are forked, each goes on from it by itself."""

    champions: Champions
    shelf: Shelf | None
    told: int


def bring(settings: Settings) -> Brought:
    """Champion and published generation as they are now, as far as there are any."""
    store = open_store(settings.database_url)
    live = Live(settings, store, Champions(settings.home))
    live.refresh()
    store.close()
    return Brought(live.champions, live.shelf, live.told)


@dataclass
class Live:
    """One worker's state. ``now`` is the clock, given from outside so that tests can set it."""

    settings: Settings
    store: Store
    champions: Champions
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    rng: random.Random = field(default_factory=random.SystemRandom)
    shelf: Shelf | None = None
    per_key: Rate = field(init=False)
    per_address: Rate = field(init=False)
    budget: Budget = field(init=False)
    writer: GroupWriter = field(init=False)
    reader: GroupReader | None = field(init=False)
    shown: ShownLog = field(init=False)
    answering: Slots = field(default_factory=lambda: Slots(ANSWERED_AT_ONCE, observe=WAITED.observe))
    rankers: Rankers = field(init=False)
    lag: Lag = field(default_factory=Lag)
    gate: Gate = field(init=False)
    looking: Slots = field(default_factory=lambda: Slots(LOOKED_AT_ONCE))
    told: int = 0  # the number of the newest change that the shelf holds
    forgotten: str | None = None  # when a customer was last forgotten, by whomever
    _refreshing: Lock = field(default_factory=Lock)
    _stop: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.per_key, self.per_address = Rate(self.settings.rate_per_key), Rate(self.settings.rate_per_address)
        self.budget = Budget(self.settings.time_budget_ms / 1_000)
        self.rankers = Rankers(self.settings.rankers, observe=WAITED.observe)
        self.gate = Gate(self.lag)
        self.writer = GroupWriter(self.store)
        self.reader = None if self.store.is_sqlite else GroupReader(self.store)
        self.shown = ShownLog(self.store, self.writer)

    def refresh(self) -> None:
        """Take up a new champion, generation or stock where there is one; what answers stays as it was where that fails."""
        with self._refreshing:
            self._refresh()

    def forget_visitors(self) -> None:
        """Keep nothing of what visitors did, were weighed by and were answered."""
        if self.shelf is not None:
            self.shelf.forget_visitors()

    def _refresh(self) -> None:
        try:
            forgotten, self.forgotten = self.forgotten, last_forgotten(self.store)
            if forgotten != self.forgotten:
                self.forget_visitors()
            self.champions.refresh()
            found = current_generation(self.store)
            if found is not None and (self.shelf is None or self.shelf.generation != found.generation):
                shelf = load_shelf(self.store, found)
                told, self.told = told_since(self.store, shelf, seq=None)
                self.shelf = self._at_hand(shelf.changed(told))
            elif self.shelf is not None:
                self.shelf = self._at_hand(self._changed(self.shelf))
        except Exception:
            log.exception("refreshing failed, trying again")

    def _changed(self, shelf: Shelf) -> Shelf:
        """``shelf`` after all that was told of products since."""
        while True:
            told, self.told = told_since(self.store, shelf, seq=self.told)
            shelf = shelf.changed(told)
            if len(told) < MOST_TOLD:
                return shelf

    def _at_hand(self, shelf: Shelf) -> Shelf:
        """``shelf`` once what nearly every question needs of it is there, so that nobody waits for it."""
        if self.champions.recommender is not None:
            ids = self.champions.recommender.model.retrieval.ids
            ids.rows_of(shelf.published_ids)
            shelf.allowed(Filters(), ids)
        return shelf

    def start(self) -> None:
        """Refresh now, and twice a second in a thread until ``stop``."""
        self.refresh()
        sys.setswitchinterval(SWITCH_S)
        if self.champions.recommender is not None:
            self.rankers.prepare(self.champions.recommender.model)  # while no other thread runs
        self.writer.start()
        Thread(target=self._keep_fresh, name="refresh", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self.rankers.stop()
        try:
            self.shown.settle()
        except Exception:
            log.exception("what was shown last could not be written")
        self.writer.stop()
        if self.reader is not None:
            self.reader.stop()
        self.store.close()

    def missing(self) -> list[str]:
        """What must be done before questions can be answered, as commands; empty where all is there."""
        found = []
        if self.shelf is None:
            found.append(
                "nothing is published; run: regulars train churn --as-of T, regulars score --as-of T --out FILE, "
                "regulars publish"
            )
        if self.champions.recommender is None:
            found.append("no recommender is loaded; run: regulars train recommender --as-of T")
        try:
            current_generation(self.store)
        except Exception as error:
            found.append(f"the database does not answer ({type(error).__name__}); check REGULARS_DATABASE_URL")
        return found

    def published(self) -> Shelf:
        """The generation that answers.

        Raises:
            StoreError: where nothing was published yet.
        """
        if self.shelf is None:
            raise StoreError("nothing is published yet; run: regulars publish")
        return self.shelf

    def shop_time(self) -> datetime:
        """Now, as the published data sees it."""
        return self._shop_time(self.now())

    def _shop_time(self, now: datetime) -> datetime:
        shelf = self.published()
        return service_time(now, as_of=shelf.as_of, published_at=shelf.published_at)

    async def look(self, find: Callable[[], T]) -> T:
        """What ``find`` gives, a short look into the store, while other requests go on."""
        if self.store.is_sqlite:  # a look into a file that nobody can lock takes less than going to a thread and back
            return find()
        return await self.looking.run(lambda _: find())

    async def rows(self, *asked: Asked) -> list[Found]:
        """The rows of each SELECT, as they are committed by now; raises Overloaded where too many look already."""
        if self.reader is None:  # as in ``look``
            return rows_of_each(self.store, *asked)
        return await self.reader.rows(*asked)

    @property
    def answers_waiting(self) -> int:
        """How many recommendations wait to be begun."""
        return self.answering.waiting + self.rankers.waiting

    def crowded(self, waited: float = 0.0) -> bool:
        """Whether an answer that ``waited`` for its turn is better not begun, or would wait for too long once it is."""
        if waited > BEFORE_ONES_TURN * self.budget.seconds:
            return True
        waiting = self.rankers if self.rankers else self.answering
        there_and_back = 2 * self.lag.seconds  # until it is asked, and until its answer is looked at
        return waiting.expected_wait + there_and_back > IN_TURN * self.budget.seconds

    async def answer(self, make: Callable[[float, str], T]) -> T:
        """What ``make`` gives, told for how many seconds it waited and how much ranking there may be.

        Ranking keeps a processor busy, so a few at a time are made. Who would wait for longer than a fifth of the time budget
        is not left to wait: it is answered at once, without ranking.
        """
        expected = self.answering.expected_wait + self.rankers.expected_wait
        if expected > IN_TURN * self.budget.seconds:
            return await self.look(partial(make, expected, POPULAR))
        return await self.answering.run(lambda waited: make(waited, FULL))

    @property
    def zone(self) -> ZoneInfo:
        """The zone of times that name none."""
        return ZoneInfo(self.settings.timezone)

    def clock(self) -> Clock:
        """The moment of a question, in both times."""
        now = self.now()
        return Clock(int(now.timestamp()), int(self._shop_time(now).timestamp()), now)

    def _keep_fresh(self) -> None:
        while not self._stop.wait(REFRESH_S):
            self.refresh()
            self._sync()

    def _sync(self) -> None:
        try:
            self.store.sync()
        except Exception:
            log.exception("what was decided last could not be brought onto the disk, trying again")
