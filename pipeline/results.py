"""What each step hands on: the flow of data on one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isclose, nan
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.schema.contract import Contract
from pipeline.schema.kinds import text_columns
from pipeline.schema.matrix import Matrix
from pipeline.schema.rules import decode
from pipeline.tasks import METRICS, Family, loss_of

if TYPE_CHECKING:  # matplotlib takes a second to import, and a reused step draws nothing
    from matplotlib.figure import Figure

    from pipeline.config.sections import Data

DIGESTS = ("data_digest", "split_digest")
SAME = 1e-9  # between metrics of one model on two machines
MODEL_METRICS = ("cv/", "cv_std/", "test/", "test_95/")  # how metrics of a model itself begin
Params = dict[str, Any]
Probabilities = NDArray[np.float64]  # rows x classes, in the order of Contract.classes
Outputs = NDArray[np.float64]  # those, or rows x 1 amounts, or rows x 2 with their difficulties
Artifact: TypeAlias = "pd.DataFrame | Figure | str | bytes | dict[str, Any] | Arrays"
Artifacts: TypeAlias = "dict[str, Artifact]"  # file name in the run -> what is written there


@dataclass(frozen=True)
class Arrays:
    """Named arrays of one file, with the number of the format that their reader expects."""

    format: int
    values: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Report:
    """What a step leaves in its MLflow run beside the values that it hands on."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    artifacts: Artifacts = field(default_factory=dict)
    note: str = ""  # the run's description, in Markdown

    def adding(
        self, artifacts: Artifacts | None = None, tags: Mapping[str, str] | None = None
    ) -> Report:
        """The report with more artifacts and tags."""
        return replace(
            self,
            artifacts={**self.artifacts, **(artifacts or {})},
            tags={**self.tags, **(tags or {})},
        )


def cv_metrics(means: Mapping[str, float], spread: Mapping[str, float]) -> dict[str, float]:
    """Mean and standard deviation over the folds, by the names that they have in a run."""
    return {
        **{f"cv/{name}": value for name, value in means.items()},
        **{f"cv_std/{name}": value for name, value in spread.items()},
    }


def cv_loss(metric: str, metrics: Mapping[str, float]) -> float:
    """The cross-validated metric, negated where higher is better; NaN where there is none."""
    value = metrics.get(f"cv/{metric}", nan)
    return -METRICS[metric].sign * value


