"""The few expressions that engines disagree on, written once.

Sums are made over whole numbers, so that neither the order of rows nor the engine changes a bit: times are whole
microseconds since 1970, days whole UTC days since 1970, money whole ten-thousandths of the shop's currency. Money is kept in
float64, which holds whole numbers up to 2**53 and their sums exactly, and is summed faster than integers that may overflow.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import ibis
from ibis import Table, Value

from regulars.as_of import moment

SECOND = 1_000_000
DAY = 86_400 * SECOND
UNITS = 10_000
EPOCH = moment(datetime(1970, 1, 1, tzinfo=UTC))


def microseconds(time: Value) -> Value:
    """Whole microseconds since 1970 of a UTC time column."""
    return time.delta(ibis.literal(EPOCH, "timestamp"), unit="microsecond").cast("int64")


@dataclass(frozen=True)
class Moment:
    """``now``: a moment in microseconds since 1970, to which days are counted.

    >>> Moment(3 * DAY + 5).today, Moment(3 * DAY).since(0.5) == 5 * DAY // 2
    (3, True)
    """

    now: int

    @property
    def today(self) -> int:
        """The UTC day of the moment, as days since 1970."""
        return self.now // DAY

    def since(self, days: float) -> int:
        """The microseconds since 1970 at ``days`` before the moment."""
        return self.now - int(days * DAY)


def microseconds_at(as_of: datetime) -> int:
    """Whole microseconds since 1970 of a moment.

    >>> from datetime import datetime, timezone
    >>> microseconds_at(datetime(1970, 1, 2, tzinfo=timezone.utc))
    86400000000
    """
    passed = moment(as_of) - EPOCH
    return (passed.days * 86_400 + passed.seconds) * SECOND + passed.microseconds


def day_number(micros: Value) -> Value:
    """Whole UTC days since 1970 of whole microseconds since 1970."""
    return (micros / float(DAY)).floor().cast("int64")


def money_units(amount: Value) -> Value:
    """An amount of money as whole ten-thousandths in float64, null as 0."""
    return _rounded(ibis.coalesce(amount, 0.0) * float(UNITS))


@ibis.udf.scalar.builtin(name="round", signature=(("float64",), "float64"))
def _rounded(amount):  # type: ignore[no-untyped-def]
    """Half away from zero on every engine; that of Ibis goes through an integer."""


def as_money(units: Value) -> Value:
    """Whole ten-thousandths as an amount of money."""
    return units.cast("float64") / float(UNITS)


def ratio(above: Value, below: Value) -> Value:
    """``above / below``, null where ``below`` is 0: engines disagree on division by zero."""
    return above.cast("float64") / below.cast("float64").nullif(0.0)


def count_where(rows: Table, condition: Value) -> Value:
    """The number of ``rows`` for which ``condition`` holds; null counts as no."""
    return rows.count(where=condition).cast("float64")


def sum_of(amount: Value, condition: Value | None = None) -> Value:
    """The sum of whole numbers as float64, 0 over no row; null counts as 0."""
    return ibis.coalesce(amount.sum(where=condition), 0).cast("float64")


_STEP = 2**31  # a pair of a second since 1970 and a whole number within +-2**30 fits 62 bits


def dated(time: Value, whole: Value) -> Value:
    """A pair of whole microseconds since 1970 and a whole number within +-2**30, null where one is: ``latest`` reads it."""
    kept = ibis.least(ibis.greatest(whole.cast("int64"), -(2**30) + 1), 2**30 - 1)
    seconds = (time / float(SECOND)).floor().cast("int64")
    return ibis.ifelse(time.isnull() | whole.isnull(), ibis.null("int64"), seconds * _STEP + kept + 2**30)


def latest(pairs: Value) -> Value:
    """The number that came last among pairs made by ``dated``, the largest of one second; null over none.

    A maximum over one column: neither a window nor the order of rows is needed.
    """
    return (pairs.max() % _STEP - 2**30).cast("float64")


@ibis.udf.scalar.builtin(name="hash", signature=(("string",), "uint64"))
def _duckdb_hash(text):  # type: ignore[no-untyped-def]
    """64 bits; that of Ibis takes them through a string of bits, which costs as much as all the rest of a line."""


@ibis.udf.scalar.builtin(name="hash", signature=(("string", "string"), "uint64"))
def _duckdb_hash_of_two(one, other):  # type: ignore[no-untyped-def]
    """64 bits."""


@ibis.udf.scalar.builtin(name="xxhash64", signature=(("string",), "int64"))
def _spark_hash(text):  # type: ignore[no-untyped-def]
    """64 bits; that of Ibis has 32."""


@ibis.udf.scalar.builtin(name="xxhash64", signature=(("string", "string"), "int64"))
def _spark_hash_of_two(one, other):  # type: ignore[no-untyped-def]
    """64 bits."""


def numbered(text: Value) -> Value:
    """A whole number that stands for a text, never null, within one query: a hash of 64 bits."""
    return _spark_hash(text) if text.get_backend().name == "pyspark" else _duckdb_hash(text)


def numbered_pair(one: Value, other: Value) -> Value:
    """A whole number that stands for a pair of texts, see ``numbered``."""
    is_spark = one.get_backend().name == "pyspark"
    return _spark_hash_of_two(one, other) if is_spark else _duckdb_hash_of_two(one, other)
