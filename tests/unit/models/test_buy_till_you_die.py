import numpy as np
import pytest
from scipy.stats import beta, gamma

from regulars.models.buy_till_you_die import BuyTillYouDie, fit_buy_till_you_die

PUBLISHED = BuyTillYouDie(r=0.243, alpha=4.414, a=0.793, b=2.426)  # Fader, Hardie & Lee (2005), table 2, in weeks


def one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([value]) for value in values)


def test_the_papers_own_customer() -> None:
    """Customer 0001 of CDNOW in the authors' worksheet: x 2, t_x 30.43, T 38.86 weeks, 1.226 orders in the next 39."""
    assert PUBLISHED.expected_orders(*one(2, 30.43, 38.86), days=39)[0] == pytest.approx(1.226, abs=1e-3)


def test_an_expectation_is_close_where_a_is_one() -> None:
    near, at = BuyTillYouDie(0.5, 10, 1 + 1e-4, 2), BuyTillYouDie(0.5, 10, 1.0, 2)
    x = one(3, 20, 30)
    assert at.expected_orders(*x, days=30)[0] == pytest.approx(near.expected_orders(*x, days=30)[0], rel=1e-3)


@pytest.mark.parametrize("modified", [False, True])
@pytest.mark.parametrize(("x", "t_x", "T"), [(0, 0, 20), (1, 5, 30), (4, 28, 30), (4, 10, 60)])
def test_answers_are_what_integrating_over_rate_and_dropout_gives(x: int, t_x: float, T: float, modified: bool) -> None:
    days = 14.0
    rate = np.linspace(1e-5, 4, 8_001)[:, None]
    leave = np.linspace(5e-4, 1 - 5e-4, 2_001)[None, :]
    prior = gamma.pdf(rate, 1.7, scale=1 / 8.0) * beta.pdf(leave, 1.2, 3.0)
    model = BuyTillYouDie(1.7, 8.0, 1.2, 3.0, modified=modified)
    chances = x + modified
    left = leave * (1 - leave) ** (chances - 1) * rate**x * np.exp(-rate * t_x) if chances else 0.0
    alive = (1 - leave) ** chances * rate**x * np.exp(-rate * T)
    everybody = (prior * (left + alive)).sum()
    silent = (prior * (left + alive * np.exp(-rate * days))).sum() / everybody
    assert model.probability_no_order(*one(x, t_x, T), days=days)[0] == pytest.approx(silent, abs=1e-3)
    assert model.probability_alive(*one(x, t_x, T))[0] == pytest.approx((prior * alive).sum() / everybody, abs=1e-3)
    ahead = (1 - np.exp(-leave * rate * days)) / leave  # orders of a Poisson buyer who may leave after each of them
    orders = (prior * alive * ahead).sum() / everybody
    assert model.expected_orders(*one(x, t_x, T), days=days)[0] == pytest.approx(orders, rel=2e-3)


@pytest.mark.parametrize("modified", [False, True])
def test_a_made_shop_is_found_again(modified: bool) -> None:
    true = BuyTillYouDie(r=1.5, alpha=30.0, a=0.8, b=4.0, modified=modified)
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(6_000):
        rate, leave = rng.gamma(true.r, 1 / true.alpha), rng.beta(true.a, true.b)
        T, now, x, last = float(rng.uniform(100, 400)), 0.0, 0, 0.0
        here = not modified or rng.random() >= leave
        while here:
            now += rng.exponential(1 / rate)
            if now > T:
                break
            x, last = x + 1, now
            here = rng.random() >= leave
        rows.append((x, last, T))
    found = fit_buy_till_you_die(*np.array(rows).T)
    assert found.modified is modified
    assert found.r == pytest.approx(true.r, rel=0.15)
    assert found.alpha == pytest.approx(true.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(true.a / (true.a + true.b), rel=0.15)
    assert BuyTillYouDie.from_json(found.to_json()) == found


def test_few_and_strange_customers_give_finite_answers() -> None:
    for x, t_x, T in (
        (np.zeros(3), np.zeros(3), np.array([1.0, 2.0, 3.0])),
        (np.array([5.0]), np.array([10.0]), np.array([10.0])),
        (np.array([np.nan]), np.array([np.nan]), np.array([np.nan])),
        (np.zeros(0), np.zeros(0), np.zeros(0)),
    ):
        model = fit_buy_till_you_die(x, t_x, T)
        silent = model.probability_no_order(*one(2, 5, 9), days=30)
        assert 0 <= silent[0] <= 1


def test_longer_silence_is_less_alive_and_a_first_order_is_alive() -> None:
    alive = PUBLISHED.probability_alive(
        np.array([3.0, 3.0, 0.0]), np.array([10.0, 10.0, 0.0]), np.array([12.0, 40.0, 40.0])
    )
    assert alive[0] > alive[1]
    assert alive[2] == 1
    assert BuyTillYouDie.from_json(PUBLISHED.to_json()) == PUBLISHED
