"""The gate's rules where amounts are predicted: coverage, a margin that is a share, the dummy."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.of_task import of_task
from pipeline.evaluation import metrics
from pipeline.promotion import gate
from pipeline.promotion.gate import Evidence
from pipeline.tasks import REGRESSION
from tests.support.builders import make_amounts, make_comparison, make_config

TASK = {"families": ("ridge",)}


def make_evidence(predictions, comparison=None):
    none = np.full(len(predictions.truth), np.nan)
    mean = np.full(len(none), predictions.truth.mean())
    logged = {name: metrics.value(name, predictions) for name in REGRESSION.search_metrics}
    dummy = replace(predictions, value=mean, low=none, high=none)
    return Evidence(logged, predictions, dummy, None, comparison, ())


def rules_of(evidence, **settings):
    config = of_task(make_config(tune=TASK, gate=settings), REGRESSION)
    results, claim = gate.check(config, evidence)
    return {one.rule: one for one in results}, claim


def with_coverage(share, rows=400):
    p = make_amounts(rows)
    width = np.where(np.arange(rows) < share * rows, 1e3, 0.0)
    off = p.value + np.where(width > 0, 0.0, 1e3)
    return replace(p, low=off - width, high=off + width)


@pytest.mark.parametrize(
    ("share", "rows", "passed", "part"),
    [
        (0.9, 400, True, "within gate.calibration 0.05 below"),
        (0.98, 400, True, "within"),
        (0.83, 400, True, "beyond gate.calibration 0.05 below, which may be chance"),
        (0.7, 400, False, "intervals of 90% hold 70.0% of the test rows"),
        (0.8, 20, True, "which may be chance"),
    ],
)
def test_intervals_must_not_be_proven_to_hold_fewer_rows_than_promised(share, rows, passed, part):
    rules, _ = rules_of(make_evidence(with_coverage(share, rows)))

    assert rules["gate.calibration"].passed is passed
    assert part in rules["gate.calibration"].sentence
    assert rules["gate.dummy"].passed


@pytest.mark.parametrize(
    ("margin", "claim", "passed"), [(0.5, "not worse", True), (0.0001, "maybe worse", False)]
)
def test_margin_is_a_share_of_the_champions_error(margin, claim, passed):
    first = make_amounts(200)
    second = replace(first, value=first.truth + 0.98 * first.errors)
    comparison = make_comparison(first, second, cross_validated=(1.0, 2.0))

    rules, said = rules_of(make_evidence(first, comparison), margin=margin)

    assert (said, rules["gate.rule"].passed) == (claim, passed)
    assert rules["gate.primary"].passed


def test_few_rows_prove_nothing_beside_the_champion():
    first = make_amounts(9)

    rules, said = rules_of(make_evidence(first, make_comparison(first, first)))

    assert (said, rules["gate.rule"].passed) == ("not compared", False)
    assert "9 rows, and gate.rows_per_class is 10" in rules["gate.rule"].sentence


def test_floors_are_of_the_metrics_of_amounts():
    rules, _ = rules_of(make_evidence(make_amounts()), floors={"rmse": 5.0, "coverage": 0.99})

    assert rules["gate.floors.rmse"].passed
    assert rules["gate.floors.coverage"].passed is False
