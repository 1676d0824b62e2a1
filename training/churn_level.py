"""How many leave in all: the buy-till-you-die model at the shop's pace, corrected by what earlier moments show of it.

What learnt from customers says who leaves; trees take a busy month for loyal customers. But a busy month also brings back
customers whom the probability model had given up, so that the share that leaves follows the pace more than stretched time
says. Both, that and a lasting error, are learnt from the snapshots, drawn to what other shops show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.models.churn import Blend, probability, silence
from regulars.models.churn import logit as logit_of
from training.churn_snapshots import Snapshot

Floats = NDArray[np.float64]

# Chosen on earlier moments of a gift shop and a grocer and on simulated shops (decision 0019); errors are in logits.
USUALLY_OFF = 0.1
USUALLY_FOLLOWS, FOLLOWS_ERROR = 1.3, 0.8
MOMENT_ERROR = 0.3


@dataclass(frozen=True)
class Level:
    """logit(share that leaves) = that of the steady probability model + ``off`` + ``follows`` x what the pace adds to it."""

    off: float = 0.0
    follows: float = USUALLY_FOLLOWS


def level_learnt(taken: Sequence[Snapshot], *, horizon: int) -> Level:
    """The level that the snapshots show: a Bayesian linear regression, both numbers drawn to ``Level()``.

    Snapshots whose windows overlap tell the same more than once, and count so much less.

    >>> level_learnt([], horizon=28)
    Level(off=0.0, follows=1.3)
    """
    if not taken:
        return Level()
    moments = [snapshot.at for snapshot in taken]
    days = (max(moments) - min(moments)).days + horizon
    weight = min(days / (horizon * len(taken)), 1.0) / MOMENT_ERROR**2
    shifts = np.array([snapshot.season.shift for snapshot in taken])
    missed = np.array([_missed(snapshot, horizon) for snapshot in taken])
    design = np.column_stack([np.ones(len(taken)), shifts])
    prior = np.array([1 / USUALLY_OFF**2, 1 / FOLLOWS_ERROR**2])
    precision = weight * design.T @ design + np.diag(prior)
    off, follows = np.linalg.solve(precision, weight * design.T @ missed + prior * np.array([0.0, USUALLY_FOLLOWS]))
    return Level(float(off), float(max(follows, 0.0)))


def anchored(blend: Blend, logits: Floats, snapshot: Snapshot, *, horizon: int, level: Level) -> Blend:
    """``blend`` with the intercept at which as many leave of the snapshot's customers as ``level`` says.

    ``logits`` (n_customers, 3): what the blend's parts say of them.
    """
    said = logits @ np.asarray(blend.weights)
    steady = float(silence(snapshot.features, snapshot.buyers, horizon).mean())
    share = float(probability(_logit(steady) + level.off + level.follows * snapshot.season.shift))
    return Blend(blend.weights, level_beside(np.full(len(said), share), said))


def _missed(snapshot: Snapshot, horizon: int) -> float:
    """What the steady probability model missed the share that left by."""
    count = len(snapshot.churned)
    said = float(silence(snapshot.features, snapshot.buyers, horizon).mean()) * count
    return odds(float(snapshot.churned.sum()), count) - odds(said, count)


def odds(events: float, count: int) -> float:
    """The logarithm of the odds of ``events`` in ``count``, half an event added to both sides."""
    return float(np.log((events + 0.5) / (count - events + 0.5)))


def level_beside(churned: Floats, beside: Floats) -> float:
    """The constant that, added to ``beside``, gives as many who leave as left."""
    share = (churned.sum() + 0.5) / (len(churned) + 1.0)
    level = 0.0
    for _ in range(20):
        chance = probability(beside + level)
        level += float(np.clip((share - chance.mean()) / max(float((chance * (1 - chance)).mean()), 1e-6), -2.0, 2.0))
    return level


def _logit(share: float) -> float:
    return float(logit_of(np.array([share]))[0])
