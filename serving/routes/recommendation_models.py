"""What is asked for recommendations and what is answered, as the HTTP API takes and gives it."""

from collections.abc import Callable
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr

from regulars.models.history import NEWEST
from serving.routes.ids import Id
from serving.services.asked import Question
from serving.services.shelf import FIELDS

Placement = Literal["home", "product", "cart", "category", "search", "order", "email"]

EXAMPLE = {
    "recommendation_id": "rec_2f1c0c7e5f0a4a1d9f6f2a3b4c5d6e7f",
    "model_version": "recommender-3",
    "placement": "home",
    "items": [
        {
            "product_id": "1082185",
            "rank": 1,
            "score": 0.58,
            "reason": {"code": "bought_before", "product_id": "1082185", "text": "You buy this every 2 weeks"},
            "name": "BANANAS",
            "price": 0.99,
        }
    ],
    "fallback": None,
}


class Asked(BaseModel):
    """The query of a recommendation; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Id | None = Field(default=None, examples=["1"])
    anonymous_id: Id | None = None
    session_id: Id | None = None
    placement: Placement = "home"
    product_id: list[Id] = Field(default_factory=list, max_length=100, description="The page's product, or the cart's.")
    limit: int = Field(default=10, ge=1, le=100)
    repeat: Literal["auto", "only", "never"] = Field(default="auto", description="Products bought before.")
    category: Id | None = Field(default=None, description="This category and everything below it.")
    brand: Id | None = None
    price_min: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_max: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    available: bool = Field(default=True, description="False: also what is known to be sold out.")
    exclude: list[Id] = Field(default_factory=list, max_length=1000)
    diversity: float | None = Field(default=None, ge=0, le=1, description="Default: 0.2 in an e-mail, else 0.")
    fields: list[str] = Field(
        default_factory=list, examples=[["name,price"]], description=f"Any of {', '.join(FIELDS)}."
    )
    country: Id | None = Field(default=None, description="What is popular there, for who has no history.")
    explore: float = Field(default=0.0, ge=0, le=0.5, description="Share of places for new products drawn by chance.")
    after: Id | None = Field(
        default=None, description="A recommendation_id: what comes after it and before is left out."
    )

    _questions: dict[str | None, Question] = PrivateAttr(default_factory=dict)

    def question(self, token_customer: str | None, make: Callable[[], Question]) -> Question:
        """What it asks, with the token of that customer, made once."""
        found = self._questions.get(token_customer)
        if found is None:
            found = self._questions[token_customer] = make()
        return found


class Step(BaseModel):
    """One interaction of a history; ``occurred_at`` defaults to just before now, in the given order."""

    model_config = ConfigDict(extra="forbid")

    product_id: Id
    name: str = Field(default="Product Viewed", max_length=200)
    occurred_at: AwareDatetime | None = None


class Slot(BaseModel):
    """One slot of a page; what it does not say is as the request says."""

    model_config = ConfigDict(extra="forbid")

    placement: Placement
    product_id: list[Id] | None = Field(default=None, max_length=100)
    limit: int | None = Field(default=None, ge=1, le=100)
    repeat: Literal["auto", "only", "never"] | None = None
    category: Id | None = None
    diversity: float | None = Field(default=None, ge=0, le=1)


class AskedMore(Asked):
    """The same with more than a query can say."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "anonymous_id": "visitor-7",
                    "history": [{"product_id": "1082185", "name": "Product Viewed"}],
                    "placements": [{"placement": "home", "limit": 4}, {"placement": "email", "repeat": "never"}],
                }
            ]
        },
    )

    history: list[Step] = Field(
        default_factory=list, max_length=20 * NEWEST, description="Oldest first; the newest 500 count."
    )
    candidates: list[Id] | None = Field(default=None, min_length=1, max_length=1000, description="Rank only these.")
    placements: list[Slot] | None = Field(default=None, min_length=1, max_length=10, description="No product twice.")


class Reason(BaseModel):
    """Why a product is there; ``product_id`` is the one it rests on, ``text`` a sentence for shoppers."""

    code: str
    text: str
    product_id: str | None = None


class Item(BaseModel):
    """One product; the asked fields stand beside these."""

    model_config = ConfigDict(extra="allow")

    product_id: str
    rank: int
    score: float
    reason: Reason


class Recommendations(BaseModel):
    """Products, best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    recommendation_id: str
    model_version: str
    placement: str
    items: list[Item]
    fallback: str | None = Field(
        description="Null, or why the answer does not rest on this visitor, or not on the full ranking."
    )


class Beside(BaseModel):
    """What may be asked of a product's neighbours, and who is shown them, so that clicks and orders are known as theirs."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=10, ge=1, le=100)
    fields: list[str] = Field(default_factory=list, description=f"Any of {', '.join(FIELDS)}.")
    customer_id: Id | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None
