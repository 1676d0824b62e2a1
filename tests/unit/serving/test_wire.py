"""What a worker and its ranker say to each other arrives as it was said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.wire import LENGTH, packed, unpacked

ARRAYS = [
    np.array([3, -1], np.int64),
    np.array([True, False, True]),
    np.zeros(0),
    np.array([np.inf, -0.0, 1e-300]),
    np.zeros(0, bool),
]
TEXTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.integers(-(2**62), 2**62))


@given(TEXTS, st.lists(st.sampled_from(ARRAYS), max_size=6))
def test_what_was_packed_comes_out(told: dict[str, int | None], arrays: list[np.ndarray]) -> None:
    message = packed(told, arrays)
    (length,) = LENGTH.unpack_from(message)
    assert length == len(message) - LENGTH.size
    found, others = unpacked(bytearray(message[LENGTH.size :]))
    assert found == told
    assert [one.dtype for one in others] == [one.dtype for one in arrays]
    assert [one.tobytes() for one in others] == [one.tobytes() for one in arrays]


def test_arrays_are_such_as_compiled_code_knows_them() -> None:
    _, arrays = unpacked(bytearray(packed({"": "x"}, [ARRAYS[1], *ARRAYS])[LENGTH.size :]))
    for one in arrays:
        assert one.flags.writeable
        assert one.flags.aligned
        assert one.flags.c_contiguous


def test_what_is_no_message_is_an_error() -> None:
    message = packed({"a": 1}, [ARRAYS[0]])[LENGTH.size :]
    with pytest.raises(ValueError, match="buffer"):
        unpacked(bytearray(message[:-8]))  # a word short
