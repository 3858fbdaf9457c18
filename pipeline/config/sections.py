"""The frozen, strict tree of settings: every key, its meaning, its default and its rule."""

import re
from ipaddress import ip_interface, ip_network
from math import ceil, inf
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pipeline.config import ranges as distributions
from pipeline.errors import nearest
from pipeline.schema.columns import Column, Frozen

Family = str  # a name of BuiltIn, or of an estimator in the config
BuiltIn = Literal[
    "logistic_regression",
    "spline_logistic_regression",
    "svc",
    "extra_trees",
    "hist_gradient_boosting",
    "mlp",
    "raw_logistic_regression",
]
BUILT_IN: tuple[BuiltIn, ...] = get_args(BuiltIn)
# Arguments of scikit-learn's VotingClassifier and of NumPy's savez, beside which families stand.
TAKEN = (
    *("estimators", "voting", "weights", "n_jobs", "flatten_transform", "verbose"),
    *("file", "allow_pickle"),
)
DEFAULT_FAMILIES = tuple(name for name in BUILT_IN if name != "raw_logistic_regression")
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
SearchMetric = Literal["log_loss", "roc_auc", "brier", "accuracy"]  # known of every trial
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "brier"})
BOUNDS: dict[Metric, tuple[float, float]] = {  # what a metric can be
    **dict.fromkeys(get_args(Metric), (0, 1)),
    "log_loss": (0, inf),
    "brier": (0, 2),  # 1 with two classes, where scikit-learn halves it
    "mcc": (-1, 1),
}
Label = bool | int | str
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


def _range(value: Any) -> Any:
    """A range that hyperopt knows, or a fixed value."""
    if fault := distributions.fault(value):
        raise ValueError(fault)
    return value


def _import_path(text: str) -> str:
    if "." not in text or not all(part.isidentifier() for part in text.split(".")):
        raise ValueError(f"{text!r} is no import path of a class; write package.Class")
    return text


def _rate(text: str) -> str:
    if re.fullmatch(r"[1-9]\d*/(second|minute|hour|day)", text) is None:
        raise ValueError(f"{text!r} is no rate; write for example 100/second or 5000/minute")
    return text


