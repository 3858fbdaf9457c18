"""What a shadow's log says of both versions, without labels and with them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.of_task import of_task
from pipeline.evaluation.answer_pairs import between
from pipeline.inference.predictor import Params
from pipeline.promotion.shadow import Shadowing, Versions, conclude, latest, of_versions
from pipeline.tasks import TASKS
from tests.support.builders import make_config
from tests.support.shadows import make_predictor

ROWS = 400
UNKNOWN = {"regression": np.nan}  # the true target of a row without a label


def look(
    task: str, shift: float, *, is_labelled: bool = True, rows: int = ROWS, **gate: Any
) -> Shadowing:
    """Of a champion that is off by 0.2, and a shadow that is off by another shift."""
    predictors = make_predictor(task, "2", 0.2), make_predictor(task, "7", shift)
    rng = np.random.default_rng(0)
    height = rng.uniform(0.3, 0.7, rows)
    X = np.stack([height, np.zeros(rows)], axis=1)
    first, second = (predictor.answers(X, Params()) for predictor in predictors)
    chance = np.stack([height, (1 - height) / 2, (1 - height) / 2], axis=1)
    truth: Any = {
        "binary": (rng.random(rows) < height).astype(int),
        "multiclass": np.array([rng.choice(3, p=each) for each in chance]),
        "regression": 10 * height + rng.normal(0, 0.5, rows),
    }[task]
    if not is_labelled:
        truth = np.full(rows, UNKNOWN.get(task, -1))
    log = pd.DataFrame(
        {
            **{"request_id": [f"r{number}" for number in range(rows)], "row": 1, "time": 1.5e9},
            **{f"champion_{name}": values for name, values in first.items()},
            **{f"shadow_{name}": values for name, values in second.items()},
            **between(TASKS[task].name, first, second).columns,
        }
    )
    config = of_task(make_config(gate=gate), TASKS[task])
    return conclude(config, Versions("2", "7"), predictors, log, truth)


@pytest.fixture(autouse=True)
def _families_of_any_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's families are those of classes."""
    monkeypatch.setattr("pipeline.config.of_task._families", lambda *_: ())


@pytest.mark.parametrize("task", TASKS)
def test_without_labels_the_page_says_how_the_answers_differ(task: str) -> None:
    result = look(task, 0.1, is_labelled=False)

    report = result.report
    assert result.may_be_promoted is None
    assert "Without labels (--labels) nothing says" in report.note
    assert "Version 2 has answered 400 rows, and version 7 beside it." in report.note
    assert report.metrics["rows"] == ROWS
    assert report.metrics["rows_labelled"] == 0
    assert 0 < report.metrics["difference_median"] <= report.metrics["difference_largest"]
    assert ("labels_differ" in report.metrics) is TASKS[task].has_classes
    assert set(report.artifacts) == {"shadow.md", "most_different.csv", "shadow.png"}
    most = report.artifacts["most_different.csv"]
    assert most["difference"].iloc[0] == most["difference"].max()
    assert f"| {most['request_id'].iloc[0]} | 1 |" in report.note


CLAIMS = {
    "better": (0.0, True, "**Version 7 is better than version 2**"),
    "not worse": (0.201, True, "**Version 7 is not worse than version 2 within gate.margin"),
    "worse": (0.29, False, "**Version 7 is worse than version 2**"),
}


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("task", TASKS)
def test_labels_decide_which_version_is_better(task: str, claim: str) -> None:
    shift, may_be_promoted, sentence = CLAIMS[claim]
    loss = TASKS[task].loss

    result = look(task, shift, metric=loss, rule="none")

    assert result.sentence.startswith(sentence)
    assert result.may_be_promoted is may_be_promoted
    assert f"{loss} " in result.sentence
    assert f"| {loss} |" in result.report.note
    gain = -result.report.metrics[f"difference/{loss}"]
    assert gain > 0 if claim == "better" else gain < 0
    assert result.report.metrics["rows_labelled"] == ROWS


def test_few_labels_and_wide_intervals_decide_nothing() -> None:
    few = look("binary", 0.0, rows=15)
    assert few.may_be_promoted is False
    assert "**Too few rows have labels**: 15 rows, " in few.sentence
    unsure = look("binary", -0.2, rows=50, metric="accuracy")
    assert unsure.may_be_promoted is False
    assert unsure.sentence.startswith("**It cannot be said yet whether version 7 is as good")


def test_superiority_asks_for_more_than_not_worse() -> None:
    assert look("binary", 0.201, rule="superiority").may_be_promoted is False
    assert look("binary", 0.201).may_be_promoted is True


def test_versions_of_the_latest_line_are_compared() -> None:
    log = pd.DataFrame(
        {
            "time": [1.0, 3.0, 2.0, 2.5],
            "champion": [1, 2, 2, 2],
            "shadow": [7, 7, 6, 7],
        }
    )
    versions = latest(log)
    assert versions == Versions("2", "7")
    assert of_versions(log, versions).tolist() == [False, True, False, True]
