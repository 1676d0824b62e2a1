"""What is asked of a recommender, and by whom."""

from dataclasses import dataclass, field, fields
from functools import cached_property

from regulars.models.history import NOTHING, History
from serving.services.history import Who
from serving.services.shelf import Filters
from serving.store.events import Touched


@dataclass(frozen=True)
class Question:
    """One slot on one page; ``history`` is beside what is known of who asks, and tells no two questions apart."""

    customer_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    placement: str = "home"
    product_ids: tuple[str, ...] = ()
    limit: int = 10
    repeat: str = "auto"
    filters: Filters = field(default_factory=Filters)
    exclude: tuple[str, ...] = ()
    diversity: float | None = None
    fields: tuple[str, ...] = ()
    history: History = field(default=NOTHING, compare=False)
    candidates: tuple[str, ...] | None = None
    country: str | None = None
    explore: float = 0.0
    after: str | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Of all that is compared; once, since a question is looked up by several keys."""
        return hash(tuple(getattr(self, name) for name in _COMPARED))

    @property
    def who(self) -> Who:
        """Who asks, by each of their names."""
        return (self.customer_id, self.anonymous_id, self.session_id)


_COMPARED = tuple(one.name for one in fields(Question) if one.compare)


@dataclass(frozen=True)
class Visitor:
    """What who asks did since publishing, ``newest`` first, and the seconds that finding it took.

    ``state``: what tells whether anything happened since, None where nothing of them may be remembered.
    """

    newest: Touched
    state: tuple[object, ...] | None
    seconds: float


UNSEEN = Visitor((), None, 0.0)  # nobody looked at what they did
