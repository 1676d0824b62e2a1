"""Answers as they are given: the body that is sent, and the row that tells what was shown to whom."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from regulars.models.asking import Answer, Recommendation
from regulars.models.recommendation_texts import may_name, reason_text
from serving.services.asked import Question
from serving.services.history import Clock, Who
from serving.services.shelf import Shelf
from serving.store.shown import ShownLog, ShownRow

ID_BYTES, DRAWN_AT_ONCE = 16, 256
OPEN = "\0"
_OPEN = f'"text":{orjson.dumps(OPEN).decode()}'  # inside of a text, quotes would be behind a backslash

_drawn: deque[str] = deque()


@dataclass(frozen=True)
class Given:
    """An answer without its id, the same whoever is given it: ``body`` (a JSON object) is sent, the rest is logged."""

    body: bytes
    policy: str
    slots: str
    summary: str
    product_ids: str

    def give(self, log: ShownLog, clock: Clock, who: Who) -> bytes:
        """The body under an id of its own, by which it is in the log as shown to ``who``."""
        shown = ShownRow(
            f"rec_{_unguessable()}", *who, self.policy, self.slots, self.summary, self.product_ids, clock.at
        )
        log.add(shown)
        return b'{"recommendation_id":"%b",%b' % (shown.recommendation_id.encode(), self.body[1:])


class Sketch(NamedTuple):
    """What is given for one question that asks no fields, made where only the model is at hand.

    ``body`` lacks the model's version and, where ``OPEN`` stands, the sentence of a reason that may name a product; ``reasons``:
    the code and the product of each of those, in order. The rest is as in ``Given``.
    """

    body: str
    slots: str
    summary: str
    product_ids: str
    reasons: list[list[str | None]]


def sketch(answer: Answer, *, placement: str, country: str | None) -> Sketch:
    """``answer`` as it is given, but for what a shelf knows; see ``completed``."""
    items, reasons = list[dict[str, Any]](), list[list[str | None]]()
    for item in answer.items:
        if may_name(item.reason_code):
            items.append(_told(item, OPEN))
            reasons.append([item.reason_code, item.reason_product_id])
        else:
            items.append(_told(item, reason_text(item, country=country)))
    return Sketch(
        body=orjson.dumps({"placement": placement, "items": items, "fallback": answer.fallback}).decode(),
        slots=orjson.dumps([_shown_slot(placement, answer)]).decode(),
        summary=_summary([(placement, answer)]),
        product_ids=orjson.dumps([item.product_id for item in answer.items]).decode(),
        reasons=reasons,
    )


def completed(sketched: Sketch, shelf: Shelf, *, policy: str) -> Given:
    """What ``given`` makes of the answer that was sketched."""
    body = sketched.body
    if sketched.reasons:
        first, *others = body.split(_OPEN)
        parts = [first]
        for (code, product_id), behind in zip(sketched.reasons, others, strict=True):
            because = None if product_id is None else shelf.name_of(product_id)
            text = reason_text(Recommendation("", 1, 0.0, str(code), product_id), because=because)
            parts += ['"text":', orjson.dumps(text).decode(), behind]
        body = "".join(parts)
    return Given(
        body=b'{"model_version":%b,%b' % (orjson.dumps(policy), body[1:].encode()),
        policy=policy,
        slots=sketched.slots,
        summary=sketched.summary,
        product_ids=sketched.product_ids,
    )


def given(
    shelf: Shelf,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    *,
    policy: str,
    before: Sequence[str] = (),
    whole_page: bool = False,
) -> Given:
    """What is given for the slots of one page, or for one question; ``before``: the products of the pages before."""
    slots = list(zip(questions, answers, strict=True))
    bodies = [_slot(shelf, answer, question) for question, answer in slots]
    body = {"placements": bodies} if whole_page else bodies[0]
    items = [item for answer in answers for item in answer.items]
    return Given(
        body=orjson.dumps({"model_version": policy} | body),
        policy=policy,
        slots=orjson.dumps([_shown_slot(question.placement, answer) for question, answer in slots]).decode(),
        summary=_summary([(question.placement, answer) for question, answer in slots]),
        product_ids=orjson.dumps([*before, *(item.product_id for item in items)]).decode(),
    )


def _unguessable() -> str:
    """32 digits that were never given; many are drawn at once, since asking the system gives up the interpreter's lock."""
    try:
        return _drawn.pop()
    except IndexError:
        digits = os.urandom(ID_BYTES * DRAWN_AT_ONCE).hex()
        one, *others = (digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES))
        _drawn.extend(others)
        return one


def _summary(slots: Sequence[tuple[str, Answer]]) -> str:
    return ",".join(f"{placement}:{len(answer.items)}" for placement, answer in slots if answer.items)


def _shown_slot(placement: str, answer: Answer) -> dict[str, Any]:
    items = [[item.product_id, item.score, item.propensity] for item in answer.items]
    return {"placement": placement, "items": items}


def _slot(shelf: Shelf, answer: Answer, question: Question) -> dict[str, Any]:
    return {
        "placement": question.placement,
        "items": [_item(shelf, item, question) for item in answer.items],
        "fallback": answer.fallback,
    }


def _item(shelf: Shelf, item: Recommendation, question: Question) -> dict[str, Any]:
    because = None if item.reason_product_id is None else shelf.name_of(item.reason_product_id)
    told = _told(item, reason_text(item, because=because, country=question.country))
    return told | shelf.product(item.product_id, question.fields) if question.fields else told


def _told(item: Recommendation, text: str) -> dict[str, Any]:
    reason: dict[str, Any] = {"code": item.reason_code}
    if item.reason_product_id is not None:
        reason["product_id"] = item.reason_product_id
    reason["text"] = text
    told = {"product_id": item.product_id, "rank": item.rank, "score": item.score, "reason": reason}
    if item.propensity < 1:
        told["propensity"] = item.propensity
    return told
