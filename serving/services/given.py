"""Answers as they are given: the body that is sent, and the row that tells what was shown to whom."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from regulars.models.asking import Answer, Recommendation
from regulars.models.recommendation_texts import reason_text
from serving.services.asked import Question
from serving.services.history import Clock
from serving.services.shelf import Shelf
from serving.store.shown import ShownLog, ShownRow

ID_BYTES, DRAWN_AT_ONCE = 16, 256

_drawn: deque[str] = deque()


@dataclass(frozen=True)
class Given:
    """An answer without its id: ``body`` (a JSON object) is sent, ``row`` logged, each time it is given; neither is changed."""

    body: bytes
    row: ShownRow

    def give(self, log: ShownLog, clock: Clock) -> bytes:
        """The body under an id of its own, by which it is in the log."""
        recommendation_id = f"rec_{_unguessable()}"
        log.add(replace(self.row, recommendation_id=recommendation_id, created_at=clock.at))
        return b'{"recommendation_id":"%b",%b' % (recommendation_id.encode(), self.body[1:])


def given(
    shelf: Shelf,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    *,
    policy: str,
    clock: Clock,
    before: Sequence[str] = (),
    whole_page: bool = False,
) -> Given:
    """What is given for the slots of one page, or for one question; ``before``: the products of the pages before."""
    slots = list(zip(questions, answers, strict=True))
    bodies = [_slot(shelf, answer, question) for question, answer in slots]
    body = {"placements": bodies} if whole_page else bodies[0]
    row = _row(questions[0], slots, before, policy=policy, clock=clock)
    return Given(orjson.dumps({"model_version": policy} | body), row)


def _unguessable() -> str:
    """32 digits that were never given; many are drawn at once, since asking the system gives up the interpreter's lock."""
    try:
        return _drawn.pop()
    except IndexError:
        digits = os.urandom(ID_BYTES * DRAWN_AT_ONCE).hex()
        one, *others = (digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES))
        _drawn.extend(others)
        return one


def _row(
    who: Question,
    slots: Sequence[tuple[Question, Answer]],
    before: Sequence[str],
    *,
    policy: str,
    clock: Clock,
) -> ShownRow:
    items = [item for _, answer in slots for item in answer.items]
    return ShownRow(
        recommendation_id="",
        customer_id=who.customer_id,
        anonymous_id=who.anonymous_id,
        session_id=who.session_id,
        policy=policy,
        slots=orjson.dumps([_shown_slot(question, answer) for question, answer in slots]).decode(),
        summary=",".join(f"{question.placement}:{len(answer.items)}" for question, answer in slots if answer.items),
        product_ids=orjson.dumps([*before, *(item.product_id for item in items)]).decode(),
        created_at=clock.at,
    )


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
