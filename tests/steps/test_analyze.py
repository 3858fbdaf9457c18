import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from pipeline.datasets.dataset import build_dataset
from pipeline.results import Dataset, Report
from pipeline.steps import analyze as step
from pipeline.steps.analyze import analyze
from tests.support.builders import COLUMNS, make_config, make_dataset, make_table
from tests.support.mixed import make_mixed_dataset

ARTIFACTS = {
    "overview.md": str,
    "findings.md": str,
    "head.csv": pd.DataFrame,
    "describe.csv": pd.DataFrame,
    "columns.csv": pd.DataFrame,
    "correlations.csv": pd.DataFrame,
    "class_balance.png": Figure,
    "missing.png": Figure,
    "correlations.png": Figure,
    "distributions.png": Figure,
    "report.html": str,
}


@pytest.fixture(autouse=True)
def _no_report(monkeypatch, request):
    """The report takes most of the time; one test makes it."""
    if "whole" not in request.fixturenames:
        monkeypatch.setattr(step, "_report", lambda table, name: "")


@pytest.fixture(scope="module")
def whole() -> Report:
    return analyze(make_dataset())


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Text labels, gaps, the first two rows twice, and two more with the other's label."""
    table = make_table(("no", "yes"))
    relabelled = table[2:4].assign(label=["yes", "no"])
    table = pd.concat([table, table.head(2), relabelled], ignore_index=True)
    return build_dataset(make_config(positive="no"), table, digest="1" * 64)


def with_column(name: str) -> Dataset:
    """`noise` under another name."""
    columns = {name if old == "noise" else old: column for old, column in COLUMNS.items()}
    table = make_table().rename(columns={"noise": name})
    return build_dataset(make_config(columns=columns), table, digest="0" * 64)


def test_analyze_leaves_tables_pictures_and_pages(whole):
    assert {name: type(artifact) for name, artifact in whole.artifacts.items()} == ARTIFACTS
    assert whole.metrics["findings"] == 0
    assert "found nothing" in whole.artifacts["findings.md"]


def test_analyze_reports_in_one_page_of_html(whole):
    report = whole.artifacts["report.html"]
    assert report.lstrip().startswith(("<!DOCTYPE html", "<!doctype html", "<html"))
    for name in ("people", *COLUMNS, "label"):
        assert name in report


def test_texts_are_described_by_their_lengths_and_drawn():
    report = analyze(make_mixed_dataset(with_texts=True))

    (note,) = report.artifacts["texts.csv"].to_dict("records")
    assert set(report.artifacts) == {*ARTIFACTS, "texts.csv"}
    assert note["column"] == "note"
    assert 0 < note["missing rows"] < 30
    assert 15 < note["shortest, in characters"] < note["longest"] < 40
    assert note["most frequent"].startswith("Order ")
    described = report.artifacts["columns.csv"].set_index("column").loc["note"]
    assert described["distinct"] == note["distinct"]
    assert described["valid"] == "at most 1000 characters"
    assert "\nit " in report.artifacts["head.csv"]["note"][0]


def test_analyze_counts_rows_columns_classes_gaps_and_duplicates(dataset):
    assert analyze(dataset).metrics == {
        "rows": 124,
        "columns": 4,
        "classes": 2,
        "rows_train": len(dataset.X_train),
        "rows_test": len(dataset.X_test),
        "duplicate_rows": 2,
        "missing_share": pytest.approx(dataset.X["gap"].isna().sum() / (4 * 124)),
        "findings": 0,
    }


def test_overview_tells_the_counts_the_balance_and_the_digest(dataset):
    overview = analyze(dataset).artifacts["overview.md"]
    gaps = dataset.X["gap"].isna().sum()
    for part in (
        "# people",
        "124 rows, 4 columns and the target `label`; 2 duplicate rows;",
        f"\n{gaps} missing values",
        "- `no`: 62 rows (50.0%)\n- `yes`: 62 rows (50.0%)",
        f"Training part: {len(dataset.X_train)} rows. Test part: {len(dataset.X_test)} rows.",
        f"sha256 `{'1' * 64}`",
    ):
        assert part in overview


def test_head_shows_the_first_rows_of_the_source(dataset):
    head = analyze(dataset).artifacts["head.csv"]
    expected = make_table(("no", "yes")).head(10)
    assert head.columns.tolist()[1:] == [*COLUMNS, "label"]
    pd.testing.assert_frame_equal(head[list(COLUMNS)], expected[list(COLUMNS)], check_names=False)
    assert head["label"].tolist() == expected["label"].tolist()


def test_head_counts_rows_from_one_like_the_contract(dataset):
    assert analyze(dataset).artifacts["head.csv"]["row"].tolist() == list(range(1, 11))


def test_description_has_the_statistics_of_each_column(dataset):
    described = analyze(dataset).artifacts["describe.csv"].set_index("statistic")
    X = dataset.X
    assert described.loc["count", "gap"] == X["gap"].notna().sum()
    for name in COLUMNS:
        assert described.loc["mean", name] == pytest.approx(X[name].mean())
        assert described.loc["max", name] == X[name].max()


def test_columns_tell_what_the_config_says_and_what_the_data_show(dataset):
    columns = analyze(dataset).artifacts["columns.csv"].set_index("column")
    assert columns.index.tolist() == list(COLUMNS)
    assert columns.loc["height", "holds"] == "cm"
    assert columns.loc["gap", "holds"] == "a quarter of it is missing"
    assert columns.loc["gap", "missing rows"] == dataset.X["gap"].isna().sum()
    assert columns.loc["flag", ["kind", "valid", "min", "max"]].tolist() == [
        "number",
        "0 to 1",
        0,
        1,
    ]
    assert columns.loc["flag", "distinct"] == 2


