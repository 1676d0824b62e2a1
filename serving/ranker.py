"""One process that weighs for a worker: both ends of the socket between them.

A ranker is forked from its worker and shares all that is there by then, the model above all, so that it takes little memory.
What it was forked with is all it knows; it answers in the order in which it is asked, and ends with its worker.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from regulars.errors import RegularsError
from regulars.models.asking import Answer, Context, Recommendation
from regulars.models.history import Told
from regulars.models.recommender import Chosen, Recommender, Weighed
from serving.services.given import Sketch, sketch
from serving.wire import LENGTH, Arrays, packed, unpacked

MASKS = 32
AT_ONCE = 1 << 20

Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)


class RankerLost(RegularsError):
    """A ranker ended, failed or did not answer in time; the question can be weighed elsewhere."""


class Answered(NamedTuple):
    """What a ranker weighed, the seconds of a processor that it took, and what is given, where it was asked to sketch that."""

    weighed: Weighed
    seconds: float
    sketched: Sketch | None


@dataclass(frozen=True, eq=False)
class Asked:
    """A question for ``n`` products to a ranker; ``answer`` will hold what it weighed and, where the context steers nothing,
    chose: in ``Weighed.chosen``, or as a ``sketch``."""

    told: Told
    context: Context
    n: int
    sketch: bool
    answer: asyncio.Future[Answered]
    came: float


class Ranker:
    """The worker's end, used by one event loop; ``settled`` is told of each question that is none any more: after how many
    seconds its answer came, None where it was lost."""

    def __init__(self, model: Recommender, *, settled: Callable[[float | None], object]) -> None:
        self.model, self.alive = model, True
        self.asked = deque[Asked]()
        self._settled, self._began, self._retired = settled, 0.0, False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._masks, self._got = _Masks(), bytearray()
        self._socket, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            _answer_all(model, theirs)
        theirs.close()

    def ask(self, one: Asked) -> None:
        """Have it answered, or lost where the process is gone."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket.fileno(), self._read)
        if not self.asked:
            self._began = time.perf_counter()
        self.asked.append(one)
        number, mask = self._masks.told(one.context.allowed)
        said = _said(one.context, one.n) | {"mask": number, "sketch": one.sketch}
        arrays = [one.told.rows, one.told.at, one.told.kinds, *(() if mask is None else (mask,))]
        try:
            self._socket.sendall(packed(said, arrays))
        except OSError:
            self.end()

    def retire(self) -> None:
        """End once what was asked is answered."""
        self._retired = True
        if not self.asked:
            self.end()

    def end(self) -> None:
        """End now; what was asked is lost."""
        if self.alive:
            self.alive = False
            if self._loop is not None:
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
        while self.asked:
            self._settle(RankerLost("a ranker ended before it had answered"))

    def _read(self) -> None:
        try:
            part = self._socket.recv(AT_ONCE)
        except OSError:
            part = b""
        if not part:
            log.error("a ranker ended by itself; another one takes its place")
            self.end()
            return
        self._got += part
        while len(self._got) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._got)[0]
            if len(self._got) < end:
                return
            told, arrays = unpacked(self._got[LENGTH.size : end])
            del self._got[:end]
            failed = told.get("failed")
            self._settle(
                _answered(self.asked[0], told, arrays) if failed is None else RankerLost(f"weighing failed: {failed}")
            )
        if self._retired and not self.asked:
            self.end()

    def _settle(self, told: Answered | RankerLost) -> None:
        one, began, self._began = self.asked.popleft(), self._began, time.perf_counter()
        lost = isinstance(told, RankerLost)
        if not one.answer.done():  # else who asked is gone
            if isinstance(told, RankerLost):
                one.answer.set_exception(told)
            else:
                one.answer.set_result(told)
        self._settled(None if lost else self._began - began)


