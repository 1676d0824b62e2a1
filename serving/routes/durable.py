"""Waiting for the writer: what is answered is on disk."""

import asyncio
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from serving.live import Live
from serving.problems import Problem
from serving.store.writer import Overloaded, Write

ANSWER_WITHIN_S = 5.0
RETRY = {"Retry-After": "2"}


async def durable(worker: Live, write: Write, *, what: str) -> Any:
    """What ``write`` returned, once it is committed.

    Raises:
        Problem: 429 where too many wait, 503 where the database does not take it in time; then a client sends ``what`` again.
    """
    try:
        waiting = asyncio.wrap_future(worker.writer.submit(write))
    except Overloaded as error:
        raise Problem(429, f"too many {what} wait to be written; send them again", headers=RETRY) from error
    try:
        return await asyncio.wait_for(waiting, ANSWER_WITHIN_S)
    except TimeoutError as error:
        raise Problem(503, f"the database takes too long; send the {what} again", headers=RETRY) from error
    except SQLAlchemyError as error:
        raise Problem(503, f"the database does not take {what} now; send them again", headers=RETRY) from error
