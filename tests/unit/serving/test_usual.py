"""What something usually takes, and what it takes on average."""

from serving.usual import REMEMBERED, Usual


def test_the_median_is_not_moved_by_one_slow_time_and_the_mean_is() -> None:
    usual = Usual()
    assert (usual.seconds, usual.mean, len(usual)) == (0.0, 0.0, 0)
    for seconds in (1.0, 1.0, 10.0):
        usual.add(seconds)
    assert (usual.seconds, usual.mean, len(usual)) == (1.0, 4.0, 3)


def test_only_the_latest_are_remembered() -> None:
    usual = Usual()
    for seconds in [100.0, *([2.0] * REMEMBERED)]:
        usual.add(seconds)
    assert (usual.seconds, usual.mean, len(usual)) == (2.0, 2.0, REMEMBERED)
