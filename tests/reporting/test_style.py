import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from pipeline.reporting import style
from pipeline.reporting.model_figures import model_comparison
from pipeline.reporting.search_figures import weights
from pipeline.reporting.table_figures import class_balance
from tests.support.builders import make_predictions

PICTURES = {
    "weights": lambda: weights({"svc": 1.0}),
    "class balance": lambda: class_balance(pd.Series([0, 1, 1], name="label")),
    "comparison": lambda: model_comparison({"a": make_predictions()}, (0, 1)),
}


@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES)
def test_picture_is_the_same_file_975_pixels_wide_whatever_the_users_style(draw):
    result = style.png(draw())
    assert plt.imread(io.BytesIO(result)).shape[1] == 975
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "black", "figure.dpi": 50}):
        assert style.png(draw()) == result
        assert mpl.rcParams["font.size"] == 20


def test_colors_differ_from_each_other_and_from_white_in_brightness_or_hue():
    rgb = [to_rgb(color) for color in style.COLORS]
    assert len(set(rgb)) == 6
    assert all(min(color) < 0.5 for color in rgb)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        (["a\nb", "$x$ \t y"], ["a b", "$x$ y"]),
        (["the beginning and the end"], ["the begi… end"]),
        (["length of part 1 of it", "length of part 2 of it"], ["…1 of it", "…2 of it"]),
        (["x" * 99, "x" * 98], ["xxxxxxxx…xxxx", "xxxxxxxx…xxxx (2)"]),
        ([1, True], ["1", "True"]),
        ([], []),
    ],
)
def test_labels_are_short_single_lines_that_differ(names, expected):
    assert style.labels(names, 13) == expected
