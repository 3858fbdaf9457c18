"""Analyze: what the table looks like, before any model sees it."""

import pandas as pd

from pipeline.datasets.checks.table import check_table
from pipeline.reporting import figures
from pipeline.reporting.findings import findings_note, findings_page
from pipeline.reporting.tables import labelled, numbered
from pipeline.results import Dataset, Report
from pipeline.schema.kinds import kind_of

MOST_DRAWN = 15  # columns in a picture of all, and in the report
MOST_REPORTED = 5_000  # rows of the report


def analyze(dataset: Dataset) -> Report:
    """Shape, head, description, balance, gaps, duplicates, correlations, distributions."""
    X, y, named_y = dataset.X, dataset.y, dataset.named_y
    table = pd.concat([dataset.cells_of(X), y], axis=1)
    columns = dataset.contract.columns
    findings = [one for each in check_table(dataset).values() for one in each]
    are_inferred = dataset.data is not None and dataset.data.unlisted == "infer"
    associations = _associations(dataset)
    ranks = associations.rank(method="first", ascending=False)
    drawn = list(X.columns[ranks <= MOST_DRAWN])
    which = figures.part(len(drawn), X.shape[1], "that go with the target most")
    correlations = _correlations(dataset, drawn)
    duplicates = int(table.duplicated().sum())
    return Report(
        metrics={
            "rows": float(len(table)),
            "columns": float(X.shape[1]),
            "classes": float(y.nunique()),
            "rows_train": float(len(dataset.X_train)),
            "rows_test": float(len(dataset.X_test)),
            "duplicate_rows": float(duplicates),
            "missing_share": float(X.isna().to_numpy().mean()),
            "findings": float(len(findings)),
        },
        note=findings_note(findings, are_inferred),
        artifacts={
            "overview.md": _overview(dataset, duplicates),
            "head.csv": numbered(table.head(10)),
            "describe.csv": labelled(table.describe(), "statistic"),
            "columns.csv": _columns(dataset, X, associations),
            "correlations.csv": labelled(correlations, "column"),
            "class_balance.png": figures.class_balance(named_y),
            "missing.png": figures.missing(X),
            "correlations.png": figures.correlations(correlations, which),
            "distributions.png": figures.distributions(X[drawn], named_y, columns, which),
            "findings.md": findings_page(findings, are_inferred),
            "report.html": _report(table[[*drawn, dataset.contract.target]], dataset.name),
        },
    )


def _overview(dataset: Dataset, duplicates: int) -> str:
    X, y = dataset.X, dataset.y
    names = {label: f" ({name})" for label, name in dataset.labels.items()}
    balance = "\n".join(
        f"- `{label}`{names.get(label, '')}: {count} rows ({count / len(y):.1%})"
        for label, count in y.value_counts().sort_index().items()
    )
    return f"""# {dataset.name}

{len(X)} rows, {X.shape[1]} columns and the target `{y.name}`; {duplicates} duplicate rows;
{int(X.isna().to_numpy().sum())} missing values. What the checks found is in `findings.md`.

{balance}

Training part: {len(dataset.X_train)} rows. Test part: {len(dataset.X_test)} rows.{_rows(dataset)}

sha256 `{dataset.digest}`
"""


def _rows(dataset: Dataset) -> str:
    """How rows were parted and weighed, where not by chance and alike."""
    return f" Rows: {dataset.rows_note}." if dataset.rows_note else ""


def _columns(dataset: Dataset, X: pd.DataFrame, associations: "pd.Series[float]") -> pd.DataFrame:
    rows = []
    for name, column in dataset.contract.columns.items():
        values, kind = X[name], kind_of(column)
        rows.append(
            {
                "column": name,
                "kind": column.kind,
                "holds": kind.holds(column),
                "valid": kind.valid(column),
                "missing marks": ", ".join(map(str, column.marks)),
                "missing rows": int(values.isna().sum()),
                "distinct": values.nunique(),
                "min": kind.cell(column, values.min()),
                "max": kind.cell(column, values.max()),
                "rank variance between classes": associations[name],
            }
        )
    return pd.DataFrame(rows)


def _correlations(dataset: Dataset, columns: list[str]) -> pd.DataFrame:
    """Spearman's correlations, with the positive class as a column where there is one."""
    table = dataset.X[columns]
    if dataset.contract.task.has_positive:
        table = table.assign(
            **{dataset.contract.target: (dataset.y == dataset.contract.positive).astype(float)}
        )
    return table.corr(method="spearman")


def _associations(dataset: Dataset) -> "pd.Series[float]":
    """How much each column goes with the target, from 0 to 1.

    The share of the variance of its ranks that lies between the classes, which is the H of
    Kruskal and Wallis (1952) over the number of rows less one, but for ties.
    """
    ranks = dataset.X.rank()
    within = ranks - ranks.groupby(dataset.y.to_numpy()).transform("mean")
    variance = ranks.var(ddof=0)
    return (1 - within.var(ddof=0) / variance.where(variance > 0)).fillna(0.0)


def _report(table: pd.DataFrame, name: str) -> str:
    from skrub import TableReport  # takes a second, and only this step needs it

    if len(table) > MOST_REPORTED:
        table = table.sample(MOST_REPORTED, random_state=0).sort_index()
        name = f"{name} (a sample of {MOST_REPORTED} rows)"
    report = TableReport(table, title=name, verbose=0)
    return str(report.html())
