"""What kinds of prediction there are and what differs between them, as plain data.

What of a task or a metric needs libraries stands where it is used, in a table with the same keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Literal

Family = str  # the name of a built-in model family, or of an estimator in the config
TaskName = Literal["binary", "multiclass", "regression"]
CLASSIFICATION: tuple[TaskName, ...] = ("binary", "multiclass")
AMOUNT: tuple[TaskName, ...] = ("regression",)
COVERAGE = 0.9  # of intervals, where a request asks for no other


@dataclass(frozen=True)
class Metric:
    """A metric of a model on labelled rows: which tasks have it, its direction and its range."""

    name: str
    tasks: tuple[TaskName, ...]
    greater_is_better: bool
    bounds: tuple[float, float]  # the least and the greatest value that it can have

    @property
    def title(self) -> str:
        """The metric in words."""
        return TITLES.get(self.name, self.name.replace("_", " "))

    @property
    def sign(self) -> int:
        """1 where greater is better, -1 where less is: the sign of a gain."""
        return 1 if self.greater_is_better else -1

    @property
    def worst(self) -> float:
        """The worst value that it can have."""
        return self.bounds[0] if self.greater_is_better else self.bounds[1]

    def reaches(self, value: float, floor: float) -> bool:
        """Whether the value is as good as the floor or better; NaN is not."""
        return self.sign * value >= self.sign * floor

    def is_better(self, first: float, second: float) -> bool:
        """Whether the first value is better than the second; NaN is not."""
        return self.sign * first > self.sign * second


TITLES = {"roc_auc": "ROC AUC", "rmse": "RMSE", "mae": "MAE", "r2": "R²"}  # where not as written
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", CLASSIFICATION, True, (0, 1)),
        Metric("roc_auc", CLASSIFICATION, True, (0, 1)),
        Metric("average_precision", CLASSIFICATION, True, (0, 1)),
        Metric("log_loss", CLASSIFICATION, False, (0, inf)),
        # At most 1 with two classes, where scikit-learn halves it.
        Metric("brier", CLASSIFICATION, False, (0, 2)),
        Metric("f1", CLASSIFICATION, True, (0, 1)),
        Metric("precision", CLASSIFICATION, True, (0, 1)),
        Metric("recall", CLASSIFICATION, True, (0, 1)),
        Metric("mcc", CLASSIFICATION, True, (-1, 1)),
        Metric("rmse", AMOUNT, False, (0, inf)),
        Metric("mae", AMOUNT, False, (0, inf)),
        Metric("median_absolute_error", AMOUNT, False, (0, inf)),
        Metric("r2", AMOUNT, True, (-inf, 1)),
        # Of intervals that are to hold 90 % of the rows.
        Metric("pinball", AMOUNT, False, (0, inf)),
        Metric("interval_score", AMOUNT, False, (0, inf)),
        Metric("coverage", AMOUNT, True, (0, 1)),
        Metric("interval_width", AMOUNT, False, (0, inf)),
    )
}


@dataclass(frozen=True)
class Task:
    """A kind of prediction: what is searched and by which loss, and what the gate compares."""

    name: TaskName
    loss: str  # the metric that the search minimizes
    search_metrics: tuple[str, ...]  # that every trial has, so that gate.primary may name them
    families: tuple[Family, ...]  # that are searched unless the config names others
    optional_families: tuple[Family, ...]  # that are searched where the config names them
    has_positive: bool  # whether one class is the positive one, with a decision threshold
    gate_metric: str  # of the comparison with the champion
    gate_margin: float  # how much worse in it counts as not worse
    gate_calibration: float = 0.1  # how far off probabilities, or the coverage of intervals, may be
    is_margin_relative: bool = False  # a share of the champion's value
    dummy: str = "the class shares"  # what the dummy answers with

    @property
    def every_family(self) -> tuple[Family, ...]:
        """The built-in families that may be searched."""
        return (*self.families, *self.optional_families)

    @property
    def has_classes(self) -> bool:
        """Whether classes are predicted, and not amounts."""
        return self.name in CLASSIFICATION

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the task's metrics."""
        return tuple(name for name, metric in METRICS.items() if self.name in metric.tasks)


BINARY = Task(
    name="binary",
    loss="log_loss",
    search_metrics=("log_loss", "roc_auc", "brier", "accuracy"),
    families=(
        "logistic_regression",
        "spline_logistic_regression",
        "svc",
        "extra_trees",
        "hist_gradient_boosting",
        "mlp",
    ),
    optional_families=("raw_logistic_regression",),
    has_positive=True,
    gate_metric="roc_auc",
    gate_margin=0.02,
)
REGRESSION = Task(
    name="regression",
    loss="rmse",
    search_metrics=("rmse", "mae", "median_absolute_error", "r2"),
    families=(
        "ridge",
        "elastic_net",
        "spline_ridge",
        "svr",
        "extra_trees_regressor",
        "hist_gradient_boosting_regressor",
        "mlp_regressor",
    ),
    optional_families=(),
    has_positive=False,
    gate_metric="rmse",
    gate_margin=0.05,
    gate_calibration=0.05,
    is_margin_relative=True,
    dummy="the training rows' mean",
)
TASKS: dict[TaskName, Task] = {
    "binary": BINARY,
    "multiclass": replace(BINARY, name="multiclass", has_positive=False),
    "regression": REGRESSION,
}
# What any task has.
SEARCH_METRICS = tuple(dict.fromkeys(name for t in TASKS.values() for name in t.search_metrics))
FAMILIES: tuple[Family, ...] = tuple(
    dict.fromkeys(name for t in TASKS.values() for name in t.every_family)
)


def loss_of(metrics: Mapping[str, float]) -> str:
    """The loss among the metrics of a model, which are those of one task."""
    return next(task.loss for task in TASKS.values() if task.loss in metrics)


def classification(positive: object | None) -> Task:
    """The task of a target of classes: one of two is positive, or there are more and none is."""
    return TASKS["multiclass" if positive is None else "binary"]
