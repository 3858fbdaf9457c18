"""What a config leaves open that follows from the task, and what of it does not fit the task."""

from collections.abc import Iterator
from typing import Any

from pipeline.config.ranges import parse
from pipeline.config.sections import Config
from pipeline.errors import ConfigError
from pipeline.tasks import FAMILIES, Task

LOSSES = ("squared_error", "absolute_error", "poisson", "gamma")  # of boosted trees
BOOSTING = "hist_gradient_boosting_regressor"


def of_task(config: Config, task: Task, least: float = 1.0) -> Config:
    """The config with the task's own families, search ranges and gate where it sets none.

    `least` is the smallest of the amounts: losses and transformations that it does not allow are
    not searched. Raises ConfigError for families and metrics of another task.
    """
    gate = {
        "primary": task.loss,
        "metric": task.gate_metric,
        "margin": task.gate_margin,
        "calibration": task.gate_calibration,
    }
    families = (*task.families, *config.tune.estimators)
    if "families" in config.tune.model_fields_set:
        families = config.tune.families
    config = config.model_copy(
        update={
            "tune": config.tune.model_copy(update={"families": families}),
            "gate": config.gate.model_copy(
                update={k: v for k, v in gate.items() if k not in config.gate.model_fields_set}
            ),
        }
    )
    faults = [*_families(config, task), *_metrics(config, task)]
    if faults:
        raise ConfigError("\n".join(faults))
    return config if task.has_classes else _with_ranges(config, least)


def _families(config: Config, task: Task) -> Iterator[str]:
    choices = task.every_family
    for name in config.tune.families:
        if name in FAMILIES and name not in choices:
            yield (
                f"tune.families has {name}, which is no family of {task.name}; choose from "
                f"{', '.join((*choices, *config.tune.estimators))}"
            )


def _metrics(config: Config, task: Task) -> Iterator[str]:
    gate = config.gate
    for key, names, choices in (
        ("primary", [gate.primary], task.search_metrics),
        ("metric", [gate.metric], task.metrics),
        ("floors", list(gate.floors), task.metrics),
        ("slice_floors", list(gate.slice_floors), task.metrics),
    ):
        for name in names:
            if name not in choices:
                yield (
                    f"gate.{key} has {name}, which is no metric of {task.name}; choose from "
                    f"{', '.join(choices)}"
                )


def _with_ranges(config: Config, least: float) -> Config:
    targets = ["as_is", *["sqrt"] * (least >= 0), *["log"] * (least > 0)]
    losses = [*LOSSES[:2], *["poisson"] * (least >= 0), *["gamma"] * (least > 0)]
    space: dict[str, dict[str, Any]] = {}
    for name in config.tune.families:
        ranges = {"target": parse({"choice": targets})} if name in FAMILIES else {}
        if name == BOOSTING:
            ranges["loss"] = parse({"choice": losses})
        if ranges or name in config.tune.space:
            space[name] = {**ranges, **config.tune.space.get(name, {})}
    return config.model_copy(update={"tune": config.tune.model_copy(update={"space": space})})
