"""The frozen, strict tree of settings: every key, its meaning, its default and its rule."""

from collections.abc import Mapping
from math import ceil
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.config.csv import Csv
from pipeline.config.gate import Gate
from pipeline.config.monitor import Monitor
from pipeline.config.serve import Serve
from pipeline.config.tune import Tune
from pipeline.config.types import MODEL_NAME, SHA256, Count, Positive, Rows, Seed, Share
from pipeline.errors import nearest
from pipeline.schema.columns import AnyColumn, Column, Frozen, Mark
from pipeline.schema.contract import Label

CUT = ("number", "integer", "date")  # kinds of columns whose values are cut into groups


class Data(Frozen):
    """Where the table comes from and what its columns hold."""

    source: str = Field(
        description="path, folder, pattern (data/*.csv) or address (https, s3, gs, sqlite, "
        "postgresql, ...) of the table",
        min_length=1,
    )
    csv: Csv = Csv()
    sheet: str | None = Field(None, description="sheet of an Excel file, null for the first")
    query: str | None = Field(
        None,
        description="of a database: the table, or a SELECT ... ORDER BY; null for its only one",
    )
    sha256: str | None = Field(
        None, description="sha256 of the file, checked before it is read", pattern=SHA256
    )
    timeout: Positive = Field(60.0, description="seconds that a download may take in all")
    max_bytes: Count = Field(4 * 2**30, description="bytes that a download may have")
    target: str = Field(description="the column to predict", min_length=1)
    task: Literal["auto", "classification", "regression"] = Field(
        "auto",
        description="what is predicted: a class (classification) or an amount (regression); auto "
        "takes fractions, and numbers of too many values to be classes, for amounts",
    )
    target_range: tuple[float | None, float | None] = Field(
        (None, None),
        description="least and greatest amount that there can be (regression only), null for none: "
        "no answer is beyond it",
    )
    target_missing: tuple[Mark, ...] | None = Field(
        None,
        description="marks of a missing target ([NA, -1]): rows that hold one, or nothing, are "
        "left out; [] for those that hold nothing alone, null to refuse them",
    )
    target_kind: Literal["auto", "text"] = Field(
        "auto",
        description="text takes the target's cells as texts; auto reads those of CSV as integers, "
        "or as true and false, where each is plainly one (1 and 2, not 01 and 2)",
    )
    positive: Label | None = Field(
        None, description="the class whose probability is asked for (two classes only)"
    )
    columns: dict[str, AnyColumn] = Field(
        {},
        description="every other column: kind, meaning, unit, range, missing, optional, ...; "
        "{} for what the table itself says of them",
    )
    unlisted: Literal["refuse", "infer"] = Field(
        "refuse",
        description="what becomes of a column of the table that is neither listed nor dropped, "
        "where any is listed: refused, or taken for what the table itself says of it",
    )
    labels: dict[str, str] = Field(
        {}, description="names of the classes in figures, notes and cards: {0: healthy, 1: ill}"
    )
    drop: dict[str, str] = Field(
        {}, description="columns of the file that are no features, each with the reason"
    )
    weight: str | None = Field(
        None, description="a column that says how much each row counts, in fits and in metrics"
    )

    @field_validator("columns")
    @classmethod
    def _columns_have_names(cls, columns: dict[str, AnyColumn]) -> dict[str, AnyColumn]:
        if "" in columns:
            raise ValueError(
                "one column has an empty name, which MLflow cannot carry in a model's signature; "
                "name it here and in the header of the table, or take it out of both"
            )
        return columns

    @model_validator(mode="after")
    def _settings_are_of_the_task(self) -> "Data":
        low, high = self.target_range
        if low is not None and high is not None and low >= high:
            raise ValueError(f"target_range is [{low:g}, {high:g}]; the smaller number comes first")
        if self.target_range != (None, None) and self.task == "classification":
            raise ValueError(
                "target_range is set, and task is classification, which has no amounts; leave one "
                "of them out"
            )
        return self

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> "Data":
        if self.target in self.columns:
            raise ValueError(f"target {self.target!r} is among the columns; take it out of them")
        return self

    @model_validator(mode="after")
    def _weight_is_no_feature(self) -> "Data":
        if self.weight == self.target or self.weight in self.columns:
            what = "the target" if self.weight == self.target else "among the columns"
            raise ValueError(
                f"weight is {self.weight!r}, which is {what}; a weight is no feature: name another "
                "column, or take it out of columns"
            )
        return self

    @model_validator(mode="after")
    def _dropped_have_no_other_use(self) -> "Data":
        if self.target in self.drop:
            raise ValueError(f"drop has {self.target!r}, which is the target; take it out of drop")
        twice = [name for name in self.drop if name in self.columns]
        if twice:
            raise ValueError(
                f"drop has {', '.join(map(repr, twice))}, which columns has too; a column is "
                "either a feature or dropped: take it out of one of them"
            )
        return self


