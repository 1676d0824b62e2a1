"""How likely a customer said they are to recommend the shop (0-10, the question of the Net Promoter Score)."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, dated, latest, microseconds, ratio, sum_of
from features.customers.orders import Orders

READS = ("surveys",)
THOUSANDTHS = 1_000.0
FEATURES = ("count_surveys", "survey_score_last", "survey_score_mean", "survey_score_fall", "days_since_last_survey")


def surveys(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer who answered; ``survey_score_fall`` is the best score so far minus the last."""
    rows = known["surveys"]
    rows = rows.select(
        "customer_id",
        answered=microseconds(rows.answered_at),
        score=(rows.score * THOUSANDTHS).round().cast("int64"),
    )
    found = rows.group_by("customer_id").agg(
        count_surveys=rows.count().cast("float64"),
        total=sum_of(rows.score),
        best=rows.score.max().cast("float64"),
        newest=latest(dated(rows.answered, rows.score)),
        last=rows.answered.max(),
    )
    return found.mutate(
        survey_score_last=found.newest / THOUSANDTHS,
        survey_score_mean=ratio(found.total, found.count_surveys) / THOUSANDTHS,
        survey_score_fall=(found.best - found.newest) / THOUSANDTHS,
        days_since_last_survey=(orders.now - found["last"]).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)
