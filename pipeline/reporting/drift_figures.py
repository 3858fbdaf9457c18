"""Pictures of how columns were spread, and how they are."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from pipeline.evaluation.drift import Drift
from pipeline.reporting.style import WIDTH, label, legend, name_axis, panels, part, styled, title

MOST_DRAWN = 9
LONGEST_NAME = 22  # characters, within a panel
PANEL = 2.0  # inches of a panel's height
MOST_BINS = 12


@styled
def drift(drifts: Sequence[Drift], before: str = "training part") -> Figure:
    """The shares per bin of the columns that changed most, before and now."""
    drawn = drifts[:MOST_DRAWN]
    figure, axes = panels(len(drawn), PANEL)
    for each, one in zip(axes, drawn, strict=True):
        shares = [spread.counts / max(spread.counts.sum(), 1) for spread in (one.before, one.now)]
        names = [*one.before.bins.names, "missing"]
        largest = np.sort(np.argsort(-np.abs(shares[1] - shares[0]))[:MOST_BINS])
        places = np.arange(len(largest))
        each.bar(places - 0.2, shares[0][largest], 0.4, label=before)
        each.bar(places + 0.2, shares[1][largest], 0.4, label="now")
        texts = [label(names[place], LONGEST_NAME) for place in largest]
        name_axis(each.xaxis, places.tolist(), texts, WIDTH / 4)
        each.set_title(f"{label(one.name, LONGEST_NAME)}\nindex {one.psi:.2f}")
    axes[0].set_ylabel("share of rows")
    legend(figure, axes[0])
    which = part(len(drawn), len(drifts), "that changed most", "columns and answers")
    title(figure, f"Population stability index{which}")
    return figure
