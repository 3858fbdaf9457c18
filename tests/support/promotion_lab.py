"""A small table, trained on in a real store, with models that differ in a known way."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline import flow
from pipeline.config.sections import Config
from pipeline.promotion import alias, promotion_log
from pipeline.results import Candidate, Event
from pipeline.tracking import registry, runs
from pipeline.verbs import Options
from tests.support.builders import make_config, make_table
from tests.support.stores import experiments

ROWS = 400
WEAK, STRONG = 0.05, 1.0  # C of a logistic regression: the same order of rows, better probabilities


class Lab:
    """Configs over one table, and the verbs run on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.table = make_table(rows=ROWS)
        self.keep("people", self.table)

    def keep(self, name: str, table: pd.DataFrame) -> None:
        """A table by its name."""
        table.to_csv(self.folder / f"{name}.csv", index=False)

    def config(
        self, model: str, C: float, split: int = 1, table: str = "people", **gate: Any
    ) -> Config:
        """Of one logistic regression with that C, for a registered model."""
        config = make_config(
            split={"seed": split},
            tune={"space": {"logistic_regression": {"C": C, "transform": "standard"}}},
            gate=gate,
        )
        data = config.data.model_copy(update={"source": str(self.folder / f"{table}.csv")})
        registry = config.registry.model_copy(update={"model": model})
        return config.model_copy(update={"data": data, "registry": registry})

    def with_two_versions(self, model: str) -> Config:
        """Of a model whose second version is champion, and the first was before it."""
        self.promote(self.config(model, WEAK))
        config = self.config(model, STRONG)
        self.promote(config)
        return config

    def promote(self, config: Config, **options: Any) -> None:
        """What `promote` does, with all that it needs."""
        flow.run("promote", config, Options(**options))


def latest(client: MlflowClient, step: str = "promote") -> Run:
    """The run of the step that began last."""
    order = ["attributes.start_time DESC"]
    condition = f"tags.step = '{step}'"
    return client.search_runs(experiments(client), condition, order_by=order, max_results=1)[0]


def rules(run: Run) -> dict[str, dict[str, Any]]:
    """By rule, what the record of a decision says."""
    message = json.loads(runs.read_artifact(run.info.run_id, "decision.json"))
    return {rule["rule"]: rule for rule in message["rules"]}


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias -> version."""
    return {k: str(v) for k, v in client.get_registered_model(name).aliases.items()}


def entry(version: str, before: str | None, model_id: str = "") -> Event:
    """Of the promotion_log."""
    return Event("promoted", version, before, promotion_log.now(), "me", "why", "", model_id)


def make_champions(name: str, *models: Candidate) -> None:
    """One after the other, without a gate."""
    for model in models:
        line = promotion_log.begin(name, "0")
        number = str(registry.register(name, model).version)
        before = line.last.version if line.last else None
        assert alias.move(name, line, entry(number, before, model.model_id))
