"""The picture of models on the same rows: one row for each task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from pipeline.evaluation.metrics import AnyPredictions
from pipeline.reporting import amount_figures
from pipeline.reporting.model_figures import model_comparison
from pipeline.tasks import AMOUNT, CLASSIFICATION, TaskName


def of_models(
    models: Mapping[str, AnyPredictions], classes: Sequence[Any], seed: int = 0
) -> Figure:
    """The models by name side by side; `classes` as people call them, none of amounts.

    `seed` is of the resamples behind bands.
    """
    task = next(iter(models.values())).task
    return COMPARISONS[task.name](models, classes, seed)


def _amounts(models: Mapping[str, Any], _: Sequence[Any], __: int) -> Figure:
    return amount_figures.predicted_against_true(models, "true")


COMPARISONS: Mapping[TaskName, Callable[..., Figure]] = {
    **dict.fromkeys(CLASSIFICATION, model_comparison),
    **dict.fromkeys(AMOUNT, _amounts),
}
