"""One slice is worked on while the next ones are read."""

from collections.abc import Iterator

import pytest

from regulars.slices import ahead


def test_no_more_than_two_are_read_ahead() -> None:
    read: list[int] = []

    def reading() -> Iterator[int]:
        for number in range(5):
            read.append(number)
            yield number

    made = ahead(lambda number: number * number, reading())
    assert next(made) == 0
    assert read == [0, 1, 2]
    assert list(made) == [1, 4, 9, 16]


def test_what_fails_fails_where_it_is_taken() -> None:
    made = ahead(lambda number: 1 / number, [1, 0, 2])
    assert next(made) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(made)
