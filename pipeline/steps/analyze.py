"""Analyze: what the table looks like, before any model sees it."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import skew

from pipeline.datasets.checks.table import check_table
from pipeline.reporting import amount_figures
from pipeline.reporting import table_figures as figures
from pipeline.reporting.findings import findings_note, findings_page
from pipeline.reporting.style import part
from pipeline.reporting.tables import labelled, numbered
from pipeline.results import Artifacts, Dataset, Report, is_amount
from pipeline.schema.kinds import kind_of, text_columns

MOST_DRAWN = 15  # columns whose distributions are drawn, and in the report
MOST_CORRELATED = 30  # columns
MOST_REPORTED = 5_000  # rows of the report
MOST_RANKED = 100_000  # rows that are ranked, described and drawn
MOST_RANKED_IN_PAIRS = 10_000  # rows of correlations: with gaps each pair is ranked anew
SEED = 0
TENTHS = 10
FENCE = 1.5
QUANTILES = (0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1)
ASSOCIATION = {  # of amounts, and of classes
    True: "rank variance of the target between its levels or tenths",
    False: "rank variance between classes",
}


def analyze(dataset: Dataset) -> Report:
    """Shape, head, description, balance, gaps, duplicates, correlations, distributions."""
    X = _sample(dataset)
    y = dataset.y.loc[X.index]
    table = pd.concat([dataset.cells_of(X), y], axis=1)
    columns, texts = dataset.contract.columns, _texts(dataset)
    X = X.assign(**{name: X[name].str.len().astype(np.float64) for name in texts["column"]})
    described = _columns(dataset)
    findings = [one for each in check_table(dataset).values() for one in each]
    are_inferred = dataset.data is not None and dataset.data.unlisted == "infer"
    associations = _associations(X, y)
    described[ASSOCIATION[is_amount(y)]] = associations.to_numpy()
    ranks = associations.rank(method="first", ascending=False)
    drawn, correlated = (list(X.columns[ranks <= most]) for most in (MOST_DRAWN, MOST_CORRELATED))
    correlations = _correlations(dataset, X[correlated], y)
    duplicates = _duplicates(dataset)
    missing = int(described["missing rows"].sum())
    gaps = figures.missing(X)
    return Report(
        metrics={
            "rows": float(dataset.rows),
            "columns": float(len(columns)),
            **({} if is_amount(y) else {"classes": float(dataset.y.nunique())}),
            "rows_train": float(len(dataset.X_train)),
            "rows_test": float(len(dataset.X_test)),
            "duplicate_rows": float(duplicates),
            "missing_share": missing / (dataset.rows * len(columns)),
            "findings": float(len(findings)),
        },
        note=findings_note(findings, are_inferred),
        artifacts={
            "overview.md": _overview(dataset, duplicates, missing),
            "head.csv": numbered(_head(dataset)),
            "describe.csv": labelled(table.describe(), "statistic"),
            "columns.csv": described,
            **({} if texts.empty else {"texts.csv": texts}),
            "correlations.csv": labelled(correlations, "column"),
            **_drawings(dataset, X, y, drawn),
            **({} if gaps is None else {"missing.png": gaps}),
            "correlations.png": figures.correlations(
                correlations,
                dataset.contract.target if dataset.contract.target in correlations else None,
                _drawn(dataset, correlated, min(len(X), MOST_RANKED_IN_PAIRS)),
            ),
            "findings.md": findings_page(findings, are_inferred),
            "report.html": _report(table[[*drawn, dataset.contract.target]], dataset.name),
        },
    )


def _sample(dataset: Dataset) -> pd.DataFrame:
    """At most 100,000 rows in the source's order: what ranks and pictures need no more than."""
    if dataset.rows <= MOST_RANKED:
        return dataset.X
    rng = np.random.default_rng(SEED)
    index = dataset.X_train.index.append(dataset.X_test.index)
    return _rows_at(dataset, rng.choice(index, MOST_RANKED, replace=False))


def _rows_at(dataset: Dataset, index: NDArray[Any]) -> pd.DataFrame:
    parts = (dataset.X_train, dataset.X_test)
    return pd.concat([part.loc[part.index.isin(index)] for part in parts]).sort_index()