def alike(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether two models have the same metrics: then it is one model, trained twice."""
    shared = one.keys() & other.keys()
    return bool(shared) and all(isclose(one[name], other[name], rel_tol=SAME) for name in shared)


@dataclass(frozen=True)
class Metadata:
    """What rows carry beside features and target, by the table's index; None for what they lack.

    The series have the names of their columns. `groups` are 64 bits of each row's group, `times`
    numbers that rise with time, `weights` are not negative. The word is scikit-learn's.
    """

    groups: pd.Series[Any] | None = None
    times: pd.Series[Any] | None = None
    weights: pd.Series[Any] | None = None

    @property
    def names(self) -> dict[str, str]:
        """The columns that there are, by what they say of a row."""
        return {name: str(each.name) for name, each in vars(self).items() if each is not None}

    @property
    def group_codes(self) -> NDArray[np.intp] | None:
        """The groups of the rows, numbered from 0 on."""
        return None if self.groups is None else np.unique(self.groups, return_inverse=True)[1]

    @property
    def sample_weight(self) -> NDArray[np.float64] | None:
        """The weights of the rows as scikit-learn takes them."""
        return None if self.weights is None else self.weights.to_numpy()

    def of(self, rows: pd.DataFrame | pd.Series[Any]) -> Metadata:
        """That of the rows of a table or of labels with the same index."""
        return self._each(lambda series: series.loc[rows.index])

    def where(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Metadata:
        """That of some of the rows, which a mask or their places select."""
        return self._each(lambda series: series.iloc[rows])

    def _each(self, part: Callable[[pd.Series[Any]], pd.Series[Any]]) -> Metadata:
        changes = {name: part(each) for name, each in vars(self).items() if each is not None}
        return replace(self, **changes)


def is_amount(y: pd.Series[Any]) -> bool:
    """Whether a target is an amount: those are doubles, and no class is."""
    return y.dtype == np.float64


@dataclass(frozen=True)
class Dataset:
    """Ingest: a checked table in two parts. X holds doubles, NaN where a value is missing.

    Columns of texts are texts in it.
    `cells` are what the codes in X stand for, of all rows in the source's order; None where all
    columns are numbers.
    """

    name: str
    digest: str  # sha256 of the source's bytes
    split_digest: str  # sha256 of the places of the test rows, and of how they came there
    contract: Contract
    X_train: pd.DataFrame
    y_train: pd.Series[Any]
    X_test: pd.DataFrame
    y_test: pd.Series[Any]
    metadata: Metadata = Metadata()  # of all rows
    labels: Mapping[Any, str] = field(default_factory=dict)  # class -> its name for people
    rows_note: str = ""  # how rows were parted and weighed, where not by chance and alike
    cells: pd.DataFrame | None = None
    data: Data | None = None  # the settings, with what they left open as the table says it

    @property
    def digests(self) -> dict[str, str]:
        """Tags that name the table and the split."""
        return dict(zip(DIGESTS, (self.digest, self.split_digest), strict=True))

    @property
    def X(self) -> pd.DataFrame:
        """The rows of both parts in the source's order: all, but where `rows_note` says so."""
        if text_columns(self.contract.columns):
            return pd.concat([self.X_train, self.X_test]).sort_index()
        index = self.X_train.index.append(self.X_test.index)
        order = np.argsort(index)
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        count = len(self.X_train)
        # One copy, column by column, where pandas would make three of a large table.
        values = np.empty((len(order), self.X_train.shape[1]), order="F")
        values[places[:count]], values[places[count:]] = self.X_train, self.X_test
        return pd.DataFrame(values, index=index[order], columns=self.X_train.columns)

    def parted(self, train: NDArray[np.intp], test: NDArray[np.intp]) -> Dataset:
        """The data set with other parts, by the places of their rows in `X`."""
        X, y = self.X, self.y
        return replace(
            self,
            X_train=X.iloc[train],
            y_train=y.iloc[train],
            X_test=X.iloc[test],
            y_test=y.iloc[test],
        )

    @property
    def y(self) -> pd.Series[Any]:
        """All labels in the source's order."""
        y: pd.Series[Any] = pd.concat([self.y_train, self.y_test]).sort_index()
        return y

    @property
    def rows(self) -> int:
        """How many rows both parts have."""
        return len(self.X_train) + len(self.X_test)

    @property
    def class_names(self) -> tuple[Any, ...]:
        """The classes in their order as people call them: by name, or as they are."""
        classes = self.contract.classes
        return tuple(self.labels.get(one, str(one)) for one in classes) if self.labels else classes

    @property
    def named_y(self) -> pd.Series[Any]:
        """All labels by the names of their classes."""
        names = dict(zip(self.contract.classes, self.class_names, strict=True))
        return self.y.map(names) if self.labels else self.y

    def cells_of(self, X: pd.DataFrame) -> pd.DataFrame:
        """Rows of X as the table has them."""
        return X if self.cells is None else X.assign(**self.cells.loc[X.index])

    def examples(self, rows: int) -> pd.DataFrame:
        """The first rows of the training part as JSON has them, complete ones where there are."""
        complete = self.X_train.dropna()
        first = (self.X_train if complete.empty else complete).head(rows)
        return decode(self.contract.columns, first)


@dataclass(frozen=True)
class Count:
    """How many there are; at least so many where counting them all costs too much."""

    number: int
    is_all: bool = True

    def __str__(self) -> str:
        return f"{self.number}" if self.is_all else f"at least {self.number}"


@dataclass(frozen=True)
class Trial:
    """One configuration of one family, cross-validated on the training part."""

    number: int
    family: Family
    params: Params
    metrics: dict[str, float]  # mean over the folds; none when the trial failed
    spread: dict[str, float]  # standard deviation over the folds
    seconds: float
    error: str = ""  # why it failed, if it did

    @property
    def loss(self) -> float:
        """What the search minimizes; infinite when the trial failed."""
        return inf if self.error else self.metrics[loss_of(self.metrics)]


@dataclass(frozen=True)
class Tuning:
    """Tune: every trial, and of each family the one that stands for it, the best family first."""

    trials: tuple[Trial, ...]
    chosen: dict[Family, Trial]
    out_of_fold: dict[Family, Outputs]  # of the chosen: training rows x classes, or x 1
    report: Report = field(default_factory=Report)

    @property
    def best(self) -> Trial:
        """The trial with the lowest loss, the earlier of equals."""
        return min(self.trials, key=lambda trial: (trial.loss, trial.number))


@dataclass(frozen=True)
class Training:
    """Train: the fitted model and what cross-validation says of it."""

    model: Any  # a fitted scikit-learn estimator
    weights: dict[Family, float]  # family -> weight in the blend
    threshold: float | None  # None but with two classes
    metrics: dict[str, float]
    spread: dict[str, float]
    scores: Sequence[float] = ()  # of the intervals around amounts, sorted: `models.intervals`
    report: Report = field(default_factory=Report)
    # Equals the model's outputs (rows x columns to rows x outputs), many times faster.
    compiled: Callable[[Matrix], Matrix] | None = None


@dataclass(frozen=True)
class Evaluation:
    """Evaluate: what the model reaches on the test part."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]  # 95 %, by bootstrap
    baselines: dict[str, dict[str, float]]  # dummy and tutorial, on the same rows
    report: Report = field(default_factory=Report)


@dataclass(frozen=True)
class Candidate:
    """A finished evaluation that may become champion."""

    run_id: str  # of the parent run that made it
    model_id: str
    metrics: dict[str, float]  # as logged: cv/log_loss, test/accuracy, ...
    params: dict[str, str]  # as logged: what the result depends on
    digests: dict[str, str]  # of the table and the split


@dataclass(frozen=True)
class RuleResult:
    """A rule of the gate, and whether the candidate keeps it; None where that was not asked."""

    rule: str  # gate.floors.roc_auc
    passed: bool | None
    sentence: str
    figures: dict[str, float] = field(default_factory=dict)


Claim = Literal["better", "not worse", "maybe worse", "not compared", "first"]  # than the champion


@dataclass(frozen=True)
class Decision:
    """Promote, in thought: a candidate, how it keeps the rules, and what may be said of it."""

    candidate: Candidate
    choice: str  # how the candidate came to be the challenger
    rules: tuple[RuleResult, ...]
    claim: Claim
    rows_digest: str = ""  # of the rows that candidate and champion were compared on

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return all(rule.passed is not False for rule in self.rules)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rules that are broken, or else how it was chosen and what may be said of it."""
        broken = [rule.sentence for rule in self.rules if rule.passed is False]
        compared = [rule.sentence for rule in self.rules if rule.rule == "gate.rule"]
        return tuple(broken or [self.choice, *compared])


Action = Literal["promoted", "unchanged", "kept", "dry run", "rolled back"]


@dataclass(frozen=True)
class Promotion:
    """Promote and rollback: what became of the registry."""

    action: Action
    version: str | None  # the champion's, None when there is none
    sentence: str
    label: str  # the outcome in a few words: v3 champion
    candidate: str | None = None  # the version that was decided on, if one was registered
    compared: tuple[str, ...] = ()  # the parent runs of the candidate and of the champion before
    rules: tuple[RuleResult, ...] = ()
    card: str = ""  # the model card as HTML

    @property
    def report(self) -> Report:
        """What the step leaves in its run."""
        version = {"model_version": self.version} if self.version else {}
        words = {True: "passed", False: "**failed**", None: "not judged"}
        rules = [f"- {words[one.passed]}: `{one.rule}`, {one.sentence}" for one in self.rules]
        note = "\n".join([self.sentence, "", *rules]).strip()
        return Report(tags={"decision": self.action, **version}, note=note)


@dataclass(frozen=True)
class Event:
    """A change of champion, as the promotion log holds it."""

    action: Literal["promoted", "rolled back", "found"]  # found: set by other means
    version: str | None  # None: the alias was taken away
    before: str | None  # the champion until then
    at: str  # UTC, ISO 8601
    by: str
    why: str
    run_id: str = ""
    model_id: str = ""  # the version's, to know it again when it is a candidate
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run that has brought an earlier champion back."""
        return {
            "decision": self.action,
            "model_version": str(self.version),
            "champion_before": str(self.before),
            "reasons": self.why,
            "decided_by": self.by,
            "decided_at": self.at,
            "model_id": self.model_id,
        }


@dataclass(frozen=True)
class Version:
    """A promoted version of a registered model, as the registry tells it."""

    name: str
    version: str
    run_id: str
    metrics: dict[str, float]
    manifest: Mapping[str, str]  # path in the model's folder -> sha256
