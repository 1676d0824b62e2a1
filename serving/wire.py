"""What a worker and its ranker say to each other: one JSON object and arrays behind it; nothing of it is code.

::

    length of all that follows | length of the object | the object, blanks | array, zeros | array, zeros | ...
    4 bytes, big-endian          8 bytes, big-endian    up to a multiple of 8 bytes each
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

LENGTH, OBJECT = struct.Struct("!I"), struct.Struct("!Q")
WORD = 8

Arrays = list[NDArray[Any]]


def packed(told: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> bytes:
    """A message of ``told`` and ``arrays`` of one dimension; see ``unpacked``."""
    kinds = [[one.dtype.str, len(one)] for one in arrays]
    head = orjson.dumps({"arrays": kinds, "told": told})
    head += b" " * (-len(head) % WORD)
    parts = [OBJECT.pack(len(head)), head]
    for one in arrays:
        body = one.tobytes()
        parts += [body, bytes(-len(body) % WORD)]
    return LENGTH.pack(sum(map(len, parts))) + b"".join(parts)


def unpacked(message: bytearray) -> tuple[dict[str, Any], Arrays]:
    """What was packed, of ``message`` without its length; the arrays lie in it and may be written to."""
    (length,) = OBJECT.unpack_from(message)
    at = OBJECT.size + length
    head = orjson.loads(message[OBJECT.size : at])
    arrays: Arrays = []
    for kind, count in head["arrays"]:
        dtype = np.dtype(kind)
        arrays.append(np.frombuffer(message, dtype, count, at) if count else np.zeros(0, dtype))
        at += -(-count * dtype.itemsize // WORD) * WORD
    return head["told"], arrays