def _head(dataset: Dataset) -> pd.DataFrame:
    """The first ten rows as the table has them."""
    index = np.sort(dataset.X_train.index.append(dataset.X_test.index))[:10]
    X = _rows_at(dataset, index)
    return pd.concat([dataset.cells_of(X), dataset.y.loc[X.index]], axis=1)


def _duplicates(dataset: Dataset) -> int:
    """How many rows have the values and the label of one before, by 64 bits of each."""
    y, classes = _both(dataset, None), list(dataset.contract.classes)
    if classes:
        total = np.asarray(pd.Categorical(y, categories=classes).codes, np.uint64)
    else:
        total = pd.util.hash_array(y.to_numpy() + 0.0)
    for name in dataset.contract.columns:
        values = _both(dataset, name).to_numpy()
        if values.dtype != object:  # as texts are
            values = np.where(np.isnan(values), np.nan, values + 0.0)  # one NaN, and one zero
        total = pd.util.hash_array(total) + pd.util.hash_array(values)
    return int(dataset.rows - len(np.unique(total)))


def _both(dataset: Dataset, name: str | None) -> "pd.Series[Any]":
    """A column of both parts, or the labels, the training part first."""
    parts = [dataset.y_train, dataset.y_test]
    if name is not None:
        parts = [dataset.X_train[name], dataset.X_test[name]]
    both: pd.Series[Any] = pd.concat(parts)
    return both


def _overview(dataset: Dataset, duplicates: int, missing: int) -> str:
    y, columns, target = dataset.y, len(dataset.contract.columns), dataset.contract.target
    is_sampled = dataset.rows > MOST_RANKED
    sampled = f" Ranks and pictures are of {MOST_RANKED} rows drawn by chance." * is_sampled
    return f"""# {dataset.name}

{len(y)} rows, {columns} columns and the target `{target}`; {duplicates} duplicate rows;
{missing} missing values.{sampled} What the checks found is in `findings.md`.

{_amounts(y) if is_amount(y) else _balance(dataset)}

Training part: {len(dataset.X_train)} rows. Test part: {len(dataset.X_test)} rows.{_rows(dataset)}

sha256 `{dataset.digest}`
"""


def _balance(dataset: Dataset) -> str:
    y, names = dataset.y, {label: f" ({name})" for label, name in dataset.labels.items()}
    return "\n".join(
        f"- `{label!s}`{names.get(label, '')}: {count} rows ({count / len(y):.1%})"
        for label, count in y.value_counts().sort_index().items()
    )


def _amounts(y: "pd.Series[Any]") -> str:
    """Where the amounts lie, and how many lie far out (Tukey 1977)."""
    low, first, middle, third, high = np.quantile(y, [0, 0.25, 0.5, 0.75, 1]).tolist()
    reach = FENCE * (third - first)
    out = int(((y < first - reach) | (y > third + reach)).sum())
    return (
        f"From {low:.6g} to {high:.6g}; the middle half from {first:.6g} to {third:.6g}, median "
        f"{middle:.6g}, mean {y.mean():.6g}, skewness {float(skew(y)):.2f}. Outliers, more than "
        f"{FENCE} times the middle half's width beyond it: {out} rows ({out / len(y):.1%})."
    )


def _drawings(
    dataset: Dataset, X: pd.DataFrame, y: "pd.Series[Any]", drawn: list[str]
) -> Artifacts:
    """What the target holds, and what the columns say of it."""
    columns, note = dataset.contract.columns, _drawn(dataset, drawn, len(X))
    if is_amount(y):
        table = pd.DataFrame({"quantile": QUANTILES, y.name: np.quantile(dataset.y, QUANTILES)})
        return {
            "target.csv": table,
            "target.png": amount_figures.distribution(dataset.y),
            "distributions.png": amount_figures.by_column(X[drawn], y, columns, note),
        }
    named_y = _named(dataset)
    return {
        "class_balance.png": figures.class_balance(named_y),
        "distributions.png": figures.distributions(X[drawn], named_y.loc[X.index], columns, note),
    }


def _rows(dataset: Dataset) -> str:
    """How rows were parted and weighed, where not by chance and alike."""
    return f" Rows: {dataset.rows_note}." if dataset.rows_note else ""


