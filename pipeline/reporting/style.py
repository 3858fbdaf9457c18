"""The style of all pictures: `@styled` on what draws one, and `sheet` or `panels` for a new figure.

Pictures are 6.5 inches wide at 150 dpi, 975 pixels, so that the MLflow UI shows them at their size;
their height follows what they show. Colours are those of Okabe and Ito (2008), which the
colour-blind can tell apart; maps are in cividis, and blue to red where a value has a sign. A figure
has its title from `title`, names on axes from `name_axis`, its legend beside the data from
`legend`. All names are texts of users: `label` cuts them.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import ceil
from os.path import commonprefix
from textwrap import fill
from typing import Any

import pandas as pd
from cycler import cycler
from matplotlib import color_sequences
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.style import context

DPI = 150
WIDTH = 6.5  # inches
FONT = 9  # points
SMALL = 7
TINY = 5.5
REFERENCE = "0.45"  # the grey of what data are compared with: chance, all rows
BAND = 0.2  # opacity of intervals
MOST_BARS = 30
LONGEST_LABEL = 32  # characters
LONGEST_TITLE = 88  # characters of a line
CHARACTER = 0.62 / 72  # inches of a character's width per point of its size, on average at most
LINE = 1.3 / 72  # inches of a line's height per point

_, _ORANGE, _SKY, _GREEN, _, _BLUE, _RED, _PURPLE = color_sequences["okabe_ito"]
# Without black, and yellow, which is pale.
COLORS = tuple(map(to_hex, (_BLUE, _RED, _GREEN, _ORANGE, _PURPLE, _SKY)))
MARKERS = "osD^vP*X<>"  # beside colours, for more series than there are of them

# The user's own matplotlibrc has no say: pictures of two machines are to be alike.
styled = context(
    [
        "default",
        {
            "font.size": FONT,
            "figure.titlesize": FONT + 1,
            "axes.titlesize": FONT,
            "axes.labelsize": FONT - 1,
            "xtick.labelsize": FONT - 1,
            "ytick.labelsize": FONT - 1,
            "legend.fontsize": FONT - 1,
            "legend.title_fontsize": FONT - 1,
            "legend.frameon": False,
            "axes.prop_cycle": cycler(color=COLORS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "image.cmap": "cividis",
            "lines.linewidth": 1.5,
            "text.parse_math": False,  # a dollar in a name is a dollar
        },
    ]
)


def sheet(height: float) -> Figure:
    """An empty figure of so many inches, with no window."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, height: float, most: int = 3, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure with so many axes, at most `most` in a row, each row of so many inches."""
    columns = max(1, min(count, most))
    rows = max(1, ceil(count / columns))
    figure = sheet(0.5 + height * rows)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def title(figure: Figure, *sentences: str) -> None:
    """The title, in lines that fit the width, each sentence on its own; empty ones left out."""
    figure.suptitle("\n".join(fill(one, LONGEST_TITLE) for one in sentences if one))


def legend(figure: Figure, beside: Axes | None = None) -> Legend:
    """The legend of axes at their right, or that of the figure's first ones below all."""
    if beside is None:
        return figure.legend(*entries(figure.axes[0]), loc="outside lower center", ncols=3)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1), "borderaxespad": 0}
    return beside.legend(*entries(beside), **place)


def entries(axes: Axes) -> tuple[list[Artist], list[str]]:
    """Handles and names of a legend, each name once."""
    by_name: dict[str, Artist] = {}
    for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
        by_name.setdefault(name, handle)
    return list(by_name.values()), list(by_name)


def bars(
    values: "pd.Series[Any]", texts: Sequence[str] = (), **options: Any
) -> tuple[Figure, Axes]:
    """Horizontal bars by the values' names, the last on top, each with its text at its end."""
    height = 0.22 * len(values)
    figure = sheet(0.9 + height)
    axes = figure.add_subplot()
    places = range(len(values))
    drawn = axes.barh(places, values.to_numpy(), **options)
    if texts:
        axes.bar_label(drawn, texts, padding=3, fontsize=FONT - 1)
        axes.set_xlim(0, values.max() * 1.25)
    axes.set_ylim(-0.6, len(values) - 0.4)
    name_axis(axes.yaxis, places, values.index, height)
    return figure, axes


def name_axis(axis: Axis, places: Sequence[float], names: Iterable[Any], inches: float) -> None:
    """Names at places of an axis; along x upright where one does not fit in its share of `inches`.

    Names of the y axis, and upright ones, are smaller where they would touch.
    """
    texts = labels(names)
    slot = inches / max(len(places), 1)
    width = max(map(len, texts), default=0) * CHARACTER * (FONT - 1)
    is_along_x = isinstance(axis, XAxis)
    is_upright = is_along_x and width > slot
    size = FONT - 1.0
    if is_upright or not is_along_x:
        size = max(TINY, min(size, slot / LINE))
    axis.set_ticks(places, texts, rotation=90 if is_upright else 0, fontsize=size)


def labels(names: Iterable[Any], longest: int = LONGEST_LABEL) -> list[str]:
    """Names as they fit beside an axis, each once: bars of one name would be one bar."""
    texts = list(map(str, names))
    result = [label(text, longest) for text in texts]
    if len(set(result)) < len(set(texts)):  # they differ in what was cut
        # Of texts, not paths; whole words and numbers.
        shared = len(re.sub(r"[^\W_]+$", "", commonprefix(texts)))  # noqa: RUF071
        result = [label(f"…{text[shared:]}" if shared else text, longest) for text in texts]
    counts: Counter[str] = Counter()
    for place, text in enumerate(result):
        counts[text] += 1
        if counts[text] > 1:
            result[place] = f"{text} ({counts[text]})"
    return result


def label(name: Any, longest: int = LONGEST_LABEL) -> str:
    """A name in one line, without its middle where it is too long: its end may be what differs."""
    text = " ".join(str(name).split())
    if len(text) <= longest:
        return text
    end = (longest - 1) // 3
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def part(drawn: int, count: int, which: str, what: str = "columns") -> str:
    """For a title: how many of the columns a picture shows, nothing where it shows all."""
    return f" (the {drawn} of {count} {what} {which})" if drawn < count else ""


def png(figure: Figure) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