class Split(Frozen):
    """How the rows are parted into training and test."""

    test_size: Share = Field(0.3, description="share of the rows in the test part")
    seed: Seed = Field(1, description="seed of the shuffle")
    stratify: bool = Field(True, description="same class balance in both parts")
    group: str | None = Field(
        None, description="a column whose rows of one value stay in one part and in one fold"
    )
    time: str | None = Field(
        None, description="a column by which models train on the past and are tested on the future"
    )


class Audit(Frozen):
    """The nested cross-validation of the whole procedure."""

    folds: Annotated[int, Field(ge=2)] = Field(10, description="outer folds, over all rows")
    seed: Seed = Field(0, description="seed of the outer folds")


class Spark(Frozen):
    """The cluster of `tune.backend: spark`."""

    master: str = Field(
        "local[*]", description="address of Spark's master; local[*] is this machine", min_length=1
    )


class Train(Frozen):
    """How the final model is made of the trials."""

    ensemble: bool = Field(
        True, description="blend the best trial of each family; false takes the best trial alone"
    )
    threshold: Literal["auto"] | Share = Field(
        "auto",
        description="probability from which the positive class is predicted; "
        "auto takes the cheapest on out-of-fold predictions",
    )
    cost_false_negative: Positive = Field(1.0, description="cost of a positive that is missed")
    cost_false_positive: Positive = Field(1.0, description="cost of a false alarm")
    max_rows: Rows | None = Field(
        None, description="training rows that the final model is fitted on; null for all"
    )


class Evaluate(Frozen):
    """How a model is measured on the test part."""

    resamples: Annotated[int, Field(ge=100)] = Field(
        2000, description="bootstrap resamples behind each 95 % interval"
    )
    seed: Seed = Field(0, description="seed of the resamples and permutations")


class Registry(Frozen):
    """Where the promoted model goes."""

    model: str = Field(description="name of the registered model", pattern=MODEL_NAME)


class Config(Frozen):
    """All settings of a run."""

    data: Data
    split: Split = Split()
    tune: Tune = Tune()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    registry: Registry
    serve: Serve = Serve()
    audit: Audit = Audit()
    spark: Spark = Spark()
    monitor: Monitor = Monitor()

    @model_validator(mode="after")
    def _slices_are_columns(self) -> "Config":
        if self.data.columns and self.data.unlisted == "refuse":
            check_slices(self.gate.slices, self.data.columns)
        return self

    @model_validator(mode="after")
    def _level_is_resolved(self) -> "Config":
        level, resamples = self.gate.level, self.evaluate.resamples
        needed = ceil(round(1 / (1 - level), 6))
        if resamples < needed:
            raise ValueError(
                f"gate.level is {level} and evaluate.resamples is {resamples}; (1 - gate.level) * "
                "evaluate.resamples should be at least 1, or not one resample lies beyond the "
                f"bound; raise evaluate.resamples to at least {needed}, or lower gate.level"
            )
        return self


def check_slices(slices: Mapping[str, tuple[float, ...]], columns: Mapping[str, Column]) -> None:
    """Raises ValueError for slices by what is no column, or by cuts that are not of its kind."""
    for name, cuts in slices.items():
        if name not in columns:
            hint = nearest(name, columns) or "; choose from data.columns"
            raise ValueError(f"gate.slices has {name!r}, which is no column{hint}")
        kind = columns[name].kind
        if kind == "text":
            raise ValueError(f"gate.slices has {name!r}, whose texts make no groups; leave it out")
        if bool(cuts) != (kind in CUT):
            rule = "one number or more" if kind in CUT else "[], for a group of each value"
            raise ValueError(f"gate.slices.{name} is {list(cuts)}; of a {kind} it is {rule}")
