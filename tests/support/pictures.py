"""What pictures hold, and whether it can be read."""

import io

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def drawn(figure: Figure | None) -> Figure:
    """The figure, after it was drawn: as in the run, without a warning."""
    assert figure is not None
    buffer = io.BytesIO()
    figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return figure


def heading(figure: Figure) -> str:
    """The title in one line."""
    return figure.get_suptitle().replace("\n", " ")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def ticks(axis: Axis) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def bar_widths(figure: Figure) -> list[float]:
    return [bar.get_width() for bar in figure.axes[0].patches]


def long_names(stem: str, count: int, is_long: bool = True) -> list[str]:
    """Names that differ in their middle."""
    before, after = ("an unusually long name of a ", " of the north") if is_long else ("", "")
    return [f"{before}{stem} {place:02d}{after}" for place in range(count)]


def unreadable(figure: Figure | None) -> list[str]:
    """The texts that the figure's edge cuts, that lie on others, or that are too small."""
    figure = drawn(figure)
    renderer = figure.canvas.get_renderer()
    written = _written(figure)
    boxes = [(one.get_text(), one.get_window_extent(renderer)) for one in written]
    inside = figure.bbox.padded(1)
    return [
        *(f"{text} is cut" for text, box in boxes if not _contains(inside, box)),
        *(f"{one.get_text()} is small" for one in written if one.get_fontsize() < 5.5),
        *_overlapping(boxes),
    ]


def _overlapping(boxes: list[tuple[str, Bbox]]) -> list[str]:
    sides = np.array([box.padded(-1).extents for _, box in boxes])
    left, below, right, above = (sides[:, [place]] for place in range(4))
    pairs = (left < right.T) & (right > left.T) & (below < above.T) & (above > below.T)
    return [f"{boxes[a][0]} on {boxes[b][0]}" for a, b in np.argwhere(np.triu(pairs, 1))]


def _contains(outer: Bbox, inner: Bbox) -> bool:
    return all(outer.contains(*corner) for corner in inner.corners())


def _written(figure: Figure) -> list[Text]:
    """The texts, without those of ticks beyond the axes' limits and of axes that are off."""
    out = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.majorTicks, *axis.minorTicks]:
                if not (axes.axison and low <= tick.get_loc() <= high):
                    out |= {tick.label1, tick.label2}
    texts = figure.findobj(Text)
    return [one for one in texts if one not in out and one.get_visible() and one.get_text().strip()]
