"""Why a product is recommended, in words for a shopper."""

from regulars.models.asking import Recommendation

PLAIN = {
    "looked_at": "You looked at this",
    "same_category": "From the same category",
    "favourite_category": "From a category you like",
    "popular": "Popular now",
    "new": "New",
}
BESIDE = {
    "bought_together": ("Often bought together with {}", "Often bought together with what you chose"),
    "similar": ("Liked by those who like {}", "Liked by those who like the same"),
}


def may_name(code: str) -> bool:
    """Whether the sentence of a reason of this ``code`` names a product where its name is known."""
    return code in BESIDE


def reason_text(item: Recommendation, *, because: str | None = None, country: str | None = None) -> str:
    """One sentence; ``because`` is the name of the product that the reason rests on.

    >>> reason_text(Recommendation("tea", 1, 0.5, "bought_before", "tea", every_days=21))
    'You buy this every 3 weeks'
    >>> reason_text(Recommendation("cup", 1, 0.5, "bought_together", "tea"), because="Green tea")
    'Often bought together with Green tea'
    """
    code = item.reason_code
    if code == "bought_before":
        return "You bought this before" if not item.every_days else f"You buy this {_every(item.every_days)}"
    if code == "popular_in_country":
        return "Popular where you are" if country is None else f"Popular in {country}"
    if code in BESIDE:
        named, nameless = BESIDE[code]
        return nameless if because is None else named.format(because)
    return PLAIN.get(code, PLAIN["popular"])


def _every(days: int) -> str:
    for many, name in ((30, "month"), (7, "week"), (1, "day")):
        if days % many == 0 and days >= many:
            return f"every {name}" if days == many else f"every {days // many} {name}s"
    return "every day"
