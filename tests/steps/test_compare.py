import re
from dataclasses import replace

import numpy as np
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from pipeline.config.sections import Evaluate
from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.paired_bootstrap import differences
from pipeline.results import Report
from pipeline.steps.compare import compare
from pipeline.tasks import BINARY
from tests.support.builders import make_calibrated, make_predictions, make_sure

FEW = Evaluate(resamples=100, seed=3)
PARAMS = {
    "run a": {"tune.seed": "0", "tune.folds": "5", "split.seed": "1"},
    "run b": {"tune.seed": "7", "tune.folds": "5", "code": "abc"},
}


def blurred(sample: Predictions) -> Predictions:
    noise = np.random.default_rng(5).dirichlet(np.ones(sample.classes), size=len(sample.truth))
    return replace(sample, probabilities=0.7 * sample.probabilities + 0.3 * noise)


def run(first: Predictions, second: Predictions, params=PARAMS) -> Report:
    classes = ["no", "yes"] if first.classes == 2 else list("abc")
    return compare(FEW, {"run a": first, "run b": second}, params, classes)


@pytest.fixture(scope="module", params=[2, 3], ids=["two classes", "three classes"])
def pair(request) -> tuple[Predictions, Predictions]:
    sample = make_predictions(request.param)
    return sample, blurred(sample)


@pytest.fixture(scope="module")
def result(pair) -> Report:
    return run(*pair)


def tables(page: str) -> list[list[list[str]]]:
    """The tables of a page, as a browser would show them: rows of cells."""
    html = MarkdownIt("commonmark").enable("table").render(page)
    return [
        [
            re.findall(r"<t[dh]>(.*?)</t[dh]>", row, re.DOTALL)
            for row in re.findall(r"<tr>(.*?)</tr>", one, re.DOTALL)
        ]
        for one in re.findall(r"<table>(.*?)</table>", html, re.DOTALL)
    ]


def test_every_metric_is_compared_as_the_first_minus_the_second(pair, result):
    expected = differences(*pair, 100, 3, 0.95)
    table = result.artifacts["metrics.csv"].set_index("metric")
    assert set(table.index) == set(BINARY.metrics)
    for name, row in table.iterrows():
        assert row["run a"] == pytest.approx(metrics.value(name, pair[0]), nan_ok=True)
        assert row["run b"] == pytest.approx(metrics.value(name, pair[1]), nan_ok=True)
        assert row["difference"] == row["run a"] - row["run b"]
        assert row["low (95 %)"] == expected[name].low
        assert row["high (95 %)"] == expected[name].high


def test_metrics_of_the_run_are_those_of_the_table(result):
    table = result.artifacts["metrics.csv"].set_index("metric")
    assert result.metrics == {
        **{f"difference/{name}": row["difference"] for name, row in table.iterrows()},
        **{f"difference_95/{name}_low": row["low (95 %)"] for name, row in table.iterrows()},
        **{f"difference_95/{name}_high": row["high (95 %)"] for name, row in table.iterrows()},
    }


@pytest.mark.parametrize(("name", "sign"), [("accuracy", 1), ("log_loss", -1), ("brier", -1)])
def test_difference_of_a_model_that_is_right_has_the_sign_of_the_metric(name, sign):
    result = run(make_sure(True), make_sure(False))
    assert np.sign(result.metrics[f"difference/{name}"]) == sign
    assert np.sign(result.metrics[f"difference_95/{name}_low"]) == sign


def test_interval_of_a_difference_is_of_95_percent():
    sample = make_calibrated()
    apart = (
        bootstrap.resampled(sample, 100, 3)["brier"]
        - bootstrap.resampled(blurred(sample), 100, 3)["brier"]
    )
    result = run(sample, blurred(sample)).metrics
    ends = result["difference_95/brier_low"], result["difference_95/brier_high"]
    assert ends == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))


def test_settings_are_those_that_differ(result):
    table = result.artifacts["settings.csv"]
    assert table.columns.tolist() == ["setting", "run a", "run b"]
    assert table.to_numpy().tolist() == [
        ["tune.seed", "0", "7"],
        ["split.seed", "1", "(unset)"],
        ["code", "(unset)", "abc"],
    ]


def test_summary_tells_rows_numbers_and_settings(pair, result):
    assert result.note.startswith("On 60 rows that neither was trained on;")
    measured, settings = tables(result.note)
    assert measured[0] == ["metric", "run a", "run b", "difference", "95 % interval"]
    assert {row[0] for row in measured[1:]} == set(BINARY.metrics)
    table = result.artifacts["metrics.csv"].set_index("metric")
    for name, first, second, apart, interval in measured[1:]:
        row = table.loc[name]
        assert first == f"{row['run a']:.4f}"
        assert second == f"{row['run b']:.4f}"
        assert apart == f"{row['difference']:+.4f}"
        assert interval == f"{row['low (95 %)']:+.4f} to {row['high (95 %)']:+.4f}"
    assert settings == [
        ["setting", "run a", "run b"],
        *result.artifacts["settings.csv"].to_numpy().tolist(),
    ]


def test_summary_of_models_with_the_same_settings_says_so():
    sample = make_predictions()
    same = {"run a": {"tune.seed": "0"}, "run b": {"tune.seed": "0"}}
    result = run(sample, blurred(sample), same)
    assert result.artifacts["settings.csv"].empty
    assert len(tables(result.note)) == 1
    assert result.note.endswith("Their settings, data, code and libraries are the same.")


@pytest.mark.parametrize("text", ["a|b", "one\ntwo", "one\n\ntwo", "a\r\nb"], ids=repr)
def test_summary_stays_two_tables_whatever_the_settings_hold(text):
    sample = make_predictions()
    params = {"run a": {"meaning": text, "z": "1"}, "run b": {"z": "2"}}
    _, settings = tables(run(sample, sample, params).note)
    assert [len(row) for row in settings] == [3, 3, 3]
    assert settings[2] == ["z", "1", "2"]


def test_model_beside_its_like_differs_by_nothing():
    result = run(make_predictions(), make_predictions())
    assert set(result.metrics.values()) == {0.0}


def test_curves_are_of_both_models(result, pair):
    figure = result.artifacts["curves.png"]
    assert isinstance(figure, Figure)
    names = {line.get_label().split("\n")[0] for line in figure.axes[0].get_lines()}
    assert {"run a", "run b"} <= names


def test_rows_of_one_class_are_compared_by_what_has_a_meaning_there():
    """Of a table that grew by rows of one class; scikit-learn has a warning for it."""
    chance = np.linspace(0.6, 0.9, 20)
    first = Predictions(np.ones(20, dtype=int), np.c_[1 - chance, chance], 1)
    result = run(first, replace(first, probabilities=first.probabilities - [[-0.05, 0.05]]))
    assert np.isnan(result.metrics["difference/roc_auc"])
    assert result.metrics["difference/log_loss"] < 0
    measured, _ = tables(result.note)
    assert ["roc_auc", "nan", "nan", "+nan", "+nan to +nan"] in measured
