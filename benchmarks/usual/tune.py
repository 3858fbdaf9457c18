"""Cross-validates the configurations, each in a nested run."""

import time
from typing import Any

import fits
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from tables import load_table, log_table, options


def main() -> None:
    """Leaves a table of trials."""
    given = options("ingest_run", "plan")
    with mlflow.start_run(run_name="tune"):
        train = load_table(given.ingest_run, "train.csv")
        plan = fits.read_plan(given.plan)
        mlflow.log_param("folds", fits.FOLDS)
        mlflow.log_param("seed", fits.SEED)
        table = pd.DataFrame([_trial(trial, train) for trial in plan["trials"]])
        mlflow.log_metric("log_loss", table["log_loss"].min())
        mlflow.log_metric("trials", len(table))
        log_table(table, "trials.csv")
        mlflow.log_figure(_history(table), "history.png")


def _trial(trial: dict[str, Any], train: pd.DataFrame) -> dict[str, Any]:
    with mlflow.start_run(run_name=trial["family"], nested=True):
        start = time.perf_counter()
        losses = fits.fold_losses(trial, train)
        mlflow.log_param("family", trial["family"])
        for name, value in trial["params"].items():
            mlflow.log_param(name, value)
        mlflow.log_metric("log_loss", np.mean(losses))
        mlflow.log_metric("log_loss_std", np.std(losses, ddof=1))
        mlflow.log_metric("seconds", time.perf_counter() - start)
    return {"family": trial["family"], "log_loss": np.mean(losses), "fits": len(losses)}


def _history(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots()
    for family, part in table.groupby("family"):
        axes.scatter(part.index, part["log_loss"], label=family)
    axes.step(table.index, table["log_loss"].cummin(), "k-", where="post", label="best so far")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