def _proxy(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        try:
            remedy = str(ip_interface(text).network)  # of an address with the length of a prefix
        except ValueError:
            remedy = "for example 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"
        raise ValueError(f"{text!r} is no address or network; write {remedy}") from None
    return text


Ranges = dict[str, Annotated[Any, AfterValidator(_range)]]


def _possible(floors: dict[Metric, float]) -> dict[Metric, float]:
    """Floors that their metrics can be."""
    faults = []
    for name, floor in floors.items():
        low, high = BOUNDS[name]
        if not low <= floor <= high:
            rule = f"within {low} and {high}" if high < inf else f"greater than or equal to {low}"
            faults.append(f"{name} is {floor:g}; it should be {rule}")
    if faults:
        raise ValueError("; ".join(faults))
    return floors


Floors = Annotated[dict[Metric, float], AfterValidator(_possible)]


SHA256 = r"^[0-9a-f]{64}$"
MODEL_NAME = r"^[^/:.%\"'\s][^/:%\"']*$"
VERSION = r"^[1-9]\d*$"
MEANT = {  # by a pattern, for people
    SHA256: "64 hexadecimal digits in lower case",
    MODEL_NAME: "a name without / : % and quotes that does not begin with a dot or a blank",
    VERSION: "the number of a version, such as 3",
}


class Data(Frozen):
    """Where the table comes from and what its columns hold."""

    source: str = Field(description="path or http(s) URL of a CSV or Parquet file", min_length=1)
    sha256: str | None = Field(
        None, description="sha256 of the file, checked before it is read", pattern=SHA256
    )
    timeout: Positive = Field(60.0, description="seconds that a download may take in all")
    target: str = Field(description="the column to predict", min_length=1)
    positive: Label | None = Field(
        None, description="the class whose probability is asked for (two classes only)"
    )
    columns: dict[str, Column] = Field(
        description="every other column: meaning, unit, range, missing, optional", min_length=1
    )

    @field_validator("columns")
    @classmethod
    def _columns_have_names(cls, columns: dict[str, Column]) -> dict[str, Column]:
        if "" in columns:
            raise ValueError(
                "one column has an empty name, which MLflow cannot carry in a model's signature; "
                "name it here and in the header of the table, or take it out of both"
            )
        return columns

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


class Estimator(Frozen):
    """A classifier with scikit-learn's interface, from any package that is installed."""

    estimator: Annotated[str, AfterValidator(_import_path)] = Field(
        description="import path of its class, e.g. lightgbm.LGBMClassifier"
    )
    params: dict[str, Any] = Field({}, description="arguments that stay as they are")
    space: Ranges = Field({}, description="ranges to search: {C: {loguniform: [0.01, 10]}}")
    default: dict[str, Any] = Field(
        {}, description="where the search starts; what is not given is the class's own default"
    )
    preprocessing: tuple[Literal["impute", "scale", "power"], ...] = Field(
        ("impute", "scale"),
        description="steps before it: impute (by the median), scale, power (Yeo-Johnson)",
    )


class Tune(Frozen):
    """The search over model families and their hyperparameters."""

    estimators: dict[str, Estimator] = Field(
        {}, description="further families by name: estimator, params, space, default, preprocessing"
    )
    families: tuple[Family, ...] = Field(
        default_factory=lambda data: (*DEFAULT_FAMILIES, *data.get("estimators", {})),
        description="model families to search; when not set, also those of tune.estimators",
        min_length=1,
    )
    space: dict[str, Ranges] = Field(
        {},
        description="by family, ranges or fixed values in place of its own, "
        "e.g. {svc: {C: {loguniform: [0.1, 10]}}}",
    )
    max_evals: Count = Field(48, description="trials in all, each family's default first")
    folds: Annotated[int, Field(ge=2)] = Field(5, description="folds of the cross-validation")
    seed: Seed = Field(0, description="seed of the folds, the search and the models")
    timeout: Positive | None = Field(
        None, description="seconds after which no further trial is started, null for no limit"
    )
    trial_timeout: Positive | None = Field(
        None, description="seconds after which a trial is ended as failed, null for no limit"
    )
    patience: Count | None = Field(
        None, description="stop after this many trials without a better one, null for never"
    )
    parallelism: Literal["auto"] | Count = Field(
        "auto", description="trials at a time; auto is one per core, or as many as Spark can take"
    )
    backend: Literal["local", "spark"] = Field(
        "local", description="where trials run: in processes of this machine, or on Spark"
    )

    def import_paths(self) -> tuple[str, ...]:
        """Of the estimators that are searched."""
        named = (self.estimators.get(name) for name in self.families)
        return tuple(estimator.estimator for estimator in named if estimator is not None)

    @field_validator("estimators")
    @classmethod
    def _names_are_free(cls, estimators: dict[str, Estimator]) -> dict[str, Estimator]:
        for name in estimators:
            if name in BUILT_IN:
                raise ValueError(f"{name!r} is a family already; give the estimator another name")
            if not name.isidentifier() or "__" in name or name in TAKEN:
                raise ValueError(
                    f"{name!r} cannot name an estimator; take letters, digits and single "
                    f"underscores, and none of {', '.join(TAKEN)}"
                )
        return estimators

    @field_validator("families")
    @classmethod
    def _families_are_known_once(
        cls, families: tuple[Family, ...], info: ValidationInfo
    ) -> tuple[Family, ...]:
        if "estimators" not in info.data:  # has faults of its own
            return families
        known = [*BUILT_IN, *info.data["estimators"]]
        unknown = {place: name for place, name in enumerate(families) if name not in known}
        if unknown:
            raise PydanticCustomError(
                "unknown_names", "unknown names", {"unknown": unknown, "known": known}
            )
        twice = sorted({name for name in families if families.count(name) > 1})
        if twice:
            there = "is" if len(twice) == 1 else "are"
            raise ValueError(f"{', '.join(twice)} {there} there twice; name each family once")
        return families

    @model_validator(mode="after")
    def _spaces_are_of_families(self) -> "Tune":
        unused = [name for name in self.space if name not in self.families]
        if unused:
            hint = nearest(unused[0], self.families) or ";"
            raise ValueError(
                f"space has ranges for {unused[0]!r}, which is not in families{hint} "
                f"choose from {', '.join(self.families)}"
            )
        return self


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


class Evaluate(Frozen):
    """How the test part is judged."""

    resamples: Annotated[int, Field(ge=100)] = Field(
        2000, description="bootstrap resamples behind each 95 % interval"
    )
    seed: Seed = Field(0, description="seed of the resamples and permutations")


class Gate(Frozen):
    """What the best candidate must show on the test part before it may become champion."""

    primary: SearchMetric = Field(
        "log_loss",
        description="cross-validated metric by which the best candidate is chosen; "
        "it must also be better than the champion's, and on the test part than the dummy's",
    )
    floors: Floors = Field(
        {}, description="worst acceptable value of a test metric, e.g. {roc_auc: 0.75}"
    )
    floors_on: Literal["value", "interval"] = Field(
        "value",
        description="what must reach a floor: the metric, or the worse end of its 95 % interval",
    )
    dummy: bool = Field(
        True, description="whether gate.primary must be better than that of the class shares"
    )
    rule: Literal["non_inferiority", "superiority", "none"] = Field(
        "non_inferiority",
        description="against the champion: not worse by gate.margin, better, or not compared",
    )
    metric: Metric = Field("roc_auc", description="metric of that comparison")
    margin: Annotated[float, Field(ge=0)] = Field(
        0.02, description="how much worse a model may be that counts as not worse"
    )
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        0.95, description="confidence of comparisons, one-sided"
    )
    rows_per_class: Count = Field(
        10, description="fewest rows of each class for a comparison, or for a slice to be judged"
    )
    calibration: Positive | None = Field(
        0.1,
        description="largest mean distance of the probabilities from their recalibration, over "
        "4 r (1 - r) for a class that the share r of the rows has; null for any",
    )
    slices: dict[str, tuple[float, ...]] = Field(
        {},
        description="by column, where its groups begin: {Age: [30, 50]} makes three; "
        "a gap is a group of its own",
    )
    slice_floors: Floors = Field({}, description="as gate.floors, for each of the slices")
    serve_check: Literal["in_process", "full"] = Field(
        "in_process",
        description="how the candidate is tried before it is promoted: loaded as the server "
        "loads it, or also in a real server over HTTP",
    )
    latency: Positive = Field(
        0.1, description="seconds within which the full check answers 95 % of its single rows"
    )

    @field_validator("slices")
    @classmethod
    def _cuts_rise(cls, slices: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for name, cuts in slices.items():
            if not cuts or list(cuts) != sorted(set(cuts)):
                raise ValueError(
                    f"{name} is cut at {list(cuts)}; give one number or more, the smallest first"
                )
        return slices

    @model_validator(mode="after")
    def _slices_are_judged(self) -> "Gate":
        if bool(self.slices) != bool(self.slice_floors):
            there, absent = (
                ("slices", "slice_floors") if self.slices else ("slice_floors", "slices")
            )
            raise ValueError(f"{there} is set and {absent} is not; set both or neither")
        return self


class Registry(Frozen):
    """Where the promoted model goes."""

    model: str = Field(description="name of the registered model", pattern=MODEL_NAME)


class Limits(Frozen):
    """What one request, or one client, may ask of the endpoint."""

    body_bytes: Count = Field(16 * 2**20, description="bytes of a request's body; more is 413")
    rows: Count = Field(100_000, description="rows of a request; more is 413")
    header_bytes: Count = Field(16 * 2**10, description="bytes of the headers; more is 431")
    receive_seconds: Positive = Field(
        30.0, description="seconds that a request may take to arrive, then 408, or to be read"
    )
    answer_seconds: Positive = Field(30.0, description="seconds for an answer, then 504")
    concurrency: Count = Field(
        64, description="requests that may wait for an answer in one worker, then 503"
    )
    uploads: Count = Field(
        64, description="bodies of one client that may be on their way to one worker, then 503"
    )
    rate: Annotated[str, AfterValidator(_rate)] | None = Field(
        None,
        description="requests per API key, or per client without keys, e.g. 100/second; "
        "/ping, /health and /metrics do not count",
    )


class Serve(Frozen):
    """The REST endpoint."""

    host: str = Field("127.0.0.1", description="address to listen on", min_length=1)
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8080, description="port to listen on")
    workers: Count = Field(1, description="server processes")
    insecure: bool = Field(
        False, description="listen beyond loopback without API keys or client certificates"
    )
    keys: str | None = Field(
        None, description="file of API keys, one NAME:SHA256 a line", min_length=1
    )
    open_metrics: bool = Field(False, description="answer /metrics without an API key")
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Host headers to answer, * for any; if empty, on loopback only its own names, "
        "elsewhere any",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_proxy)], ...] = Field(
        (),
        description="addresses or networks of proxies, whose X-Forwarded-For names the client",
    )
    follow: Positive | None = Field(
        5.0, description="seconds between two looks for a new champion, null for never"
    )
    version: str | None = Field(
        None, description="version to answer with, null for the champion", pattern=VERSION
    )
    grace: Positive = Field(30.0, description="seconds to finish what is in flight at the end")
    docs: bool = Field(True, description="show the OpenAPI description at /docs")
    limits: Limits = Limits()


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

    @model_validator(mode="after")
    def _slices_are_columns(self) -> "Config":
        for name in self.gate.slices:
            if name not in self.data.columns:
                hint = nearest(name, self.data.columns) or "; choose from data.columns"
                raise ValueError(f"gate.slices has {name!r}, which is no column{hint}")
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
