"""Tables and pictures of the data."""

import matplotlib.pyplot as plt
import mlflow
import pandas as pd
import rows
from matplotlib.figure import Figure
from tables import load_table, log_table, options


def main() -> None:
    """Describes and draws all rows."""
    given = options("ingest_run")
    with mlflow.start_run(run_name="analyze"):
        parts = [load_table(given.ingest_run, name) for name in ("train.csv", "test.csv")]
        table = pd.concat(parts, ignore_index=True)
        mlflow.log_metric("rows", len(table))
        mlflow.log_metric("columns", table.shape[1] - 1)
        mlflow.log_metric("duplicate_rows", int(table.duplicated().sum()))
        mlflow.log_metric("missing_share", float(table.isna().to_numpy().mean()))
        log_table(table.head(10), "head.csv")
        log_table(table.describe().reset_index(), "describe.csv")
        log_table(table.corr(method="spearman").reset_index(), "correlations.csv")
        mlflow.log_figure(_class_balance(table), "class_balance.png")
        mlflow.log_figure(_missing(table), "missing.png")
        mlflow.log_figure(_correlations(table), "correlations.png")
        mlflow.log_figure(_distributions(table), "distributions.png")


def _class_balance(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots()
    table[rows.TARGET].value_counts().plot.bar(ax=axes)
    return figure


def _missing(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots()
    table.isna().mean().plot.barh(ax=axes)
    return figure


def _correlations(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots(figsize=(7, 6))
    matrix = table.corr(method="spearman")
    axes.set_xticks(range(len(matrix)), matrix.columns, rotation=45, ha="right")
    axes.set_yticks(range(len(matrix)), matrix.columns)
    figure.colorbar(axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1))
    figure.tight_layout()
    return figure


def _distributions(table: pd.DataFrame) -> Figure:
    figure, grid = plt.subplots(3, 3, figsize=(12, 8))
    for name, axes in zip(table.columns.drop(rows.TARGET), grid.flat, strict=False):
        for label, part in table.groupby(rows.TARGET):
            axes.hist(part[name].dropna(), bins=20, density=True, alpha=0.5, label=str(label))
        axes.set_title(name)
        axes.legend()
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
