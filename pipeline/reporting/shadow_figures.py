"""The picture of a champion's and a shadow's answers to the same rows."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.reporting.style import REFERENCE, label, panels, styled, title
from pipeline.schema.matrix import Vector

BINS = 30
MOST_DOTS = 5_000


@styled
def answers(differences: Vector, scores: dict[str, Vector], unit: str, score: str) -> Figure:
    """How many rows differ by how much, in a unit, and a dot for each row of two named scores.

    Of many rows it draws the dots of some, chosen by chance.
    """
    figure, (spread, dots) = panels(2, 3)
    finite = differences[np.isfinite(differences)]
    spread.hist(finite, BINS, range=(0, finite.max(initial=0.0) or 1.0))
    spread.set(xlabel=f"difference {unit}", ylabel="rows")
    (first_name, first), (second_name, second) = scores.items()
    some = np.random.default_rng(0).permutation(len(first))[:MOST_DOTS]
    dots.scatter(first[some], second[some], s=6, alpha=0.5, linewidths=0)
    ends = [min(first.min(), second.min()), max(first.max(), second.max())]
    dots.plot(ends, ends, ":", color=REFERENCE)
    dots.set(xlabel=f"{score} of {label(first_name)}", ylabel=f"{score} of {label(second_name)}")
    both = f"{second_name} beside {first_name}".capitalize()
    title(figure, both, "On the dotted line they agree")
    return figure