class _Masks:
    """The masks that both ends know, the latest used: each end does the same in the same order."""

    def __init__(self) -> None:
        self._kept = OrderedDict[int, Mask]()

    def told(self, mask: Mask | None) -> tuple[int | None, Mask | None]:
        """By what the other end finds ``mask``: a number, and the mask itself where it does not know that."""
        if mask is None:
            return None, None
        number = id(mask)  # of no other mask as long as this one is kept
        sent = None if number in self._kept else mask
        self.found(number, sent)
        return number, sent

    def found(self, number: int | None, sent: Mask | None) -> Mask | None:
        """The mask that the other end told."""
        if number is None:
            return None
        mask = self._kept.pop(number) if sent is None else sent
        self._kept[number] = mask
        if len(self._kept) > MASKS:
            self._kept.popitem(last=False)
        return mask


SAID = (
    "moment",
    "placement",
    "product_ids",
    "repeat",
    "diversity",
    "pinned",
    "country",
    "explore",
    "seed",
    "candidates",
)


def _said(context: Context, n: int) -> dict[str, Any]:
    """What a ranker reads of a context, but for its mask; ``n`` is None where it does not choose."""
    said = {name: getattr(context, name) for name in SAID}
    return said | {"exclude": list(context.exclude), "n": n if context.steering is None else None}


def _asked(said: dict[str, Any], mask: Mask | None) -> Context:
    """The context of ``_said``."""
    tuples = {
        name: None if said[name] is None else tuple(said[name]) for name in ("product_ids", "pinned", "candidates")
    }
    plain = {name: said[name] for name in SAID} | tuples
    return Context(**plain, exclude=frozenset(said["exclude"]), allowed=mask)


def _chosen(answer: Answer) -> list[Any]:
    """``answer`` as JSON takes it."""
    return [answer.fallback, [list(item) for item in answer.items]]


def _answered(asked: Asked, told: dict[str, Any], arrays: Arrays) -> Answered:
    """What a ranker answered to ``asked``."""
    chosen, sketched = told["chosen"], told["sketch"]
    if chosen is not None:
        items = tuple(Recommendation(*values) for values in chosen[1])
        chosen = Chosen(asked.context, asked.n, Answer(items, chosen[0]))
    weighed = Weighed(asked.told, asked.context.moment, *arrays, chosen)
    return Answered(weighed, told["seconds"], None if sketched is None else Sketch(*sketched))


def _answer_all(model: Recommender, questions: socket.socket) -> NoReturn:
    """What a ranker does: answer until there is nobody to ask."""
    failed = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all; the worker ends this one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.disable()  # arrays make no circles, and looking for some would copy what is shared
        _close_all_but(questions.fileno())
        masks = _Masks()
        while (message := _received(questions)) is not None:
            questions.sendall(_weighed(model, masks, *unpacked(message)))
        failed = 0
    except BaseException as error:
        os.write(2, f"a ranker failed: {error!r}\n".encode())
    os._exit(failed)  # nothing of the worker's is to be tidied up


def _weighed(model: Recommender, masks: _Masks, said: dict[str, Any], arrays: Arrays) -> bytes:
    rows, at, kinds, *more = arrays
    mask = more[0] if more else None
    context, n = _asked(said, masks.found(said["mask"], mask)), said["n"]
    began = time.thread_time()
    try:
        found = model.weigh_told(Told(rows, at, kinds), context)
        answer = None if n is None else model.choose(found, context, n=n)
        sketched = chosen = None
        if answer is not None and said["sketch"]:
            sketched = list(sketch(answer, placement=context.placement, country=context.country))
        elif answer is not None:
            chosen = _chosen(answer)
    except Exception as error:
        return packed({"failed": f"{type(error).__name__}: {error}"}, [])
    told = {"seconds": time.thread_time() - began, "chosen": chosen, "sketch": sketched}
    return packed(told, [found.rows, found.scores])


def _received(questions: socket.socket) -> bytearray | None:
    """The next message, None at the end."""
    head = _exactly(questions, LENGTH.size)
    return None if head is None else _exactly(questions, LENGTH.unpack(head)[0])


def _exactly(questions: socket.socket, count: int) -> bytearray | None:
    got, filled = bytearray(count), 0
    while filled < count:
        part = questions.recv_into(memoryview(got)[filled:])
        if not part:
            return None
        filled += part
    return got


def _close_all_but(kept: int) -> None:
    """The worker's port and its database among the rest: they are not this process's to hold open."""
    for one in map(int, os.listdir("/proc/self/fd")):
        if one > 2 and one != kept:
            with suppress(OSError):
                os.close(one)
