"""What a training step hands on: the fitted model and what was honestly measured about it."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

COLUMNS = ("model", "metric", "value", "low", "high", "split")


@dataclass(frozen=True)
class Trained:
    """A fitted model beside its baselines.

    ``table``: one row per method and metric with the columns ``COLUMNS``; ``low`` and ``high`` bound a 95 % bootstrap
    interval over customers, ``split`` says in words what was measured on. ``metrics``: the model's own figures by name.
    ``notes``: sentences that must stand beside the figures wherever they are shown.
    """

    model: Any
    settings: dict[str, Any]
    metrics: dict[str, float]
    table: pd.DataFrame
    notes: tuple[str, ...] = field(default=())
