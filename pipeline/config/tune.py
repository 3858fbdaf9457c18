"""The settings of the search: model families, hyperparameters and where trials run."""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipeline.config.ranges import parse, written
from pipeline.config.types import Count, Positive, Rows, Seed
from pipeline.errors import nearest
from pipeline.schema.columns import Frozen
from pipeline.tasks import BINARY, FAMILIES, Family

# Arguments of scikit-learn's VotingClassifier and of NumPy's savez, beside which families stand.
RESERVED_NAMES = (
    *("estimators", "voting", "weights", "n_jobs", "flatten_transform", "verbose"),
    *("file", "allow_pickle"),
)


def _import_path(text: str) -> str:
    if "." not in text or not all(part.isidentifier() for part in text.split(".")):
        raise ValueError(f"{text!r} is no import path of a class; write package.Class")
    return text


# By hyperparameter, a Distribution or a fixed value.
Ranges = dict[str, Annotated[Any, AfterValidator(parse), PlainSerializer(written)]]


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
        default_factory=lambda data: (*BINARY.families, *data.get("estimators", {})),
        description="model families to search; when not set, also those of tune.estimators",
        min_length=1,
    )
    space: dict[str, Ranges] = Field(
        {},
        description="by family, ranges or fixed values in place of its own, "
        "e.g. {svc: {C: {loguniform: [0.1, 10]}}}",
    )
    max_evals: Count = Field(48, description="trials in all, each family's default first")
    max_rows: Rows | None = Field(
        20_000, description="training rows that the search sees, drawn by chance; null for all"
    )
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
        """The import paths of the estimators that are searched."""
        named = (self.estimators.get(name) for name in self.families)
        return tuple(estimator.estimator for estimator in named if estimator is not None)

    @field_validator("estimators")
    @classmethod
    def _names_are_free(cls, estimators: dict[str, Estimator]) -> dict[str, Estimator]:
        for name in estimators:
            if name in FAMILIES:
                raise ValueError(f"{name!r} is a family already; give the estimator another name")
            if not name.isidentifier() or "__" in name or name in RESERVED_NAMES:
                raise ValueError(
                    f"{name!r} cannot name an estimator; take letters, digits and single "
                    f"underscores, and none of {', '.join(RESERVED_NAMES)}"
                )
        return estimators

    @field_validator("families")
    @classmethod
    def _families_exist_once(
        cls, families: tuple[Family, ...], info: ValidationInfo
    ) -> tuple[Family, ...]:
        if "estimators" not in info.data:  # which has faults itself
            return families
        choices = [*FAMILIES, *info.data["estimators"]]
        unknown = {place: name for place, name in enumerate(families) if name not in choices}
        if unknown:
            raise PydanticCustomError(
                "unknown_names", "unknown names", {"unknown": unknown, "choices": choices}
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
