"""Answers as they are given: the body that is sent, and the row that tells what was shown to whom."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from regulars.models.asking import Answer, Recommendation
from regulars.models.recommendation_texts import reason_text
from serving.services.asked import Question
from serving.services.history import Clock, Who
from serving.services.shelf import Shelf
from serving.store.shown import ShownLog, ShownRow

ID_BYTES, DRAWN_AT_ONCE = 16, 256

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
        slots=orjson.dumps([_shown_slot(question, answer) for question, answer in slots]).decode(),
        summary=",".join(f"{question.placement}:{len(answer.items)}" for question, answer in slots if answer.items),
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


def _shown_slot(question: Question, answer: Answer) -> dict[str, Any]:
    items = [[item.product_id, item.score, item.propensity] for item in answer.items]
    return {"placement": question.placement, "items": items}


def _slot(shelf: Shelf, answer: Answer, question: Question) -> dict[str, Any]:
    return {
        "placement": question.placement,
        "items": [_item(shelf, item, question) for item in answer.items],
        "fallback": answer.fallback,
    }


def _item(shelf: Shelf, item: Recommendation, question: Question) -> dict[str, Any]:
    reason: dict[str, Any] = {"code": item.reason_code}
    because = None
    if item.reason_product_id is not None:
        reason["product_id"] = item.reason_product_id
        because = shelf.name_of(item.reason_product_id)
    reason["text"] = reason_text(item, because=because, country=question.country)
    told = {"product_id": item.product_id, "rank": item.rank, "score": item.score, "reason": reason}
    if item.propensity < 1:
        told["propensity"] = item.propensity
    return told | shelf.product(item.product_id, question.fields) if question.fields else told
