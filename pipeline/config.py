"""The frozen, strict tree of settings: every key, its meaning, its default and its rule."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.columns import Column, Frozen

Family = Literal[
    "logistic_regression",
    "spline_logistic_regression",
    "svc",
    "extra_trees",
    "hist_gradient_boosting",
    "mlp",
    "raw_logistic_regression",
]
Metric = Literal[
    "accuracy",
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "f1",
    "precision",
    "recall",
    "mcc",
]
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "brier"})
Label = bool | int | str
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Data(Frozen):
    """Where the table comes from and what its columns hold."""

    source: str = Field(description="path or http(s) URL of a CSV or Parquet file", min_length=1)
    sha256: str | None = Field(
        None, description="sha256 of the file, checked before it is read", pattern="^[0-9a-f]{64}$"
    )
    timeout: Positive = Field(60.0, description="seconds that a download may take in all")
    target: str = Field(description="the column to predict", min_length=1)
    positive: Label | None = Field(
        None, description="the class whose probability is asked for (two classes only)"
    )
    columns: dict[str, Column] = Field(
        description="every other column: meaning, unit, range, missing, optional", min_length=1
    )

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> "Data":
        if self.target in self.columns:
            raise ValueError(f"target {self.target!r} is among the columns; take it out of them")
        return self


class Split(Frozen):
    """Which rows are kept for the test."""

    test_size: Share = Field(0.3, description="share of the rows in the test part")
    seed: Seed = Field(1, description="seed of the shuffle")
    stratify: bool = Field(True, description="same class balance in both parts")


class Tune(Frozen):
    """The search over model families and their hyperparameters."""

    families: tuple[Family, ...] = Field(
        (
            "logistic_regression",
            "spline_logistic_regression",
            "svc",
            "extra_trees",
            "hist_gradient_boosting",
            "mlp",
        ),
        description="model families to search",
        min_length=1,
    )
    max_evals: Count = Field(48, description="trials in all, each family's default first")
    folds: Annotated[int, Field(ge=2)] = Field(5, description="folds of the cross-validation")
    seed: Seed = Field(0, description="seed of the folds, the search and the models")
    timeout: Positive | None = Field(
        None, description="seconds after which no further trial is started, null for no limit"
    )
    patience: Count | None = Field(
        None, description="stop after this many trials without a better one, null for never"
    )
    parallelism: Literal["auto"] | Count = Field(
        "auto", description="worker processes; auto is one per core"
    )

    @model_validator(mode="after")
    def _families_are_named_once(self) -> "Tune":
        twice = sorted({name for name in self.families if self.families.count(name) > 1})
        if twice:
            raise ValueError(f"families has {', '.join(twice)} twice; name each family once")
        return self


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


class Evaluate(Frozen):
    """How the test part is judged."""

    resamples: Annotated[int, Field(ge=100)] = Field(
        2000, description="bootstrap resamples behind each 95 % interval"
    )
    seed: Seed = Field(0, description="seed of the resamples and permutations")


class Gate(Frozen):
    """What a model must reach on the test part before it may become champion."""

    floors: dict[Metric, float] = Field(
        {}, description="worst acceptable value of a test metric, e.g. {roc_auc: 0.75}"
    )


class Registry(Frozen):
    """Where the promoted model goes."""

    model: str = Field(
        description="name of the registered model", pattern=r"^[^/:.%\"'\s][^/:%\"']*$"
    )


class Serve(Frozen):
    """The REST endpoint."""

    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="port to listen on")
    workers: Count = Field(1, description="server processes")


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
