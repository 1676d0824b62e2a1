"""Pictures: every method, metric and curve is drawn where its figures say."""

import pandas as pd

from training.plots import comparison_figure, curves_figure
from training.results import COLUMNS


def test_every_metric_is_a_panel_with_each_methods_value() -> None:
    rows = [(model, metric, value, value - 0.1, value + 0.1, "a split") for metric in "abcdef"
            for model, value in (("plain", 0.4), ("regulars", 0.6))]  # fmt: skip
    figure = comparison_figure(pd.DataFrame(rows, columns=list(COLUMNS)))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == list("abcdef")
    for axes in panels:
        assert sorted(map(float, axes.lines[0].get_xdata())) == [0.4, 0.6]


def test_a_run_without_figures_says_so() -> None:
    figure = comparison_figure(pd.DataFrame(columns=list(COLUMNS)))
    assert figure.texts[0].get_text() == "too little was known to judge on"


def test_curves_are_drawn_beside_the_line_of_no_skill() -> None:
    points = {"calibration": [{"said": 0.2, "came_true": 0.1}], "gain": [{"share": 0.5, "found": 0.9}]}
    said, found = curves_figure({"3": points}).axes
    assert list(said.lines[0].get_xydata()[0]) == [0.2, 0.1]
    assert list(found.lines[0].get_xydata()[1]) == [0.5, 0.9]
    assert len(said.lines) == len(found.lines) == 2