def _columns(dataset: Dataset) -> pd.DataFrame:
    """What is said of each column, and what its cells are, in all rows."""
    rows = []
    for name, column in dataset.contract.columns.items():
        values, kind = _both(dataset, name), kind_of(column)
        rows.append(
            {
                "column": name,
                "kind": column.kind,
                "holds": kind.holds(column),
                "valid": kind.valid(column),
                "missing marks": ", ".join(map(str, column.marks)),
                "missing rows": int(values.isna().sum()),
                "distinct": values.nunique(),
                "min": None if kind.is_text else kind.cell(column, values.min()),
                "max": None if kind.is_text else kind.cell(column, values.max()),
            }
        )
    return pd.DataFrame(rows)


def _named(dataset: Dataset) -> "pd.Series[Any]":
    """All labels by the names of their classes, in the order of the classes."""
    return dataset.named_y.astype(pd.CategoricalDtype(list(dataset.class_names), ordered=True))


def _drawn(dataset: Dataset, columns: list[str], rows: int) -> str:
    """Which columns and rows a picture is of, for its title."""
    sampled = f" drawn by chance of {dataset.rows}" * (rows < dataset.rows)
    which = part(len(columns), len(dataset.contract.columns), "that go with the target most")
    return f"{rows} rows{sampled}{which}"


def _texts(dataset: Dataset) -> pd.DataFrame:
    """Of each column of texts, in all rows: how long they are, and which is the most frequent."""
    rows = []
    for name in text_columns(dataset.contract.columns):
        values = _both(dataset, name)
        counts, lengths = values.value_counts(), values.str.len()
        rows.append(
            {
                "column": name,
                "missing rows": int(values.isna().sum()),
                "distinct": len(counts),
                "shortest, in characters": lengths.min(),
                "median": lengths.median(),
                "longest": lengths.max(),
                "most frequent": counts.index[0],
                "its rows": counts.iloc[0],
            }
        )
    return pd.DataFrame(rows, columns=None if rows else ["column"])


def _correlations(dataset: Dataset, X: pd.DataFrame, y: "pd.Series[Any]") -> pd.DataFrame:
    """Spearman's correlations, with the amounts, or the positive class, as a column."""
    if len(X) > MOST_RANKED_IN_PAIRS:
        X = X.sample(MOST_RANKED_IN_PAIRS, random_state=SEED)
        y = y.loc[X.index]
    if is_amount(y):
        X = X.assign(**{dataset.contract.target: y})
    if dataset.contract.task.has_positive:
        is_positive = (y == dataset.contract.positive).astype(float)
        X = X.assign(**{dataset.contract.target: is_positive})
    return X.corr(method="spearman")


def _associations(X: pd.DataFrame, y: "pd.Series[Any]") -> "pd.Series[float]":
    """How much each column goes with the target, from 0 to 1.

    Of amounts, the share of the variance of their ranks that lies between the levels or tenths of
    the column. Of classes,
    the share of the variance of the column's ranks that lies between them, which is the H of
    Kruskal and Wallis (1952) over the number of rows less one, but for ties.
    """
    if is_amount(y):
        target = y.rank()
        between = [target.groupby(_parts(cells)).transform("mean") for _, cells in X.items()]
        return pd.Series([each.var(ddof=0) for each in between], X.columns) / target.var(ddof=0)
    ranks = X.rank()
    within = ranks - ranks.groupby(y.to_numpy()).transform("mean")
    variance = ranks.var(ddof=0)
    return (1 - within.var(ddof=0) / variance.where(variance > 0)).fillna(0.0)


def _parts(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    """The levels of a column, or its tenths where there are more; a gap is one of its own."""
    if cells.nunique() <= TENTHS:
        return cells.fillna(np.inf)
    ranks = cells.rank(pct=True)
    return (ranks * TENTHS).apply(np.ceil).fillna(0)


def _report(table: pd.DataFrame, name: str) -> str:
    from skrub import TableReport  # takes a second, and only this step needs it

    if len(table) > MOST_REPORTED:
        table = table.sample(MOST_REPORTED, random_state=0).sort_index()
        name = f"{name} (a sample of {MOST_REPORTED} rows)"
    report = TableReport(table, title=name, verbose=0)
    return str(report.html())
