"""Pictures of figures: what a run keeps beside its table, and the curves of a comparison."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure

COLUMNS = 4
PANEL_INCHES = 2.8
Points = Sequence[Mapping[str, float]]


def comparison_figure(table: pd.DataFrame) -> Figure:
    """One panel per metric of ``table`` (columns of ``training.results.COLUMNS``): each method's value and its interval."""
    metrics = list(dict.fromkeys(table["metric"]))
    if not metrics:
        figure = Figure(figsize=(5, 1))
        figure.text(0.5, 0.5, "too little was known to judge on", ha="center")
        return figure
    columns = min(len(metrics), COLUMNS)
    rows = -(-len(metrics) // columns)
    height = 1.0 + 0.3 * table["model"].nunique()
    figure = Figure(figsize=(1.8 + PANEL_INCHES * columns, 0.4 + height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics, strict=False):
        shown = table[table["metric"] == metric].iloc[::-1]
        ours = shown["model"] == "regulars"
        for chosen, colour in ((shown, "tab:gray"), (shown[ours], "tab:blue")):
            spread = [(chosen["value"] - chosen["low"]).clip(0), (chosen["high"] - chosen["value"]).clip(0)]
            axes.errorbar(chosen["value"], chosen["model"], xerr=spread, fmt="o", color=colour, capsize=3)
        axes.set_title(metric)
        axes.grid(axis="x", alpha=0.3)
    for empty in panels[len(metrics) :]:
        empty.set_visible(False)
    figure.suptitle(str(table["split"].iloc[0]), fontsize="small")
    return figure


def curves_figure(curves: Mapping[str, Mapping[str, Points]]) -> Figure:
    """Calibration and cumulative gain of every model of ``Compared.curves``, each beside the line of no skill.

    Of offer models: the uplift curve, beside the line of offers made at random.
    """
    if all("uplift" in drawn for drawn in curves.values()):
        return _uplift_figure(curves)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    said, found = figure.subplots(1, 2)
    for model, drawn in curves.items():
        calibration, gain = drawn["calibration"], drawn["gain"]
        said.plot([p["said"] for p in calibration], [p["came_true"] for p in calibration], marker="o", label=model)
        found.plot([0, *(p["share"] for p in gain)], [0, *(p["found"] for p in gain)], label=model)
    for axes, title, x, y in (
        (said, "Calibration", "probability said", "share that came true"),
        (found, "Cumulative gain", "share of customers, riskiest first", "share of those who left"),
    ):
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="dotted")
        axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1))
        axes.grid(alpha=0.3)
    found.legend(fontsize="small")
    return figure


def _uplift_figure(curves: Mapping[str, Mapping[str, Points]]) -> Figure:
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for place, (model, drawn) in enumerate(curves.items()):
        points = drawn["uplift"]
        axes.plot([p["share"] for p in points], [p["gain"] for p in points], color=f"C{place}", label=model)
        axes.plot([0, 1], [0, points[-1]["gain"]], color=f"C{place}", linewidth=0.8, linestyle="dotted")
    axes.set(title="Uplift", xlabel="share of customers, highest expected uplift first", ylabel="outcome gained")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure
