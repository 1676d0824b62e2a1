"""Token buckets, by a clock that is set by hand."""

from serving.limits import MOST_REMEMBERED, Rate


def test_two_seconds_worth_at_once_then_as_many_as_come_back() -> None:
    now = [100.0]
    rate = Rate(2.0, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, 1]
    assert rate.wait("b") == 0
    now[0] += 0.5
    assert [rate.wait("a") for _ in range(2)] == [0, 1]
    now[0] += 1_000
    assert [rate.wait("a") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_a_slow_rate_says_how_long_to_wait() -> None:
    now = [0.0]
    rate = Rate(0.01, clock=lambda: now[0])
    assert [rate.wait("a"), rate.wait("a")] == [0, 100]
    now[0] += 40
    assert rate.wait("a") == 60


def test_no_rate_is_no_limit_and_memory_has_an_end() -> None:
    assert {Rate(0.0).wait("a") for _ in range(100)} == {0}
    rate = Rate(0.5, clock=lambda: 0.0)
    assert (rate.wait("first"), rate.wait("first")) == (0, 2)
    for number in range(MOST_REMEMBERED):
        rate.wait(str(number))
    assert rate.wait("first") == 0