@pytest.mark.parametrize("positive", ["no", "yes"])
def test_correlations_are_spearmans_with_the_positive_class_as_one(positive):
    dataset = make_dataset(("no", "yes"), positive)
    table = analyze(dataset).artifacts["correlations.csv"].set_index("column")
    assert table.index.tolist() == table.columns.tolist() == [*COLUMNS, "label"]
    for name in ("height", "noise"):
        expected = spearmanr(dataset.X[name], dataset.y == positive).statistic
        assert table.loc[name, "label"] == pytest.approx(expected)
    assert bool(table.loc["height", "label"] > 0.3) is (positive == "yes")


def test_correlations_of_three_classes_leave_the_target_out():
    dataset = make_dataset(("a", "b", "c"), None)
    table = analyze(dataset).artifacts["correlations.csv"].set_index("column")
    assert table.index.tolist() == table.columns.tolist() == list(COLUMNS)


@pytest.mark.parametrize(
    ("labels", "positive"), [((0, 1), 0), ((False, True), True), ((0, 1, 2), None)]
)
def test_analyze_tells_of_any_kind_of_label(labels, positive):
    analysis = analyze(make_dataset(labels, positive))
    assert set(analysis.artifacts) == set(ARTIFACTS)
    assert analysis.metrics["classes"] == len(labels)
    for label in labels:
        assert f"- `{label}`: {120 // len(labels)} rows" in analysis.artifacts["overview.md"]


@pytest.mark.parametrize("value", [np.nan, 7.0])
def test_analyze_takes_an_empty_or_constant_column(value):
    dataset = make_dataset()
    parts = {name: getattr(dataset, name).assign(noise=value) for name in ("X_train", "X_test")}
    analysis = analyze(dataclasses.replace(dataset, **parts))
    assert isinstance(analysis.artifacts["missing.png"], Figure)
    columns = analysis.artifacts["columns.csv"].set_index("column")
    assert columns.loc["noise", "missing rows"] == (120 if np.isnan(value) else 0)


def test_missing_values_are_drawn_where_there_are_some():
    dataset = make_dataset()
    parts = {name: getattr(dataset, name).fillna(0) for name in ("X_train", "X_test")}
    artifacts = analyze(dataclasses.replace(dataset, **parts)).artifacts
    assert set(ARTIFACTS) - set(artifacts) == {"missing.png"}


@pytest.mark.parametrize("name", ["index", "name", "mean", "count", "level_0", "a b", "Größe"])
def test_analyze_takes_any_name_of_a_column(name):
    assert name in analyze(with_column(name)).artifacts["columns.csv"]["column"].tolist()


@pytest.mark.parametrize("name", ["row", "statistic", "column"])
def test_analyze_takes_a_column_that_is_named_like_one_of_its_own(name):
    assert name in analyze(with_column(name)).artifacts["columns.csv"]["column"].tolist()


def test_analyze_leaves_the_data_as_they_are(dataset):
    X, y = dataset.X.copy(), dataset.y.copy()
    analyze(dataset)
    pd.testing.assert_frame_equal(dataset.X, X)
    pd.testing.assert_series_equal(dataset.y, y)


def test_pictures_of_a_wide_table_show_the_columns_that_go_with_the_target_most():
    rng = np.random.default_rng(0)
    names = [f"c{place}" for place in range(60)]
    table = pd.DataFrame(rng.normal(size=(120, 60)), columns=names)
    table["label"] = np.arange(120) % 2
    apart = ["c7", "c31", "c58"]
    table[apart] += 3 * table[["label"]].to_numpy()
    config = make_config(columns=dict.fromkeys(names, COLUMNS["noise"]))
    analysis = analyze(build_dataset(config, table, digest="0" * 64))

    correlations = analysis.artifacts["correlations.csv"]
    drawn_text = correlations["column"].tolist()
    assert set(apart) <= set(drawn_text)
    assert drawn_text[:-1] == [name for name in names if name in drawn_text]
    assert len(drawn_text) == step.MOST_CORRELATED + 1  # and the target
    panels = [axes.get_title() for axes in analysis.artifacts["distributions.png"].axes]
    assert len(panels) == step.MOST_DRAWN
    assert set(apart) <= set(panels) <= set(drawn_text)
    for name, count in (("correlations", 30), ("distributions", 15)):
        title = analysis.artifacts[f"{name}.png"].get_suptitle().replace("\n", " ")
        assert f"120 rows (the {count} of 60 columns that go with the target most)" in title
    columns = analysis.artifacts["columns.csv"].set_index("column")
    assert len(columns) == 60
    share = columns["rank variance between classes"]
    assert share.nlargest(3).index.sort_values().tolist() == sorted(apart)
    assert 0 <= share.min() <= share.max() <= 1


def test_classes_are_called_by_their_names():
    dataset = dataclasses.replace(make_dataset(), labels={0: "healthy", 1: "ill"})
    artifacts = analyze(dataset).artifacts
    (axes,) = artifacts["class_balance.png"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ill", "healthy"]
    strips = artifacts["distributions.png"].axes[0].get_yticklabels()
    assert [text.get_text() for text in strips] == ["healthy", "ill"]
    assert "- `1` (ill): 60 rows" in artifacts["overview.md"]
