"""How many leave in all, learnt from earlier moments of made shops."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.churn import Blend, logit, probability, with_silence
from tests.builders import at
from training.churn_level import Level, anchored, level_learnt
from training.churn_parts import fit_linear_beside
from training.churn_snapshots import Snapshot, season_of

BUYERS = BuyTillYouDie(1.0, 60.0, 1.0, 9.0)
HORIZON = 28


def snapshot(weeks_ago: int, *, pace: float, off: float, follows: float, customers: int = 20_000) -> Snapshot:
    """A moment at which exactly the share left that ``off`` and ``follows`` say."""
    rows = pd.DataFrame({"count_order_days": [3.0], "days_first_to_last": [60.0], "age_days": [90.0]})
    features = with_silence(rows.loc[[0] * customers].reset_index(drop=True), BUYERS, HORIZON)
    season = season_of(features, BUYERS, horizon=HORIZON, pace=pace)
    steady = logit(features["probability_no_order"].to_numpy())[0]
    left = round(customers * float(probability(steady + off + follows * season.shift)))
    churned = (np.arange(customers) < left).astype(float)
    return Snapshot(at("2024-06-01") - timedelta(weeks=weeks_ago), features, churned, BUYERS, season)


def many(*, off: float, follows: float) -> list[Snapshot]:
    paces = np.tile([0.5, 1.0, 2.0], 40)
    return [snapshot(4 * place, pace=pace, off=off, follows=follows, customers=500) for place, pace in enumerate(paces)]


@pytest.mark.parametrize(("off", "follows"), [(0.0, 1.0), (0.3, 1.0), (0.0, 2.0), (-0.2, 0.5)])
def test_what_many_moments_show_is_learnt(off: float, follows: float) -> None:
    level = level_learnt(many(off=off, follows=follows), horizon=HORIZON)
    assert level.off == pytest.approx(off, abs=0.1)
    assert level.follows == pytest.approx(follows, abs=0.15)


def test_one_moment_is_hardly_believed() -> None:
    """At a pace of 1 it says nothing of the pace, and by hand 1 / (1 + 0.3^2 / 0.1^2) = a tenth of the error is believed."""
    level = level_learnt([snapshot(4, pace=1.0, off=0.5, follows=1.0)], horizon=HORIZON)
    assert level.off == pytest.approx(0.05, abs=0.002)
    assert level.follows == pytest.approx(Level().follows)


def test_moments_that_overlap_count_less() -> None:
    one, twin = (snapshot(4, pace=1.0, off=0.5, follows=1.0) for _ in range(2))
    assert level_learnt([one, twin], horizon=HORIZON) == level_learnt([one], horizon=HORIZON)
    apart = [one, snapshot(8, pace=1.0, off=0.5, follows=1.0)]
    assert level_learnt(apart, horizon=HORIZON).off > 1.5 * level_learnt([one], horizon=HORIZON).off


def test_as_many_leave_as_the_level_says() -> None:
    here = snapshot(0, pace=0.5, off=0.0, follows=1.0)
    logits = np.random.default_rng(0).normal(size=(len(here.churned), 3))
    blend = anchored(Blend((1.0, 0.5, 0.0), 0.0), logits, here, horizon=HORIZON, level=Level(0.1, 2.0))
    said = probability(logits @ np.array(blend.weights) + blend.intercept).mean()
    steady = logit(here.features["probability_no_order"].to_numpy())[0]
    assert said == pytest.approx(float(probability(steady + 0.1 + 2.0 * here.season.shift)), abs=1e-4)
    assert here.season.shift > 0  # half the pace, more who leave


def test_a_small_shop_is_read_by_its_leading_features() -> None:
    """Sixty customers who leave by recency: a feature that says the same, but does not lead, hardly counts."""
    days = np.linspace(1.0, 200.0, 60)
    table = pd.DataFrame({"days_since_last_order": days, "gap_last_days": days})
    left = (days > 100).astype(float)
    model = fit_linear_beside(table, left, ("days_since_last_order", "gap_last_days"), beside=np.zeros(60))
    assert model.weights[0] > 5 * model.weights[1] > 0
    assert (np.diff(model.logit(table)) >= 0).all()
    unknown = pd.DataFrame({"days_since_last_order": [np.nan], "gap_last_days": [np.nan]})
    assert np.isfinite(model.logit(unknown)).all()
